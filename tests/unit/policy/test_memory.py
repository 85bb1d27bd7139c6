"""The past orders what fits: it lets nothing run and keeps nothing out."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.model import (
    Cause,
    Diagnosis,
    Evidence,
    Findings,
    Health,
    HostName,
    IncidentId,
    Judgement,
    MemoryRule,
    Mode,
    Plan,
    Plane,
    Refusal,
    Remedy,
    Risk,
    Runbook,
    RunbookId,
    ServiceName,
    Standing,
    Sureness,
    Symptom,
    Verdict,
)
from agent.policy import ladder, memory
from agent.steps import plan
from tests import escalated
from tests.fakes import START as NOW
from tests.stories.world import runbook, service

RULE = MemoryRule()
GENTLE = runbook("gentle", symptoms=("http-timeout",), states=(), rung=10)
FIRMER = runbook("firmer", symptoms=("http-timeout",), states=(), rung=20)
HARSH = replace(runbook("harsh", symptoms=("http-timeout",), states=(), rung=30), risk=Risk.DESTRUCTIVE)
WEB = service("web")
VERDICT = Verdict(
    service=ServiceName("web"),
    health=Health.SICK,
    at=NOW,
    judgements=(
        Judgement(
            check="http",
            plane=Plane.DIRECT,
            health=Health.SICK,
            detail="no answer",
            symptoms=(Symptom(word="http-timeout", plane=Plane.DIRECT, detail="no answer"),),
        ),
    ),
)
RULED = Diagnosis(cause=Cause.INCONCLUSIVE, sureness=Sureness.NONE, said_by="none", summary="", plane=None)
INCIDENT = replace(
    escalated.incident(),
    service=ServiceName("web"),
    host=HostName("local"),
    attempts=(),
    refusal=None,
    first=VERDICT,
    diagnosis=None,
)


def findings(ruled: Diagnosis = RULED) -> Findings:
    evidence = Evidence(
        incident=IncidentId("I1"), at=NOW, verdict=VERDICT, container=None, log=(), log_note="", events=(), changes=()
    )
    return Findings(evidence=evidence, diagnosis=ruled, saved=True)


def remedy(of: Runbook, *, helped: int = 0, vain: int = 0, weight: float = 1.0, before: int = 0) -> Remedy:
    """A remedy that helped so often, and then in vain so often; before: failures before it helped."""
    whole = helped + vain + before
    return Remedy(
        runbook=of.id,
        hash=of.hash,
        helped=helped,
        did_not=vain + before,
        chance=helped / whole if whole else 0.0,
        vain=vain,
        vain_weight=vain * weight,
    )


def chosen(*remedies: Remedy, runbooks: tuple[Runbook, ...] = (GENTLE, FIRMER, HARSH), ruled: Diagnosis = RULED) -> str:
    found = ladder.remedy(INCIDENT, WEB, findings(ruled), runbooks, None, remedies=remedies)
    return found.runbook if isinstance(found, Plan) else f"refused: {found.because}"


@pytest.mark.parametrize(
    ("remedies", "first"),
    [
        ((), "gentle"),
        ((remedy(GENTLE, vain=1),), "gentle"),
        ((remedy(GENTLE, vain=2),), "firmer"),
        ((remedy(GENTLE, vain=2, weight=0.49),), "gentle"),
        ((remedy(GENTLE, vain=2), remedy(FIRMER, vain=2)), "harsh"),
        ((remedy(GENTLE, vain=2), remedy(FIRMER, vain=2), remedy(HARSH, vain=2)), "gentle"),
        ((remedy(FIRMER, helped=1),), "firmer"),
        ((remedy(FIRMER, helped=1), remedy(GENTLE, helped=1)), "gentle"),
        ((remedy(FIRMER, helped=1, before=3),), "gentle"),
        ((remedy(FIRMER, helped=9, vain=2),), "gentle"),
        ((remedy(HARSH, helped=9),), "gentle"),
        ((remedy(GENTLE, vain=2), remedy(HARSH, helped=9)), "firmer"),
    ],
    ids=[
        "no past",
        "one failure",
        "as many failures as let people down",
        "failures of long ago",
        "two that let people down",
        "all of them: the lowest rung is tried again",
        "one that helped",
        "both helped",
        "it helped less often than not",
        "it helped, but not of late",
        "what is riskier is never preferred",
        "nor where the first one is out of question",
    ],
)
def test_the_first_choice(remedies: tuple[Remedy, ...], first: str) -> None:
    assert chosen(*remedies) == first


def test_a_remedy_for_the_cause_goes_before_one_that_helped_against_the_signs() -> None:
    known = replace(RULED, cause=Cause.DISK_FULL, sureness=Sureness.CONFIRMED, said_by="rule:disk")
    for_cause = replace(FIRMER, id=RunbookId("for-cause"), treats_causes=(Cause.DISK_FULL,))
    assert chosen(remedy(GENTLE, helped=9), runbooks=(GENTLE, for_cause), ruled=known) == "for-cause"


def test_the_past_brings_back_nothing_that_does_not_fit() -> None:
    never = replace(FIRMER, never_for=(Cause.INCONCLUSIVE,))
    assert chosen(remedy(FIRMER, helped=99), runbooks=(GENTLE, never)) == "gentle"
    assert chosen(remedy(FIRMER, helped=99), runbooks=(never,)).startswith("refused: firmer: never for")


def test_why_a_runbook_was_chosen_says_what_the_past_had_to_do_with_it() -> None:
    found = ladder.remedy(
        INCIDENT, WEB, findings(), (GENTLE, FIRMER), None, remedies=(remedy(GENTLE, vain=3), remedy(FIRMER, helped=2, before=1))
    )
    assert isinstance(found, Plan)
    assert found.why == "treats http-timeout; helped against this trouble 2 of 3 times; gentle (3 times in a row) did not"


@pytest.mark.parametrize("helped", [0, 99])
def test_no_past_raises_permission(helped: int) -> None:
    asks = replace(WEB, runbook_modes=((HARSH.id, Mode.SUGGEST),), limits=replace(WEB.limits, start_grace=timedelta(0)))
    standing = Standing(now=NOW, remedies=(remedy(HARSH, helped=helped),))
    decision = plan.choose(INCIDENT, asks, findings(), (HARSH,), standing)
    assert not isinstance(decision, (Plan, Refusal))
    assert decision.would is not None
    assert decision.would.runbook == "harsh"


def test_results_of_a_runbook_that_was_changed_since_are_not_its_past() -> None:
    assert memory.of_now((remedy(GENTLE, vain=2),), (replace(GENTLE, hash="other"), FIRMER)) == ()


@pytest.mark.parametrize(
    ("remedies", "doubted"),
    [((), False), ((remedy(FIRMER, vain=1),), False), ((remedy(FIRMER, vain=2),), True), ((remedy(GENTLE, vain=2),), False)],
    ids=["no past", "once", "let down", "another runbook"],
)
def test_a_cause_whose_every_remedy_let_people_down_is_in_doubt(remedies: tuple[Remedy, ...], doubted: bool) -> None:
    ruled = replace(RULED, cause=Cause.DISK_FULL, sureness=Sureness.SUSPECTED)
    books = (GENTLE, replace(FIRMER, treats_causes=(Cause.DISK_FULL,)))
    assert (memory.doubts(ruled, remedies, books, RULE) is not None) is doubted
    assert memory.doubts(RULED, remedies, books, RULE) is None
