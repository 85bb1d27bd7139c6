"""Counts over everything that ever happened, for the metrics: a few sums, no noun is read."""

from sqlalchemy import Connection, func, select

from agent.model import Ledger, Outcome
from agent.store.database import Database
from agent.store.tables import HEALED, UNCLAIMED, attempts, incidents, requests


class Ledgers:
    """`ports.LedgerStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> Ledger:
        """Return every count as of one moment."""
        return self._database.read("count the ledger", _ledger)


def _ledger(connection: Connection) -> Ledger:
    opened = connection.execute(select(incidents.c.origin, func.count()).group_by(incidents.c.origin)).all()
    over = select(incidents.c.closing, func.count()).where(incidents.c.closing.is_not(None)).group_by(incidents.c.closing)
    by_outcome = connection.execute(select(attempts.c.outcome, func.count()).group_by(attempts.c.outcome)).all()
    ended: dict[Outcome | None, int] = {row[0]: row[1] for row in by_outcome}
    healed = connection.execute(select(incidents.c.opened_at, incidents.c.closed_at).where(HEALED)).all()
    waiting = connection.execute(select(func.count()).select_from(requests).where(UNCLAIMED)).scalar_one()
    return Ledger(
        opened=tuple((origin.value, number) for origin, number in opened),
        closed=tuple((closing.value, number) for closing, number in connection.execute(over)),
        attempts=tuple((outcome.value, number) for outcome, number in ended.items() if outcome is not None),
        under_way=ended.get(None, 0),
        repairs=tuple(row.closed_at - row.opened_at for row in healed),
        requests=waiting,
    )
