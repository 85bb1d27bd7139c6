"""Once an hour: what is old or too much goes, so that Medic never fills the disk it watches.

In: the store, the folders of incidents, the engine's own rows, and what medic.yaml says is kept (`retention`). Out: rows and
folders deleted. Never: what belongs to an unclosed incident, the ledger, the story, the audit.
"""

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Protocol

from agent.model import IncidentId
from agent.ports import Clock, Store
from agent.settings import Retention

logger = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
KEEP_RESTARTS = timedelta(days=30)
"""Restarts by others: the longest `limits.window` that medic.yaml takes."""
MOST_SWEEP_BYTES = 200_000_000
"""Of all sweep reports: a week of beats every 5 s for a hundred services."""
MOST_HEALS = 5_000
"""Finished heals in the engine's database, 10 to 100 kB each with the evidence of their steps."""
STEP = timedelta(hours=1)
"""A wall clock that ran so much further than the monotonic one was set, or the machine slept: no time to judge ages by it."""


class OldFiles(Protocol):
    """The folders that grow with every incident."""

    def prune(self, unclosed: Callable[[], Collection[IncidentId]], *, now: datetime, keep: timedelta, most_bytes: int) -> int:
        """Delete what is older than `keep` or too much, of incidents that are closed; return how many folders went."""


class OldHeals(Protocol):
    """The engine's own rows."""

    def prune(self, before: datetime, most: int) -> int:
        """Delete finished heals older than `before`, and the oldest beyond `most`; return how many went."""


class Housekeeping:
    """Remembers when the house was last kept. Called at every tick, works once an hour."""

    def __init__(self, store: Store, files: OldFiles, heals: OldHeals, retention: Retention, clock: Clock) -> None:
        self._store = store
        self._files = files
        self._heals = heals
        self._retention = retention
        self._clock = clock
        self._next = clock.monotonic()
        self._drift = _drift(clock)

    def keep_house(self) -> bool:
        """Delete what may go, if it is time; return whether it was. Raises StoreError or OutsideError."""
        if self._clock.monotonic() < self._next:
            return False
        self._next = self._clock.monotonic() + EVERY.total_seconds()
        drifted, self._drift = _drift(self._clock) - self._drift, _drift(self._clock)
        if abs(drifted) > STEP.total_seconds():
            # Ten years ahead, everything is ten years old. A clock that stays there is right in an hour's time.
            logger.warning("the clock was set; nothing is deleted for its age now", extra={"seconds": round(drifted)})
            return False
        self._delete(self._clock.now())
        return True

    def _delete(self, now: datetime) -> None:
        keep, store = self._retention, self._store
        store.sweeps.prune(before=now - keep.sweeps, most_bytes=MOST_SWEEP_BYTES)
        store.foreign_restarts.prune(before=now - KEEP_RESTARTS)
        store.memory.prune(now)
        self._files.prune(
            lambda: [incident.id for incident in store.incidents.unclosed()],
            now=now,
            keep=keep.bundles,
            most_bytes=keep.most_bytes,
        )
        self._heals.prune(now - keep.heals, MOST_HEALS)


def _drift(clock: Clock) -> float:
    """Seconds between the two clocks; it changes only when the time of day is set, or the machine sleeps."""
    return clock.now().timestamp() - clock.monotonic()
