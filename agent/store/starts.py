"""What is learned of services: how long their starts took, and when their settled verdict changed. The latest rows stay."""

from datetime import datetime

from sqlalchemy import Connection, Table, delete, insert, select

from agent.model import ServiceName, Start
from agent.store.database import Database
from agent.store.tables import flips, starts

KEEP_STARTS = 50
"""Starts of one service: the 95th of 100 is the third slowest of 50, so one freak start does not set the grace."""

KEEP_FLIPS = 20
"""Changes of one service: more than any rule asks for."""


class Starts:
    """`ports.StartStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def learn(self, service: ServiceName, start: Start) -> None:
        """Keep one start; the latest stay. The same `started_at` twice is kept once."""
        kept = select(starts.c.start).where(starts.c.service == service)

        def learn(connection: Connection) -> None:
            known = connection.execute(kept).scalars().all()
            if all(each.started_at != start.started_at for each in known):
                connection.execute(insert(starts).values(service=service, start=start))
                _drop_old(connection, starts, service, KEEP_STARTS)

        self._database.write(f"keep how {service!r} started", learn)

    def of(self, service: ServiceName) -> tuple[Start, ...]:
        """Return what is kept of one service, oldest first."""
        query = select(starts.c.start).where(starts.c.service == service).order_by(starts.c.number)
        return tuple(self._database.read(f"read the starts of {service!r}", lambda c: c.execute(query).scalars().all()))

    def flip(self, service: ServiceName, *, now: datetime) -> None:
        """Keep that the settled verdict of a service changed; the latest stay."""

        def flip(connection: Connection) -> None:
            connection.execute(insert(flips).values(service=service, at=now))
            _drop_old(connection, flips, service, KEEP_FLIPS)

        self._database.write(f"keep that {service!r} changed", flip)

    def flips(self, service: ServiceName) -> tuple[datetime, ...]:
        """Return when it did, oldest first."""
        query = select(flips.c.at).where(flips.c.service == service).order_by(flips.c.number)
        return tuple(self._database.read(f"read the changes of {service!r}", lambda c: c.execute(query).scalars().all()))


def _drop_old(connection: Connection, table: Table, service: ServiceName, keep: int) -> None:
    of_service = table.c.service == service
    newest = select(table.c.number).where(of_service).order_by(table.c.number.desc()).limit(keep)
    connection.execute(delete(table).where(of_service, table.c.number.not_in(newest)))
