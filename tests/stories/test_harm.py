"""An attempt that harms: it is seen, taken back where that is declared, and its runbook asks first from then on."""

import contextlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import parameters
from agent.model import (
    Closing,
    ContainerState,
    FleetLimits,
    Health,
    HoldCode,
    Incident,
    IncidentState,
    Judgement,
    Limits,
    MemoryRule,
    Outcome,
    Plane,
    RefusalCode,
    RunbookMark,
    RunbookMarkKind,
    RunbookRule,
    RunEnd,
    ServiceName,
    StoryKind,
    Verdict,
)
from tests.memory_engine import Crash
from tests.stories.world import RECREATE, Ward, runbook, service

WEB = ServiceName("web")
REDO = runbook(
    "start-container", symptoms=("container-exited",), states=(ContainerState.EXITED,), rung=10, undo="put-back-container"
)
PUT_BACK = runbook("put-back-container", symptoms=(), states=(), rung=90)
PLAIN = runbook("start-container", symptoms=("container-exited",), states=(), rung=10)  # any state: it may take one down

NO_PAST = MemoryRule(keeps=timedelta(0))


def made(folder: Path, *, undo: bool, takes_it_back: bool = True, group: str | None = "shop") -> Ward:
    """`web` is dead, and starting it kills its neighbour `api`, which hangs on it where they are of one group."""
    near = tuple(replace(service(name), group=group) for name in ("web", "api"))
    ward = Ward(folder, near, runbooks=(REDO if undo else PLAIN, RECREATE, PUT_BACK))
    ward.machine.effects = {
        "start-container": lambda: (ward.machine.start("web"), ward.machine.crash("api"))[0],
        "put-back-container": lambda: (
            ward.machine.crash("web", exit_code=3),
            ward.machine.start("api") if takes_it_back else None,
        )[1],
        "recreate-container": lambda: ward.machine.start("web"),
    }
    ward.beat(2)
    ward.machine.crash("web", exit_code=3)
    return ward


def web_incident(ward: Ward) -> Incident:
    return ward.incident("web")


def asks_first(ward: Ward, runbook_id: str, name: str = "web") -> bool:
    """The next incident of this kind is held for a person's word."""
    ward.machine.crash(name, exit_code=3)
    ward.beat()
    hold = ward.incident(name).hold
    return hold is not None and hold.code is HoldCode.AWAITING_APPROVAL and runbook_id in hold.because


