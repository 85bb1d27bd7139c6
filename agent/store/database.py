"""One database: its connections, its transactions, and what its errors become.

Every query group gets the same `Database` and hands it whole transactions as functions, so that a transaction can be tried
again from its start. There is one writer at a time, on SQLite (`BEGIN IMMEDIATE`) and on Postgres (one advisory lock) alike:
inside a write, what was read stays true until the commit.

A vendor's exception never leaves this module: callers see `StoreError`, worded `cannot <verb> <object>: <cause>`.
"""

import sqlite3
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, PoolProxiedConnection, create_engine, event, exc

from agent.errors import ConfigError, StoreError
from agent.model import IncidentId
from agent.ports import Clock
from agent.store import tables

T = TypeVar("T")

PATIENCE = timedelta(seconds=10)
"""How long one transaction is tried again: a Postgres restart takes a few seconds (`pg_ctl restart` on a small server, 2 s)."""

PAUSE = timedelta(seconds=1)
"""Between two tries. Fixed: the writers are few, so there is no herd to spread."""

BUSY = timedelta(milliseconds=500)
"""How long SQLite itself waits for another writer inside one try; our longest write takes some milliseconds."""

# Bounds of the server's own for one statement, one lock and one forgotten transaction, and of the kernel for a dead peer.
# A process that is stopped inside a write holds up every other writer for the last of them: it is under `PATIENCE`.
_POSTGRES_BOUNDS = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=5s",
}

_ONE_WRITER = 0x6D65646963
"""Key of the advisory lock: `medic` in ASCII."""

_ANEW = "stop Medic, bring the file back from a backup, and start it again"

_LONGEST_CAUSE = 300
"""Characters of a vendor's message that are shown."""


class Database:
    """Transactions over one database, with a bounded retry of what passes by itself."""

    def __init__(
        self, url: URL, clock: Clock, redact: Callable[[str], str], fence: Callable[[Connection], None] | None = None
    ) -> None:
        """Prepare the connections; none is made yet. Raises ConfigError when the driver is not installed.

        redact: every text column passes it on its way in (`tables.redact_for`).
        fence: called first in every write; what it raises ends the write (`lead.fence`).
        """
        arguments: dict[str, Any] = {"timeout": BUSY.total_seconds()} if is_sqlite(url) else dict(_POSTGRES_BOUNDS)
        try:
            # Pre-ping: a server that restarted while we were idle costs nothing but a new connection.
            self._engine = create_engine(
                url, connect_args=arguments, pool_pre_ping=not is_sqlite(url), pool_timeout=PATIENCE.total_seconds()
            )
        except ModuleNotFoundError as missing:
            raise ConfigError(
                f"cannot open the store: {missing.name} is not installed; install it with `pip install medic-agent[postgres]`"
            ) from missing
        self.clock = clock
        self.redact = redact
        self._file: tuple[Path, tuple[int, int]] | None = None
        self._fence = fence
        tables.redact_for(self._engine.dialect, redact)
        self._writer = self._engine.execution_options(writes=True)
        if is_sqlite(url):
            event.listen(self._engine, "connect", _set_up_sqlite)
        event.listen(self._engine, "begin", _begin)
        self._counts_commits = is_sqlite(url)
        self._one_asks = threading.Lock()
        self._asking: PoolProxiedConnection | None = None

    def read(self, what: str, call: Callable[[Connection], T]) -> T:
        """Return what `call` makes of one consistent view. what: `<verb> <object>`, for the error's sentence."""
        return self._patiently(what, lambda: self._run(call, writes=False))

    def write(self, what: str, call: Callable[[Connection], T]) -> T:
        """Run `call` as the only writer and commit; return its value. It may run more than once and must be repeatable."""
        return self._patiently(what, lambda: self._run(call, writes=True))

    def hold_to(self, file: Path) -> None:
        """From now on refuse every transaction when `file` is no longer the very file that it is now. Raises OSError.

        SQLite would go on in a deleted file that nobody can open again, and a new connection would make an empty database in
        its place, in which no attempt was ever made.
        """
        self._file = (file, _identity(file))

    def commits(self) -> int | None:
        """Return a number that every commit with a change moves; None on a server, and while it cannot be read.

        SQLite tells a connection of what *other* connections committed, so this one is kept for asking and never writes.
        Source: https://www.sqlite.org/pragma.html#pragma_data_version; measured: 6 µs, a query 500 µs.
        """
        if not self._counts_commits:
            return None
        with self._one_asks:
            try:
                if self._asking is None:
                    self._asking = self._engine.raw_connection()
                cursor = self._asking.cursor()
                cursor.execute("PRAGMA data_version")
                ((commits,),) = cursor.fetchall()
                return int(commits)
            except (exc.SQLAlchemyError, sqlite3.Error):
                self._asking = None  # the query that is made instead says what is wrong
                return None

    def close(self) -> None:
        """Close every connection."""
        if self._asking is not None:
            self._asking.close()
        self._engine.dispose()

    def _run(self, call: Callable[[Connection], T], *, writes: bool) -> T:
        with (self._writer if writes else self._engine).begin() as connection:
            if writes and self._fence is not None:
                self._fence(connection)
            return call(connection)

    def _patiently(self, what: str, transaction: Callable[[], T]) -> T:
        """Try until it succeeds, until it fails for good, or until `PATIENCE` is over. Raises StoreError."""
        end = self.clock.monotonic() + PATIENCE.total_seconds()
        while True:
            self._refuse_another_file(what)
            try:
                return transaction()
            except exc.SQLAlchemyError as failed:
                if not _passes_by_itself(failed) or self.clock.monotonic() >= end:
                    raise StoreError(f"cannot {what}: {_cause(failed)}", transient=_is_outside(failed)) from failed
            self.clock.sleep(PAUSE)

    def _refuse_another_file(self, what: str) -> None:
        if self._file is None:
            return
        path, opened = self._file
        try:
            found = _identity(path)
        except OSError as failed:
            raise StoreError(f"cannot {what}: {path} is gone ({failed.strerror}); {_ANEW}", transient=False) from failed
        if found != opened:
            raise StoreError(f"cannot {what}: {path} is another file than the one that was opened; {_ANEW}", transient=False)


