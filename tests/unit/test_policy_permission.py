"""Who may let what run: the table of modes, a person's word, and that nothing else can raise permission."""

import inspect
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import parameters
from agent.errors import ConfigError
from agent.model import (
    Answer,
    Approval,
    Hold,
    HoldCode,
    HostName,
    IncidentId,
    Mode,
    Parameter,
    ParameterSource,
    Permissions,
    Plan,
    Refusal,
    RefusalCode,
    Rerun,
    Risk,
    Runbook,
    RunbookId,
    Service,
    ServiceName,
    Standing,
)
from agent.policy import permission
from tests.fakes import START

HOUR = timedelta(hours=1)
PRUNE, RESTART = RunbookId("prune"), RunbookId("restart")
WEB = Service(name=ServiceName("web"), host=HostName("here"), container="web", checks=())
PLAN = Plan(
    runbook=PRUNE,
    runbook_hash="ab12",
    title="Prune",
    risk=Risk.DESTRUCTIVE,
    playbook="prune.yml",
    parameters=(("container", '"web"'), ("keep", "3")),
    timeout=timedelta(minutes=1),
    settle=timedelta(seconds=1),
    rerun=Rerun.NEVER,
    undo=None,
    why="treats disk_full",
)
ASKED = Approval(
    id="A1",
    incident=IncidentId("I1"),
    service=WEB.name,
    number=1,
    digest=permission.digest(PLAN),
    plan=PLAN,
    impact="",
    diff="",
    asked_at=START,
    expires_at=START + HOUR,
)
APPROVED = replace(ASKED, answer=Answer.APPROVED, answered_by="ann", answered_at=START)
DENIED = replace(ASKED, answer=Answer.DENIED, answered_by="bob", why="not tonight")
OBSERVE, SUGGEST, ASK, ACT = Mode


def decide(
    plan: Plan = PLAN, *approvals: Approval, number: int = 1, at: timedelta = timedelta(), service: Service = WEB
) -> object:
    """Return what becomes of a plan: the plan, or the code of the hold or refusal."""
    decision = permission.granted(plan, service, number, Standing(now=START + at, approvals=approvals))
    return decision if isinstance(decision, Plan) else decision.code


@pytest.mark.parametrize(
    ("risk", "service_mode", "everywhere", "here", "mode"),
    [
        (Risk.SAFE, ACT, None, None, ACT),
        (Risk.DISRUPTIVE, ACT, None, None, ACT),
        (Risk.DESTRUCTIVE, ACT, None, None, ASK),  # a service's mode alone does not let it run unasked
        (Risk.DESTRUCTIVE, ACT, ACT, None, ACT),  # naming the runbook does
        (Risk.DESTRUCTIVE, ACT, None, ACT, ACT),
        (Risk.DESTRUCTIVE, ACT, ACT, ASK, ASK),
        (Risk.DESTRUCTIVE, SUGGEST, ACT, ACT, SUGGEST),
        (Risk.SAFE, OBSERVE, ACT, ACT, OBSERVE),
        (Risk.SAFE, ACT, ASK, None, ASK),
        (Risk.SAFE, ACT, ASK, OBSERVE, OBSERVE),
        (Risk.SAFE, ASK, SUGGEST, None, SUGGEST),
        (Risk.SAFE, ASK, None, None, ASK),
    ],
)
def test_the_most_careful_mode_wins_and_the_risk_decides_where_no_mode_names_the_runbook(
    risk: Risk, service_mode: Mode, everywhere: Mode | None, here: Mode | None, mode: Mode
) -> None:
    service = replace(WEB, mode=service_mode, runbook_modes=((RESTART, OBSERVE), *(((PRUNE, here),) if here else ())))
    permissions = Permissions(runbook_modes=((RESTART, OBSERVE), *(((PRUNE, everywhere),) if everywhere else ())))
    assert permission.mode_of(PRUNE, risk, service, permissions) is mode


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [(OBSERVE, HoldCode.OBSERVING), (SUGGEST, HoldCode.SUGGESTED), (ASK, HoldCode.AWAITING_APPROVAL), (ACT, PLAN)],
)
def test_each_mode_goes_as_far_as_it_says(mode: Mode, becomes: object) -> None:
    standing = Standing(now=START, permissions=Permissions(runbook_modes=((PRUNE, mode),)))
    decision = permission.granted(PLAN, WEB, 1, standing)
    assert becomes in (decision, getattr(decision, "code", None))


