"""verify: look again after an attempt, until steadily WELL or out of time. The only place that may say "healed".

In: an attempt whose playbook has ended, after its settle time. Out: the attempt with its verdict and outcome.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from agent import look
from agent.model import Attempt, Health, Outcome, Receipt, RunEnd, Service, StoryKind, Verdict
from agent.ports import AttemptStore, Clock, Prober, StoryStore

HOPELESS = ("container-exited", "container-dead", "container-missing")
"""Symptoms that do not pass by waiting: nothing but another change brings such a container back."""

HOPELESS_LOOKS = 4
"""So many looks in a row with a hopeless symptom end verify early: 4 looks at `look.PAUSE` is one second."""

LOOKS_KEPT = 50
"""Looks in a receipt: 12 s of them at `look.PAUSE`, more than a steady WELL takes by default."""


def confirm(
    attempt: Attempt,
    service: Service,
    *,
    opened_by: Verdict,
    before: Verdict,
    prober: Prober,
    attempts: AttemptStore,
    story: StoryStore,
    clock: Clock,
) -> Attempt:
    """Look until WELL for `limits.steady_for`, hopeless, or out of `limits.verify_within`; write what that makes of the attempt.

    opened_by, before: the verdict that opened the incident and the look before the attempt, for the receipt of one that healed.
    """
    looks, made = _until_steady(service, prober, clock)
    seen = looks[-1]
    result = outcome(attempt, seen)
    now = clock.now()
    receipt = _receipt(attempt, service, opened_by, before, looks, made) if result is Outcome.HEALED else None
    attempts.end(attempt.incident, attempt.number, result, seen, now=now, receipt=receipt)
    saw = "all checks well" if seen.health is Health.WELL else "; ".join(seen.reasons)
    text = f"{result.value}: {saw}"
    story.tell(attempt.incident, service.name, StoryKind.SEEN_AGAIN, text, now=now, key=f"seen-again {attempt.number}")
    return replace(attempt, outcome=result, verdict=seen, ended_at=now)


def outcome(attempt: Attempt, seen: Verdict) -> Outcome:
    """Return what the verdict makes of the attempt. Only a WELL verdict heals; no data never does."""
    if attempt.outcome is not None:
        return attempt.outcome  # written before a crash; the first writer wins
    if seen.health is Health.WELL:
        return Outcome.HEALED
    end = attempt.run.end if attempt.run else RunEnd.LOST
    match end:
        case RunEnd.COMPLETED:
            return Outcome.INEFFECTIVE if seen.health is Health.SICK else Outcome.AMBIGUOUS
        case RunEnd.FAILED:
            return Outcome.PERMANENT
        case RunEnd.UNREACHABLE:
            return Outcome.TRANSIENT
        case RunEnd.INTERRUPTED | RunEnd.CANCELLED:
            return Outcome.INTERRUPTED
        case RunEnd.TIMED_OUT | RunEnd.LOST | RunEnd.NOT_RUN:
            return Outcome.AMBIGUOUS


def _receipt(
    attempt: Attempt, service: Service, opened_by: Verdict, before: Verdict, looks: Sequence[Verdict], made: int
) -> Receipt:
    return Receipt(
        incident=attempt.incident,
        attempt=attempt.number,
        runbook=attempt.plan.runbook,
        runbook_hash=attempt.plan.runbook_hash,
        opened_by=opened_by,
        before=before,
        ran_until=attempt.ran_until,
        settle=attempt.plan.settle,
        looks_needed=look.looks_needed(service),
        looks_made=made,
        looks=tuple(looks),
    )


def _until_steady(service: Service, prober: Prober, clock: Clock) -> tuple[Sequence[Verdict], int]:
    """Return the last looks, oldest first, and how many there were in all."""
    needed = look.looks_needed(service)
    steady_for = service.limits.steady_for.total_seconds()
    end = clock.monotonic() + service.limits.verify_within.total_seconds()
    well = hopeless = made = 0
    well_since = clock.monotonic()
    looks: deque[Verdict] = deque(maxlen=max(LOOKS_KEPT, needed))
    while True:
        made += 1
        seen = look.at(service, prober, clock)
        looks.append(seen)
        now = clock.monotonic()
        if seen.health is not Health.WELL:
            well, well_since = 0, now
        well += seen.health is Health.WELL
        hopeless = hopeless + 1 if any(symptom.word in HOPELESS for symptom in seen.symptoms) else 0
        steady = well >= needed and now - well_since >= steady_for
        # Out of time while WELL, but not yet for long enough: a few more seconds decide it either way.
        if steady or hopeless >= HOPELESS_LOOKS or (now >= end and well == 0):
            return tuple(looks), made
        clock.sleep(look.PAUSE)
