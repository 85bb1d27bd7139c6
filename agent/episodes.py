"""What past incidents teach: which trouble came how often, and what helped against it. Pure; a view of the ledger, nothing of its own.

In: incidents with their attempts, what a person wants forgotten, and the moment. Out: one `Episode` per fingerprint. Old results
weigh less, and what is older than the rule keeps does not count. Nothing a model said is in it: only signs, causes, runbooks and
outcomes, so nothing that a log says can be remembered.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from agent.model import Attempt, Episode, Incident, MemoryRule, Outcome, Remedy, RunbookId


def remember(
    incidents: Iterable[Incident], now: datetime, rule: MemoryRule, forgotten: Mapping[str, datetime]
) -> tuple[Episode, ...]:
    """Return what is remembered at `now`, the trouble that came last first.

    incidents: in any order; those to come, and those older than the rule keeps, count for nothing. forgotten: fingerprints, each
    with the moment up to which a person wants it forgotten.
    """
    groups: dict[str, list[Incident]] = {}
    for incident in sorted(incidents, key=lambda each: each.opened_at):
        since = max(now - rule.keeps, forgotten.get(incident.fingerprint, now - rule.keeps))
        if since < incident.opened_at <= now:
            groups.setdefault(incident.fingerprint, []).append(incident)
    found = [_episode(fingerprint, alike, now, rule) for fingerprint, alike in groups.items()]
    return tuple(sorted(found, key=lambda each: each.last, reverse=True))


def _episode(fingerprint: str, alike: Sequence[Incident], now: datetime, rule: MemoryRule) -> Episode:
    latest = alike[-1]
    explained = [each.diagnosis.cause for each in alike if each.diagnosis is not None]
    return Episode(
        fingerprint=fingerprint,
        service=latest.service,
        signs=tuple(dict.fromkeys(symptom.word for symptom in latest.first.symptoms)),
        cause=explained[-1] if explained else None,
        times=len(alike),
        last=latest.opened_at,
        handed_over=sum(each.refusal is not None for each in alike),
        remedies=_remedies(alike, now, rule),
        incidents=tuple(each.id for each in alike),
    )


def _remedies(alike: Sequence[Incident], now: datetime, rule: MemoryRule) -> tuple[Remedy, ...]:
    results: dict[tuple[RunbookId, str], list[tuple[bool, float]]] = {}
    for attempt in sorted((a for incident in alike for a in incident.attempts), key=lambda each: each.intent_at):
        healed = _helped(attempt)
        if healed is not None and attempt.intent_at <= now:
            weight = 0.5 ** (max(now - attempt.intent_at, timedelta(0)) / rule.half_life)
            results.setdefault((attempt.plan.runbook, attempt.plan.runbook_hash), []).append((healed, weight))
    remedies = [_remedy(*version, came) for version, came in results.items()]
    return tuple(sorted(remedies, key=lambda each: (-each.chance, each.runbook, each.hash)))


def _helped(attempt: Attempt) -> bool | None:
    """Say whether an attempt helped; None where it says nothing of its runbook."""
    if attempt.outcome is Outcome.HEALED:
        return True
    return False if attempt.outcome is not None and attempt.outcome.failed else None


def _remedy(runbook: RunbookId, hash_: str, came: Sequence[tuple[bool, float]]) -> Remedy:
    """came: (whether it healed, weight) of each result, oldest first."""
    whole = sum(weight for _, weight in came)
    vain: list[float] = []
    for healed, weight in reversed(came):
        if healed:
            break
        vain.append(weight)
    return Remedy(
        runbook=runbook,
        hash=hash_,
        helped=sum(healed for healed, _ in came),
        did_not=sum(not healed for healed, _ in came),
        # A result so old that its weight is no number any more still counts as one.
        chance=sum(weight for healed, weight in came if healed) / whole if whole else float(came[-1][0]),
        vain=len(vain),
        vain_weight=sum(vain),
    )
