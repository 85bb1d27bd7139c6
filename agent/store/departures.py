"""Hosts on their way out: one row per instance, whatever is heard of it, changed only inside one transaction."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import Connection, insert, select, update

from agent.model import Departure, DepartureStage, IncidentId, Refusal
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
            _write(connection, after, known=before is not None)
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

    def latest(self, limit: int = 500) -> tuple[Departure, ...]:
        """Return those that were heard of last, over or not, oldest first."""
        return self._database.read("read the hosts that left", lambda connection: _latest(connection, limit))

    def give_up(
        self, going: Departure, why_not: Callable[[Sequence[Departure]], Refusal | None]
    ) -> tuple[Departure, Refusal | None]:
        """Write `going` unless `why_not` objects; return what stands, and the objection. One transaction asks and writes."""

        def give_up(connection: Connection) -> tuple[Departure, Refusal | None]:
            query = select(table.c.departure).where(table.c.instance == going.instance)
            before: Departure | None = connection.execute(query).scalar_one_or_none()
            if before is not None and before.stage is not DepartureStage.AT_RISK:
                return before, None
            refusal = why_not(_latest(connection, 500))
            if refusal is not None:
                return before or going, refusal
            after = going if before is None else replace(going, heard_at=before.heard_at, why=f"{before.why}, {going.why}")
            _write(connection, after, known=before is not None)
            return after, None

        return self._database.write(f"give up {going.instance!r}", give_up)


def _latest(connection: Connection, limit: int) -> tuple[Departure, ...]:
    query = select(table.c.departure).order_by(table.c.heard_at.desc(), table.c.instance.desc()).limit(limit)
    return tuple(reversed(connection.execute(query).scalars().all()))


def _write(connection: Connection, row: Departure, *, known: bool) -> None:
    values = {"stage": row.stage.value, "incident": row.incident, "heard_at": row.heard_at, "departure": row}
    if known:
        connection.execute(update(table).where(table.c.instance == row.instance).values(**values))
    else:
        connection.execute(insert(table).values(instance=row.instance, **values))
