"""A plan that asks: it waits, a person answers, and everything is looked at afresh before anything is done."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import answering, errands, look, parameters
from agent.errors import ConfigError
from agent.model import (
    Approval,
    Closing,
    HoldCode,
    IncidentId,
    IncidentState,
    Mode,
    Outcome,
    Parameter,
    ParameterSource,
    Permissions,
    Plan,
    RefusalCode,
    Request,
    RequestKind,
    Risk,
    ServiceName,
    StoryKind,
)
from tests.memory_engine import Crash
from tests.stories.world import EVERY, HOST, RECREATE, RESTART, START, Ward, service

KEEP = Parameter(name="keep", kind="integer", source=ParameterSource.PERSON, default="3", minimum=1, maximum=9)
ASKS = replace(START, risk=Risk.DESTRUCTIVE, parameters=(*START.parameters, KEEP))
WAIT = timedelta(hours=1)


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    """`web` is dead, and what would start it asks first."""
    return waiting(tmp_path)


def waiting(folder: Path) -> Ward:
    ward = Ward(folder, (service("web"), service("api")), runbooks=(ASKS, RESTART, RECREATE))
    ward.beat(2)
    ward.machine.crash("web")
    ward.beat()
    return ward


def asked(ward: Ward) -> Approval:
    (approval,) = ward.store.approvals.waiting(ward.clock.now())
    return approval


def say(ward: Ward, yes: bool, id_: str | None = None, why: str = "because") -> tuple[bool, str]:
    words = answering.approve if yes else answering.deny
    answer = words(id_ or asked(ward).id, by="ann", why=why, store=ward.store, clock=ward.clock)
    return answer.accepted, answer.sentence


def hold_of(ward: Ward) -> HoldCode | None:
    hold = ward.incident("web").hold
    return hold.code if hold else None


def refusal_of(ward: Ward) -> RefusalCode | None:
    refusal = ward.incident("web").refusal
    return refusal.code if refusal else None


def test_it_waits_and_says_what_it_would_do(ward: Ward) -> None:
    ward.beat(20)
    incident, request = ward.incident("web"), asked(ward)
    assert ward.machine.played == []
    assert (incident.state, hold_of(ward), incident.attempts) == (IncidentState.HELD, HoldCode.AWAITING_APPROVAL, ())
    assert (request.incident, request.number, request.plan.runbook) == (incident.id, 1, ASKS.id)
    assert request.diff == "would run start-container.yml"
    assert request.impact == "destructive: deletes, replaces or goes back; container web on local, 60 s at most"
    assert request.expires_at - request.asked_at == WAIT
    assert ward.told(incident.id) == [StoryKind.SEEN, StoryKind.EXPLAINED, StoryKind.ASKED, StoryKind.HELD]
    assert ward.notices() == [f"{incident.id}:opened", f"{incident.id}:asked:{request.id}"]


def test_once_approved_it_is_carried_out_with_the_next_beat(ward: Ward) -> None:
    assert say(ward, yes=True) == (True, "A1 approved: start-container on web (I1)")
    ward.beat()
    incident = ward.incident("web")
    assert incident.closing is Closing.HEALED
    assert [(a.number, a.outcome) for a in incident.attempts] == [(1, Outcome.HEALED)]
    assert incident.attempts[0].plan.why.endswith("approved by ann (A1)")
    assert StoryKind.ANSWERED in ward.told(incident.id)
    assert ward.notices()[2:] == [f"{incident.id}:acted:1", f"{incident.id}:resolved"]


def test_denied_it_goes_to_people_with_the_reason(ward: Ward) -> None:
    assert say(ward, yes=False, why="deploy at noon")[0]
    ward.beat()
    incident = ward.incident("web")
    assert incident.state is IncidentState.ESCALATED
    assert incident.refusal is not None
    assert incident.refusal.because == "ann denied start-container: deploy at noon (A1)"
    assert incident.attempts == ()
    assert ward.machine.played == []


def test_a_no_needs_a_reason(ward: Ward) -> None:
    with pytest.raises(ConfigError, match="without a reason"):
        say(ward, yes=False, why=" ")
    assert asked(ward).answer is None


def test_no_answer_in_time_is_a_no(ward: Ward) -> None:
    ward.beat_until(lambda: refusal_of(ward) is not None, at_most=WAIT // EVERY + 3)
    assert refusal_of(ward) is RefusalCode.APPROVAL_EXPIRED
    assert ward.machine.played == []
    assert len(ward.store.approvals.of(ward.incident("web").id)) == 1


def test_how_long_a_request_waits_is_what_medic_yaml_says(tmp_path: Path) -> None:
    minute = timedelta(minutes=1)
    ward = Ward(tmp_path, (service("web"),), runbooks=(ASKS,), permissions=Permissions(approval_expires=minute))
    ward.beat(2)
    ward.machine.crash("web")
    ward.beat()
    assert asked(ward).expires_at - asked(ward).asked_at == minute
    ward.beat_until(lambda: refusal_of(ward) is RefusalCode.APPROVAL_EXPIRED, at_most=minute // EVERY + 3)


@pytest.mark.abuse("68")
def test_an_answer_that_comes_too_late_is_refused(ward: Ward) -> None:
    ward.clock.move(WAIT)
    accepted, sentence = say(ward, yes=True, id_="A1")
    assert not accepted
    assert sentence.startswith("cannot approve 'A1': it expired at 2026-03-01 04:00")


def test_an_approval_that_nothing_came_of_in_time_is_void(ward: Ward) -> None:
    say(ward, yes=True)
    ward.clock.move(WAIT)  # no daemon ran meanwhile
    ward.beat()
    assert refusal_of(ward) is RefusalCode.APPROVAL_EXPIRED
    assert ward.machine.played == []


@pytest.mark.abuse("68")
def test_only_the_first_answer_counts(ward: Ward) -> None:
    say(ward, yes=False)
    assert say(ward, yes=True, id_="A1") == (False, "cannot approve 'A1': ann has denied it already")
    ward.beat()
    assert refusal_of(ward) is RefusalCode.DENIED


@pytest.mark.abuse("68")
def test_after_the_incident_has_ended_there_is_nothing_to_answer(ward: Ward) -> None:
    ward.machine.start("web")
    ward.beat(5)
    incident = ward.incident("web")
    assert (incident.closing, incident.attempts) == (Closing.RECOVERED, ()), "recovering while it waits costs nothing"
    assert ward.store.approvals.waiting(ward.clock.now()) == ()
    assert say(ward, yes=True, id_="A1") == (False, "cannot approve 'A1': I1 is closed")
    ward.beat(5)
    assert ward.machine.played == []


@pytest.mark.abuse("68")
def test_an_approval_of_one_incident_is_none_for_the_next(ward: Ward) -> None:
    say(ward, yes=True)
    ward.machine.start("web")
    ward.beat(5)
    assert ward.machine.played == [], "it was well again before the beat that would have acted"
    ward.machine.crash("web")
    ward.beat_until(lambda: ward.store.approvals.waiting(ward.clock.now()) != ())
    assert (asked(ward).id, asked(ward).incident) == ("A2", "I2")
    assert ward.machine.played == []


class TestEdit:
    def edit(self, ward: Ward, **settings: str) -> tuple[bool, str]:
        answer = answering.edit(
            asked(ward).id, settings, by="ann", why="less", runbooks=ward.runbooks, store=ward.store, clock=ward.clock
        )
        return answer.accepted, answer.sentence

    def test_the_edited_plan_is_approved_by_who_edited_it_and_runs(self, ward: Ward) -> None:
        assert self.edit(ward, keep="5") == (True, "A2 approved: start-container on web with keep=5")
        ward.beat()
        (attempt,) = ward.incident("web").attempts
        assert dict(attempt.plan.parameters)["keep"] == "5"
        assert ward.incident("web").closing is Closing.HEALED
        assert say(ward, yes=True, id_="A1") == (False, "cannot approve 'A1': ann has edited it already")

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"keep": "10"}, "from 1 to 9"),
            ({"container": "api"}, "it takes keep"),
            ({"keep": "3"}, "nothing would change"),
        ],
    )
    def test_an_edit_outside_the_schema_leaves_the_request_waiting(
        self, ward: Ward, settings: dict[str, str], sentence: str
    ) -> None:
        with pytest.raises(ConfigError, match=sentence):
            self.edit(ward, **settings)
        assert asked(ward).id == "A1"

    def test_a_runbook_that_changed_meanwhile_cannot_be_edited(self, ward: Ward) -> None:
        ward.runbooks = (replace(ASKS, hash="1" * 64), RESTART, RECREATE)
        accepted, sentence = self.edit(ward, keep="5")
        assert not accepted
        assert "is not what it was when this was asked" in sentence


@pytest.mark.abuse("49")
def test_a_runbook_file_edited_after_the_approval_voids_it(ward: Ward) -> None:
    say(ward, yes=True)
    ward.runbooks = (replace(ASKS, hash="1" * 64), RESTART, RECREATE)
    ward.reboot()
    ward.beat()
    assert ward.machine.played == []
    assert (asked(ward).id, asked(ward).plan.runbook_hash) == ("A2", "1" * 64)
    say(ward, yes=True)
    ward.beat()
    assert ward.incident("web").closing is Closing.HEALED


def test_a_runbook_edited_under_a_running_daemon_voids_the_approval_at_once(ward: Ward) -> None:
    say(ward, yes=True)
    ward.runbooks = (replace(ASKS, hash="1" * 64), RESTART, RECREATE)
    ward.beat()
    assert ward.machine.played == []
    assert (asked(ward).id, asked(ward).plan.runbook_hash) == ("A2", "1" * 64)


def test_a_runbook_edited_between_plan_and_the_first_change_does_not_run(ward: Ward) -> None:
    say(ward, yes=True)
    look_again = ward.machine.ask

    def edited_meanwhile(*asked_: object) -> object:
        if ward.incident("web").attempts:  # the intent is written: this is the last look before the change
            ward.runbooks = (replace(ASKS, hash="1" * 64), RESTART, RECREATE)
        return look_again(*asked_)  # type: ignore[arg-type]  # handed through

    ward.machine.ask = edited_meanwhile  # type: ignore[method-assign,assignment]  # the world moves while Medic looks
    ward.beat()
    assert ward.machine.played == []
    assert [a.outcome for a in ward.incident("web").attempts] == [Outcome.CANCELLED]
    assert (asked(ward).number, asked(ward).plan.runbook_hash) == (2, "1" * 64)


def test_a_runbook_broken_by_an_edit_does_not_run_while_it_is_broken(ward: Ward) -> None:
    say(ward, yes=True)
    ward.broken = {ASKS.id: "2" * 64}
    ward.beat(20)
    assert (ward.machine.played, ward.incident("web").attempts) == ([], ())
    assert hold_of(ward) is HoldCode.RUNBOOK_EDITED
    ward.broken = {}
    ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED)


def test_a_runbook_that_breaks_between_plan_and_the_first_change_waits_until_it_is_mended(tmp_path: Path) -> None:
    ward = Ward(tmp_path, (service("web"),))
    ward.beat(2)
    ward.machine.crash("web")
    ward.engine.crash_before = "apply 1"
    with pytest.raises(Crash):
        ward.beat()
    ward.broken = {START.id: "2" * 64}
    ward.reboot()
    assert [a.outcome for a in ward.incident("web").attempts] == [Outcome.CANCELLED]
    assert (ward.machine.played, hold_of(ward)) == ([], HoldCode.RUNBOOK_EDITED)
    ward.broken = {}
    ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED)


def test_what_a_person_asked_for_is_refused_once_its_files_are_others(ward: Ward) -> None:
    patient = ward.services[0]
    plan = parameters.plan(ASKS, patient, good_copy=None, settings={}, why="asked for by ann")
    verdict = look.at(patient, ward.machine, ward.clock)
    ward.runbooks = (replace(ASKS, hash="1" * 64), RESTART, RECREATE)
    incident = ward.store.incidents.request(patient, verdict, plan, by="ann", now=ward.clock.now())
    ward.engine.start(incident.id, 1)
    found = ward.store.incidents.get(incident.id)
    assert found is not None
    assert found.refusal is not None
    assert found.refusal.code is RefusalCode.RUNBOOK_CHANGED
    assert ward.machine.played == []


def test_halted_while_approved_it_waits_for_resume(ward: Ward) -> None:
    ward.halt.why = "ops: not now"
    say(ward, yes=True)
    ward.beat(10)
    assert ward.machine.played == []
    assert hold_of(ward) is HoldCode.HALTED
    ward.halt.why = None
    ward.beat_until(lambda: ward.incident("web").closing is Closing.HEALED)


def test_a_request_and_its_answer_outlive_the_daemon(ward: Ward) -> None:
    ward.reboot()
    ward.beat(3)
    assert asked(ward).id == "A1"
    say(ward, yes=True)
    ward.reboot()
    ward.beat()
    assert ward.incident("web").closing is Closing.HEALED


ASKING = ("diagnose 1", "plan 1", "propose 1", "hold 1")
ACTING = ("diagnose 1", "plan 1", "apply 1", "settle 1", "verify 1", "close 1")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ASKING)
def test_cut_while_it_asks_it_asks_once(tmp_path: Path, step: str, moment: str) -> None:
    ward = Ward(tmp_path, (service("web"),), runbooks=(ASKS, RESTART, RECREATE))
    ward.beat(2)
    ward.machine.crash("web")
    setattr(ward.engine, f"crash_{moment}", step)
    with pytest.raises(Crash):
        ward.beat()
    ward.reboot()
    ward.beat(3)
    incident = ward.incident("web")
    assert asked(ward).id == "A1"
    assert ward.machine.played == []
    assert ward.told(incident.id) == [StoryKind.SEEN, StoryKind.EXPLAINED, StoryKind.ASKED, StoryKind.HELD]
    assert ward.notices() == [f"{incident.id}:opened", f"{incident.id}:asked:A1"]
    say(ward, yes=True)
    ward.beat()
    assert ward.incident("web").closing is Closing.HEALED


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ACTING)
def test_cut_after_the_approval_it_acts_once(ward: Ward, step: str, moment: str) -> None:
    say(ward, yes=True)
    setattr(ward.engine, f"crash_{moment}", step)
    with pytest.raises(Crash):
        ward.beat()
    ward.reboot()
    ward.beat(2)
    incident = ward.incident("web")
    assert incident.closing is Closing.HEALED
    assert ward.machine.played == [f"start-container {incident.id}-1"]
    assert ward.notices()[2:] == [f"{incident.id}:acted:1", f"{incident.id}:resolved"]


def test_a_runbook_edited_while_the_daemon_was_dead_voids_what_was_about_to_run(ward: Ward) -> None:
    say(ward, yes=True)
    ward.engine.crash_before = "apply 1"
    with pytest.raises(Crash):
        ward.beat()
    ward.runbooks = (replace(ASKS, hash="1" * 64), RESTART, RECREATE)
    ward.reboot()
    ward.beat()
    assert ward.machine.played == []
    assert (asked(ward).number, asked(ward).plan.runbook_hash) == (2, "1" * 64)
    assert [a.outcome for a in ward.incident("web").attempts] == [Outcome.CANCELLED]


def test_an_approval_that_expired_while_the_daemon_was_dead_lets_nothing_run(ward: Ward) -> None:
    say(ward, yes=True)
    ward.engine.crash_before = "apply 1"
    with pytest.raises(Crash):
        ward.beat()
    ward.clock.move(WAIT)
    ward.reboot()
    ward.beat()
    assert ward.machine.played == []
    assert asked(ward).number == 2


def test_answered_while_the_round_that_asks_is_still_under_way_is_not_lost(tmp_path: Path) -> None:
    ward = Ward(tmp_path, (service("web"),), runbooks=(ASKS, RESTART, RECREATE))
    ward.beat(2)
    ward.machine.crash("web")
    ward.engine.crash_before = "hold 1"
    with pytest.raises(Crash):
        ward.beat()
    say(ward, yes=True)
    ward.reboot()  # the hold that was decided before the answer is written after it
    assert ward.incident("web").state is IncidentState.HELD
    ward.beat()
    assert ward.incident("web").closing is Closing.HEALED


class TestModes:
    def sick(self, folder: Path, mode: Mode = Mode.ACT, **permissions: object) -> Ward:
        web = replace(service("web"), mode=mode)
        ward = Ward(folder, (web,), permissions=Permissions(**permissions))  # type: ignore[arg-type]
        ward.beat(2)
        ward.machine.crash("web")
        ward.beat(200)
        return ward

    def test_observe_writes_down_what_it_would_do_and_tells_nobody(self, tmp_path: Path) -> None:
        ward = self.sick(tmp_path, Mode.OBSERVE)
        incident = ward.incident("web")
        assert incident.hold is not None
        assert incident.hold.because == "would run start-container; the mode is observe"
        assert (ward.machine.played, incident.attempts) == ([], ())
        assert ward.notices() == [f"{incident.id}:opened"]
        assert incident.round > 1, "it is looked at afresh from time to time"

    def test_suggest_tells_people_once_what_it_would_do(self, tmp_path: Path) -> None:
        ward = self.sick(tmp_path, Mode.SUGGEST)
        incident = ward.incident("web")
        assert hold_of(ward) is HoldCode.SUGGESTED
        assert ward.machine.played == []
        assert ward.told(incident.id).count(StoryKind.PROPOSED) == 1
        assert [edge.split(":")[1] for edge in ward.notices()] == ["opened", "suggested"]

    def test_a_dry_run_of_everything_diagnoses_plans_previews_and_changes_nothing(self, tmp_path: Path) -> None:
        ward = self.sick(tmp_path, dry_run=True)
        incident = ward.incident("web")
        assert hold_of(ward) is HoldCode.DRY_RUN
        assert (ward.machine.played, incident.attempts) == ([], ())
        assert incident.diagnosis is not None
        (preview,) = ward.world.bundles.folder(incident.id).glob("proposal-1-*.txt")
        assert preview.read_text() == "would run start-container.yml"
        assert ward.told(incident.id).count(StoryKind.PROPOSED) == 1

    def test_a_dry_run_of_one_service_leaves_the_others_alone(self, tmp_path: Path) -> None:
        ward = Ward(tmp_path, (replace(service("web"), dry_run=True), service("api")))
        ward.beat(2)
        ward.machine.crash("web")
        ward.machine.crash("api")
        ward.machine.effects["start-container"] = lambda: ward.machine.start("api")
        ward.beat(2)
        assert ward.incident("api").closing is Closing.HEALED
        assert hold_of(ward) is HoldCode.DRY_RUN

    def test_a_plan_that_would_ask_is_not_asked_for_in_a_dry_run(self, tmp_path: Path) -> None:
        ward = self.sick(tmp_path, Mode.ASK, dry_run=True)
        assert hold_of(ward) is HoldCode.DRY_RUN
        assert ward.store.approvals.of(ward.incident("web").id) == ()

    def test_a_service_healed_by_hand_while_it_is_only_observed_closes(self, tmp_path: Path) -> None:
        ward = self.sick(tmp_path, Mode.OBSERVE)
        ward.machine.start("web")
        ward.beat(5)
        assert ward.incident("web").closing is Closing.RECOVERED


def test_what_is_disruptive_acts_and_tells(tmp_path: Path) -> None:
    ward = Ward(tmp_path, (service("web"),), runbooks=(replace(START, risk=Risk.DISRUPTIVE), RESTART, RECREATE))
    ward.beat(2)
    ward.machine.crash("web")
    ward.beat()
    incident = ward.incident("web")
    assert incident.closing is Closing.HEALED
    assert ward.notices() == [f"{incident.id}:{edge}" for edge in ("opened", "acted:1", "resolved")]


class TestOnDemand:
    def run(self, ward: Ward) -> tuple[bool, str, IncidentId | None]:
        request = Request(
            id="r1", kind=RequestKind.RUN, service=ServiceName("web"), by="ann", at=ward.clock.now(), runbook=ASKS.id
        )
        answer = errands.answer(request, ward.world, ward.engine, ward.sweep)
        return answer.accepted, answer.sentence, answer.incident

    def test_a_person_who_runs_it_has_approved_it_by_that(self, ward: Ward) -> None:
        accepted, _, incident = self.run(ward)
        assert accepted
        assert ward.machine.played == [f"start-container {incident}-1"]

    def test_a_halt_still_holds(self, ward: Ward) -> None:
        ward.halt.why = "ops"
        assert not self.run(ward)[0]
        assert ward.machine.played == []

    def test_a_dry_run_still_holds(self, tmp_path: Path) -> None:
        ward = Ward(tmp_path, (service("web"),), runbooks=(ASKS,), permissions=Permissions(dry_run=True))
        accepted, sentence, _ = self.run(ward)
        assert (accepted, "dry_run is set" in sentence) == (False, True)
        assert ward.machine.played == []

    def test_where_medic_only_looks_it_is_refused(self, tmp_path: Path) -> None:
        ward = Ward(tmp_path, (service("web"),), runbooks=(ASKS,), permissions=Permissions(look_only=(HOST,)))
        accepted, sentence, _ = self.run(ward)
        assert not accepted
        assert sentence == (
            "cannot run 'start-container' for 'web': host 'local' is reached through SSM, over which Medic looks and does not act;"
            " declare `ssh:` for it"
        )
        assert ward.machine.played == []


def test_where_medic_only_looks_what_it_would_do_is_suggested(tmp_path: Path) -> None:
    ward = Ward(tmp_path, (service("web"),), permissions=Permissions(look_only=(HOST,)))
    ward.beat(2)
    ward.machine.crash("web")
    ward.beat(3)
    hold = ward.incident("web").hold
    assert hold is not None
    assert hold.code is HoldCode.SUGGESTED
    assert ward.machine.played == []
    assert ward.incident("web").attempts == ()


def test_the_plan_that_waits_is_a_plan_that_could_run(ward: Ward) -> None:
    hold = ward.incident("web").hold
    assert hold is not None
    assert isinstance(hold.would, Plan)
    assert hold.would == asked(ward).plan
