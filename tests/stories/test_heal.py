"""Whole heals on the make-believe machine: what happens, what is written down, who is told."""

from datetime import timedelta
from pathlib import Path

import pytest

from agent.model import Closing, HoldCode, IncidentState, Limits, Outcome, Recorded, RefusalCode, RunEnd, ServiceName, StoryKind
from tests.stories.world import RECREATE, RESTART, Ward, service

WEB = ServiceName("web")


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    made = Ward(tmp_path, (service("web"), service("api")))
    made.beat(2)
    return made


def test_a_healthy_fleet_is_left_alone(ward: Ward) -> None:
    ward.beat(10)
    assert ward.machine.played == []
    assert ward.incidents() == ()


def test_a_crashed_container_is_started_again_and_the_story_is_whole(ward: Ward) -> None:
    ward.machine.crash("web")
    ward.beat()
    incident = ward.incident("web")
    assert ward.machine.played == [f"start-container {incident.id}-1"]
    assert (incident.state, incident.closing) == (IncidentState.CLOSED, Closing.HEALED)
    assert [(a.number, a.outcome) for a in incident.attempts] == [(1, Outcome.HEALED)]
    assert ward.told(incident.id) == [
        StoryKind.SEEN,
        StoryKind.EXPLAINED,
        StoryKind.TRYING,
        StoryKind.TASK,
        StoryKind.TRIED,
        StoryKind.SEEN_AGAIN,
        StoryKind.HEALED,
    ]
    assert ward.notices() == [f"{incident.id}:opened", f"{incident.id}:resolved"]


def test_the_sweep_report_says_who_was_sick_and_who_was_healed(ward: Ward) -> None:
    ward.machine.crash("web")
    ward.beat(2)
    after, during = ward.store.sweeps.latest(2)
    assert during.sick == (WEB,)
    assert during.opened == (ward.incident("web").id,)
    assert after.healed == (WEB,)
    assert set(during.checked) == {WEB, ServiceName("api")}


def test_a_hung_service_is_restarted_after_its_streak_and_not_before(ward: Ward) -> None:
    ward.machine.boxes["web"].answers = False
    ward.beat()
    assert ward.incidents() == ()
    ward.beat()
    incident = ward.incident("web")
    assert [a.plan.runbook for a in incident.attempts] == [RESTART.id]
    assert incident.closing is Closing.HEALED


@pytest.mark.abuse("21")
def test_one_failed_probe_among_good_ones_starts_nothing(ward: Ward) -> None:
    for _ in range(5):
        ward.machine.boxes["web"].answers = False
        ward.beat()
        ward.machine.boxes["web"].answers = True
        ward.beat()
    assert ward.incidents() == ()


def test_what_docker_refuses_costs_no_attempt_and_people_read_what_it_needs(ward: Ward) -> None:
    ward.machine.refused = ("start", "create", "remove")
    ward.machine.crash("web")
    ward.beat()
    incident = ward.incident("web")
    assert ward.machine.played == []
    assert incident.attempts == ()
    assert incident.state is IncidentState.ESCALATED
    assert incident.refusal is not None
    assert "start-container: it needs start, which Docker on local refuses Medic" in incident.refusal.because
    assert "recreate-container: it needs create, remove and start" in incident.refusal.because


class TestTwoAttempts:
    @pytest.fixture
    def doomed(self, ward: Ward) -> Ward:
        """Nothing brings `web` back: it dies again as soon as it is started."""

        def dies_again() -> None:
            ward.machine.start("web")
            ward.machine.crash("web", exit_code=3)

        ward.machine.effects = {"start-container": dies_again, "recreate-container": dies_again}
        ward.machine.crash("web", exit_code=3)
        ward.beat()
        return ward

    def test_the_second_attempt_is_the_next_rung(self, doomed: Ward) -> None:
        assert [a.plan.runbook for a in doomed.incident("web").attempts] == ["start-container", "recreate-container"]
        assert [a.outcome for a in doomed.incident("web").attempts] == [Outcome.INEFFECTIVE, Outcome.INEFFECTIVE]

    def test_the_incident_escalates_exactly_at_the_second_failed_verification(self, doomed: Ward) -> None:
        incident = doomed.incident("web")
        assert incident.state is IncidentState.ESCALATED
        assert incident.refusal is not None
        assert incident.refusal.code is RefusalCode.ATTEMPTS_SPENT
        assert doomed.told(incident.id).count(StoryKind.TRYING) == 2
        assert doomed.told(incident.id)[-1] is StoryKind.ESCALATED
        record = doomed.store.services.record(WEB)
        assert record is not None
        assert record.status is Recorded.ERROR
        assert record.diagnostic

    def test_an_escalated_incident_is_watched_and_not_healed(self, doomed: Ward) -> None:
        played = list(doomed.machine.played)
        doomed.beat(20)
        assert doomed.machine.played == played
        assert len(doomed.incidents()) == 1

    def test_it_ends_when_a_person_has_mended_the_service(self, doomed: Ward) -> None:
        doomed.machine.start("web")
        doomed.beat(4)
        incident = doomed.incident("web")
        assert (incident.state, incident.closing) == (IncidentState.CLOSED, Closing.RECOVERED)
        record = doomed.store.services.record(WEB)
        assert record is not None
        assert record.status is Recorded.RUNNING
        assert doomed.notices() == [f"{incident.id}:{edge}" for edge in ("opened", "escalated", "resolved")]

    def test_the_report_is_there_to_read(self, doomed: Ward) -> None:
        folder = doomed.world.bundles.folder(doomed.incident("web").id)
        assert {"report.md", "report.json", "report.html", "recheck.sh"} <= {file.name for file in folder.iterdir()}


