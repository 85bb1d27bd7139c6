"""One story per limit: what trips it, what is done instead, and what a person reads."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from agent import breakers, look, parameters
from agent.model import (
    BreakerRule,
    Budget,
    Closing,
    ContainerState,
    FleetLimits,
    HoldCode,
    Incident,
    IncidentState,
    Limits,
    MemoryRule,
    Outcome,
    RefusalCode,
    RestartedBy,
    RunbookRule,
    Service,
    ServiceName,
    StoryKind,
)
from agent.policy import breaker
from tests.memory_engine import Crash
from tests.stories.world import HOST, RECREATE, RESTART, START, Ward, http_check, runbook, service

WEB = ServiceName("web")
NEVER_WAIT = timedelta(0)
CALM = BreakerRule(least=1000)
"""A breaker that does not trip: these stories break many services to trip something else."""

NO_PAST = MemoryRule(keeps=timedelta(0))


def held_for(incident: Incident) -> HoldCode | None:
    return incident.hold.code if incident.state is IncidentState.HELD and incident.hold else None


def refused_for(incident: Incident) -> RefusalCode | None:
    return incident.refusal.code if incident.refusal else None


def steady(ward: Ward) -> Ward:
    ward.beat(2)
    return ward


def start_target(ward: Ward) -> Callable[[], None]:
    """A playbook that starts the container it was given: what the real one does."""

    def start() -> None:
        assert ward.machine.target is not None
        ward.machine.start(ward.machine.target)

    return start


def all_start(ward: Ward) -> Ward:
    ward.machine.effects["start-container"] = start_target(ward)
    return ward


class TestTheSameTroubleAgain:
    def ward(self, folder: Path, limits: Limits) -> Ward:
        return steady(Ward(folder, (service("web", limits=limits),)))

    def crash_and_heal(self, ward: Ward) -> None:
        ward.machine.crash("web")
        ward.beat()
        ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED, at_most=100)

    def test_its_first_incident_is_acted_on_at_once(self, tmp_path: Path) -> None:
        ward = self.ward(tmp_path, Limits())
        ward.machine.crash("web")
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED

    def test_the_next_waits_and_each_wait_is_twice_the_one_before(self, tmp_path: Path) -> None:
        ward = self.ward(tmp_path, Limits(same_signature=100, heals_in_window=100, first_wait=timedelta(seconds=30)))
        waited = []
        for _ in range(4):
            broken = ward.clock.now()
            self.crash_and_heal(ward)
            waited.append((ward.incident("web").attempts[0].intent_at - broken).total_seconds())
        assert waited[0] < 10
        assert [round(wait / 30) for wait in waited[1:]] == [1, 2, 4]

    def test_the_hold_says_what_would_change_its_mind_and_spends_no_attempt(self, tmp_path: Path) -> None:
        ward = self.ward(tmp_path, Limits())
        self.crash_and_heal(ward)
        ward.machine.crash("web")
        ward.beat()
        incident = ward.incident("web")
        assert held_for(incident) is HoldCode.COOLDOWN
        assert incident.hold is not None
        assert "30 s after that end" in incident.hold.until
        assert incident.attempts == ()

    def test_a_trouble_that_came_back_later_than_that_does_not_wait(self, tmp_path: Path) -> None:
        ward = self.ward(tmp_path, Limits())
        self.crash_and_heal(ward)
        ward.clock.move(timedelta(minutes=5))
        ward.machine.crash("web")
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED

    def test_the_third_incident_with_one_signature_is_a_persons(self, tmp_path: Path) -> None:
        ward = self.ward(tmp_path, Limits(first_wait=NEVER_WAIT))
        for _ in range(2):
            self.crash_and_heal(ward)
        ward.machine.crash("web")
        ward.beat()
        incident = ward.incident("web")
        assert (incident.state, refused_for(incident)) == (IncidentState.ESCALATED, RefusalCode.SAME_SIGNATURE)
        assert len(ward.machine.played) == 2

    def test_outside_the_window_the_count_begins_anew(self, tmp_path: Path) -> None:
        ward = self.ward(tmp_path, Limits(first_wait=NEVER_WAIT, window=timedelta(hours=1)))
        for _ in range(4):
            self.crash_and_heal(ward)
            ward.clock.move(timedelta(minutes=40))
        assert len(ward.machine.played) == 4

    def test_what_a_person_stopped_and_started_again_is_no_trouble_that_came_back(self, tmp_path: Path) -> None:
        ward = self.ward(tmp_path, Limits())
        ward.machine.stop_by_hand("web")
        ward.beat(3)
        ward.machine.start("web")
        ward.beat(4)
        ward.machine.crash("web")
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED


class TestBudgets:
    def sick_one_after_the_other(self, ward: Ward, names: tuple[str, ...]) -> None:
        for name in names:
            ward.machine.crash(name)
            ward.beat()

    @pytest.mark.abuse("34")
    @pytest.mark.parametrize("budget", [Budget(host_actions=2), Budget(fleet_actions=2)], ids=["host", "fleet"])
    def test_the_budget_includes_the_first_and_the_next_waits_until_it_is_free(self, tmp_path: Path, budget: Budget) -> None:
        names = ("a", "b", "c")
        ward = Ward(tmp_path, tuple(service(name) for name in names), fleet_limits=FleetLimits(budget=budget, breaker=CALM))
        steady(all_start(ward))
        self.sick_one_after_the_other(ward, names)
        assert len(ward.machine.played) == 2
        assert held_for(ward.incident("c")) is HoldCode.BUDGET_SPENT
        ward.clock.move(timedelta(minutes=59))
        ward.beat_until(lambda: ward.incident("c").closing is Closing.HEALED)
        assert len(ward.machine.played) == 3

    def test_an_attempt_whose_place_was_taken_since_it_was_planned_is_held_and_spends_nothing(self, tmp_path: Path) -> None:
        ward = Ward(tmp_path, (service("a"), service("b")), fleet_limits=FleetLimits(budget=Budget(host_actions=1)))
        steady(all_start(ward))
        ward.machine.crash("a")
        ward.engine.crash_before = "apply 1"
        with pytest.raises(Crash):
            ward.beat()
        planned = ward.incident("a")
        taken, _ = ward.store.incidents.open(ward.services[1], planned.first, fingerprint="b", now=ward.clock.now())
        plan = parameters.plan(START, ward.services[1], good_copy=None, settings={}, why="it was first")
        ward.store.attempts.begin(taken.id, 1, plan, now=ward.clock.now())
        ward.reboot()
        assert held_for(ward.incident("a")) is HoldCode.BUDGET_SPENT
        assert (ward.incident("a").attempts, ward.machine.played) == ((), [])
        ward.clock.move(timedelta(hours=1))
        ward.beat_until(lambda: ward.incident("a").closing is Closing.HEALED)

    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_crash_around_the_reservation_counts_it_once(self, tmp_path: Path, moment: str) -> None:
        ward = Ward(tmp_path, (service("a"),), fleet_limits=FleetLimits(budget=Budget(host_actions=1)))
        steady(all_start(ward))
        ward.machine.crash("a")
        setattr(ward.engine, f"crash_{moment}", "apply 1")
        with pytest.raises(Crash):
            ward.beat()
        ward.reboot()
        assert ward.incident("a").closing is Closing.HEALED
        assert len(ward.machine.played) == 1

    def test_what_a_person_runs_is_outside_the_budget(self, tmp_path: Path) -> None:
        ward = Ward(tmp_path, (service("a"),), fleet_limits=FleetLimits(budget=Budget(host_actions=1)))
        steady(all_start(ward))
        patient = ward.services[0]
        verdict = look.at(patient, ward.machine, ward.clock)
        plan = parameters.plan(START, patient, good_copy=None, settings={}, why="asked for")
        asked = ward.store.incidents.request(patient, verdict, plan, by="ada", now=ward.clock.now())
        ward.engine.start(asked.id, 1)
        self.sick_one_after_the_other(ward, ("a",))
        assert ward.incident("a").closing is Closing.HEALED

    def test_playbooks_of_ours_and_restarts_by_others_spend_one_budget(self, tmp_path: Path) -> None:
        limits = Limits(actions_per_service=3, same_signature=100, first_wait=NEVER_WAIT, heals_in_window=100)
        ward = steady(Ward(tmp_path, (service("web", limits=limits),)))
        ward.machine.crash("web")
        ward.beat(2)
        for _ in range(2):
            ward.clock.move(timedelta(minutes=11))
            ward.machine.restart_by_others("web")
            ward.beat(4)
        ward.machine.crash("web")
        ward.beat()
        incident = ward.incident("web")
        assert refused_for(incident) is RefusalCode.ACTIONS_SPENT
        assert incident.refusal is not None
        assert "3 times in 24 h: 1 by Medic, 2 by somebody through Docker's API" in incident.refusal.because
        assert len(ward.machine.played) == 1


def test_a_breaker_that_opens_between_plan_and_the_first_change_stops_it(tmp_path: Path) -> None:
    ward = steady(Ward(tmp_path, (service("web"),)))
    ward.machine.crash("web")
    ward.engine.crash_before = "apply 1"
    with pytest.raises(Crash):
        ward.beat()
    ward.store.breakers.open("fleet", because="3 of 3", services=(WEB,), now=ward.clock.now())
    ward.reboot()
    assert [attempt.outcome for attempt in ward.incident("web").attempts] == [Outcome.CANCELLED]
    assert (ward.machine.played, held_for(ward.incident("web"))) == ([], HoldCode.BREAKER_OPEN)


class TestRestartsByOthers:
    @pytest.fixture
    def ward(self, tmp_path: Path) -> Ward:
        return steady(Ward(tmp_path, (service("web"),)))

    def kept(self, ward: Ward) -> list[RestartedBy]:
        return [each.by for each in ward.store.foreign_restarts.since(HOST, "web", ward.clock.now() - timedelta(days=1))]

    def test_another_healer_that_keeps_restarting_is_named_and_left_to_it(self, ward: Ward) -> None:
        for _ in range(3):
            ward.clock.move(timedelta(seconds=40))
            ward.machine.restart_by_others("web")
            ward.sweep.nudge(WEB)
        ward.machine.crash("web")
        ward.beat()
        incident = ward.incident("web")
        assert refused_for(incident) is RefusalCode.OTHER_HEALER
        assert incident.refusal is not None
        assert "somebody through Docker's API restarted it 3 times in 10 min" in incident.refusal.because
        assert ward.machine.played == []
        assert (ward.folder / "incidents" / incident.id / "report.md").read_text().count("restarted it 3 times") >= 1

    def test_a_person_who_restarts_it_once_does_not_make_medic_stand_down(self, ward: Ward) -> None:
        ward.machine.restart_by_others("web")
        ward.beat(4)
        ward.machine.crash("web")
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED

    def test_its_restart_policy_is_counted_and_named_in_the_story(self, ward: Ward) -> None:
        for count in range(1, 6):
            ward.machine.restart_by_policy("web", count)
            ward.sweep.nudge(WEB)
        ward.machine.boxes["web"].answers = False
        ward.beat(3)
        ward.beat_until(lambda: ward.incident("web").attempts != ())
        told = [event.text for event in ward.store.story.since(0) if event.kind is StoryKind.EXPLAINED]
        assert "restarted 5 times in 10 min, 5 by its restart policy" in told

    def test_our_own_restarts_are_not_somebody_elses(self, ward: Ward) -> None:
        ward.machine.crash("web")
        ward.beat(3)
        ward.sweep.nudge(WEB)
        assert ward.incident("web").closing is Closing.HEALED
        assert self.kept(ward) == []

    def test_what_was_seen_live_is_kept_when_docker_has_forgotten_it(self, ward: Ward) -> None:
        ward.machine.restart_by_others("web")
        ward.sweep.nudge(WEB)
        ward.machine.said.clear()
        ward.reboot()
        ward.sweep.nudge(WEB)
        assert self.kept(ward) == [RestartedBy.DOCKER_API]


class TestTheLastReplica:
    @pytest.fixture
    def ward(self, tmp_path: Path) -> Ward:
        """Two replicas, each with a second probe that can be red while the first still answers."""
        pair = tuple(replace(_two_probes(name), group="shop") for name in ("one", "two"))
        return steady(Ward(tmp_path, pair, runbooks=(START, RESTART, RECREATE)))

    def half_sick(self, ward: Ward, name: str) -> None:
        ward.machine.boxes[name].answers_on = {8000}

    def mend(self, ward: Ward, name: str) -> None:
        ward.machine.boxes[name].answers_on = None

    def test_a_half_sick_member_is_restarted_while_another_serves(self, ward: Ward) -> None:
        self.half_sick(ward, "one")
        ward.machine.effects["restart-container"] = lambda: self.mend(ward, "one")
        ward.beat(3)
        assert ward.machine.played == ["restart-container I1-1"]

    @pytest.mark.abuse("37")
    def test_the_last_member_that_serves_is_not(self, ward: Ward) -> None:
        ward.machine.boxes["two"].answers = False
        ward.machine.effects = {}
        ward.beat(2)
        ward.beat_until(lambda: ward.incident("two").state is IncidentState.ESCALATED)
        played = list(ward.machine.played)
        self.half_sick(ward, "one")
        ward.beat(4)
        incident = ward.incident("one")
        assert refused_for(incident) is RefusalCode.LAST_REPLICA
        assert ward.machine.played == played
        assert ward.machine.boxes["one"].facts.state is ContainerState.RUNNING

    def test_a_dead_member_may_be_started_whoever_else_is_down(self, ward: Ward) -> None:
        ward.machine.effects = {"start-container": start_target(ward)}
        for name in ("one", "two"):
            ward.machine.crash(name)
        ward.beat(4)
        assert [ward.incident(name).closing for name in ("one", "two")] == [Closing.HEALED] * 2


def _two_probes(name: str) -> Service:
    plain = service(name)
    admin = replace(http_check(), name="admin", url="http://container:9000/health")
    return replace(plain, checks=(*plain.checks, admin))


class TestTheFleetBreaker:
    NAMES = ("a", "b", "c", "d")

    @pytest.fixture
    def ward(self, tmp_path: Path) -> Ward:
        return steady(all_start(Ward(tmp_path, tuple(service(name) for name in self.NAMES))))

    def crash(self, ward: Ward, *names: str) -> None:
        for name in names:
            ward.machine.crash(name)
        ward.beat()

    def reset(self, ward: Ward, scope: str = "fleet") -> None:
        done = breakers.reset(scope, by="ada", why="the switch is back", store=ward.store, channels=("ops",), clock=ward.clock)
        assert done is not None

    @pytest.mark.abuse("31")
    def test_three_of_four_stop_all_healing_and_make_one_incident_that_names_them(self, ward: Ward) -> None:
        self.crash(ward, "a", "b", "c")
        correlated = ward.incident("fleet")
        assert (correlated.state, refused_for(correlated)) == (IncidentState.ESCALATED, RefusalCode.FAILED_TOGETHER)
        assert correlated.refusal is not None
        assert "3 of 4 services turned sick within 60 s: a, b, c" in correlated.refusal.because
        assert "host local" in correlated.refusal.because
        assert [held_for(ward.incident(name)) for name in ("a", "b", "c")] == [HoldCode.BREAKER_OPEN] * 3
        assert ward.machine.played == []
        assert f"{correlated.id}:escalated" in ward.notices()

    @pytest.mark.parametrize("names", [("a",), ("a", "b")])
    def test_fewer_than_three_are_healed_one_by_one(self, ward: Ward, names: tuple[str, ...]) -> None:
        self.crash(ward, *names)
        assert ward.store.breakers.standing() == ()
        assert [ward.incident(name).closing for name in names] == [Closing.HEALED] * len(names)

    def test_three_that_fail_long_after_one_another_do_not_fail_together(self, tmp_path: Path) -> None:
        ward = steady(Ward(tmp_path, tuple(service(name) for name in self.NAMES)))
        ward.machine.effects = {}
        for name in ("a", "b", "c"):
            self.crash(ward, name)
            ward.clock.move(timedelta(minutes=2))
        assert [row.scope for row in ward.store.breakers.standing() if breaker.is_scope(row.scope)] == []

    def test_it_never_closes_by_itself_not_even_when_all_are_well_again(self, ward: Ward) -> None:
        self.crash(ward, "a", "b", "c")
        for name in ("a", "b", "c"):
            ward.machine.start(name)
        ward.clock.move(timedelta(days=1))
        ward.beat(10)
        ward.reboot()
        ward.beat(10)
        assert [row.scope for row in ward.store.breakers.standing()] == ["fleet"]
        assert ward.incident("fleet").state is IncidentState.ESCALATED
        self.crash(ward, "d")
        assert held_for(ward.incident("d")) is HoldCode.BREAKER_OPEN
        assert ward.machine.played == []

    def test_after_a_reset_what_is_still_sick_is_healed_on_a_fresh_look(self, ward: Ward) -> None:
        self.crash(ward, "a", "b", "c")
        ward.machine.start("a")
        self.reset(ward)
        ward.beat(6)
        assert ward.store.breakers.standing() == (), "what turned sick before the reset does not open it again"
        assert ward.incident("fleet").closing is Closing.BY_PERSON
        assert ward.incident("a").closing is Closing.RECOVERED
        assert [ward.incident(name).closing for name in ("b", "c")] == [Closing.HEALED] * 2
        assert len(ward.machine.played) == 2

    def test_it_opens_again_for_a_new_trouble_after_a_reset(self, ward: Ward) -> None:
        self.crash(ward, "a", "b", "c")
        self.reset(ward)
        ward.beat(6)
        ward.clock.move(timedelta(minutes=10))
        self.crash(ward, "b", "c", "d")
        assert [row.services for row in ward.store.breakers.standing()] == [("b", "c", "d")]

    def go_silent(self, ward: Ward, *names: str) -> None:
        for name in names:
            ward.machine.boxes[name].answers = False

    def test_the_first_of_many_that_is_seen_waits_for_what_the_others_are(self, ward: Ward) -> None:
        for name in ("a", "b", "c"):
            ward.machine.crash(name)
        ward.sweep.nudge(ServiceName("a"))  # Docker's events come one by one, and a heal begins with the first
        assert held_for(ward.incident("a")) is HoldCode.OTHERS_FAILING
        assert ward.incident("a").attempts == ()
        ward.beat()
        assert [held_for(ward.incident(name)) for name in ("b", "c")] == [HoldCode.BREAKER_OPEN] * 2
        ward.beat()
        assert held_for(ward.incident("a")) is HoldCode.BREAKER_OPEN
        assert ward.machine.played == []

    def test_streaks_that_are_not_through_count_for_a_wait_and_open_nothing(self, ward: Ward) -> None:
        self.go_silent(ward, "a")
        ward.beat()
        self.go_silent(ward, "b", "c")
        ward.beat()
        assert held_for(ward.incident("a")) is HoldCode.OTHERS_FAILING
        assert ward.store.breakers.standing() == ()
        ward.beat()
        assert [row.services for row in ward.store.breakers.standing()] == [("a", "b", "c")]
        ward.beat()
        assert [held_for(ward.incident(name)) for name in ("a", "b", "c")] == [HoldCode.BREAKER_OPEN] * 3
        assert ward.machine.played == []

    def test_a_wait_ends_at_once_when_the_others_turn_out_well(self, ward: Ward) -> None:
        for name in ("a", "b", "c"):
            ward.machine.crash(name)
        ward.sweep.nudge(ServiceName("a"))
        for name in ("b", "c"):
            ward.machine.start(name)
        ward.beat()
        assert ward.incident("a").closing is Closing.HEALED
        assert [incident.service for incident in ward.incidents()] == ["a"]

    def test_others_that_come_and_go_do_not_keep_one_from_being_healed(self, ward: Ward) -> None:
        ward.machine.crash("a")
        ward.machine.effects["start-container"] = start_target(ward)
        for beat in range(8):
            for name in ("b", "c"):
                ward.machine.boxes[name].answers = beat % 2 == 1
            ward.beat()
        assert ward.incident("a").closing is Closing.HEALED

    def test_what_begins_to_fail_after_the_plan_stops_the_first_change(self, ward: Ward) -> None:
        ward.machine.crash("a")
        ward.engine.crash_before = "apply 1"
        with pytest.raises(Crash):
            ward.beat()
        for name in ("b", "c"):
            ward.machine.crash(name)
        ward.reboot()
        assert [attempt.outcome for attempt in ward.incident("a").attempts] == [Outcome.CANCELLED]
        assert (ward.machine.played, held_for(ward.incident("a"))) == ([], HoldCode.OTHERS_FAILING)

    def test_two_that_fail_are_no_reason_to_wait(self, ward: Ward) -> None:
        for name in ("a", "b"):
            ward.machine.crash(name)
        ward.sweep.nudge(ServiceName("a"))
        assert ward.incident("a").closing is Closing.HEALED

    def test_a_group_stops_for_itself_and_the_rest_of_the_fleet_goes_on(self, tmp_path: Path) -> None:
        members = tuple(replace(service(name), group="shop") for name in ("s1", "s2", "s3"))
        others = tuple(service(f"o{number}") for number in range(6))
        ward = steady(all_start(Ward(tmp_path, (*members, *others))))
        self.crash(ward, "s1", "s2", "s3")
        assert [row.scope for row in ward.store.breakers.standing()] == ["group:shop"]
        self.crash(ward, "o1")
        assert held_for(ward.incident("s1")) is HoldCode.BREAKER_OPEN
        assert ward.incident("o1").closing is Closing.HEALED

    def test_children_of_a_sick_parent_do_not_count_and_the_parent_is_healed(self, tmp_path: Path) -> None:
        children = tuple(replace(service(name), depends_on=(ServiceName("db"),)) for name in ("a", "b", "c"))
        ward = steady(all_start(Ward(tmp_path, (service("db"), *children))))
        self.crash(ward, "db", "a", "b", "c")
        assert ward.store.breakers.standing() == ()
        assert ward.incident("db").closing is Closing.HEALED

    def test_what_people_stopped_is_no_trouble(self, ward: Ward) -> None:
        for name in ("a", "b", "c"):
            ward.machine.stop_by_hand(name)
            ward.beat(2)
        self.crash(ward, "d")
        assert ward.store.breakers.standing() == ()

    @pytest.mark.parametrize("moment", ["before", "after"])
    @pytest.mark.parametrize("step", ["read the incident", "read the service", "escalate"])
    def test_a_crash_while_it_opens_loses_neither_the_breaker_nor_its_incident(
        self, ward: Ward, step: str, moment: str
    ) -> None:
        setattr(ward.engine, f"crash_{moment}", step)
        with pytest.raises(Crash):
            self.crash(ward, "a", "b", "c")
        ward.reboot()
        ward.beat(2)
        (row,) = ward.store.breakers.standing()
        assert row.incident == ward.incident("fleet").id
        assert ward.incident("fleet").state is IncidentState.ESCALATED
        assert len([i for i in ward.incidents() if breaker.is_scope(i.service)]) == 1
        assert ward.machine.played == []


class TestARunbookThatFailsEverywhere:
    @pytest.fixture
    def ward(self, tmp_path: Path) -> Ward:
        """start-container helps nobody; the next rung does."""
        names = ("a", "b", "c", "d")
        limits = FleetLimits(breaker=CALM, memory=NO_PAST, runbooks=RunbookRule(ineffective_results=100))
        ward = Ward(tmp_path, tuple(service(name) for name in names), fleet_limits=limits)
        ward.machine.effects = {"recreate-container": start_target(ward)}
        return steady(ward)

    def fail_on(self, ward: Ward, *names: str) -> None:
        for name in names:
            ward.machine.crash(name, exit_code=3)
            ward.beat()
            ward.beat_until(partial(self.is_healed, ward, name))

    def is_healed(self, ward: Ward, name: str) -> bool:
        return ward.incident(name).closing is Closing.HEALED

    def tried(self, ward: Ward, name: str) -> list[str]:
        return [attempt.plan.runbook for attempt in ward.incident(name).attempts]

    def test_after_three_services_nobody_gets_it_any_more(self, ward: Ward) -> None:
        self.fail_on(ward, "a", "b", "c")
        (row,) = ward.store.breakers.standing()
        assert (row.scope, row.services) == ("runbook:start-container", ("a", "b", "c"))
        self.fail_on(ward, "d")
        assert self.tried(ward, "d") == ["recreate-container"]
        told = [event.text for event in ward.store.story.since(0) if event.kind is StoryKind.DEMOTED]
        assert told == ["start-container is out of service: it failed on 3 services in 24 h: a, b, c"]

    def test_many_failures_on_two_services_do_not_take_it_out(self, ward: Ward) -> None:
        for _ in range(2):
            self.fail_on(ward, "a", "b")
            ward.clock.move(timedelta(minutes=5))
        assert ward.store.breakers.standing() == ()
        assert ward.incident("b").attempts[0].outcome is Outcome.INEFFECTIVE

    def test_a_person_restores_it_and_the_past_is_not_counted_again(self, ward: Ward) -> None:
        self.fail_on(ward, "a", "b", "c")
        breakers.reset("runbook:start-container", by="ada", why="mended", store=ward.store, channels=("ops",), clock=ward.clock)
        self.fail_on(ward, "d")
        assert self.tried(ward, "d") == ["start-container", "recreate-container"]
        assert ward.store.breakers.standing() == ()

    def test_where_no_other_runbook_is_left_people_take_over(self, tmp_path: Path) -> None:
        alone = runbook("start-container", symptoms=START.treats_symptoms, states=START.container_states, rung=10)
        limits = FleetLimits(
            breaker=CALM, memory=NO_PAST, runbooks=RunbookRule(failures_on_services=2, ineffective_results=100)
        )
        names = ("a", "b", "c")
        ward = Ward(tmp_path, tuple(service(name) for name in names), runbooks=(alone,), fleet_limits=limits)
        ward.machine.effects = {}
        steady(ward)
        for name in names:
            ward.machine.crash(name, exit_code=3)
            ward.beat(2)
        refusal = ward.incident("c").refusal
        assert refusal is not None
        assert refusal.code is RefusalCode.NOTHING_KNOWN_HELPS
        assert "out of service until `medic runbook restore start-container`" in refusal.because


@pytest.mark.abuse("33")
@pytest.mark.parametrize("container", ["", "*", "web*", "{{ target }}", "$TARGET", "web,api", "../web", "all of them"])
def test_no_target_is_never_all_of_them(tmp_path: Path, container: str) -> None:
    ward = Ward(tmp_path, (service("web"),))
    ward.machine.add(container)
    ward.store.services.enrol(replace(service("web"), container=container), now=ward.clock.now())
    ward.beat(2)
    ward.machine.crash(container)
    ward.beat()
    assert refused_for(ward.incident("web")) is RefusalCode.NO_TARGET
    assert ward.machine.played == []
