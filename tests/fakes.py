"""Small hand-written fakes that satisfy a port. Time first: everything that waits is tested on `FakeClock`."""

from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
"""When every story begins, unless a test says otherwise."""


class FakeClock:
    """A `ports.Clock` that moves only when it is told to: by `sleep`, or by `move` from a test.

    `step` shifts the time of day alone, as an NTP correction does; `monotonic` never notices.
    """

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._monotonic = 0.0
        self.slept: list[timedelta] = []
        """Every wait that was asked for, in order."""

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, span: timedelta) -> None:
        self.slept.append(span)
        self.move(max(span, timedelta(0)))

    def move(self, span: timedelta) -> None:
        """Let time pass."""
        self._now += span
        self._monotonic += span.total_seconds()

    def step(self, span: timedelta) -> None:
        """Set the wall clock forward or back without time passing."""
        self._now += span