class TestHolding:
    def test_what_a_person_stopped_is_left_alone(self, ward: Ward) -> None:
        ward.machine.stop_by_hand("web")
        ward.beat(10)
        incident = ward.incident("web")
        assert ward.machine.played == []
        assert incident.hold is not None
        assert incident.hold.code is HoldCode.STOPPED_ON_PURPOSE
        assert incident.attempts == ()
        record = ward.store.services.record(WEB)
        assert record is not None
        assert record.status is Recorded.STOPPED

    def test_it_is_kept_well_again_once_a_person_has_started_it(self, ward: Ward) -> None:
        ward.machine.stop_by_hand("web")
        ward.beat(2)
        ward.machine.start("web")
        ward.beat(4)
        assert ward.incident("web").closing is Closing.RECOVERED
        ward.machine.crash("web")
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED

    def test_a_crash_with_the_exit_code_of_a_stop_is_healed(self, ward: Ward) -> None:
        ward.machine.crash("web", exit_code=143)
        ward.beat()
        assert ward.incident("web").closing is Closing.HEALED

    @pytest.mark.abuse("24")
    def test_a_young_container_is_given_its_grace(self, ward: Ward) -> None:
        ward.machine.start("web")
        ward.machine.boxes["web"].answers = False
        ward.sweep.nudge(WEB)
        ward.sweep.nudge(WEB)
        incident = ward.incident("web")
        assert incident.hold is not None
        assert incident.hold.code is HoldCode.WARMING
        ward.machine.boxes["web"].answers = True
        ward.beat(4)
        assert ward.incident("web").closing is Closing.RECOVERED
        assert ward.machine.played == []

    def test_a_young_container_that_stays_silent_is_restarted_when_its_grace_is_over(self, ward: Ward) -> None:
        ward.machine.start("web")
        ward.machine.boxes["web"].answers = False
        ward.beat_until(lambda: ward.machine.played != [])
        assert ward.incident("web").closing is Closing.HEALED

    @pytest.mark.abuse("69")
    def test_halted_means_that_nothing_is_changed_until_resume(self, ward: Ward) -> None:
        ward.halt.why = "ops: deploying by hand"
        ward.machine.crash("web")
        ward.beat(5)
        incident = ward.incident("web")
        assert ward.machine.played == []
        assert incident.hold is not None
        assert incident.hold.code is HoldCode.HALTED
        ward.halt.why = None
        ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED)
        assert [a.number for a in ward.incident("web").attempts] == [1]


class TestCannotLook:
    def test_a_blind_monitor_starts_no_remedy_and_is_one_incident(self, ward: Ward) -> None:
        ward.machine.blind = "cannot ask Docker: connection refused"
        ward.beat(20)
        assert ward.machine.played == []
        (incident,) = ward.incidents()
        assert incident.service == "host:local"
        assert incident.state is IncidentState.ESCALATED
        assert incident.refusal is not None
        assert incident.refusal.code is RefusalCode.CANNOT_SEE

    @pytest.mark.abuse("43")
    def test_a_wrong_host_key_is_told_at_once_beside_that_the_host_was_away(self, ward: Ward) -> None:
        """First it is cut off, then something answers in its place: two troubles, and the second must not hide in the first."""
        ward.machine.crash("web")
        ward.machine.blind = "cannot reach host 'local' over SSH: no answer"
        ward.beat(4)
        ward.machine.blind, ward.machine.wrong_key = "cannot reach host 'local' over SSH: it showed another key", True
        ward.beat()
        assert {incident.service for incident in ward.incidents()} == {"host:local", "host-key:local"}
        security = ward.incident("host-key:local")
        assert security.state is IncidentState.ESCALATED
        assert [symptom.word for symptom in security.first.symptoms] == ["host-key-changed"]
        ward.beat(20)
        assert len(ward.incidents()) == 2
        assert ward.machine.played == []

    def test_a_wrong_host_key_is_over_only_once_the_right_one_is_shown(self, ward: Ward) -> None:
        ward.machine.blind, ward.machine.wrong_key = "it showed another key", True
        ward.beat()
        ward.machine.blind, ward.machine.wrong_key = "no answer at all", False
        ward.beat(2)
        assert ward.incident("host-key:local").state is IncidentState.ESCALATED
        ward.machine.blind = None
        ward.beat()
        assert ward.incident("host-key:local").closing is Closing.RECOVERED

    def test_it_ends_when_the_host_can_be_seen_again(self, ward: Ward) -> None:
        ward.machine.blind = "cannot ask Docker: connection refused"
        ward.beat(5)
        ward.machine.blind = None
        ward.beat(1)
        (incident,) = ward.incidents()
        assert incident.closing is Closing.RECOVERED


