"""Scopes in which healing stopped. A breaker opens once, stays open across restarts, and only `reset` ends it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from agent import audit
from agent.model import AuditKind, Breaker, IncidentId, ServiceName
from agent.store.audit import append
from agent.store.database import Database, incident_id, row_number
from agent.store.tables import STANDING, breakers


class Breakers:
    """`ports.BreakerStore` over SQL. Rows are never deleted: they say how often a scope had to be stopped."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, scope: str, *, because: str, services: Sequence[ServiceName], now: datetime) -> tuple[Breaker, bool]:
        """Return the breaker that is open in this scope and False, or open one and return it and True."""

        def open_once(connection: Connection) -> tuple[Breaker, bool]:
            row = _open_row(connection, scope)
            if row is not None:
                return _breaker(row), False
            connection.execute(insert(breakers).values(scope=scope, opened_at=now, because=because, services=tuple(services)))
            entry = audit.by_person(AuditKind.BREAKER, "medic", scope=scope, because=because, services=tuple(services))
            append(self._database, connection, entry)
            return _breaker(_open_row(connection, scope)), True

        return self._database.write(f"open the breaker {scope!r}", open_once)

    def names(self, scope: str, incident: IncidentId) -> None:
        """Keep the correlated incident of the open breaker of this scope."""
        change = update(breakers).where(breakers.c.scope == scope, STANDING).values(incident=row_number(incident))
        self._database.write(f"keep the incident of breaker {scope!r}", lambda c: c.execute(change))

    def standing(self) -> tuple[Breaker, ...]:
        """Return every open breaker, oldest first."""
        query = select(breakers).where(STANDING).order_by(breakers.c.number)
        return self._database.read("read the open breakers", lambda c: tuple(_breaker(row) for row in c.execute(query)))

    def reset(self, scope: str, *, by: str, why: str, now: datetime) -> Breaker | None:
        """Close the open breaker of this scope and return it; None where none is open."""

        def reset_once(connection: Connection) -> Breaker | None:
            row = _open_row(connection, scope)
            if row is None:
                return None
            this = breakers.c.number == row.number
            connection.execute(update(breakers).where(this).values(reset_at=now, reset_by=by, reset_why=why))
            append(self._database, connection, audit.by_person(AuditKind.BREAKER, by, scope=scope, reset_because=why))
            return _breaker(connection.execute(select(breakers).where(this)).one())

        return self._database.write(f"reset the breaker {scope!r}", reset_once)

    def last_reset(self, scope: str) -> datetime | None:
        """Return when a person last reset this scope: what came before it is not counted again."""
        query = select(func.max(breakers.c.reset_at, type_=breakers.c.reset_at.type)).where(breakers.c.scope == scope)
        return self._database.read(f"read the last reset of {scope!r}", lambda c: c.execute(query).scalar_one_or_none())


def _open_row(connection: Connection, scope: str) -> Row[Any] | None:
    return connection.execute(select(breakers).where(breakers.c.scope == scope, STANDING)).one_or_none()


def _breaker(row: Row[Any] | None) -> Breaker:
    if row is None:
        raise LookupError("the row that was just written is not there")
    return Breaker(
        scope=row.scope,
        opened_at=row.opened_at,
        because=row.because,
        services=row.services,
        incident=None if row.incident is None else incident_id(row.incident),
        reset_at=row.reset_at,
        reset_by=row.reset_by,
        reset_why=row.reset_why,
    )
