"""Sweep reports: one row per beat."""

from datetime import datetime

from sqlalchemy import delete, insert, select

from agent.model import SweepReport
from agent.store.database import Database
from agent.store.tables import sweeps


class Sweeps:
    """`ports.SweepStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, report: SweepReport) -> None:
        """Write one report."""
        row = insert(sweeps).values(at=report.at, report=report)
        self._database.write("keep a sweep report", lambda c: c.execute(row))

    def latest(self, limit: int = 20) -> tuple[SweepReport, ...]:
        """Return the newest first."""
        query = select(sweeps.c.report).order_by(sweeps.c.id.desc()).limit(limit)
        return tuple(self._database.read("read the sweep reports", lambda c: c.execute(query).scalars().all()))

    def prune(self, *, before: datetime) -> int:
        """Delete reports older than that; return how many."""
        old = delete(sweeps).where(sweeps.c.at < before)
        return self._database.write("delete old sweep reports", lambda c: c.execute(old).rowcount)
