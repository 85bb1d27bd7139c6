"""The heartbeat on real time with short intervals: beats come, do not overlap, survive bugs and clock steps."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heartbeat.pulse import Pulse
from heartbeat.schedule import Heartbeat

INTERVAL = timedelta(milliseconds=100)


class Rig:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "beat"
        self.slots: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self.stuck = threading.Event()
        self.during: Callable[[], None] = lambda: None
        self.pulse = Pulse(INTERVAL, self.file, self.stuck.set)
        self.heartbeat = Heartbeat(INTERVAL, self.beat, self.pulse)

    def beat(self, slot: int) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.slots.append(slot)
            self.during()
        finally:
            self.at_once -= 1

    def wait_for(self, beats: int) -> None:
        until(lambda: len(self.slots) >= beats)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.heartbeat.start()
    yield made
    made.heartbeat.stop()


def test_the_first_beat_comes_at_once_and_the_next_ones_follow(rig: Rig) -> None:
    rig.wait_for(3)
    assert rig.slots == sorted(set(rig.slots)), "one beat per slot, in order"


def test_a_beat_that_stumbles_is_not_the_last_one(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def stumble() -> None:
        raise LookupError("a bug in the sweep")

    rig.during = stumble
    rig.wait_for(len(rig.slots) + 3)
    assert "a bug in the sweep" in caplog.text


@pytest.mark.abuse("17")
def test_beats_never_overlap(rig: Rig) -> None:
    rig.during = lambda: time.sleep(0.25)
    rig.wait_for(len(rig.slots) + 3)
    assert rig.most_at_once == 1


def test_every_beat_leaves_its_time_in_the_beat_file(rig: Rig) -> None:
    rig.wait_for(1)
    until(rig.file.exists)
    beat = json.loads(rig.file.read_text())
    assert beat["slot"] in rig.slots
    assert abs(beat["at"] - time.time()) < 5


def test_a_full_disk_does_not_stop_the_beat(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "gone")
    rig.heartbeat.start()
    rig.wait_for(2)
    rig.heartbeat.stop()


@pytest.mark.abuse("16")
def test_the_schedule_is_revived_when_a_clock_step_has_put_it_off(rig: Rig) -> None:
    rig.wait_for(1)
    # What a step of the clock by -1 h amounts to: APScheduler waits for a moment that is an hour away.
    rig.heartbeat._entry.modify(next_run_time=datetime.fromtimestamp(time.time() + 3600, UTC))
    seen = len(rig.slots)
    rig.wait_for(seen + 2)
    assert not rig.stuck.is_set()


def test_a_schedule_that_cannot_be_revived_is_called_stuck(tmp_path: Path) -> None:
    stuck = threading.Event()
    pulse = Pulse(INTERVAL, tmp_path / "beat", stuck.set)
    revivals: list[int] = []
    pulse.watch(lambda: revivals.append(1))
    assert stuck.wait(30)
    assert len(revivals) == 2
    pulse.stop()


def test_a_long_beat_is_not_mistaken_for_a_dead_schedule(tmp_path: Path) -> None:
    stuck = threading.Event()
    pulse = Pulse(INTERVAL, tmp_path / "beat", stuck.set)
    pulse.begin()
    pulse.watch(lambda: None)
    assert not stuck.wait(0.8), "four late spans without an end, but the beat is at work"
    pulse.stop()


def test_stopping_waits_for_the_beat_that_runs(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    ended = threading.Event()

    def work() -> None:
        time.sleep(0.2)
        ended.set()

    rig.during = work
    rig.heartbeat.start()
    rig.wait_for(1)
    rig.heartbeat.stop()
    assert ended.is_set()


@pytest.mark.abuse("91")
def test_whoever_supervises_hears_that_beats_come_and_nothing_while_one_hangs(tmp_path: Path) -> None:
    alive: list[int] = []
    pulse = Pulse(INTERVAL, tmp_path / "beat", lambda: None, alive=lambda: alive.append(1))
    pulse.begin()
    pulse.end(1)
    pulse.watch(lambda: None)
    until(lambda: len(alive) >= 2)
    pulse.begin()
    time.sleep(0.6)  # two intervals and a look after the beat began to hang, and twice that again
    heard = len(alive)
    time.sleep(0.3)
    pulse.stop()
    assert len(alive) == heard


@pytest.mark.abuse("91")
def test_a_long_interval_does_not_keep_the_supervisor_waiting(tmp_path: Path) -> None:
    told = threading.Event()
    pulse = Pulse(timedelta(hours=1), tmp_path / "beat", lambda: None, alive=told.set, silence=timedelta(seconds=0.4))
    pulse.watch(lambda: None)
    assert told.wait(30)
    pulse.stop()


_BEATS = """
import sys, time
from datetime import timedelta
from pathlib import Path
from heartbeat.pulse import Pulse
from heartbeat.schedule import Heartbeat

interval = timedelta(seconds=0.1)
pulse = Pulse(interval, Path(sys.argv[1]), lambda: None)
Heartbeat(interval, lambda slot: print(slot, flush=True), pulse).start()
sys.stdin.read()
"""


@pytest.mark.abuse("18")
def test_a_process_that_was_stopped_for_long_makes_up_for_no_beat_on_waking(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _BEATS, str(tmp_path / "beat")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as beating:
        assert beating.stdout is not None
        slots = [int(beating.stdout.readline()) for _ in range(3)]
        beating.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        beating.send_signal(signal.SIGCONT)
        slots += [int(beating.stdout.readline()) for _ in range(12)]  # those that waited in the pipe come first
        beating.kill()
    assert slots == sorted(slots)
    # 15 beats were missed: made up for, they would all have the slot of the waking.
    assert len(set(slots)) == len(slots)
