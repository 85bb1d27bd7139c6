"""Remembers what the last looks measured, for questions that are about a window of time. In memory: a restart begins anew.

It stands with the prober, so that checks stay pure: the observation of a look already holds what the window held.
"""

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from agent.model import HttpRequest, HttpSeen, LogRequest, LogSeen

MOST_SAMPLES = 1_000
"""Of one question. A window of an hour at one look per five seconds has 720."""

FORGOTTEN_AFTER = 3_600 * 25.0
"""Seconds after which a question that nobody asks any more is dropped; no check looks more rarely than daily."""

TIDIED_EVERY = 600.0
"""Seconds between two looks for such questions."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    value: float


class Windows:
    """The samples of each question, by the question itself: another address is another question."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._samples: dict[HttpRequest | LogRequest, deque[_Sample]] = {}
        self._tidied_at = monotonic()

    def with_latencies(self, request: HttpRequest, seen: HttpSeen) -> HttpSeen:
        """Return the observation with the latencies of its window; an answer that did not come whole adds none."""
        if request.window is None:
            return seen
        measured = None if seen.error is not None else seen.latency.total_seconds()
        samples = self._kept(request, request.window, measured)
        return replace(seen, recent=tuple(timedelta(seconds=sample.value) for sample in samples))

    def with_growth(self, request: LogRequest, newest: int, size: int) -> LogSeen:
        """Return how much was written over the window.

        newest: bytes in the file that is written to. One smaller than before was rotated or truncated: all of it is new.
        size: bytes with its rotated predecessors.
        """
        samples = self._kept(request, request.window, float(newest))
        written = sum(int(b.value - a.value if b.value >= a.value else b.value) for a, b in itertools.pairwise(samples))
        return LogSeen(size=size, written=written, over=timedelta(seconds=samples[-1].at - samples[0].at))

    def _kept(self, request: HttpRequest | LogRequest, window: timedelta, measured: float | None) -> tuple[_Sample, ...]:
        now = self._monotonic()
        with self._lock:
            samples = self._samples.setdefault(request, deque(maxlen=MOST_SAMPLES))
            if measured is not None:
                samples.append(_Sample(now, measured))
            while samples and now - samples[0].at > window.total_seconds():
                samples.popleft()
            if now - self._tidied_at > TIDIED_EVERY:
                self._tidied_at = now
                for idle in [key for key, found in self._samples.items() if not found or now - found[-1].at > FORGOTTEN_AFTER]:
                    del self._samples[idle]
            return tuple(samples)
