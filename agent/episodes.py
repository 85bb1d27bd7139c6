"""What past incidents teach: which trouble came how often, and what helped against it. Pure; a view of the ledger, nothing of its own.

In: incidents with their attempts. Out: one `Episode` per fingerprint. Old results weigh less (`HALF_LIFE`), and what is older than
is asked for does not count. Nothing a model said is in it: only signs, causes, runbooks and outcomes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model import Cause, Incident, Outcome, RunbookId, ServiceName

HALF_LIFE = timedelta(days=30)
"""After so long a result weighs half: images, hosts and load are not what they were."""
KEEPS = timedelta(days=180)
"""How far back is looked where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What one runbook came to against one trouble."""

    runbook: RunbookId
    helped: int
    did_not: int
    """Attempts that count and did not heal."""
    chance: float
    """Share of its results that healed, old ones weighing less: 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One trouble of one service, over all its incidents."""

    fingerprint: str
    service: ServiceName
    signs: tuple[str, ...]
    """Of its latest incident."""
    cause: Cause | None
    """As it was diagnosed last; None where it never was."""
    times: int
    last: datetime
    handed_over: int
    """How often a person was needed."""
    remedies: tuple[Remedy, ...]
    """The likeliest to help first."""
    incidents: tuple[str, ...]
    """Oldest first."""


def remember(incidents: Iterable[Incident], now: datetime) -> tuple[Episode, ...]:
    """Return one episode per fingerprint, the latest first."""
    groups: dict[str, list[Incident]] = {}
    for incident in sorted(incidents, key=lambda each: each.opened_at):
        groups.setdefault(incident.fingerprint, []).append(incident)
    found = [_episode(fingerprint, alike, now) for fingerprint, alike in groups.items()]
    return tuple(sorted(found, key=lambda each: each.last, reverse=True))


def _episode(fingerprint: str, alike: Sequence[Incident], now: datetime) -> Episode:
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
        remedies=_remedies(alike, now),
        incidents=tuple(each.id for each in alike),
    )


def _remedies(alike: Sequence[Incident], now: datetime) -> tuple[Remedy, ...]:
    results: dict[RunbookId, list[tuple[bool, float]]] = {}
    for attempt in [attempt for incident in alike for attempt in incident.attempts]:
        if attempt.outcome is not None and attempt.outcome.counts:
            weight = 0.5 ** (max(now - attempt.intent_at, timedelta(0)) / HALF_LIFE)
            results.setdefault(attempt.plan.runbook, []).append((attempt.outcome is Outcome.HEALED, weight))
    remedies = [
        Remedy(
            runbook=runbook,
            helped=sum(healed for healed, _ in came),
            did_not=sum(not healed for healed, _ in came),
            chance=sum(weight for healed, weight in came if healed) / sum(weight for _, weight in came),
        )
        for runbook, came in results.items()
    ]
    return tuple(sorted(remedies, key=lambda each: (-each.chance, each.runbook)))
