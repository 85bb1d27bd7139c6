"""Which hosts of the fleet there were, and from when to when: one row per instance, kept for good. What savings are reckoned from."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from agent.model import Stay
from agent.store.database import Database
from agent.store.tables import stays as table


class Stays:
    """`ports.StayStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, stays: Sequence[Stay]) -> None:
        """Write who was there; what is known of the same host already is only lengthened. One transaction."""

        def note(connection: Connection) -> None:
            for each in stays:
                query = select(table.c.stay).where(table.c.instance == each.instance)
                known: Stay | None = connection.execute(query).scalar_one_or_none()
                after = each if known is None else known.with_(each)
                if after != known:
                    _write(connection, after, known=known is not None)

        self._database.write("note who is in the fleet", note)

    def since(self, at: datetime) -> tuple[Stay, ...]:
        """Return those that were still seen at that time or later, by when they began."""
        query = select(table.c.stay).where(table.c.seen_at >= at)
        found = self._database.read("read who was in the fleet", lambda c: c.execute(query).scalars().all())
        return tuple(sorted(found, key=lambda each: (each.began_at, each.instance)))


def _write(connection: Connection, stay: Stay, *, known: bool) -> None:
    values = {"seen_at": stay.seen_at, "stay": stay}
    if known:
        connection.execute(update(table).where(table.c.instance == stay.instance).values(**values))
    else:
        connection.execute(insert(table).values(instance=stay.instance, **values))
