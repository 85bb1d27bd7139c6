"""When a check is due, when a streak of judgements counts, how equal troubles read equal. Pure.

In: what the last beats saw and what this one saw. Out: streaks, a `Verdict` after thresholds.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from agent.model import (
    Check,
    Health,
    Judgement,
    Service,
    ServiceName,
    Streak,
    Symptom,
    Thresholds,
    Verdict,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATE_BEAT = timedelta(seconds=0.5)
"""How much earlier than `every` a check may be asked again, at most: beats jitter by milliseconds, and a beat that comes
just before a check's moment must not put it off by a whole interval."""


ASLEEP = timedelta(minutes=2)
"""Two looks further apart than this, and than three times `every`, are not in a row: the machine slept, Medic was stopped or
starved, or the clock stepped. What was seen before that says nothing about a service that has just woken up as well."""


def due(check: Check, last_at: datetime | None, now: datetime, *, spread_by: str = "") -> bool:
    """Say whether a check is to be asked now. A check never asked, or asked in the future (a clock step), is.

    spread_by: the service's name. Its hash moves the moments of the check within `check.every`, so that the checks of 500
    services, all asked together at the first beat, are asked all over the interval from then on.
    """
    if last_at is None or last_at > now:
        return True
    if now - last_at >= check.every - min(LATE_BEAT, check.every / 10):
        return True
    seed = hashlib.sha256(f"{spread_by}\n{check.name}".encode()).digest()
    offset = check.every * (int.from_bytes(seed[:4], "big") / 2**32)
    return (now - _EPOCH - offset) // check.every > (last_at - _EPOCH - offset) // check.every


def advance(
    previous: Sequence[Streak],
    checks: Sequence[Check],
    judgements: Sequence[Judgement],
    now: datetime,
    asked: Mapping[str, datetime] = MappingProxyType({}),
) -> tuple[Streak, ...]:
    """Return the streaks after one look, in the order of `checks`. A pause (`ASLEEP`) ends a streak, not what it settled.

    judgements: those of the checks that were due; a check without one keeps its streak. A check that is gone from `checks`
    loses its streak.
    asked: when each check was last asked before this look, as far as is remembered. A full streak that goes on stays as it
    is, so that a look which shows nothing new writes nothing, and its own time says only when it last changed.
    """
    before = {streak.check: streak for streak in previous}
    seen = {judgement.check: judgement.health for judgement in judgements}
    after = []
    for check in checks:
        streak = before.get(check.name)
        if check.name in seen:
            streak = _longer(streak, check, seen[check.name], now, asked.get(check.name))
        if streak is not None:
            after.append(streak)
    return tuple(after)


def settled(service: Service, streaks: Sequence[Streak], judgements: Sequence[Judgement], now: datetime) -> Verdict:
    """Return the verdict after thresholds: each judgement with the health that its check counts as.

    judgements: the latest of each check. A symptom stays in the verdict only while its check counts as SICK.
    """
    by_check = {streak.check: streak for streak in streaks}
    thresholds = {check.name: check.thresholds for check in service.checks}
    counted = tuple(
        _counted(judgement, by_check[judgement.check], thresholds[judgement.check])
        for judgement in judgements
        if judgement.check in by_check and judgement.check in thresholds
    )
    healths = {judgement.health for judgement in counted}
    worst = next((health for health in (Health.SICK, Health.UNKNOWN) if health in healths), Health.WELL)
    return Verdict(service=service.name, health=worst, at=now, judgements=counted)


def doubtful(streaks: Sequence[Streak]) -> bool:
    """Say whether the latest look at some check was SICK while that check does not count as SICK: bad, and not judged yet."""
    return any(streak.health is Health.SICK and streak.settled is not Health.SICK for streak in streaks)


def blind(streaks: Sequence[Streak], checks: Sequence[Check]) -> bool:
    """Say whether a check could not look for `unknown_after` times in a row: the monitoring itself is what is broken."""
    needed = {check.name: check.thresholds.unknown_after for check in checks}
    return any(s.health is Health.UNKNOWN and s.length >= needed.get(s.check, s.length + 1) for s in streaks)


def fingerprint(service: ServiceName, symptoms: Iterable[Symptom]) -> str:
    """Return a short name for "this trouble of this service", made of facts only: equal troubles read equal.

    Shape: `web:http-status+oom-killed:1f0c2a9b`.
    """
    words = "+".join(sorted({symptom.word for symptom in symptoms})) or "no-symptom"
    return f"{service}:{words}:{hashlib.sha256(f'{service}:{words}'.encode()).hexdigest()[:8]}"


def _longer(streak: Streak | None, check: Check, health: Health, now: datetime, asked: datetime | None) -> Streak:
    if streak is None:
        # Nothing to weigh a first look against: WELL counts at once, one red probe is not yet a sick service.
        first = Streak(check=check.name, health=health, length=1, settled=Health.UNKNOWN, at=now)
        return replace(first, settled=health if health is Health.WELL else _settle(first, check.thresholds))
    last_at = max((at for at in (streak.at, asked) if at is not None), default=None)
    goes_on = streak.health is health and _in_a_row(last_at, check.every, now)
    # Nobody asks how much longer than its threshold a streak is.
    length = min(streak.length + 1, _needed(health, check.thresholds)) if goes_on else 1
    if goes_on and length == streak.length:
        return streak
    longer = replace(streak, health=health, length=length, at=now)
    return replace(longer, settled=_settle(longer, check.thresholds))


def _in_a_row(last_at: datetime | None, every: timedelta, now: datetime) -> bool:
    return last_at is not None and timedelta(0) <= now - last_at <= max(ASLEEP, 3 * every)


def _settle(streak: Streak, thresholds: Thresholds) -> Health:
    return streak.health if streak.length >= _needed(streak.health, thresholds) else streak.settled


def _needed(health: Health, thresholds: Thresholds) -> int:
    match health:
        case Health.SICK:
            return thresholds.sick_after
        case Health.WELL:
            return thresholds.well_after
        case Health.UNKNOWN:
            return thresholds.unknown_after


def _counted(judgement: Judgement, streak: Streak, thresholds: Thresholds) -> Judgement:
    if judgement.health is streak.settled:
        return judgement
    needed = _needed(judgement.health, thresholds)
    detail = (
        f"{judgement.detail} ({judgement.health.value} {streak.length} of {needed} in a row, so still {streak.settled.value})"
    )
    return replace(judgement, health=streak.settled, detail=detail, symptoms=())
