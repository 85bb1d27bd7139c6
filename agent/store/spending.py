"""What Medic spends: one row per thing bought, reserved before and billed after. Rows are kept for good."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from agent.model import IncidentId, Spending
from agent.store.database import Database
from agent.store.tables import spending as table


class Spendings:
    """`ports.SpendingStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, spending: Spending, since: datetime, no_room: Callable[[Sequence[Spending]], str | None]) -> str | None:
        """Write it unless `no_room` objects; return the objection. One transaction counts and writes."""
        known = select(table.c.number).where(table.c.key == spending.key)
        recent = select(table.c.spending).where(table.c.at >= since).order_by(table.c.at, table.c.number)

        def reserve(connection: Connection) -> str | None:
            if connection.execute(known).one_or_none() is not None:
                return None
            objection = no_room(connection.execute(recent).scalars().all())
            if objection is None:
                row = {"key": spending.key, "incident": spending.incident, "at": spending.at, "billed": 0}
                connection.execute(insert(table).values(**row, spending=spending))
            return objection

        return self._database.write(f"reserve money for {spending.what!r}", reserve)

    def bill(self, spending: Spending) -> bool:
        """Replace what was reserved under this key. False if it is billed already, or was never reserved."""
        row = update(table).where(table.c.key == spending.key, table.c.billed == 0).values(spending=spending, billed=1)
        return self._database.write(f"bill what {spending.what!r} cost", lambda c: c.execute(row).rowcount) == 1

    def since(self, since: datetime) -> tuple[Spending, ...]:
        """Return what was reserved from then on, oldest first."""
        query = select(table.c.spending).where(table.c.at >= since).order_by(table.c.at, table.c.number)
        return tuple(self._database.read("read what was spent", lambda c: c.execute(query).scalars().all()))

    def of(self, incident: IncidentId) -> tuple[Spending, ...]:
        """Return what one incident cost, oldest first."""
        query = select(table.c.spending).where(table.c.incident == incident).order_by(table.c.at, table.c.number)
        return tuple(self._database.read(f"read what {incident} cost", lambda c: c.execute(query).scalars().all()))
