"""Who leads, of several Medics on one store: one row, taken and renewed by compare-and-set, timed by the database's own clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from agent.errors import LeaseLost
from agent.model import Lead
from agent.store.database import Database
from agent.store.tables import lead

_THE_ROW = 1


class Leads:
    """`ports.LeadStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, holder: str, place: str, span: timedelta) -> Lead | None:
        """Lead for `span` from now if nobody does any more, or if the one that did worked from `place`. None if another does."""

        def take(connection: Connection) -> Lead | None:
            now, before = self._now(connection), _standing(connection)
            if before is not None and before.expires_at > now and before.place != place:
                return None
            term = 1 if before is None else before.term + 1
            fresh = Lead(holder=holder, place=place, term=term, expires_at=now + span)
            values = {"holder": holder, "place": place, "term": term, "expires_at": fresh.expires_at}
            connection.execute(delete(lead))
            connection.execute(insert(lead).values(one=_THE_ROW, **values))
            return fresh

        # Asked every second by whoever stands by: a look does not queue among the writers.
        if self._database.read("read who leads", lambda c: self._is_led_by_another(c, place)):
            return None
        return self._database.write("take the lead", take)

    def renew(self, term: int, span: timedelta) -> bool:
        """Lead for `span` from now. False if another has taken it: then this term never leads again."""

        def renew(connection: Connection) -> bool:
            change = update(lead).where(lead.c.term == term).values(expires_at=self._now(connection) + span)
            return connection.execute(change).rowcount == 1

        return self._database.write("renew the lead", renew)

    def release(self, term: int) -> None:
        """Let the next one take it at once. Nothing happens if another has taken it already."""

        def release(connection: Connection) -> None:
            connection.execute(update(lead).where(lead.c.term == term).values(expires_at=self._now(connection)))

        self._database.write("release the lead", release)

    def standing(self) -> tuple[Lead, bool] | None:
        """Return the last lead and whether it still stands; None where nobody ever led."""

        def read(connection: Connection) -> tuple[Lead, bool] | None:
            last = _standing(connection)
            return None if last is None else (last, last.expires_at > self._now(connection))

        return self._database.read("read who leads", read)

    def _is_led_by_another(self, connection: Connection, place: str) -> bool:
        last = _standing(connection)
        return last is not None and last.place != place and last.expires_at > self._now(connection)

    def _now(self, connection: Connection) -> datetime:
        """Return the time of the database: of its server, or for a file of this machine."""
        if connection.dialect.name == "sqlite":
            return self._database.clock.now()
        # Not now(): that is when the transaction began, and a writer waits for its turn after that.
        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)


def fence(term: int) -> Callable[[Connection], None]:
    """Return what lets a write of this term through as long as no other term has begun. It raises LeaseLost after that."""

    def refuse_what_came_too_late(connection: Connection) -> None:
        standing = _standing(connection)
        if standing is None or standing.term != term:
            raise LeaseLost("write to the store", f"{standing.holder} leads now" if standing else "its lead was taken away")

    return refuse_what_came_too_late


def _standing(connection: Connection) -> Lead | None:
    row: Row[Any] | None = connection.execute(select(lead)).one_or_none()
    return None if row is None else Lead(holder=row.holder, place=row.place, term=row.term, expires_at=row.expires_at)
