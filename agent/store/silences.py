"""Silences: when people want services left alone, who said so and why. A row is never deleted."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from agent import audit
from agent.model import AuditKind, ServiceName, Silence
from agent.store.audit import append
from agent.store.database import Database
from agent.store.tables import NOT_ENDED, silences


class Silences:
    """`ports.SilenceStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, service: ServiceName | None, *, why: str, by: str, now: datetime, until: datetime) -> Silence:
        """Silence one service, or all with None."""
        row = insert(silences).values(service=service, why=why, who=by, since=now, until=until).returning(silences)

        def begin_one(connection: Connection) -> Silence:
            silence = _silence(connection.execute(row).one())
            append(self._database, connection, audit.by_person(AuditKind.SILENCED, by, silence=silence))
            return silence

        return self._database.write("begin a silence", begin_one)

    def active(self, now: datetime) -> tuple[Silence, ...]:
        """Return the silences in force, oldest first."""
        query = select(silences).where(NOT_ENDED, silences.c.until > now).order_by(silences.c.number)
        rows = self._database.read("read the silences", lambda c: c.execute(query).all())
        return tuple(_silence(row) for row in rows)

    def end(self, silence: int, *, by: str, now: datetime) -> bool:
        """End one before its time. False if it was over already, or never was."""
        change = (
            update(silences)
            .where(silences.c.number == silence, NOT_ENDED, silences.c.until > now)
            .values(ended_at=now, ended_by=by)
        )

        def end(connection: Connection) -> bool:
            ended = connection.execute(change).rowcount == 1
            if ended:
                append(self._database, connection, audit.by_person(AuditKind.UNSILENCED, by, silence=silence))
            return ended

        return self._database.write(f"end silence {silence}", end)


def _silence(row: Row[Any]) -> Silence:
    return Silence(id=row.number, service=row.service, why=row.why, by=row.who, since=row.since, until=row.until)
