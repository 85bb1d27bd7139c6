"""Telling people past the store: when the store is what is broken, the outbox that lies in it cannot be used.

In: how each beat ended. Out: one notice per channel once so many beats in a row have failed, and one when beats end again.
It is kept in memory only: a process that dies meanwhile is what the dead-man switch is for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from agent import notices, outbox
from agent.errors import OutsideError
from agent.ports import Clock, Notifier

BEATS = 3
"""So many failed beats in a row are no hiccup: as many as make a host that cannot be looked at an incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Why beats fail, and since when."""

    since: datetime
    cause: str


@dataclass(slots=True)
class _Channel:
    told: Outage | None = None
    """What its people know of; None when they know of nothing."""
    tries: int = 0
    not_before: float = 0.0
    """On the monotonic clock."""


class Distress:
    """What people know about Medic's own trouble. Beats are noted on one thread, notices are sent on another."""

    def __init__(self, notifiers: Mapping[str, Notifier], clock: Clock) -> None:
        self._notifiers = notifiers
        self._clock = clock
        self._channels = {name: _Channel() for name in notifiers}
        self._failed = 0
        self._first_at: datetime | None = None
        self._outage: Outage | None = None

    def beat_failed(self, cause: str) -> None:
        """A beat could not end, and why."""
        self._failed += 1
        self._first_at = self._first_at or self._clock.now()
        if self._failed >= BEATS and self._outage is None:
            self._outage = Outage(since=self._first_at, cause=cause)

    def beat_ended(self) -> None:
        """A beat ended as it should."""
        self._failed, self._first_at, self._outage = 0, None, None

    def tell(self) -> None:
        """Send each channel what its people do not know yet. A channel that does not take it is tried again later."""
        outage = self._outage
        for name, channel in self._channels.items():
            if (outage is None) is (channel.told is None) or self._clock.monotonic() < channel.not_before:
                continue
            about = outage or channel.told
            if about is not None:
                self._send(name, channel, about, over=outage is None)

    def _send(self, name: str, channel: _Channel, about: Outage, *, over: bool) -> None:
        notice = notices.distress(about.since, about.cause, over=over, now=self._clock.now())
        try:
            self._notifiers[name].send(notice)
        except OutsideError:
            channel.tries += 1
            channel.not_before = self._clock.monotonic() + outbox.backoff(channel.tries).total_seconds()
            return
        channel.told, channel.tries, channel.not_before = None if over else about, 0, 0.0
