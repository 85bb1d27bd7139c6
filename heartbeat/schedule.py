"""Beats aligned to the epoch: no overlap, coalesced, a bug in one beat is logged and the next one comes.

In: an interval and a function of the beat's slot. Out: the function is called once per slot while the heartbeat runs.
Every process of a fleet gives the same slot number to the same moment.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from heartbeat.pulse import Pulse

logger = logging.getLogger(__name__)

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""A whole number of every interval that divides a day."""


class Heartbeat:
    """One APScheduler entry and the watchdog that keeps it going across clock steps."""

    def __init__(self, interval: timedelta, beat: Callable[[int], object], pulse: Pulse) -> None:
        self._interval = interval
        self._beat = beat
        self._pulse = pulse
        self._slot: int | None = None
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": max(1, int(interval.total_seconds()))},
        )
        self._scheduler.add_listener(self._missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self._entry = self._scheduler.add_job(
            self._one_beat, IntervalTrigger(seconds=interval.total_seconds(), start_date=EPOCH), next_run_time=_now()
        )

    @property
    def age(self) -> float:
        """Seconds since a beat last began or ended."""
        return self._pulse.age

    def start(self) -> None:
        """Beat at once, then on every multiple of the interval."""
        self._scheduler.start()
        self._pulse.watch(self._revive)

    def stop(self) -> None:
        """Start no further beat and wait for the one that runs."""
        self._pulse.stop()
        self._scheduler.shutdown(wait=True)

    def _one_beat(self) -> None:
        slot = int(time.time() // self._interval.total_seconds())
        if slot == self._slot:
            return  # the beat before came so late that it took this one's place
        self._slot = slot
        self._pulse.begin()
        try:
            self._beat(slot)
        except Exception:
            # One of the three places that catch bugs: a beat that stumbles must not be the last one.
            logger.exception("beat failed", extra={"slot": slot})
        finally:
            self._pulse.end(slot)

    def _revive(self) -> None:
        # After the clock stepped back APScheduler waits for a time that is hours away; a new next_run_time ends that wait
        # at any clock, which wakeup() does not (docs/decisions/0002).
        self._entry.modify(next_run_time=_now())

    def _missed(self, event: JobExecutionEvent) -> None:
        what = "overran its interval" if event.code == EVENT_JOB_MAX_INSTANCES else "was missed"
        logger.warning("a beat %s", what, extra={"interval": self._interval.total_seconds()})


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC)
