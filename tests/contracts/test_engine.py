"""One suite for the Engine port, run on DBOS and on the memory twin: what `heal` may rely on, whichever it runs on."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.engine import DbosEngine
from agent.model import Ending, Health, IncidentId, ServiceName, Verdict
from agent.ports import Engine
from tests.fakes import FakeClock
from tests.memory_engine import Crash, MemoryEngine

Body = Callable[[IncidentId, Engine], Ending]
A_WHILE = 10.0


class RealClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, span: timedelta) -> None:
        time.sleep(span.total_seconds())


class DbosRig:
    """Starts and stops the real engine on one database, as a daemon that is stopped and started again does."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: DbosEngine | None = None

    def boot(self, body: Body, executor: str = "local") -> DbosEngine:
        self.engine = DbosEngine(self.url, body, RealClock(), redact=str, executor=executor)
        self.engine.launch()
        return self.engine

    def stop(self) -> None:
        if self.engine is not None:
            self.engine.stop(timedelta(seconds=5))
            self.engine = None


class MemoryRig:
    """Boots the memory twin; what it remembers outlives the boot, as a database would."""

    def __init__(self) -> None:
        self.engine: MemoryEngine | None = None

    def boot(self, body: Body) -> MemoryEngine:
        fresh = MemoryEngine(body, FakeClock())
        if self.engine is not None:
            fresh.remembered, fresh.pending, fresh.ended = self.engine.remembered, self.engine.pending, self.engine.ended
        self.engine = fresh
        fresh.launch()
        return fresh

    def stop(self) -> None:
        pass


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.live)])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any = MemoryRig()
    if request.param == "sqlite":
        made = DbosRig(f"sqlite:///{tmp_path / 'engine.db'}")
    elif request.param == "postgres":
        made = DbosRig(request.getfixturevalue("postgres_url"))
    yield made
    made.stop()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + A_WHILE
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


VERDICT = Verdict(service=ServiceName("web"), health=Health.SICK, at=datetime(2026, 3, 1, tzinfo=UTC), judgements=())


def test_a_step_hands_its_value_through_the_codec(rig: Any) -> None:
    got: list[Verdict] = []

    def body(_incident: IncidentId, engine: Engine) -> Ending:
        got.append(engine.step("look", lambda: VERDICT))
        return Ending.HEALED

    engine = rig.boot(body)
    engine.start(IncidentId("I1"), 1)
    until(lambda: got == [VERDICT] and not engine.running())


def test_the_same_incident_and_round_starts_once(rig: Any) -> None:
    runs: list[str] = []

    def body(incident: IncidentId, engine: Engine) -> Ending:
        engine.step("count", lambda: runs.append(incident))
        return Ending.HEALED

    engine = rig.boot(body)
    for _ in range(3):
        engine.start(IncidentId("I1"), 1)
    engine.start(IncidentId("I1"), 2)
    until(lambda: len(runs) == 2 and not engine.running())
    assert runs == ["I1", "I1"]


def test_two_heals_do_not_share_their_steps(rig: Any) -> None:
    seen: dict[str, str] = {}

    def body(incident: IncidentId, engine: Engine) -> Ending:
        seen[incident] = engine.step("who", lambda: str(incident))
        return Ending.HEALED

    engine = rig.boot(body)
    engine.start(IncidentId("I1"), 1)
    engine.start(IncidentId("I2"), 1)
    until(lambda: seen == {"I1": "I1", "I2": "I2"})


def test_an_error_in_a_step_reaches_the_workflow(rig: Any) -> None:
    caught: list[str] = []

    def body(_incident: IncidentId, engine: Engine) -> Ending:
        def stumble() -> None:
            raise LookupError("no such incident")

        try:
            engine.step("stumble", stumble)
        except LookupError as exc:
            caught.append(str(exc))
        return Ending.ESCALATED

    engine = rig.boot(body)
    engine.start(IncidentId("I1"), 1)
    until(lambda: bool(caught) and not engine.running())


