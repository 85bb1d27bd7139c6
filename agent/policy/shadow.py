"""Judges decisions that were made and not carried out by what others did. Pure.

What others did is read from how the container looked when the decision was made and when it was well again: an event that Docker
has forgotten is not needed for that. What leaves no trace there is said to be untold, and counts for nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from agent.model import (
    Agreement,
    ContainerFacts,
    ContainerState,
    Deed,
    Hold,
    HoldCode,
    Incident,
    IncidentId,
    IncidentState,
    Outcome,
    RunbookId,
    Shadow,
    ShadowLine,
    ShadowReport,
)

KEPT_FOR = frozenset({HoldCode.OBSERVING, HoldCode.SUGGESTED, HoldCode.DRY_RUN})
"""Holds for which a decision is kept in shadow: nobody but the mode, or a dry run, keeps it from being carried out."""

ENOUGH = 3
"""So many agreements, and nothing else, say that a runbook may be let act. As many as `runbook_limits` takes to stop one."""

LEAVES: Mapping[str, frozenset[Deed]] = {
    "start-container": frozenset({Deed.STARTED}),
    "restart-container": frozenset({Deed.STARTED}),
    "restart-replica": frozenset({Deed.STARTED}),
    "regain-gpu": frozenset({Deed.STARTED}),
    "unpause-container": frozenset({Deed.UNPAUSED}),
    "reconnect-network": frozenset({Deed.RECONNECTED}),
    "recreate-container": frozenset({Deed.RECREATED}),
    "recreate-namespace-child": frozenset({Deed.RECREATED}),
    "recreate-gpu-container": frozenset({Deed.RECREATED}),
    "rollback-image": frozenset({Deed.OTHER_IMAGE}),
    "restore-config": frozenset({Deed.CONFIGURED}),
    "rollback-config": frozenset({Deed.CONFIGURED}),
    "put-back-config": frozenset({Deed.CONFIGURED}),
}
"""What a person who does the same by hand leaves on the container of the service. What is not here leaves nothing there."""


def is_kept(hold: Hold) -> bool:
    """Say whether a Hold keeps back a plan that is to be kept in shadow."""
    return hold.code in KEPT_FOR and hold.would is not None


def deeds(
    before: ContainerFacts | None, after: ContainerFacts | None, config: tuple[str | None, str | None]
) -> tuple[Deed, ...]:
    """Return what was done to a container between two looks.

    config: hashes of its configuration file then and now,
    None where they are not known.
    """
    found = [Deed.CONFIGURED] if None not in config and config[0] != config[1] else []
    if before is None or after is None or after.state is ContainerState.MISSING:
        return tuple(found)
    if before.id != after.id:
        other = before.image_id and after.image_id != before.image_id
        found.append(Deed.OTHER_IMAGE if other else Deed.RECREATED)
    elif before.started_at != after.started_at and after.started_at is not None:
        found.append(Deed.STARTED)
    elif before.state is ContainerState.PAUSED and after.state is ContainerState.RUNNING:
        found.append(Deed.UNPAUSED)
    if before.id == after.id and {n.name for n in before.networks} != {n.name for n in after.networks}:
        found.append(Deed.RECONNECTED)
    return tuple(found)


def agreement(shadow: Shadow, incident: Incident) -> Agreement:
    """Return what became of one decision."""
    if any(attempt.outcome is None or attempt.outcome.counts for attempt in incident.attempts):
        return Agreement.ACTED
    if shadow.ended is None:
        return Agreement.UNTOLD if incident.state is IncidentState.CLOSED else Agreement.OPEN
    if shadow.ended.ran:
        return Agreement.AGREED if shadow.plan.runbook in shadow.ended.ran else Agreement.DIFFERED
    leaves = LEAVES.get(shadow.plan.runbook, frozenset())
    if not leaves or shadow.ended.deeds is None:
        return Agreement.UNTOLD
    if not shadow.ended.deeds:
        return Agreement.BY_ITSELF
    return Agreement.AGREED if leaves.intersection(shadow.ended.deeds) else Agreement.DIFFERED


def usual(incidents: Iterable[Incident]) -> Mapping[RunbookId, timedelta]:
    """Return how long each runbook takes from its intent to "seen well", where it healed: the median."""
    took: dict[RunbookId, list[timedelta]] = {}
    for attempt in (attempt for incident in incidents for attempt in incident.attempts):
        if attempt.outcome is Outcome.HEALED and attempt.ended_at is not None:
            took.setdefault(attempt.plan.runbook, []).append(attempt.ended_at - attempt.intent_at)
    return {runbook: sorted(each)[len(each) // 2] for runbook, each in took.items()}


def report(
    shadows: Sequence[Shadow], incidents: Mapping[IncidentId, Incident], took: Mapping[RunbookId, timedelta], since: datetime
) -> ShadowReport:
    """Return the report. took: how long each runbook usually takes (`usual`). A shadow without its incident is left out."""
    lines = tuple(
        _line(shadow, incidents[shadow.incident], took)
        for shadow in sorted(shadows, key=lambda each: each.at)
        if shadow.incident in incidents
    )
    by_runbook: dict[RunbookId, dict[Agreement, int]] = {}
    for line in lines:
        counts = by_runbook.setdefault(line.would, dict.fromkeys(Agreement, 0))
        counts[line.agreement] += 1
    against = (Agreement.DIFFERED, Agreement.BY_ITSELF)
    return ShadowReport(
        since=since,
        lines=lines,
        counts=tuple((runbook, tuple(counts.items())) for runbook, counts in sorted(by_runbook.items())),
        saved=sum((line.saved for line in lines if line.saved is not None), timedelta(0)),
        ready=tuple(
            runbook
            for runbook, counts in sorted(by_runbook.items())
            if counts[Agreement.AGREED] >= ENOUGH and not any(counts[each] for each in against)
        ),
    )


def _line(shadow: Shadow, incident: Incident, took: Mapping[RunbookId, timedelta]) -> ShadowLine:
    became, runbook = agreement(shadow, incident), shadow.plan.runbook
    saved = None
    if became is Agreement.AGREED and shadow.ended is not None:
        # What others did was seen to help only at the end; Medic would have begun at once, and taken its usual time.
        done = shadow.at + took.get(runbook, shadow.plan.settle)
        saved = max(timedelta(0), shadow.ended.at - done)
    return ShadowLine(
        incident=shadow.incident,
        service=shadow.service,
        at=shadow.at,
        would=runbook,
        said_by=shadow.plan.proposed_by or "rules",
        told=shadow.code is not HoldCode.OBSERVING,
        agreement=became,
        did=_did(shadow, became),
        saved=saved,
        guessed=saved is not None and runbook not in took,
    )


def _did(shadow: Shadow, became: Agreement) -> str:
    ended = shadow.ended
    if became is Agreement.ACTED:
        return "Medic was let act later"
    if ended is None:
        return "a person closed it" if became is Agreement.UNTOLD else "not over yet"
    words = [f"a person ran {', '.join(ended.ran)}"] if ended.ran else []
    if ended.deeds is None:
        words.append("nobody could look")
    else:
        words += [deed.value for deed in ended.deeds]
    return ", ".join(words or ["nothing that was seen"]) + (f" ({ended.by})" if ended.by else "")
