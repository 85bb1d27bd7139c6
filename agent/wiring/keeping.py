"""The store, and what lies beside it in the state folder."""

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from agent.model import AuditRow
from agent.ports import Store
from agent.settings import Settings
from agent.wiring import clock

FOLLOW_EVERY = timedelta(milliseconds=250)
"""Between two looks at what another process writes into the store."""


@contextlib.contextmanager
def open_store(using: Settings, term: int | None = None) -> Iterator[Store]:
    """Open the store, upgrading it if it is older. Raises ConfigError (newer, corrupt, unwritable) or StoreError.

    term: of the lead that every write is to belong to; None for a command of a person.
    """
    from agent.adapters import state_folder
    from agent.redact import Redactor
    from agent.store import store

    state_folder.private_folder(using.state_dir)
    opened = store.open_store(using.store_url, clock.CLOCK, Redactor(using.secrets), term)
    try:
        yield opened
    finally:
        opened.close()


def is_file(using: Settings) -> bool:
    """Say whether the store is one file, which only one state folder has; others may be shared."""
    return using.store_url.startswith("sqlite")


def kept_files(using: Settings) -> int:
    """Return the bytes of everything that `retention.most_bytes` bounds."""
    from agent.adapters.retention import OldFiles

    return OldFiles(using.state_dir).size()


def audit_rows(store: Store) -> Iterator[AuditRow]:
    """Yield every row of the audit, page by page."""
    last = 0
    while page := store.audit.rows(after=last):
        yield from page
        last = page[-1].id
