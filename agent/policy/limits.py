"""Budgets of one service and of the fleet: each function returns why nothing (more) runs, or None. Pure.

A `Refusal` hands the incident to people, since waiting would not change it; a `Hold` says when the budget is free again.
Every limit includes the first: with a limit of 3, three may happen and the fourth does not.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import (
    Action,
    Budget,
    Findings,
    Hold,
    HoldCode,
    HostName,
    Incident,
    Limits,
    Outcome,
    Plan,
    Refusal,
    RefusalCode,
    Runbook,
    Service,
    Standing,
)
from agent.policy import restarts

BUSY_FOR = timedelta(seconds=5)
"""About as long as a restart takes."""

MOST_DOUBLINGS = 20
"""2**20 times the shortest first wait that medic.yaml takes (1 s) is longer than its longest wait: no need to count on."""


def spent(incident: Incident, service: Service, heals_in_window: int) -> Refusal | None:
    """The attempts of this incident are spent, or the service was healed too often to believe in another heal."""
    limits = service.limits
    counted = _counted(incident)
    if counted >= limits.attempts:
        tried = ", then ".join(_tried(a.plan, a.outcome) for a in incident.attempts if a.outcome is None or a.outcome.counts)
        return Refusal(code=RefusalCode.ATTEMPTS_SPENT, because=f"{counted} attempts did not help: {tried}")
    if not counted and heals_in_window >= limits.heals_in_window:
        hours = limits.window.total_seconds() / 3600
        return Refusal(
            code=RefusalCode.CHRONIC, because=f"healed {heals_in_window} times in {hours:.0f} h: it does not stay well"
        )
    return None


def same_signature(incident: Incident, service: Service, standing: Standing) -> Refusal | None:
    """The same trouble came too often: another round of the same remedies would only hide it."""
    times = standing.same_before + 1
    if _counted(incident) or times < service.limits.same_signature:
        return None
    return Refusal(
        code=RefusalCode.SAME_SIGNATURE,
        because=f"the same trouble ({incident.fingerprint}) {times} times in {restarts.span(service.limits.window)}",
    )


def actions_spent(service: Service, standing: Standing) -> Refusal | None:
    """Another healer keeps restarting the service, or it was acted on too often, by us and by others together."""
    keeps = restarts.keeps_restarting(standing.restarts, standing.now)
    if keeps is not None:
        return Refusal(code=RefusalCode.OTHER_HEALER, because=f"{keeps}: two healers on one service make it worse")
    since = standing.now - service.limits.window
    ours = [a for a in standing.actions if a.service == service.name and not a.by_person and a.at > since]
    theirs = [restart for restart in standing.restarts if restart.at > since]
    if len(ours) + len(theirs) < service.limits.actions_per_service:
        return None
    by = restarts.named(theirs)
    because = (
        f"acted on {len(ours) + len(theirs)} times in {restarts.span(service.limits.window)}: "
        f"{len(ours)} by Medic{', ' + by if by else ''}"
    )
    return Refusal(code=RefusalCode.ACTIONS_SPENT, because=because)


def backoff(before: int, limits: Limits) -> timedelta:
    """Return how long after the end of the incident before the next one with its fingerprint is acted on.

    Doubles from `limits.first_wait` up to `limits.longest_wait`, whatever the outcomes were.
    before: earlier incidents with this fingerprint inside `limits.window`. Shape: 0 -> 0 s, 1 -> 30 s, 2 -> 60 s, 3 -> 120 s.
    Raises ValueError if before is negative.
    """
    if before < 0:
        raise ValueError(f"cannot wait after {before} incidents")
    if before == 0 or limits.first_wait == timedelta(0):
        return timedelta(0)
    if limits.first_wait >= limits.longest_wait:
        return limits.longest_wait
    return min(limits.first_wait * (1 << min(before - 1, MOST_DOUBLINGS)), limits.longest_wait)


def cooldown(incident: Incident, service: Service, standing: Standing) -> Hold | None:
    """The same trouble ended a moment ago. The second attempt of one incident waits for nothing: it is another rung."""
    if _counted(incident) or standing.same_ended_at is None:
        return None
    wait = backoff(standing.same_before, service.limits)
    # A clock that was set back must not make the wait longer than it is.
    ready = min(standing.same_ended_at, standing.now) + wait
    if ready <= standing.now:
        return None
    ago = restarts.span(max(standing.now - standing.same_ended_at, timedelta(0)))
    return Hold(
        code=HoldCode.COOLDOWN,
        because=f"the same trouble ended {ago} ago, {standing.same_before} times in {restarts.span(service.limits.window)}",
        until=f"{ready:%H:%M:%S} UTC, {restarts.span(wait)} after that end",
        look_again=ready - standing.now,
    )


def fleet_budget(service: Service, standing: Standing) -> Hold | None:
    """So much is done on this host, or in the whole fleet, that something else than one service must be wrong."""
    return no_room(standing.actions, service, standing.budget, standing.now)


def counted_since(service: Service, budget: Budget, now: datetime) -> datetime:
    """Return from when on actions count for any budget of this service."""
    return now - max(service.limits.window, budget.window)


def no_room(actions: Sequence[Action], service: Service, budget: Budget, now: datetime) -> Hold | None:
    """Return why no attempt of this service may begin beside these actions, or None. Asked again where the intent is written.

    actions: of the whole fleet, at least since `counted_since`. Those that people asked for spend nothing.
    """
    return (
        budget_hold(actions, service.host, budget, now)
        or _host_is_busy(actions, service.host, budget)
        or _service_spent(actions, service, now)
    )


def _host_is_busy(actions: Sequence[Action], host: HostName, budget: Budget) -> Hold | None:
    busy = sum(action.under_way and action.host == host and not action.by_person for action in actions)
    if busy < budget.host_at_once:
        return None
    because = f"{busy} playbooks are under way on host {host}"
    return Hold(code=HoldCode.BUDGET_SPENT, because=because, until="one of them has ended", look_again=BUSY_FOR)


def _service_spent(actions: Sequence[Action], service: Service, now: datetime) -> Hold | None:
    """Other attempts of this service were begun since it was planned: the next plan hands it over (`actions_spent`)."""
    since = now - service.limits.window
    ours = sum(action.service == service.name and not action.by_person and action.at > since for action in actions)
    if ours < service.limits.actions_per_service:
        return None
    because = f"acted on {ours} times in {restarts.span(service.limits.window)}"
    return Hold(code=HoldCode.BUDGET_SPENT, because=because, until="it is decided afresh", look_again=BUSY_FOR)


def budget_hold(actions: Sequence[Action], host: HostName, budget: Budget, now: datetime) -> Hold | None:
    """Return why no further action may start on `host` now, or None.

    actions: of the whole fleet. Those that people asked for spend nothing.
    """
    recent = sorted(a.at for a in actions if not a.by_person and a.at > now - budget.window)
    on_host = sorted(a.at for a in actions if not a.by_person and a.at > now - budget.window and a.host == host)
    free = []
    for at, most, where in ((on_host, budget.host_actions, f"on host {host}"), (recent, budget.fleet_actions, "in the fleet")):
        if len(at) >= most:
            # The budget is free again when so many are left in the window that one more fits.
            free.append((at[len(at) - most] + budget.window, f"{len(at)} playbooks in {restarts.span(budget.window)} {where}"))
    if not free:
        return None
    at_last, because = max(free)
    return Hold(
        code=HoldCode.BUDGET_SPENT,
        because=because,
        until=f"{at_last:%H:%M:%S} UTC, when the oldest of them is {restarts.span(budget.window)} ago",
        look_again=min(at_last - now, budget.window),
    )


def unsaved(findings: Findings, runbooks: tuple[Runbook, ...]) -> Refusal | None:
    """Evidence comes before change: without a saved bundle nothing may run."""
    if findings.saved or not all(runbook.evidence_required for runbook in runbooks):
        return None
    return Refusal(
        code=RefusalCode.NO_EVIDENCE, because=f"evidence could not be saved, so nothing is changed: {findings.why_not_saved}"
    )


def _counted(incident: Incident) -> int:
    return sum(attempt.outcome is None or attempt.outcome.counts for attempt in incident.attempts)


def _tried(plan: Plan, outcome: Outcome | None) -> str:
    return f"{plan.runbook} ({outcome.value if outcome else 'unfinished'})"