@pytest.mark.abuse("28")
def test_what_was_removed_by_force_is_made_again(ward: Ward) -> None:
    ward.machine.effects["recreate-container"] = lambda: (ward.machine.add("web"), None)[1]
    ward.machine.remove("web")
    ward.beat()
    assert [a.plan.runbook for a in ward.incident("web").attempts] == [RECREATE.id]
    assert ward.incident("web").closing is Closing.HEALED


def test_a_playbook_that_lies_is_ineffective(ward: Ward) -> None:
    ward.machine.effects = {"start-container": lambda: None}
    ward.machine.crash("web")
    ward.beat()
    assert ward.incident("web").attempts[0].outcome is Outcome.INEFFECTIVE


def test_a_service_that_gets_well_before_the_first_change_costs_no_attempt(ward: Ward) -> None:
    ward.machine.crash("web")
    ward.engine.crash_before = "plan 1"
    with pytest.raises(BaseException, match="plan 1"):
        ward.beat()
    ward.machine.start("web")
    ward.reboot()
    incident = ward.incident("web")
    assert incident.closing is Closing.RECOVERED
    assert ward.machine.played == []
    assert all(a.outcome is Outcome.SUPERSEDED for a in incident.attempts)


def test_a_playbook_that_could_not_reach_its_target_is_not_called_a_permanent_failure(ward: Ward) -> None:
    ward.machine.effects = {"start-container": lambda: RunEnd.UNREACHABLE}
    ward.machine.crash("web")
    ward.beat()
    assert ward.incident("web").attempts[0].outcome is Outcome.TRANSIENT


@pytest.mark.abuse("38")
def test_a_service_healed_too_often_is_a_chronic_patient(tmp_path: Path) -> None:
    # The same signs every time: only the limit of heals is left to stop it.
    ward = Ward(tmp_path, (service("web", limits=Limits(same_signature=100, first_wait=timedelta(0))),))
    ward.beat(2)
    for _ in range(5):
        ward.machine.crash("web")
        ward.beat(2)
        assert ward.incident("web").closing is Closing.HEALED
    ward.machine.crash("web")
    ward.beat()
    incident = ward.incident("web")
    assert incident.refusal is not None
    assert incident.refusal.code is RefusalCode.CHRONIC
    assert len(ward.machine.played) == 5


def test_a_container_that_dies_again_soon_was_never_healed(ward: Ward) -> None:
    def lives_for_a_moment() -> None:
        ward.machine.start("web")
        ward.machine.dies_at["web"] = ward.clock.now() + timedelta(seconds=2.5)

    ward.machine.effects = {"start-container": lives_for_a_moment, "recreate-container": lives_for_a_moment}
    ward.machine.crash("web", exit_code=3)
    ward.beat()
    assert [a.outcome for a in ward.incident("web").attempts] == [Outcome.INEFFECTIVE] * 2


def test_what_halt_called_off_may_be_tried_after_resume(ward: Ward) -> None:
    ward.machine.crash("web")
    ward.engine.crash_before = "apply 1"
    with pytest.raises(BaseException, match="apply 1"):
        ward.beat()
    ward.halt.why = "ops: wait"
    ward.reboot()
    ward.halt.why = None
    ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED)
    assert [a.outcome for a in ward.incident("web").attempts] == [Outcome.CANCELLED, Outcome.HEALED]


def test_while_halted_the_timeline_says_so_once(ward: Ward) -> None:
    ward.halt.why = "ops: deploying by hand"
    ward.machine.crash("web")
    ward.beat(10)
    assert ward.told(ward.incident("web").id).count(StoryKind.HELD) == 1
