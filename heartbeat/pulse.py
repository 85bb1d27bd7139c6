"""The pulse: when the last beat was, on a clock that never steps, and what to do when there is none.

In: `begin` and `end` of every beat. Out: a beat file for an outside dead-man check, a word to whoever supervises the process
while beats come, a revival of the schedule after a clock step, and `stuck` when that did not help.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

logger = logging.getLogger(__name__)

REVIVALS = 2
"""So many revivals in vain mean the process cannot be trusted to beat: `stuck` is called."""


class Pulse:
    """Watches one heartbeat from a thread of its own."""

    def __init__(
        self,
        interval: timedelta,
        file: Path,
        stuck: Callable[[], None],
        alive: Callable[[], None] = lambda: None,
        silence: timedelta | None = None,
    ) -> None:
        """alive: called while beats come on time, at least twice within `silence`; not while one is late or hangs."""
        self._alive = alive
        self._every = min(interval, silence / 2 if silence else interval).total_seconds() / 4
        self._late = 2 * interval.total_seconds()
        self._file = file
        self._stuck = stuck
        self._last = time.monotonic()
        self._beating = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pulse", daemon=True)
        self._revive: Callable[[], None] = lambda: None

    @property
    def age(self) -> float:
        """Seconds since a beat last began or ended."""
        return time.monotonic() - self._last

    def begin(self) -> None:
        """A beat begins."""
        self._beating = True
        self._last = time.monotonic()

    def end(self, slot: int) -> None:
        """A beat ended; leave its time in the beat file. A full disk must not stop the beat."""
        self._beating = False
        self._last = time.monotonic()
        beat = {"slot": slot, "at": time.time(), "pid": os.getpid()}
        try:
            fresh = self._file.with_suffix(".new")
            fresh.write_text(json.dumps(beat))
            fresh.replace(self._file)
        except OSError as exc:
            logger.warning("cannot write the beat file", extra={"file": str(self._file), "cause": str(exc)})

    def watch(self, revive: Callable[[], None]) -> None:
        """Start watching; `revive` is called when beats are two intervals late."""
        self._revive = revive
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._ended.set()

    def _watch(self) -> None:
        revivals, revived_at = 0, self._last
        while not self._ended.wait(self._every):
            if self.age <= self._late:
                self._alive()
            if self._last > revived_at:
                revivals, revived_at = 0, self._last  # a beat came since
            if time.monotonic() - revived_at <= self._late:
                continue
            if self._beating:
                logger.warning("a beat is taking long", extra={"seconds": round(self.age, 1)})
            elif revivals >= REVIVALS:
                self._stuck()
                return
            else:
                revivals += 1
                logger.warning("no beat for two intervals; reviving the schedule", extra={"seconds": round(self.age, 1)})
                self._revive()
            revived_at = time.monotonic()