@pytest.mark.parametrize("mode", [OBSERVE, SUGGEST, ASK, ACT])
def test_where_medic_only_looks_a_runbook_is_suggested_whatever_is_allowed(mode: Mode) -> None:
    permissions = Permissions(runbook_modes=((PRUNE, mode),), look_only=(WEB.host,))
    decision = permission.granted(PLAN, WEB, 1, Standing(now=START, permissions=permissions, approvals=(APPROVED,)))
    assert isinstance(decision, Hold)
    assert decision.code is (HoldCode.OBSERVING if mode is OBSERVE else HoldCode.SUGGESTED)
    assert mode is OBSERVE or "host 'here' is reached through SSM, over which Medic looks and does not act" in decision.because


@pytest.mark.parametrize(
    ("approvals", "number", "at", "becomes"),
    [
        ((), 1, timedelta(), HoldCode.AWAITING_APPROVAL),
        ((ASKED,), 1, timedelta(), HoldCode.AWAITING_APPROVAL),
        ((ASKED,), 1, HOUR, RefusalCode.APPROVAL_EXPIRED),
        ((DENIED,), 1, timedelta(), RefusalCode.DENIED),
        ((DENIED,), 1, HOUR, RefusalCode.DENIED),
        ((APPROVED,), 1, HOUR, RefusalCode.APPROVAL_EXPIRED),
        ((APPROVED,), 2, timedelta(), HoldCode.AWAITING_APPROVAL),
        ((replace(APPROVED, digest="other"),), 1, timedelta(), HoldCode.AWAITING_APPROVAL),
    ],
)
def test_only_an_unexpired_yes_to_this_very_attempt_counts(
    approvals: tuple[Approval, ...], number: int, at: timedelta, becomes: object
) -> None:
    assert decide(PLAN, *approvals, number=number, at=at) is becomes


def test_an_approved_plan_runs_and_names_who_approved_it() -> None:
    assert decide(PLAN, APPROVED) == replace(PLAN, why="treats disk_full; approved by ann (A1)")


@pytest.mark.abuse("68")
@pytest.mark.parametrize(
    "change", [{"runbook_hash": "cd34"}, {"parameters": (("container", '"web"'), ("keep", "0"))}, {"runbook": RESTART}]
)
def test_another_runbook_hash_or_parameter_voids_an_approval(change: dict[str, object]) -> None:
    assert decide(replace(PLAN, **change), APPROVED) is HoldCode.AWAITING_APPROVAL  # type: ignore[arg-type]


class TestEdited:
    PRUNES = Runbook(
        id=PRUNE,
        title="Prune",
        treats_causes=(),
        treats_symptoms=(),
        never_for=(),
        container_states=(),
        needs=(),
        rung=1,
        risk=Risk.DESTRUCTIVE,
        parameters=(
            Parameter(name="container", kind="string", source=ParameterSource.CONTAINER),
            Parameter(name="keep", kind="integer", source=ParameterSource.PERSON, default="3", minimum=1, maximum=9),
        ),
        playbook="prune.yml",
        timeout=timedelta(minutes=1),
        settle=timedelta(seconds=1),
        rerun=Rerun.NEVER,
        undo=None,
        evidence_required=True,
        hash="ab12",
    )
    OTHER = parameters.edited(PLAN, PRUNES, {"keep": "5"})
    EDITED = replace(ASKED, answer=Answer.EDITED, answered_by="ann")
    INTO = replace(APPROVED, id="A2", digest=permission.digest(OTHER), plan=OTHER, edit_of=ASKED.digest)

    def test_the_plan_that_a_person_edited_it_into_runs(self) -> None:
        ran = decide(PLAN, self.EDITED, self.INTO)
        assert isinstance(ran, Plan)
        assert ran.parameters == (("container", '"web"'), ("keep", "5"))

    def test_an_edit_of_what_the_plan_no_longer_is_counts_for_nothing(self) -> None:
        assert decide(replace(PLAN, runbook_hash="new"), self.EDITED, self.INTO) is HoldCode.AWAITING_APPROVAL

    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"keep": "0"}, "give a whole number from 1 to 9"),
            ({"keep": "many"}, "give a whole number"),
            ({"container": "db"}, "cannot set 'container' for runbook 'prune': it takes keep"),
        ],
    )
    def test_an_edit_keeps_to_the_schema_of_the_runbook(self, settings: dict[str, str], sentence: str) -> None:
        with pytest.raises(ConfigError, match=sentence):
            parameters.edited(PLAN, self.PRUNES, settings)