class TestAfterACrash:
    """Between the boots below, the process dies: DBOS by suspension at a step, the twin by `Crash`."""

    def test_finished_steps_are_remembered_and_the_heal_goes_on(self, rig: Any) -> None:
        first: list[str] = []
        second: list[str] = []
        gate = threading.Event()

        def body(_incident: IncidentId, engine: Engine) -> Ending:
            engine.step("one", lambda: first.append("ran"))
            engine.sleep("settle", timedelta(seconds=0 if gate.is_set() else 1.5))
            engine.step("two", lambda: second.append("ran"))
            return Ending.HEALED

        engine = rig.boot(body)
        if isinstance(engine, MemoryEngine):
            engine.crash_before = "two"
            with pytest.raises(Crash):
                engine.start(IncidentId("I1"), 1)
        else:
            engine.start(IncidentId("I1"), 1)
            until(lambda: bool(first))
            rig.stop()
        assert first == ["ran"]
        assert second == []

        gate.set()
        engine = rig.boot(body)
        until(lambda: bool(second) and not engine.running())
        assert first == ["ran"]

    def test_the_heal_that_was_cut_is_listed_as_running(self, rig: Any) -> None:
        entered = threading.Event()

        def body(_incident: IncidentId, engine: Engine) -> Ending:
            engine.step("enter", entered.set)
            engine.sleep("settle", timedelta(seconds=30))
            return Ending.HEALED

        engine = rig.boot(body)
        if isinstance(engine, MemoryEngine):
            engine.crash_before = "settle"
            with pytest.raises(Crash):
                engine.start(IncidentId("I7"), 1)
        else:
            engine.start(IncidentId("I7"), 1)
            assert entered.wait(A_WHILE)
        assert engine.running() == (IncidentId("I7"),)


def test_stopping_does_not_wait_for_a_settle_time(tmp_path: Path) -> None:
    rig = DbosRig(f"sqlite:///{tmp_path / 'engine.db'}")
    asleep = threading.Event()

    def body(_incident: IncidentId, engine: Engine) -> Ending:
        engine.step("enter", asleep.set)
        engine.sleep("settle", timedelta(hours=1))
        return Ending.HEALED

    rig.boot(body).start(IncidentId("I1"), 1)
    assert asleep.wait(A_WHILE)
    began = time.monotonic()
    rig.stop()
    assert time.monotonic() - began < 60  # and not an hour


@pytest.mark.abuse("90")
def test_finished_heals_go_by_age_and_by_number_and_running_ones_stay(tmp_path: Path) -> None:
    rig, go_on = DbosRig(f"sqlite:///{tmp_path / 'engine.db'}"), threading.Event()

    def body(incident: IncidentId, engine: Engine) -> Ending:
        if incident == "I9":
            go_on.wait(A_WHILE)
        return Ending.HEALED

    engine = rig.boot(body)
    try:
        for number in (9, 1, 2, 3, 4, 5):
            engine.start(IncidentId(f"I{number}"), 1)
        until(lambda: engine.running() == ("I9",))
        long_ago, soon = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(minutes=1)
        assert engine.prune(long_ago, 100) == 0
        assert engine.prune(long_ago, 2) == 3
        assert engine.prune(soon, 100) == 2
        assert engine.running() == ("I9",)
    finally:
        go_on.set()
        rig.stop()


@pytest.mark.live
def test_the_heals_of_an_executor_that_is_gone_are_adopted_once_and_go_on_where_they_were(postgres_url: str) -> None:
    rig, ran = DbosRig(postgres_url), list[str]()

    def body(_incident: IncidentId, engine: Engine) -> Ending:
        engine.step("one", lambda: ran.append("one"))
        engine.sleep("settle", timedelta(seconds=1.5))
        engine.step("two", lambda: ran.append("two"))
        return Ending.HEALED

    rig.boot(body, "term-1").start(IncidentId("I1"), 1)
    until(lambda: ran == ["one"])
    rig.stop()
    engine = rig.boot(body, "term-2")
    assert engine.running() == (IncidentId("I1"),), "launching resumes only what the same executor left"
    assert engine.adopt() == 1
    assert engine.adopt() == 0
    until(lambda: not engine.running())
    assert ran == ["one", "two"]
    rig.stop()
