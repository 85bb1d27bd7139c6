"""Sweep reports: one row per beat."""

from datetime import datetime

from sqlalchemy import Connection, String, delete, func, insert, select, type_coerce

from agent.model import SweepReport
from agent.store.database import Database
from agent.store.tables import sweeps

SAMPLE = 100
"""Reports that are measured to tell how large one is."""

_TEXT = type_coerce(sweeps.c.report, String)


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

    def prune(self, *, before: datetime, most_bytes: int) -> int:
        """Delete reports older than that, then the oldest until about `most_bytes` are left; return how many.

        The newest reports tell how large one is: reading all of them every hour would cost more than being exact is worth.
        """
        newest = select(func.length(_TEXT).label("size")).order_by(sweeps.c.id.desc()).limit(SAMPLE).subquery()

        def delete_old(connection: Connection) -> int:
            old = connection.execute(delete(sweeps).where(sweeps.c.at < before)).rowcount
            size = connection.execute(select(func.avg(newest.c.size))).scalar()
            if size is None:
                return old
            beyond = select(sweeps.c.id).order_by(sweeps.c.id.desc()).offset(int(most_bytes // size)).limit(1).scalar_subquery()
            return old + connection.execute(delete(sweeps).where(sweeps.c.id <= beyond)).rowcount

        return self._database.write("delete old sweep reports", delete_old)

    def size(self) -> int:
        """Return the bytes of all reports. Reads them all."""
        query = select(func.coalesce(func.sum(func.length(_TEXT)), 0))
        return int(self._database.read("measure the sweep reports", lambda c: c.execute(query).scalar_one()))
