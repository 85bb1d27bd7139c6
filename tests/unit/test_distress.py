"""Medic's own trouble is told past the store: once per channel and outage, and again when it is over."""

from datetime import timedelta
from typing import cast

import pytest

from agent import watch
from agent.distress import BEATS, Distress
from agent.errors import OutsideError, StoreError
from agent.metrics import Tally
from agent.model import MEDIC, Notice, NoticeKind, SweepReport
from agent.sweep import Sweep
from tests.fakes import FakeClock

pytestmark = pytest.mark.abuse("7", "9", "10")

FULL = StoreError("cannot keep a sweep report: database or disk is full", transient=True)


class FakeChannel:
    """Takes notices while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.asked = 0
        self.got: list[Notice] = []

    def send(self, notice: Notice) -> None:
        self.asked += 1
        if not self.up:
            raise OutsideError("cannot send: connection refused", transient=True)
        self.got.append(notice)


class FakeSweep:
    """A sweep whose store is away while `trouble` is set."""

    trouble: Exception | None = None

    def beat(self, slot: int) -> SweepReport | None:
        if self.trouble is not None:
            raise self.trouble
        return None


class Rig:
    def __init__(self) -> None:
        self.clock, self.sweep = FakeClock(), FakeSweep()
        self.ops, self.pager = FakeChannel(), FakeChannel()
        self.distress = Distress({"ops": self.ops, "pager": self.pager}, self.clock)

    def beat(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.move(timedelta(seconds=5))
            watch.one_beat(cast("Sweep", self.sweep), self.distress, Tally(), 1)
            self.distress.tell()


def test_a_hiccup_is_told_to_nobody() -> None:
    rig = Rig()
    for _ in range(5):
        rig.sweep.trouble = FULL
        rig.beat(BEATS - 1)
        rig.sweep.trouble = None
        rig.beat()
    assert rig.ops.asked == 0


def test_what_lasts_is_told_once_and_its_end_as_well() -> None:
    rig = Rig()
    began = rig.clock.now() + timedelta(seconds=5)
    rig.sweep.trouble = FULL
    rig.beat(50)
    (notice,) = rig.ops.got
    assert (notice.kind, notice.service) == (NoticeKind.ESCALATED, MEDIC)
    assert "database or disk is full" in notice.body
    assert f"Since {began:%Y-%m-%d %H:%M:%S}" in notice.body
    rig.sweep.trouble = None
    rig.beat(5)
    assert [each.kind for each in rig.ops.got] == [NoticeKind.ESCALATED, NoticeKind.RESOLVED]
    rig.sweep.trouble = FULL
    rig.beat(BEATS)
    assert len({each.dedup_key for each in rig.ops.got}) == 3, "another outage is another notice"


def test_a_channel_that_is_down_is_asked_ever_more_rarely_and_keeps_no_other_waiting() -> None:
    rig = Rig()
    rig.ops.up = False
    rig.sweep.trouble = FULL
    rig.beat(60)
    assert rig.ops.asked < 12
    assert len(rig.pager.got) == 1
    rig.ops.up = True
    rig.beat(61)
    assert len(rig.ops.got) == 1
    assert len(rig.pager.got) == 1


def test_people_who_heard_of_nothing_hear_of_no_end() -> None:
    rig = Rig()
    rig.ops.up = False
    rig.sweep.trouble = FULL
    rig.beat(BEATS)
    rig.sweep.trouble, rig.ops.up = None, True
    rig.beat(100)
    assert rig.ops.got == []
    assert len(rig.pager.got) == 2
