"""The audit's rows. Each is written inside the transaction of what it tells of: both are there, or neither.

Inside a write there is one writer at a time, so the row that is the newest at its start still is at its end.
"""

from datetime import UTC

from sqlalchemy import Connection, Row, func, insert, select

from agent import audit as chain
from agent import redact
from agent.model import AuditHead, AuditKind, AuditRow, IncidentId
from agent.store.database import Database
from agent.store.tables import audit


class Audit:
    """`ports.AuditStore` over SQL. Nothing here changes or deletes a row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(self, entry: chain.Entry) -> None:
        """Append one row on its own: for what has no row elsewhere (a halt is a file). The same (kind, key) appends once."""
        self._database.write(f"audit {entry.kind.value} {entry.key!r}", lambda c: append(self._database, c, entry))

    def rows(self, after: int = 0, limit: int = 500) -> tuple[AuditRow, ...]:
        """Return rows with a larger id, in order."""
        query = select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(limit)
        return tuple(_row(row) for row in self._database.read("read the audit", lambda c: c.execute(query).all()))

    def head(self) -> AuditHead | None:
        """Return the newest row's id and hash, None while there is none."""
        return self._database.read("read the head of the audit", head)

    def receipts(self, incident: IncidentId) -> tuple[AuditRow, ...]:
        """Return the receipt rows of one incident, in order."""
        query = select(audit).where(audit.c.kind == AuditKind.RECEIPT.value, audit.c.incident == incident).order_by(audit.c.id)
        return tuple(_row(row) for row in self._database.read(f"read the receipts of {incident}", lambda c: c.execute(query)))

    def latest(self, *kinds: AuditKind) -> AuditRow | None:
        """Return the newest row of these kinds."""
        newest = select(func.max(audit.c.id)).where(audit.c.kind.in_([kind.value for kind in kinds])).scalar_subquery()
        query = select(audit).where(audit.c.id == newest)
        row = self._database.read("read the latest of the audit", lambda c: c.execute(query).one_or_none())
        return None if row is None else _row(row)


def append(database: Database, connection: Connection, entry: chain.Entry) -> None:
    """Append one row within the caller's write transaction, unless (kind, key) is there already."""
    known = select(audit.c.id).where(audit.c.kind == entry.kind.value, audit.c.key == entry.key)
    if entry.key is not None and connection.execute(known).one_or_none() is not None:
        return
    # Redacted before it is hashed: the hash covers what lies on the disk.
    clean = redact.within(entry, database.redact)
    at = database.clock.now().astimezone(UTC).isoformat(timespec="microseconds")
    row = chain.link(clean, _newest(connection), at=at)
    connection.execute(insert(audit).values(**{name: getattr(row, name) for name in audit.c.keys()}))  # noqa: SIM118  no dict


def head(connection: Connection) -> AuditHead | None:
    """Return the newest row's id and hash as this transaction sees it."""
    newest = _newest(connection)
    return None if newest is None else chain.head_of(newest)


def _newest(connection: Connection) -> AuditRow | None:
    row = connection.execute(select(audit).where(audit.c.id == select(func.max(audit.c.id)).scalar_subquery())).one_or_none()
    return None if row is None else _row(row)


def _row(row: Row[tuple[object, ...]]) -> AuditRow:
    return AuditRow(**row._mapping)  # noqa: SLF001  SQLAlchemy's public name for it
