"""Doing nothing, because: each reason with its exact code, no change of anything, and what ends it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent import watch
from agent.model import (
    MEDIC,
    Closing,
    ContainerState,
    ForeignRestart,
    Health,
    HoldCode,
    HostName,
    HttpSeen,
    IncidentState,
    Limits,
    RestartedBy,
    ServiceName,
    StoryKind,
    TcpRequest,
)
from tests.memory_engine import Crash
from tests.stories.world import EVERY, Ward, service

WEB, API = ServiceName("web"), ServiceName("api")
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
SLOWED = HttpSeen(status=503, latency=SECOND, retry_after=30 * SECOND)


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    made = Ward(tmp_path, (service("web"), service("api")))
    made.beat(2)
    return made


def held(ward: Ward, name: str = "web") -> HoldCode | None:
    """Return why nothing is done about a service now, having made sure that nothing was."""
    incident = ward.incident(name)
    assert incident.attempts == ()
    assert ward.machine.played == []
    if incident.state is not IncidentState.HELD or incident.hold is None:
        return None
    assert (incident.service, incident.hold.code) in ward.store.sweeps.latest(1)[0].held
    assert StoryKind.HELD in ward.told(incident.id)
    return incident.hold.code


def silence(ward: Ward, name: ServiceName | None, span: timedelta) -> int:
    now = ward.clock.now()
    return ward.store.silences.begin(name, why="rack move", by="ann", now=now, until=now + span).id


class TestMaintenance:
    @pytest.mark.abuse("23")
    def test_a_silenced_service_is_left_alone_and_nobody_is_called(self, ward: Ward) -> None:
        silence(ward, WEB, 10 * MINUTE)
        ward.machine.crash("web")
        ward.beat(20)
        assert held(ward) is HoldCode.MAINTENANCE
        assert ward.notices() == []

    def test_what_is_still_sick_at_its_end_is_told_and_healed(self, ward: Ward) -> None:
        silence(ward, None, MINUTE)
        ward.machine.crash("web")
        ward.beat(2)
        ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED)
        assert ward.clock.now() >= ward.incident("web").opened_at + 50 * SECOND
        assert ward.notices() == [f"{ward.incident('web').id}:{edge}" for edge in ("opened", "resolved")]

    def test_what_came_and_went_in_it_is_told_to_nobody(self, ward: Ward) -> None:
        silence(ward, WEB, 10 * MINUTE)
        ward.machine.crash("web")
        ward.beat(2)
        ward.machine.start("web")
        ward.beat(4)
        assert ward.incident("web").closing is Closing.RECOVERED
        assert ward.notices() == []
        assert ward.machine.played == []

    def test_ending_it_by_hand_heals_at_the_next_beat(self, ward: Ward) -> None:
        number = silence(ward, WEB, 600 * MINUTE)
        ward.machine.crash("web")
        ward.beat(2)
        assert held(ward) is HoldCode.MAINTENANCE
        assert ward.store.silences.end(number, by="ann", now=ward.clock.now())
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED

    def test_the_others_are_healed_meanwhile(self, ward: Ward) -> None:
        silence(ward, API, 10 * MINUTE)
        ward.machine.crash("web")
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED

    @pytest.mark.parametrize("moment", ["before", "after"])
    @pytest.mark.parametrize("step", ["diagnose 1", "plan 1", "hold 1"])
    def test_a_crash_at_any_boundary_leaves_it_held_and_told_once(self, ward: Ward, step: str, moment: str) -> None:
        silence(ward, WEB, 10 * MINUTE)
        ward.machine.crash("web")
        setattr(ward.engine, f"crash_{moment}", step)
        with pytest.raises(Crash):
            ward.beat()
        ward.reboot()
        ward.beat(2)
        assert held(ward) is HoldCode.MAINTENANCE
        assert ward.told(ward.incident("web").id).count(StoryKind.HELD) == 1


class TestWarming:
    """A service whose five starts took about 60 s each while Medic watched; from then on its grace is the default again."""

    @pytest.fixture
    def slow(self, tmp_path: Path) -> Ward:
        limits = Limits(start_grace=70 * SECOND, first_wait=timedelta(0), same_signature=20)
        ward = Ward(tmp_path, (service("web", limits=limits), service("api")))
        ward.beat(2)
        for _ in range(5):
            self.start_in(ward, 60)
            ward.clock.move(timedelta(hours=1))
        assert len(ward.store.starts.of(WEB)) == 5
        ward.store.services.enrol(
            service("web", limits=replace(limits, start_grace=Limits().start_grace)), now=ward.clock.now()
        )
        return ward

    def start_in(self, ward: Ward, seconds: int) -> None:
        ward.machine.boxes["web"].answers = False
        ward.machine.start("web")
        ward.beat(seconds // 5)
        ward.machine.boxes["web"].answers = True
        ward.beat(4)

    def test_a_slow_starter_is_not_healed_while_it_may_be_warming(self, slow: Ward) -> None:
        self.start_in(slow, 100)
        assert slow.machine.played == []
        assert slow.incident("web").closing is Closing.RECOVERED
        assert slow.incident("web").hold is not None
        assert slow.incident("web").hold.code is HoldCode.WARMING

    def test_three_times_slower_than_ever_is_hung_and_goes_to_the_ladder(self, slow: Ward) -> None:
        began = slow.clock.now()
        slow.machine.boxes["web"].answers = False
        slow.machine.start("web")
        slow.beat_until(lambda: slow.machine.played != [], at_most=60)
        assert 180 * SECOND <= slow.clock.now() - began <= 220 * SECOND

    def test_a_container_that_dies_while_warming_is_healed_at_once(self, slow: Ward) -> None:
        slow.machine.boxes["web"].answers = False
        slow.machine.start("web")
        slow.beat(4)
        assert held(slow) is HoldCode.WARMING
        slow.machine.boxes["web"].answers = True
        slow.machine.crash("web")
        slow.beat()
        assert slow.machine.played == [f"start-container {slow.incident('web').id}-1"]

    def test_what_docker_calls_starting_is_warming(self, ward: Ward) -> None:
        box = ward.machine.boxes["web"]
        box.answers = False
        ward.machine.start("web")
        box.facts = replace(box.facts, health="starting")
        ward.beat(20)
        assert held(ward) is HoldCode.WARMING
        box.facts, box.answers = replace(box.facts, health="healthy"), True
        ward.beat(4)
        assert ward.incident("web").closing is Closing.RECOVERED


class TestParentDown:
    @pytest.fixture
    def family(self, tmp_path: Path) -> Ward:
        """`web` is the database; `api` depends on it, and `app` on `api`."""
        api = replace(service("api"), depends_on=(WEB,))
        ward = Ward(tmp_path, (service("web"), api, replace(service("app"), depends_on=(API,))))
        ward.beat(2)
        ward.machine.effects["start-container"] = lambda: None
        ward.machine.effects["recreate-container"] = lambda: None
        return ward

    def all_down(self, ward: Ward) -> None:
        ward.machine.crash("web")
        for child in ("api", "app"):
            ward.machine.boxes[child].answers = False

    @pytest.mark.abuse("32")
    def test_only_the_parent_is_healed(self, family: Ward) -> None:
        self.all_down(family)
        family.beat(4)
        assert [word.split()[1].split("-")[0] for word in family.machine.played] == [family.incident("web").id] * 2
        for child in ("api", "app"):
            incident = family.incident(child)
            assert incident.attempts == ()
            assert incident.hold is not None
            assert incident.hold.code is HoldCode.PARENT_DOWN
            assert "web is recorded as error" in incident.hold.because

    def test_the_children_are_decided_afresh_when_the_parent_is_well(self, family: Ward) -> None:
        self.all_down(family)
        family.beat(4)
        family.machine.start("web")
        family.machine.boxes["app"].answers = True
        family.machine.effects["restart-container"] = lambda: setattr(family.machine.boxes["api"], "answers", True)
        family.beat(12)
        assert family.incident("web").closing is Closing.RECOVERED
        assert [a.plan.runbook for a in family.incident("api").attempts] == ["restart-container"], "its own trouble"
        assert family.incident("api").closing is Closing.HEALED
        assert family.incident("app").closing is Closing.RECOVERED
        assert family.incident("app").attempts == ()

    def test_a_nudge_of_the_child_looks_at_the_parent_too(self, family: Ward) -> None:
        family.machine.crash("web")
        family.machine.crash("api")
        family.clock.move(EVERY)
        family.sweep.nudge(API)
        hold = family.incident("api").hold
        assert hold is not None
        assert hold.code is HoldCode.PARENT_DOWN

    def test_the_end_of_a_parents_incident_names_its_children(self, family: Ward) -> None:
        self.all_down(family)
        family.beat(4)
        family.machine.start("web")
        family.beat(4)
        over = [e for e in family.store.story.since(0, incident=family.incident("web").id) if e.kind is StoryKind.RECOVERED]
        services = family.store.services.services()
        assert watch.waiting_for(over[0], services) == (API, ServiceName("app"))
        assert watch.waiting_for(replace(over[0], kind=StoryKind.SEEN), services) == ()


class TestOverload:
    def test_a_service_that_asks_for_time_is_given_it(self, ward: Ward) -> None:
        ward.machine.boxes["web"].says = SLOWED
        ward.beat(40)
        assert held(ward) is HoldCode.OVERLOAD
        ward.machine.boxes["web"].says = None
        ward.beat(4)
        assert ward.incident("web").closing is Closing.RECOVERED

    def test_a_503_that_asks_for_nothing_is_no_overload(self, ward: Ward) -> None:
        ward.machine.boxes["web"].says = replace(SLOWED, retry_after=None)
        ward.beat(4)
        hold = ward.incident("web").hold
        assert hold is None or hold.code is not HoldCode.OVERLOAD

    def test_an_overloaded_service_that_hangs_is_healed(self, ward: Ward) -> None:
        ward.machine.boxes["web"].says = SLOWED
        ward.beat(4)
        ward.machine.boxes["web"].answers = False
        ward.machine.effects["restart-container"] = lambda: self.serve(ward)
        ward.beat(4)
        assert ward.incident("web").closing is Closing.HEALED

    def serve(self, ward: Ward) -> None:
        ward.machine.boxes["web"].answers, ward.machine.boxes["web"].says = True, None


class TestWrongProbe:
    def test_a_red_healthcheck_of_a_service_that_serves_is_not_healed(self, ward: Ward) -> None:
        box = ward.machine.boxes["web"]
        box.facts = replace(box.facts, health="unhealthy")
        ward.beat(20)
        assert held(ward) is HoldCode.WRONG_PROBE

    def test_once_it_does_not_serve_it_is_healed(self, ward: Ward) -> None:
        box = ward.machine.boxes["web"]
        box.facts = replace(box.facts, health="unhealthy")
        ward.beat(2)
        box.answers = False
        ward.machine.effects["restart-container"] = lambda: self.cure(ward)
        ward.beat(4)
        assert ward.incident("web").closing is Closing.HEALED

    def cure(self, ward: Ward) -> None:
        box = ward.machine.boxes["web"]
        box.answers, box.facts = True, replace(box.facts, health="healthy")


class TestFlapping:
    @pytest.mark.abuse("22")
    def test_a_service_that_comes_and_goes_is_one_incident_and_no_remedy(self, ward: Ward) -> None:
        for _ in range(8):
            self.flap(ward)
        assert held(ward) is HoldCode.FLAPPING
        assert len(ward.incidents()) == 3, "the first changes are not many yet"

    def test_it_ends_when_the_service_is_steady(self, ward: Ward) -> None:
        for _ in range(8):
            self.flap(ward)
        ward.beat(130)
        assert ward.incident("web").closing is Closing.RECOVERED
        assert len(ward.incidents()) == 3

    def test_a_crash_loop_is_one_incident_that_is_over_when_it_has_run_for_a_minute(self, ward: Ward) -> None:
        by = RestartedBy.RESTART_POLICY
        now = ward.clock.now()
        loop = [ForeignRestart(container="web", at=now + each * SECOND, by=by) for each in (0, 1, 2)]
        ward.store.foreign_restarts.keep(HostName("local"), loop)
        self.flap(ward)
        assert held(ward) is HoldCode.FLAPPING
        self.flap(ward)
        ward.beat(70)
        assert [each.closing for each in ward.incidents()] == [Closing.RECOVERED]

    def test_what_our_remedies_healed_does_not_flap(self, tmp_path: Path) -> None:
        limits = Limits(first_wait=timedelta(0), same_signature=20)
        ward = Ward(tmp_path, (service("web", limits=limits),))
        ward.beat(2)
        for _ in range(4):
            ward.machine.crash("web")
            ward.beat(2)
            assert ward.incident("web").closing is Closing.HEALED

    def flap(self, ward: Ward) -> None:
        """Silent for two beats and well again the moment that Medic looks closer."""
        ward.machine.boxes["web"].answers = False
        ward.beat()
        self.sick_until_heal(ward, lambda: setattr(ward.machine.boxes["web"], "answers", True))
        ward.beat(4)

    def sick_until_heal(self, ward: Ward, recover: Callable[[], None]) -> None:
        start = ward.engine.start
        try:
            ward.engine.start = lambda incident, round_: (recover(), start(incident, round_))[1]  # type: ignore[method-assign]
            ward.beat()
        finally:
            ward.engine.start = start  # type: ignore[method-assign]
        recover()


class TestMonitorBlind:
    @pytest.fixture
    def watched(self, tmp_path: Path) -> Ward:
        target = TcpRequest(address="10.0.0.1:53", timeout=SECOND)
        ward = Ward(tmp_path, (service("web"), service("api")), control=(target,))
        ward.beat(2)
        return ward

    @pytest.mark.abuse("29")
    def test_when_the_control_target_is_silent_too_medic_is_the_patient(self, watched: Ward) -> None:
        watched.machine.no_network = True
        watched.beat(20)
        (incident,) = watched.incidents()
        assert incident.service == MEDIC
        assert incident.attempts == ()
        assert watched.machine.played == []
        assert "10.0.0.1:53" in incident.first.reasons[0]

    def test_it_ends_with_the_first_answer_and_the_sick_are_healed_then(self, watched: Ward) -> None:
        watched.machine.no_network = True
        watched.beat(5)
        watched.machine.no_network = False
        watched.machine.boxes["web"].answers = False
        watched.beat(6)
        assert watched.incident(MEDIC).closing is Closing.RECOVERED
        assert watched.incident("web").closing is Closing.HEALED

    def test_what_docker_says_is_healed_all_the_same(self, watched: Ward) -> None:
        watched.machine.no_network = True
        watched.beat(2)
        watched.machine.crash("web")
        watched.beat()
        assert [word.split()[0] for word in watched.machine.played][:1] == ["start-container"]

    def test_a_heal_that_began_before_holds(self, watched: Ward) -> None:
        watched.machine.boxes["web"].answers = False
        watched.halt.why = "ann"
        watched.beat(3)
        watched.machine.no_network = True
        watched.halt.why = None
        watched.beat(2)
        assert watched.machine.played == []

    def test_without_a_silent_target_a_silent_service_is_sick(self, watched: Ward) -> None:
        watched.machine.boxes["web"].answers = False
        watched.beat(3)
        assert watched.incident("web").closing is Closing.HEALED
        assert watched.store.incidents.recent(service=MEDIC) == ()


class TestDeploy:
    @pytest.mark.abuse("23")
    def test_a_container_that_was_just_replaced_is_left_alone_for_a_minute(self, ward: Ward) -> None:
        self.replaced(ward)
        ward.machine.crash("web")
        ward.beat(8)
        assert held(ward) is HoldCode.DEPLOY_IN_PROGRESS
        ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED)

    @pytest.mark.abuse("23")
    def test_a_lock_file_holds_until_it_is_gone(self, tmp_path: Path) -> None:
        locked = replace(service("web"), deploy_lock="/run/lock/web")
        ward = Ward(tmp_path, (locked,))
        ward.beat(2)
        ward.machine.files["/run/lock/web"] = (b"", datetime.now().astimezone())
        ward.machine.crash("web")
        ward.beat(20)
        assert held(ward) is HoldCode.DEPLOY_IN_PROGRESS
        del ward.machine.files["/run/lock/web"]
        ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED, at_most=5)

    def replaced(self, ward: Ward) -> None:
        ward.machine.remove("web")
        ward.machine.add("web")
        ward.machine._say("web", "create")
        ward.machine.start("web")


class TestStoppedOnPurpose:
    def test_compose_down_is_a_stop(self, ward: Ward) -> None:
        ward.machine.stop_by_hand("web")
        ward.machine._say("web", "destroy")
        del ward.machine.boxes["web"]
        ward.beat(20)
        assert ward.incident("web").hold is not None
        assert held(ward) is HoldCode.STOPPED_ON_PURPOSE

    def test_what_a_person_started_again_and_is_sick_is_healed_at_once(self, ward: Ward) -> None:
        ward.machine.stop_by_hand("web")
        ward.beat(2)
        ward.machine.boxes["web"].answers = False
        ward.machine.start("web")
        assert ward.machine.boxes["web"].facts.state is ContainerState.RUNNING
        ward.beat_until(lambda: ward.machine.played != [], at_most=6)
        assert ward.health("web") is not Health.UNKNOWN
