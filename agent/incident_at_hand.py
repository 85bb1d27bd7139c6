"""The incident that the current thread works on, so that every line of the log that belongs to one can name it."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_at_hand: ContextVar[str | None] = ContextVar("incident_at_hand", default=None)


@contextlib.contextmanager
def working_on(incident: str) -> Iterator[None]:
    """Name `incident` as the one at hand, in this thread and until the context ends."""
    token = _at_hand.set(incident)
    try:
        yield
    finally:
        _at_hand.reset(token)


def named() -> str | None:
    """Return the incident at hand, None where the work belongs to no incident."""
    return _at_hand.get()
