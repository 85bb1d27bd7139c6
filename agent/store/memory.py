"""What people add to memory and take from it: notes on troubles, and troubles that are to be forgotten."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from agent import audit
from agent.model import AuditKind, Note, ServiceName
from agent.store.audit import append
from agent.store.database import Database
from agent.store.tables import forgotten, notes


class Memory:
    """`ports.MemoryStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, fingerprint: str, service: ServiceName, text: str, *, by: str, now: datetime, until: datetime) -> Note:
        """Keep one note until then. The audit says who wrote it and what its text hashes to, so that the text can be forgotten."""
        row = insert(notes).values(fingerprint=fingerprint, service=service, text=text, who=by, at=now, until=until)

        def write(connection: Connection) -> Note:
            made = _note(connection.execute(row.returning(notes)).one())
            append(self._database, connection, audit.noted(made))
            return made

        return self._database.write(f"keep a note on {service!r}", write)

    def notes(self, now: datetime) -> tuple[Note, ...]:
        """Return those in force, oldest first."""
        query = select(notes).where(notes.c.until > now).order_by(notes.c.number)
        return tuple(_note(row) for row in self._database.read("read the notes", lambda c: c.execute(query).all()))

    def withdraw(self, note: int, *, by: str, now: datetime) -> bool:
        """Delete one that is in force, its text with it. False if there is none."""
        gone = delete(notes).where(notes.c.number == note, notes.c.until > now)

        def withdraw(connection: Connection) -> bool:
            found = connection.execute(gone).rowcount == 1
            if found:
                append(self._database, connection, audit.by_person(AuditKind.FORGOTTEN, by, note=note))
            return found

        return self._database.write(f"withdraw note {note}", withdraw)

    def forget(self, fingerprint: str, *, by: str, why: str, now: datetime) -> int:
        """Let what came up to now count for nothing, and delete the notes on it; return how many there were."""

        def forget(connection: Connection) -> int:
            # The later moment wins: a clock that was set back must not bring back what a person wants forgotten.
            until = connection.execute(select(forgotten.c.until).filter_by(fingerprint=fingerprint)).scalar_one_or_none()
            if until is None:
                connection.execute(insert(forgotten).values(fingerprint=fingerprint, until=now))
            else:
                connection.execute(update(forgotten).filter_by(fingerprint=fingerprint).values(until=max(until, now)))
            count: int = connection.execute(delete(notes).where(notes.c.fingerprint == fingerprint)).rowcount
            entry = audit.by_person(AuditKind.FORGOTTEN, by, fingerprint=fingerprint, why=why, notes=count)
            append(self._database, connection, entry)
            return count

        return self._database.write("forget a trouble", forget)

    def forgotten(self) -> Mapping[str, datetime]:
        """Return fingerprints, each with the moment up to which it is forgotten."""
        rows = self._database.read("read what is forgotten", lambda c: c.execute(select(forgotten)).all())
        return {row.fingerprint: row.until for row in rows}

    def prune(self, now: datetime) -> int:
        """Delete notes that are over; return how many."""
        over = delete(notes).where(notes.c.until <= now)
        return self._database.write("delete notes that are over", lambda c: c.execute(over).rowcount)


def _note(row: Row[Any]) -> Note:
    return Note(
        id=row.number,
        fingerprint=row.fingerprint,
        service=ServiceName(row.service),
        text=row.text,
        by=row.who,
        at=row.at,
        until=row.until,
    )
