"""What each runbook has shown, in rehearsals and in the field: one row per mark, only ever added to."""

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from agent import audit
from agent.model import AuditKind, RunbookMark
from agent.store.audit import append
from agent.store.database import Database
from agent.store.tables import runbook_marks


class RunbookStanding:
    """`ports.RunbookStandingStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, mark: RunbookMark) -> None:
        """Write one mark, once."""
        known = select(runbook_marks.c.number).where(runbook_marks.c.key == mark.key)

        def write(connection: Connection) -> None:
            if connection.execute(known).one_or_none() is None:
                connection.execute(insert(runbook_marks).values(key=mark.key, hash=mark.hash, mark=mark))
                append(self._database, connection, audit.by_person(AuditKind.RUNBOOK_TRUST, "medic", key=mark.key, mark=mark))

        self._database.write(f"note what runbook {mark.runbook!r} has shown", write)

    def marks(self, hashes: Sequence[str]) -> tuple[RunbookMark, ...]:
        """Return every mark of these hashes, in the order they were written."""
        query = select(runbook_marks.c.mark).where(runbook_marks.c.hash.in_(tuple(hashes))).order_by(runbook_marks.c.number)
        return tuple(self._database.read("read what runbooks have shown", lambda c: c.execute(query).scalars().all()))
