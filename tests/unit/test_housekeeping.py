"""Once an hour what may go goes; not when the clock has just been set, and never what is still open."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import pytest

from agent.housekeeping import EVERY, MOST_HEALS, Housekeeping
from agent.model import IncidentId
from agent.settings import Retention
from tests import escalated
from tests.fakes import START, FakeClock
from tests.memory_store import memory_store

DAY = timedelta(days=1)


class Files:
    """Notes what may go, and what may not."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, timedelta, int, list[IncidentId]]] = []

    def prune(self, unclosed: Callable[[], Collection[IncidentId]], *, now: datetime, keep: timedelta, most_bytes: int) -> int:
        self.asked.append((now, keep, most_bytes, list(unclosed())))
        return 0


class Heals:
    def __init__(self) -> None:
        self.asked: list[tuple[datetime, int]] = []

    def prune(self, before: datetime, most: int) -> int:
        self.asked.append((before, most))
        return 0


class Rig:
    def __init__(self) -> None:
        self.clock, self.files, self.heals, self.store = FakeClock(), Files(), Heals(), memory_store()
        retention = Retention(sweeps=7 * DAY, heals=3 * DAY, bundles=90 * DAY, most_bytes=5_000_000)
        self.house = Housekeeping(self.store, self.files, self.heals, retention, self.clock)


@pytest.mark.abuse("90")
def test_the_house_is_kept_at_once_and_then_every_hour() -> None:
    rig = Rig()
    kept = []
    for _ in range(4 * 60):
        kept.append(rig.house.keep_house())
        rig.clock.move(timedelta(minutes=1))
    assert [number for number, was in enumerate(kept) if was] == [0, 60, 120, 180]
    assert rig.heals.asked[0] == (START - 3 * DAY, MOST_HEALS)
    assert rig.files.asked[0][:3] == (START, 90 * DAY, 5_000_000)


@pytest.mark.abuse("13", "90")
def test_what_is_not_closed_is_named_so_that_it_stays() -> None:
    rig = Rig()
    incident = escalated.incident()
    opened, _ = rig.store.incidents.open(escalated.service(), incident.first, fingerprint="f", now=START)
    rig.house.keep_house()
    assert rig.files.asked[0][3] == [opened.id]


@pytest.mark.abuse("16")
@pytest.mark.parametrize("step", [timedelta(days=3652), -timedelta(days=3652), 2 * EVERY])
def test_a_clock_that_was_just_set_makes_nothing_old(step: timedelta) -> None:
    rig = Rig()
    assert rig.house.keep_house()
    rig.clock.move(EVERY / 2)
    rig.clock.step(step)
    rig.clock.move(EVERY / 2)
    assert not rig.house.keep_house()
    rig.clock.step(-step)
    rig.clock.move(EVERY)
    assert not rig.house.keep_house(), "set back: that was a step as well"
    rig.clock.move(EVERY)
    assert rig.house.keep_house()
    assert all(now - START < DAY for now, *_ in rig.files.asked)