class TestANeighbourIsHarmed:
    @pytest.mark.abuse("35")
    def test_it_is_undone_and_the_undo_is_verified_on_the_row(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        ward.beat()
        first = web_incident(ward).attempts[0]
        assert first.harm is not None
        assert [verdict.service for verdict in first.harm.neighbours] == ["api"]
        assert first.undo is not None
        assert first.undo.end is RunEnd.COMPLETED
        assert [(seen.service, seen.health.value) for seen in first.undo_seen] == [("web", "sick"), ("api", "well")]

    def test_the_next_rung_heals_what_the_undo_left_sick(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        ward.beat()
        incident = web_incident(ward)
        assert ward.machine.played == [
            f"start-container {incident.id}-1",
            f"put-back-container {incident.id}-1-undo",
            f"recreate-container {incident.id}-2",
        ]
        assert incident.state is IncidentState.CLOSED
        assert [attempt.number for attempt in incident.attempts] == [1, 2], "an undo is no attempt"

    def test_the_story_tells_the_harm_the_demotion_and_the_undo(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        ward.beat()
        told = ward.store.story.since(0, incident=web_incident(ward).id)
        kinds = [event.kind for event in told]
        assert kinds.index(StoryKind.HARMED) < kinds.index(StoryKind.DEMOTED) < kinds.index(StoryKind.UNDONE)
        assert "api" in next(event.text for event in told if event.kind is StoryKind.HARMED)

    @pytest.mark.abuse("35")
    def test_the_runbook_asks_first_on_every_service(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        ward.beat(3)
        assert asks_first(ward, "start-container", "api")

    def test_without_an_undo_it_escalates_at_once_and_names_the_neighbour(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=False)
        ward.beat()
        incident = web_incident(ward)
        assert incident.state is IncidentState.ESCALATED
        assert incident.refusal is not None
        assert incident.refusal.code is RefusalCode.HARMED
        assert "api" in incident.refusal.because
        assert len(incident.attempts) == 1, "no second attempt on top of the harm"

    def test_an_undo_that_does_not_take_it_back_escalates(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True, takes_it_back=False)
        ward.beat()
        incident = web_incident(ward)
        assert incident.refusal is not None
        assert incident.refusal.code is RefusalCode.HARMED
        assert "did not take it back" in incident.refusal.because

    def test_a_neighbour_that_a_person_stops_meanwhile_is_not_harm(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)

        def start() -> None:
            ward.machine.start("web")
            ward.clock.move(PLAIN.timeout)

        ward.machine.effects["start-container"] = start
        ward.engine.crash_before = "verify 1"
        with pytest.raises(Crash):
            ward.beat()
        ward.clock.move(PLAIN.timeout)
        ward.machine.stop_by_hand("api")
        ward.reboot()
        assert web_incident(ward).attempts[0].outcome is Outcome.HEALED
        assert web_incident(ward).attempts[0].harm is None

    def test_a_neighbour_that_flaps_once_is_not_harm(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)

        def start() -> None:
            ward.machine.start("web")
            ward.machine.boxes["api"].answers = False

        ward.machine.effects["start-container"] = start
        slept = ward.clock.sleep

        def sleep(span: object) -> None:
            slept(span)  # type: ignore[arg-type]  # it is the clock's own span
            if ward.machine.played:
                ward.machine.boxes["api"].answers = True

        ward.clock.sleep = sleep  # type: ignore[method-assign,assignment]  # the neighbour comes back as time passes
        ward.beat()
        assert web_incident(ward).attempts[0].harm is None

    def test_a_neighbour_that_was_sick_before_is_not_harm(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        ward.machine.boxes["api"].answers = False
        ward.beat()
        assert web_incident(ward).attempts[0].harm is None


class TestHaltedBeforeTheUndo:
    def test_the_undo_is_owed_and_comes_first_after_resume(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        harmful = ward.machine.effects["start-container"]

        def halts_then() -> None:
            harmful()
            ward.halt.why = "ops: stop"

        ward.machine.effects["start-container"] = halts_then
        ward.beat()
        incident = web_incident(ward)
        assert incident.state is IncidentState.HELD
        assert incident.hold is not None
        assert incident.hold.code is HoldCode.HALTED
        assert "undo is owed" in incident.hold.because
        ward.beat(3)
        assert ward.machine.played == [f"start-container {incident.id}-1"], "nothing is changed while halted"
        ward.halt.why = None
        ward.beat(2)
        assert ward.machine.played[1] == f"put-back-container {incident.id}-1-undo"

    def test_an_undo_that_is_halted_in_the_middle_is_still_owed(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        taking_back = ward.machine.effects["put-back-container"]

        def halted() -> RunEnd:
            ward.halt.why = "ops: stop"
            return RunEnd.CANCELLED

        ward.machine.effects["put-back-container"] = halted
        ward.beat()
        incident = web_incident(ward)
        assert incident.attempts[0].undo is None
        ward.machine.effects["put-back-container"] = taking_back
        ward.halt.why = None
        ward.beat(2)
        after = web_incident(ward).attempts[0]
        assert after.undo is not None
        assert after.undo.end is RunEnd.COMPLETED


UNDO_STEPS = ("weigh 1", "undo 1", "diagnose 2")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", UNDO_STEPS)
def test_a_crash_around_the_undo_loses_and_repeats_nothing(tmp_path: Path, step: str, moment: str) -> None:
    ward = made(tmp_path, undo=True)
    setattr(ward.engine, f"crash_{moment}", step)
    with pytest.raises(Crash):
        ward.beat()
    ward.reboot()
    ward.beat(2)
    incident = web_incident(ward)
    assert ward.machine.played == [
        f"start-container {incident.id}-1",
        f"put-back-container {incident.id}-1-undo",
        f"recreate-container {incident.id}-2",
    ]
    kinds = ward.told(incident.id)
    assert [kinds.count(kind) for kind in (StoryKind.HARMED, StoryKind.DEMOTED, StoryKind.UNDONE)] == [1, 1, 1]
    marks = ward.store.runbook_standing.marks([REDO.hash])
    assert [mark.kind for mark in marks] == [RunbookMarkKind.HARMFUL]


def test_a_crash_in_the_middle_of_the_undo_runs_it_again_and_verifies_it(tmp_path: Path) -> None:
    ward = made(tmp_path, undo=True)
    taking_back = ward.machine.effects["put-back-container"]

    def cut() -> RunEnd:
        ward.machine.effects["put-back-container"] = taking_back
        raise Crash("undo")

    ward.machine.effects["put-back-container"] = cut
    with pytest.raises(Crash):
        ward.beat()
    ward.reboot()
    first = web_incident(ward).attempts[0]
    assert [played.split()[0] for played in ward.machine.played].count("put-back-container") == 2
    assert first.undo is not None
    assert first.undo_seen


@pytest.mark.parametrize("cut_by", ["crash", "halt"])
def test_an_undo_that_is_cut_again_and_again_is_handed_over(tmp_path: Path, cut_by: str) -> None:
    ward = made(tmp_path, undo=True)

    def cut() -> RunEnd:
        if cut_by == "crash":
            raise Crash("undo")
        ward.halt.why = "ops: stop"
        return RunEnd.CANCELLED

    ward.machine.effects["put-back-container"] = cut
    for _ in range(6):
        with contextlib.suppress(Crash):
            ward.reboot()
            ward.beat()
        ward.halt.why = None
    incident = web_incident(ward)
    assert [played.split()[0] for played in ward.machine.played].count("put-back-container") == 3
    assert StoryKind.ESCALATED in ward.told(incident.id)
    assert incident.attempts[0].undo is not None
    assert incident.attempts[0].undo.end is RunEnd.LOST
    assert incident.refusal is not None
    assert incident.refusal.code is RefusalCode.HARMED


def test_a_persons_run_that_was_halted_before_its_undo_goes_on_after_resume_and_runs_once(tmp_path: Path) -> None:
    ward = made(tmp_path, undo=True)
    ward.machine.start("web")
    ward.beat(2)
    harmful = ward.machine.effects["start-container"]
    ward.machine.effects["start-container"] = lambda: (harmful(), setattr(ward.halt, "why", "ops: stop"))[0]
    web = ward.services[0]
    plan = parameters.plan(REDO, web, good_copy=None, settings={}, why="asked for")
    asked = ward.store.incidents.request(web, sick_once(ward, "web"), plan, by="ops", now=ward.clock.now())
    ward.engine.start(asked.id, 1)
    assert [played.split()[0] for played in ward.machine.played] == ["start-container"]
    ward.beat(2)
    assert len(ward.machine.played) == 1, "nothing is changed while halted"
    ward.halt.why = None
    ward.beat()
    found = ward.store.incidents.get(asked.id)
    assert found is not None
    assert [played for played in ward.machine.played if asked.id in played] == [
        f"start-container {asked.id}-1",
        f"put-back-container {asked.id}-1-undo",
    ]
    assert found.closing is Closing.CARRIED_OUT


class TestThePatientIsWorse:
    @pytest.fixture
    def ward(self, tmp_path: Path) -> Ward:
        """`web` hangs, its container runs; restarting it kills it."""
        restart = runbook("restart-container", symptoms=("http-timeout",), states=(ContainerState.RUNNING,), rung=20)
        ward = Ward(tmp_path, (service("web"), service("api")), runbooks=(restart, RECREATE))
        ward.machine.effects = {
            "restart-container": lambda: ward.machine.crash("web", exit_code=3),
            "recreate-container": lambda: (ward.machine.start("web"), setattr(ward.machine.boxes["web"], "answers", True))[0],
        }
        ward.beat(2)
        ward.machine.boxes["web"].answers = False
        ward.beat(2)
        return ward

    def test_without_an_undo_the_next_rung_goes_on(self, ward: Ward) -> None:
        assert [attempt.plan.runbook for attempt in web_incident(ward).attempts] == ["restart-container", "recreate-container"]
        first = web_incident(ward).attempts[0]
        assert first.harm is not None
        assert first.harm.patient

    def test_the_runbook_asks_first_on_this_service_alone(self, ward: Ward) -> None:
        (mark,) = (m for m in ward.store.runbook_standing.marks(["restart-container".ljust(64, "0")]))
        assert (mark.kind, mark.service) == (RunbookMarkKind.HARMFUL, WEB)


class TestARunbookThatLies:
    @pytest.fixture
    def ward(self, tmp_path: Path) -> Ward:
        """start-container says it is done and does nothing; the next rung heals."""
        roomy = Limits(heals_in_window=99, same_signature=99, first_wait=timedelta(0))
        services = tuple(service(name, limits=roomy) for name in ("one", "two", "three", "four"))
        ward = Ward(
            tmp_path,
            services,
            runbooks=(PLAIN, RECREATE),
            fleet_limits=FleetLimits(runbooks=RunbookRule(ineffective_results=3, failures_on_services=99), memory=NO_PAST),
        )
        ward.machine.effects = {"start-container": lambda: None}
        ward.beat(2)
        return ward

    def fails_on(self, ward: Ward, *names: str) -> None:
        for name in names:
            ward.machine.effects["recreate-container"] = lambda name=name: ward.machine.start(name)
            ward.machine.crash(name, exit_code=3)
            ward.beat()
            assert ward.incident(name).attempts[0].outcome is Outcome.INEFFECTIVE

    def test_k_ineffective_results_make_it_ask_first(self, ward: Ward) -> None:
        self.fails_on(ward, "one", "two", "three")
        assert asks_first(ward, "start-container", "four")

    def test_one_fewer_does_not(self, ward: Ward) -> None:
        self.fails_on(ward, "one", "two")
        assert not asks_first(ward, "start-container", "four")

    def test_one_service_that_it_cannot_help_demotes_it_there_and_nowhere_else(self, ward: Ward) -> None:
        self.fails_on(ward, "one", "one", "one")
        assert not asks_first(ward, "start-container", "two")
        assert asks_first(ward, "start-container", "one")

    def test_a_passed_test_on_the_same_hash_restores_it(self, ward: Ward) -> None:
        self.fails_on(ward, "one", "two", "three")
        now = ward.clock.now()
        ward.store.runbook_standing.note(
            RunbookMark(runbook=PLAIN.id, hash=PLAIN.hash, kind=RunbookMarkKind.PASSED, at=now, key="passed")
        )
        assert not asks_first(ward, "start-container", "four")


def test_a_start_is_not_blamed_for_a_neighbour_that_died_in_the_same_moment(tmp_path: Path) -> None:
    only_starts = runbook("start-container", symptoms=("container-exited",), states=(ContainerState.EXITED,), rung=10)
    ward = Ward(tmp_path, (service("web"), service("api")), runbooks=(only_starts,))
    ward.machine.effects = {"start-container": lambda: (ward.machine.start("web"), ward.machine.crash("api"))[0]}
    ward.beat(2)
    ward.machine.crash("web")
    ward.beat()
    assert ward.incident("web").closing is Closing.HEALED


class TestANeighbourFallsSickByChance:
    """`api` shares a network with `web` and nothing else."""

    def test_a_crash_of_its_own_undoes_and_demotes_nothing(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True, group=None)
        ward.beat()
        incident = web_incident(ward)
        assert (incident.closing, incident.attempts[0].harm) == (Closing.HEALED, None)
        assert [played.split()[0] for played in ward.machine.played] == ["start-container"]
        ward.machine.start("api")
        ward.beat(3)
        assert not asks_first(ward, "start-container", "api")

    def test_the_story_says_what_fell_sick_meanwhile(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True, group=None)
        ward.beat()
        told = [event.text for event in ward.store.story.since(0, incident=web_incident(ward).id)]
        assert any("nothing links it to start-container: api (" in text for text in told)

    def test_its_log_names_what_was_changed_and_so_it_is_harm_on_this_service(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True, group=None)
        ward.machine.effects["start-container"] = lambda: (
            ward.machine.start("web"),
            ward.machine.crash("api", log=b"dial tcp: lookup web: no such host\n"),
        )[0]
        ward.beat()
        harm = web_incident(ward).attempts[0].harm
        assert harm is not None
        assert [(tie.service, tie.strong) for tie in harm.ties] == [("api", False)]
        assert "its trouble names what was changed" in harm.ties[0].why
        (mark,) = ward.store.runbook_standing.marks([REDO.hash])
        assert mark.service == WEB, "a weak tie says nothing of other services"

    def test_the_playbook_stopped_it_and_so_it_is_harm_everywhere(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True, group=None)
        ward.machine.effects["start-container"] = lambda: (
            ward.machine.start("web"),
            ward.machine.stop_by_hand("api"),
        )[0]
        ward.beat()
        (mark,) = ward.store.runbook_standing.marks([REDO.hash])
        assert (mark.kind, mark.service) == (RunbookMarkKind.HARMFUL, None)

    def test_one_that_is_under_treatment_itself_is_not_looked_at(self, tmp_path: Path) -> None:
        ward = made(tmp_path, undo=True)
        api = ward.services[1]
        plan = parameters.plan(PUT_BACK, api, good_copy=None, settings={}, why="asked for")
        ward.store.incidents.request(api, sick_once(ward, "api"), plan, by="ops", now=ward.clock.now())
        ward.beat()
        assert web_incident(ward).attempts[0].around == ()


def sick_once(ward: Ward, name: str) -> Verdict:
    """Return a SICK verdict on a service that looks well at this moment."""
    judged = Judgement(check="http", plane=Plane.DIRECT, health=Health.SICK, detail="timed out")
    return Verdict(service=ServiceName(name), health=Health.SICK, at=ward.clock.now(), judgements=(judged,))
