"""At least once, each channel on its own: the outbox against channels that are down, slow, absent or broken."""

import logging
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

import pytest

from agent import notices, outbox
from agent.errors import OutsideError, StoreError
from agent.model import Closing, Notice
from agent.ports import OutboxStore
from tests import escalated
from tests.fakes import START, FakeClock
from tests.memory_store import memory_store

SECOND = timedelta(seconds=1)
NOTICE = notices.resolved(escalated.incident(), Closing.HEALED, now=START)


class FakeChannel:
    """Takes notices while it is up."""

    def __init__(self, *, up: bool = True) -> None:
        self.up = up
        self.asked = 0
        self.got: list[str] = []

    def send(self, notice: Notice) -> None:
        self.asked += 1
        if not self.up:
            raise OutsideError("cannot send: connection refused", transient=True)
        self.got.append(notice.dedup_key)


def post(store: OutboxStore, count: int, *channels: str) -> None:
    for number in range(count):
        store.post(replace(NOTICE, dedup_key=f"I{number}:resolved"), channels)


@pytest.mark.parametrize(("tries", "seconds"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (1_000_000, 300)])
def test_backoff_doubles_up_to_five_minutes(tries: int, seconds: int) -> None:
    assert outbox.backoff(tries) == timedelta(seconds=seconds)


def test_nothing_due_is_nothing_done() -> None:
    assert outbox.deliver_due(memory_store().outbox, {}, FakeClock()) == 0


def test_delivers_each_notice_once_to_each_channel() -> None:
    store, clock = memory_store().outbox, FakeClock()
    ops, log = FakeChannel(), FakeChannel()
    post(store, 3, "ops", "log")
    assert outbox.deliver_due(store, {"ops": ops, "log": log}, clock) == 6
    assert outbox.deliver_due(store, {"ops": ops, "log": log}, clock) == 0
    assert ops.got == log.got == ["I0:resolved", "I1:resolved", "I2:resolved"]
    assert store.undelivered() == 0


@pytest.mark.abuse("77")
def test_a_channel_that_comes_back_gets_everything() -> None:
    store, clock = memory_store().outbox, FakeClock()
    ops = FakeChannel(up=False)
    post(store, 3, "ops")
    for _ in range(60):
        outbox.deliver_due(store, {"ops": ops}, clock)
        clock.sleep(SECOND)
    # 60 s of beats, but only at 0, 1, 3, 7, 15 and 31 s was the dead channel asked, and then for one notice of the three.
    assert ops.asked == 6
    ops.up = True
    clock.sleep(timedelta(minutes=5))
    outbox.deliver_due(store, {"ops": ops}, clock)
    assert sorted(ops.got) == ["I0:resolved", "I1:resolved", "I2:resolved"]
    assert store.undelivered() == 0


@pytest.mark.abuse("77")
def test_a_dead_channel_does_not_keep_another_waiting() -> None:
    store, clock = memory_store().outbox, FakeClock()
    dead, ops = FakeChannel(up=False), FakeChannel()
    post(store, outbox.BATCH // 2 - 1, "dead")
    post(store, 2, "ops")
    assert outbox.deliver_due(store, {"dead": dead, "ops": ops}, clock) == 2
    assert dead.asked == 1


def test_a_slow_channel_is_left_after_its_turn_and_goes_on_at_the_next() -> None:
    store, clock = memory_store().outbox, FakeClock()

    class Slow(FakeChannel):
        def send(self, notice: Notice) -> None:
            clock.sleep(timedelta(seconds=3))
            super().send(notice)

    slow = Slow()
    post(store, 4, "slow")
    assert outbox.deliver_due(store, {"slow": slow}, clock) == 2
    assert outbox.deliver_due(store, {"slow": slow}, clock) == 2


def test_channels_are_served_side_by_side() -> None:
    store, clock = memory_store().outbox, FakeClock()
    meet = threading.Barrier(2, timeout=5)

    class Waiting(FakeChannel):
        def send(self, notice: Notice) -> None:
            meet.wait()  # only returns when the other channel is being served at the same time
            super().send(notice)

    post(store, 1, "a", "b")
    assert outbox.deliver_due(store, {"a": Waiting(), "b": Waiting()}, clock) == 2


def test_a_channel_that_is_no_longer_configured_keeps_its_notices() -> None:
    store, clock = memory_store().outbox, FakeClock()
    post(store, 1, "gone")
    assert outbox.deliver_due(store, {}, clock) == 0
    clock.sleep(SECOND)
    (row,) = store.due(clock.now())
    assert row.last_error == "no such channel is configured"


def test_a_bug_in_one_notifier_does_not_send_the_others_notices_twice() -> None:
    store, clock = memory_store().outbox, FakeClock()
    ops = FakeChannel()

    class Broken(FakeChannel):
        def send(self, notice: Notice) -> None:
            raise ZeroDivisionError

    post(store, 1, "broken", "ops")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            outbox.deliver_due(store, {"broken": Broken(), "ops": ops}, clock)
    assert ops.got == ["I0:resolved"]


def test_warns_once_when_a_notice_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = memory_store().outbox, FakeClock()
    post(store, 1, "ops")
    with caplog.at_level(logging.WARNING):
        for _ in range(200):
            outbox.deliver_due(store, {"ops": FakeChannel(up=False)}, clock)
            clock.sleep(SECOND)
    assert [record.getMessage() for record in caplog.records] == ["notices are stuck"]


@pytest.mark.abuse("79")
def test_a_notice_that_arrived_and_was_not_marked_comes_again_under_its_key() -> None:
    store, clock = memory_store().outbox, FakeClock()
    ops = FakeChannel()
    post(store, 2, "ops")

    class DyingError(StoreError):
        """The process, between the channel's yes and the mark."""

    class DiesBeforeItMarks:
        due, put_off = staticmethod(store.due), staticmethod(store.put_off)

        def delivered(self, id_: int, *, now: datetime) -> None:
            raise DyingError("gone", transient=True)

    with pytest.raises(DyingError):
        outbox.deliver_due(cast("OutboxStore", DiesBeforeItMarks()), {"ops": ops}, clock)
    assert ops.got == ["I0:resolved", "I1:resolved"]
    outbox.deliver_due(store, {"ops": ops}, clock)
    assert ops.got == ["I0:resolved", "I1:resolved"] * 2, "once more, and known by its key"
    assert outbox.deliver_due(store, {"ops": ops}, clock) == 0