@pytest.mark.parametrize("mode", [ASK, ACT])
def test_a_dry_run_holds_back_what_would_run_or_ask(mode: Mode) -> None:
    modes = Permissions(runbook_modes=((PRUNE, mode),))
    assert decide(PLAN, APPROVED, service=replace(WEB, dry_run=True)) is HoldCode.DRY_RUN
    everywhere = Standing(now=START, approvals=(APPROVED,), permissions=replace(modes, dry_run=True))
    decision = permission.granted(PLAN, WEB, 1, everywhere)
    assert (decision.code, decision.would) == (HoldCode.DRY_RUN, PLAN)  # type: ignore[union-attr]


MODES = st.none() | st.sampled_from(Mode)
WORDS = st.text(max_size=20)


@given(
    plan=st.builds(
        lambda risk, why, title: replace(PLAN, risk=risk, why=why, title=title), st.sampled_from(Risk), WORDS, WORDS
    ),
    service_mode=st.sampled_from(Mode),
    everywhere=MODES,
    here=MODES,
    dry_run=st.booleans(),
    approvals=st.lists(
        st.builds(
            lambda answer, number, late, why, digest: replace(
                ASKED,
                answer=answer,
                number=number,
                expires_at=START + (late * HOUR),
                why=why,
                diff=why,
                impact=why,
                digest=digest,
            ),
            st.none() | st.sampled_from(Answer),
            st.integers(1, 2),
            st.sampled_from((-1, 0, 1)),
            WORDS,
            st.sampled_from((ASKED.digest, "other")),
        ),
        max_size=3,
    ),
)
def test_a_plan_runs_only_by_mode_or_by_an_unexpired_yes_to_exactly_it(
    plan: Plan,
    service_mode: Mode,
    everywhere: Mode | None,
    here: Mode | None,
    dry_run: bool,
    approvals: list[Approval],
) -> None:
    service = replace(WEB, mode=service_mode, runbook_modes=((PRUNE, here),) if here else ())
    permissions = Permissions(runbook_modes=((PRUNE, everywhere),) if everywhere else (), dry_run=dry_run)
    standing = Standing(now=START, permissions=permissions, approvals=tuple(approvals))
    decision = permission.granted(plan, service, 1, standing)
    mode = permission.mode_of(PRUNE, plan.risk, service, permissions)
    yes = any((a.answer, a.number, a.digest) == (Answer.APPROVED, 1, ASKED.digest) and a.expires_at > START for a in approvals)
    if isinstance(decision, Plan):
        assert not dry_run
        assert mode is ACT or (mode is ASK and yes)
        assert permission.digest(decision) == permission.digest(plan)
    elif isinstance(decision, Refusal):
        assert mode is ASK
    else:
        assert decision.look_again > timedelta(0)


def test_permission_takes_no_diagnosis_no_evidence_and_no_confidence() -> None:
    # `at_most` is a mode that can only lower: the table above does not know it, and the next test does.
    assert list(inspect.signature(permission.granted).parameters) == ["plan", "service", "number", "standing", "at_most"]
    seen = {field.name for noun in (Plan, Standing, Permissions, Approval) for field in fields(noun)}
    assert not seen & {"diagnosis", "findings", "evidence", "sureness", "confidence", "log", "lines"}


@pytest.mark.parametrize("at_most", list(Mode))
@pytest.mark.parametrize("mode", list(Mode))
def test_whoever_chose_a_plan_can_only_make_medic_more_careful(mode: Mode, at_most: Mode) -> None:
    service = replace(WEB, mode=mode)
    safe = replace(PLAN, risk=Risk.SAFE)
    standing = Standing(now=START)
    free, lowered = permission.granted(safe, service, 1, standing), permission.granted(safe, service, 1, standing, at_most)
    if isinstance(lowered, Plan):
        assert free == lowered
    both = permission.granted(safe, replace(service, mode=permission.most_careful((mode, at_most))), 1, standing)
    assert type(lowered) is type(both)
    assert getattr(lowered, "code", None) is getattr(both, "code", None)


def test_a_word_for_one_host_is_none_for_another() -> None:
    there = replace(PLAN, host=HostName("gpu-1"))
    word = replace(APPROVED, digest=permission.digest(there), plan=there)

    assert decide(there, word) == replace(there, why=f"{there.why}; approved by ann (A1)")
    assert decide(replace(there, host=HostName("gpu-2")), word) is HoldCode.AWAITING_APPROVAL
