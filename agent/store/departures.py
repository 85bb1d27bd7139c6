"""Hosts on their way out: one row per instance, whatever is heard of it, changed only inside one transaction."""

from collections.abc import Callable

from sqlalchemy import Connection, insert, select, update

from agent.model import Departure, DepartureStage, IncidentId
from agent.store.database import Database
from agent.store.tables import departures as table


class Departures:
    """`ports.DepartureStore` over SQL. Rows are kept: they say how often spot took a host."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def change(self, instance: str, to: Callable[[Departure | None], Departure | None]) -> tuple[Departure | None, bool]:
        """Put `to`'s answer in place of what stands; return what stands now, and whether it changed. One transaction."""

        def change(connection: Connection) -> tuple[Departure | None, bool]:
            row = connection.execute(select(table.c.departure).where(table.c.instance == instance)).one_or_none()
            before = None if row is None else row.departure
            after = to(before)
            if after is None or after == before:
                return before, False
            values = {"stage": after.stage.value, "incident": after.incident, "heard_at": after.heard_at, "departure": after}
            if before is None:
                connection.execute(insert(table).values(instance=instance, **values))
            else:
                connection.execute(update(table).where(table.c.instance == instance).values(**values))
            return after, True

        return self._database.write(f"keep what is heard of {instance!r}", change)

    def of(self, incident: IncidentId) -> Departure | None:
        """Return the departure that an incident tells of."""
        query = select(table.c.departure).where(table.c.incident == incident)
        return self._database.read(f"read the departure of {incident}", lambda c: c.execute(query).scalar_one_or_none())

    def standing(self) -> tuple[Departure, ...]:
        """Return those that are not over, oldest first."""
        query = select(table.c.departure).where(table.c.stage != DepartureStage.OVER.value)
        return tuple(
            self._database.read(
                "read the hosts on their way out", lambda c: c.execute(query.order_by(table.c.heard_at)).scalars().all()
            )
        )
