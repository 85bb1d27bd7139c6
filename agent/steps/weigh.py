"""weigh: what an attempt did beside healing, and what that makes of its runbook.

In: an attempt that verify has ended, with the neighbours as they were before it. Out: the attempt with its harm, if
any; the runbook's mark is in the store. Safe to enter again: the harm is written once, a mark has a name.
"""

from collections.abc import Sequence
from dataclasses import replace

from agent import neighbourhood
from agent.model import (
    Attempt,
    Harm,
    Outcome,
    RunbookMark,
    RunbookMarkKind,
    Service,
    StoryKind,
    Verdict,
)
from agent.policy import neighbours
from agent.ports import AttemptStore, Clock, Containers, Prober, RunbookStandingStore, StoryStore


def judge(
    attempt: Attempt,
    patient: Service,
    before: Verdict,
    services: Sequence[Service],
    *,
    prober: Prober,
    containers: Containers,
    attempts: AttemptStore,
    runbook_standing: RunbookStandingStore,
    story: StoryStore,
    clock: Clock,
) -> Attempt:
    """Return the attempt with what it made worse, and note what its runbook has shown.

    before: the patient before the first change. services: every service that should run.
    Raises OutsideError when Docker cannot say who stopped a neighbour.
    """
    harm = attempt.harm
    if harm is None:
        harm, by_chance = _harm(attempt, before, services, prober, containers, clock)
        _tell_chance(attempt, patient, by_chance, story, clock)
    if harm is not None:
        attempts.harmed(attempt.incident, attempt.number, harm)
        _tell_harm(attempt, patient, harm, story)
    mark = _mark(attempt, patient, harm, clock)
    if mark is not None:
        runbook_standing.note(mark)
    return replace(attempt, harm=harm)


def _harm(
    attempt: Attempt,
    before: Verdict,
    services: Sequence[Service],
    prober: Prober,
    containers: Containers,
    clock: Clock,
) -> tuple[Harm | None, tuple[Verdict, ...]]:
    """Return the harm, None without any, and the neighbours that turned sick meanwhile by chance."""
    patient = neighbours.worse(before, attempt.verdict) if attempt.verdict is not None else ()
    guilty, by_chance = neighbourhood.harmed(attempt, services, prober=prober, containers=containers, clock=clock)
    others, why = tuple(each.verdict for each in guilty), tuple(each.tie for each in guilty)
    harm = Harm(at=clock.now(), patient=patient, neighbours=others, ties=why) if patient or others else None
    return harm, by_chance


def _tell_chance(attempt: Attempt, patient: Service, by_chance: Sequence[Verdict], story: StoryStore, clock: Clock) -> None:
    """Say that a neighbour fell sick at the same time, and that nothing links that to the attempt: people may know better."""
    if by_chance:
        seen = ", ".join(f"{verdict.service} ({'; '.join(verdict.reasons)})" for verdict in by_chance)
        text = f"turned sick meanwhile, and nothing links it to {attempt.plan.runbook}: {seen}"
        key = f"by chance {attempt.number}"
        story.tell(attempt.incident, patient.name, StoryKind.EXPLAINED, text, now=clock.now(), key=key)


def _tell_harm(attempt: Attempt, patient: Service, harm: Harm, story: StoryStore) -> None:
    worse = neighbours.named(harm)
    scope = "everywhere" if neighbours.beyond_doubt(harm) else f"on {patient.name}"

    def tell(kind: StoryKind, text: str) -> None:
        story.tell(attempt.incident, patient.name, kind, text, now=harm.at, key=f"{kind.value} {attempt.number}")

    tell(StoryKind.HARMED, f"well before {attempt.plan.runbook} and sick after it: {worse}")
    tell(
        StoryKind.DEMOTED, f"{attempt.plan.runbook} asks first {scope} until `medic runbook test {attempt.plan.runbook}` passes"
    )


def _mark(attempt: Attempt, patient: Service, harm: Harm | None, clock: Clock) -> RunbookMark | None:
    """Return what the attempt shows of its runbook, None where it shows nothing against it."""
    name = f"{attempt.incident}-{attempt.number}"
    if harm is not None:
        return RunbookMark(
            runbook=attempt.plan.runbook,
            hash=attempt.plan.runbook_hash,
            kind=RunbookMarkKind.HARMFUL,
            at=harm.at,
            service=None if neighbours.beyond_doubt(harm) else patient.name,
            because=f"it did harm in {name}: {neighbours.named(harm)}",
            key=f"{name} harmful",
        )
    if attempt.outcome is Outcome.INEFFECTIVE:
        return RunbookMark(
            runbook=attempt.plan.runbook,
            hash=attempt.plan.runbook_hash,
            kind=RunbookMarkKind.INEFFECTIVE,
            at=attempt.ended_at or clock.now(),
            service=patient.name,
            because=f"it did not help in {name}",
            key=f"{name} ineffective",
        )
    return None
