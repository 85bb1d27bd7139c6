"""Opening the database behind a URL: everything that can be wrong with it is one clear sentence, and nothing is made anew.

A SQLite database that was made once has a marker beside it (`medic.db.made`). The marker without the database means that the
database was lost; a fresh one in its place would give every incident its attempts back, so that is refused.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, Connection, exc, make_url

from agent.errors import ConfigError, StoreError
from agent.ports import Clock
from agent.store import migrations
from agent.store.database import Database, is_sqlite, sqlite_code

CHECK_FOR = 0.2
"""Seconds given to the look for damaged pages: a command must not wait while gigabytes are read. A file of usual size is read
whole in that time; damage beyond it is found by the first query that meets it."""


def open_database(
    url: str, clock: Clock, redact: Callable[[str], str], fence: Callable[[Connection], None] | None = None
) -> Database:
    """Return the database behind `sqlite:///path` or `postgresql://user@host/name`, with the schema of this version.

    Raises ConfigError where a person must do something (a path that cannot be written, a damaged or lost file, a store of a
    newer version, a missing driver), StoreError where the database does not answer.
    """
    parsed = _parse(url)
    database = Database(parsed, clock, redact, fence)
    try:
        if is_sqlite(parsed):
            _open_file(database, Path(parsed.database or ""), clock)
        else:
            _upgrade_if_behind(database, "open the store", migrations.upgrade)
    except BaseException:
        database.close()
        raise
    return database


def _parse(url: str) -> URL:
    """Return the URL with its driver. The sentence never repeats the URL: it may hold a password."""
    right = "it must look like `sqlite:////var/lib/medic/medic.db` or `postgresql://user@host/name`"
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as invalid:
        raise ConfigError(f"cannot open the store: its URL cannot be read; {right}") from invalid
    match parsed.drivername:
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            return parsed
        case "sqlite":
            raise ConfigError(f"cannot open the store: its URL names no file; {right}")
        case "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ConfigError(f"cannot open the store: {other!r} is no kind of database that Medic knows; {right}")


def _open_file(database: Database, path: Path, clock: Clock) -> None:
    marker = path.with_name(f"{path.name}.made")
    try:
        # The marker first: it is written after the database, so whoever sees it must see the database as well.
        was_made = marker.exists()
        if not path.parent.is_dir():
            raise ConfigError(f"cannot open the store {path}: the folder {path.parent} does not exist")
        if was_made and (not path.exists() or path.stat().st_size == 0):
            raise _lost(path, marker)
        database.read(f"open the store {path}", lambda connection: _look_for_damage(connection, path, clock))
        lost = marker if was_made else None
        _upgrade_if_behind(database, f"open the store {path}", lambda connection: _upgrade(connection, path, lost))
        if not was_made:
            _write_durably(marker, clock)
        database.hold_to(path)
    except StoreError as failed:
        refusal = _refusal(failed, path)
        if refusal is None:
            raise
        raise refusal from failed
    except OSError as failed:
        raise ConfigError(f"cannot open the store {path}: {failed.strerror}") from failed


def _upgrade_if_behind(database: Database, what: str, upgrade: Callable[[Connection], None]) -> None:
    """Upgrade as the only writer, where there is something to upgrade: who comes to read must not wait for who writes."""
    if not database.read(what, migrations.is_current):
        database.write(what, upgrade)


def _upgrade(connection: Connection, path: Path, marker: Path | None) -> None:
    if marker is not None and migrations.version(connection) == 0:
        raise _lost(path, marker)
    migrations.upgrade(connection)


def _lost(path: Path, marker: Path) -> ConfigError:
    return ConfigError(
        f"cannot open the store {path}: it existed and is gone, and a new one would forget every attempt already made;"
        f" bring it back from a backup, or delete {marker} to begin anew"
    )


def _look_for_damage(connection: Connection, path: Path, clock: Clock) -> None:
    """Let SQLite check its pages for `CHECK_FOR` seconds. Raises ConfigError when it finds damage."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  the URL says so
    end = clock.monotonic() + CHECK_FOR
    driver.set_progress_handler(lambda: clock.monotonic() > end, 10_000)
    try:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except exc.OperationalError as failed:
        if sqlite_code(failed) != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        driver.set_progress_handler(None, 0)
    if found != "ok":
        raise _damaged(path, str(found))


def _damaged(path: Path, cause: str) -> ConfigError:
    return ConfigError(
        f"cannot open the store {path}: the file is damaged or no database ({' '.join(cause.split())[:200]});"
        " bring it back from a backup"
    )


def _refusal(failed: StoreError, path: Path) -> ConfigError | None:
    """Return the sentence a person can act on, None where nothing at the path is wrong."""
    vendor = failed.__cause__.__cause__ if failed.__cause__ else failed
    match sqlite_code(failed):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(path, str(vendor))
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return ConfigError(
                f"cannot open the store {path}: the file and its folder must be writable by this user ({vendor})"
            )
        case _:
            return None


def _write_durably(marker: Path, clock: Clock) -> None:
    with marker.open("w", encoding="utf-8") as file:
        file.write(f"made {clock.now().isoformat()}; beside its database so that a lost one is noticed\n")
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(marker.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