def _identity(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_dev, status.st_ino


def is_sqlite(url: URL) -> bool:
    """Whether the database is a file of ours and not a server."""
    return url.get_backend_name() == "sqlite"


def sqlite_code(error: BaseException | None) -> int | None:
    """Return SQLite's primary result code behind an exception of this module, None where there is none.

    Source: https://www.sqlite.org/rescode.html (an extended code holds the primary one in its low byte).
    """
    if isinstance(error, StoreError):
        error = error.__cause__
    code = getattr(error.orig, "sqlite_errorcode", None) if isinstance(error, exc.DBAPIError) else None
    return None if code is None else code & 0xFF


def row_number(incident: IncidentId) -> int:
    """Return the row number behind an id such as `I12`; 0, which no row has, for text that is no id of ours."""
    digits = incident[1:]
    is_ours = incident.startswith("I") and digits.isascii() and digits.isdecimal() and len(digits) < 19
    return int(digits) if is_ours else 0


def incident_id(number: int) -> IncidentId:
    """Return the id of the incident in one row: 12 -> `I12`."""
    return IncidentId(f"I{number}")


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Python's driver would otherwise begin transactions of its own, deferred and late.
    connection.isolation_level = None
    # A damaged byte in a text must not make its row unreadable: the audit names that row by what is left of it.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    # FULL: an attempt that was acknowledged must be there after a power cut too; NORMAL may lose the last commits.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    if connection.dialect.name == "sqlite":
        # A transaction that begins as a reader and then writes fails at once when another writer was first, whatever the
        # timeout says; IMMEDIATE waits at its start.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ONE_WRITER})")


def _passes_by_itself(failed: exc.SQLAlchemyError) -> bool:
    """Whether a second try may help soon: another writer, a server that restarts. A full disk needs a person."""
    match failed:
        case exc.DBAPIError(connection_invalidated=True):
            return True
        case exc.OperationalError():
            return sqlite_code(failed) in (None, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        case _:
            return False


def _is_outside(failed: exc.SQLAlchemyError) -> bool:
    """Whether the database or its machine is to blame, so that the same call can succeed later, and not the call itself."""
    return isinstance(failed, exc.OperationalError | exc.TimeoutError) or _passes_by_itself(failed)


def _cause(failed: exc.SQLAlchemyError) -> str:
    """Return the vendor's own message as one bounded line, without SQLAlchemy's echo of the statement and its values."""
    original = failed.orig if isinstance(failed, exc.StatementError) and failed.orig else failed
    return " ".join(str(original).split())[:_LONGEST_CAUSE]
