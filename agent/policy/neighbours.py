"""Whether an attempt made anything worse, and what that asks for. Pure.

Harm is what was WELL before an attempt and is SICK after it: a check of the patient, or a neighbour whose trouble is laid at
the attempt's door (`ties`). UNKNOWN is never harm, for an undo is a change, and what cannot be seen is no ground for one.
"""

from collections.abc import Sequence

from agent.model import (
    Attempt,
    Harm,
    Health,
    Incident,
    IncidentState,
    ParameterSource,
    Refusal,
    RefusalCode,
    Runbook,
    Verdict,
)
from agent.policy import replicas


def within_reach(runbook: Runbook) -> bool:
    """Say whether a runbook can make anything beside its service worse: it takes a container down, or acts on a proxy.

    Starting what is dead cannot, and services often die together: the first one's start must not look guilty of the second.
    """
    on_proxy = any(parameter.source is ParameterSource.NGINX for parameter in runbook.parameters)
    return on_proxy or runbook.undo is not None or replicas.interrupts(runbook)


def worse(before: Verdict, after: Verdict) -> tuple[str, ...]:
    """Return what is worse than before: each check that was WELL and is SICK, as `<check>: <what was seen>`."""
    well = {judgement.check for judgement in before.judgements if judgement.health is Health.WELL}
    return tuple(f"{j.check}: {j.detail}" for j in after.judgements if j.check in well and j.health is Health.SICK)


def turned_sick(before: Sequence[Verdict], after: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the neighbours that were WELL before and are SICK after."""
    well = {verdict.service for verdict in before if verdict.health is Health.WELL}
    return tuple(verdict for verdict in after if verdict.service in well and verdict.health is Health.SICK)


def taken_back(before: Verdict, after: Verdict, neighbours: Sequence[Verdict]) -> bool:
    """Say whether an undo did its work: the patient is no worse than before the attempt, the harmed neighbours are WELL."""
    return (
        after.health is not Health.UNKNOWN
        and not worse(before, after)
        and all(verdict.health is Health.WELL for verdict in neighbours)
    )


def owes_undo(incident: Incident) -> bool:
    """Say whether its last attempt did harm that its undo has not taken back yet: the incident may not close on that."""
    last = incident.attempts[-1] if incident.attempts and incident.state is not IncidentState.ESCALATED else None
    return last is not None and last.harm is not None and last.plan.undo is not None and last.undo is None


def beyond_undo(attempt: Attempt, before: Verdict) -> Refusal | None:
    """Return why people must take over after an attempt that did harm, or None where the next attempt may be made.

    Harm to the patient alone, without a declared undo, leaves the next rung to try; harm to a neighbour does not.
    """
    if attempt.harm is None:
        return None
    harm = f"{attempt.plan.runbook} did harm: {named(attempt.harm)}"
    if attempt.plan.undo is None:
        undone = "; it declares no undo" if attempt.harm.neighbours else None
    elif attempt.undo_seen and taken_back(before, attempt.undo_seen[0], attempt.undo_seen[1:]):
        undone = None
    else:
        undone = f"; {attempt.plan.undo} did not take it back"
    return None if undone is None else Refusal(code=RefusalCode.HARMED, because=harm + undone)


def beyond_doubt(harm: Harm) -> bool:
    """Say whether a neighbour that hangs on what was changed was harmed: then the runbook is to blame wherever it runs."""
    return any(tie.strong for tie in harm.ties)


def named(harm: Harm) -> str:
    """Return the harm as words: whom, what is wrong with them now, and why that is laid at the attempt's door."""
    why = {tie.service: f": {tie.why}" for tie in harm.ties}
    others = tuple(f"{v.service} ({'; '.join(v.reasons)}{why.get(v.service, '')})" for v in harm.neighbours)
    return ", ".join((*harm.patient, *others))
