"""plan: what to do about a diagnosed incident. Pure: facts in, a decision out. The one place that grants permission to act.

In: the incident with its attempts, the findings, the catalogue of runbooks, the service's limits, now.
Out: `Plan` (carry this out), `Hold` (do nothing now, because) or `Refusal` (nothing may or can be done: people take over).

The order below is the order of the questions: a person's word, can we see, may we act, does anything help.
"""

from datetime import datetime, timedelta
from pathlib import Path

from agent import parameters, policy
from agent.errors import ConfigError
from agent.model import (
    ContainerState,
    Decision,
    Diagnosis,
    Findings,
    Health,
    Hold,
    HoldCode,
    Incident,
    Outcome,
    Plan,
    Plane,
    Refusal,
    RefusalCode,
    Runbook,
    RunbookId,
    Service,
    Sureness,
    Symptom,
    Verdict,
)

BLIND_FOR = timedelta(seconds=30)
HALTED_FOR = timedelta(seconds=5)
STOPPED_FOR = timedelta(days=1)
"""Shown to people only: the sweep leaves a stopped service alone until somebody starts it, however long that takes."""

INNER = (Plane.DIRECT, Plane.HOST_PORT, Plane.ENGINE)
OUTER = (Plane.NGINX, Plane.PUBLIC)


def choose(
    incident: Incident,
    service: Service,
    findings: Findings,
    runbooks: tuple[Runbook, ...],
    *,
    good_copy: Path | None,
    heals_in_window: int,
    halted: str | None,
    now: datetime,
) -> Decision:
    """Return the decision for one incident at this moment.

    good_copy: the template or kept copy that a configuration can be restored from.
    heals_in_window: incidents of this service healed inside `limits.window`.
    halted: who said stop, or None.
    """
    if halted is not None:
        return Hold(code=HoldCode.HALTED, because=halted, until="`medic resume`", look_again=HALTED_FOR)
    if incident.requested is not None:
        return incident.requested
    return (
        _cannot_see(incident, findings)
        or _stopped_on_purpose(incident, findings)
        or _warming(service, findings, now)
        or _spent(incident, service, heals_in_window)
        or _unsaved(findings, runbooks)
        or _remedy(incident, service, findings, runbooks, good_copy)
    )


def _cannot_see(incident: Incident, findings: Findings) -> Decision | None:
    verdict = findings.evidence.verdict
    if verdict.health is not Health.UNKNOWN:
        return None
    because = "; ".join(verdict.reasons) or "no check could look"
    if incident.first.health is Health.UNKNOWN:
        # The streak of UNKNOWN opened this incident: the monitoring is what is broken, and people mend that.
        return Refusal(code=RefusalCode.CANNOT_SEE, because=because)
    return Hold(code=HoldCode.MONITOR_BLIND, because=because, until="a check can look again", look_again=BLIND_FOR)


def _stopped_on_purpose(incident: Incident, findings: Findings) -> Hold | None:
    container = findings.evidence.container
    if container is None or container.state not in (ContainerState.EXITED, ContainerState.MISSING):
        return None
    ours = tuple((attempt.intent_at, attempt.ran_until) for attempt in incident.attempts)
    stop = policy.stop_by_others(findings.evidence.events, ours=ours, removed=container.state is ContainerState.MISSING)
    if stop is None:
        return None
    return Hold(
        code=HoldCode.STOPPED_ON_PURPOSE,
        because=f"Docker was told to {stop.action} it at {stop.at:%H:%M:%S} UTC, and not by Medic",
        until="a person starts the container",
        look_again=STOPPED_FOR,
    )


def _warming(service: Service, findings: Findings, now: datetime) -> Hold | None:
    container = findings.evidence.container
    if container is None or container.state is not ContainerState.RUNNING or container.started_at is None:
        return None
    left = container.started_at + service.limits.start_grace - now
    if left <= timedelta(0):
        return None
    age = (now - container.started_at).total_seconds()
    return Hold(
        code=HoldCode.WARMING,
        because=f"its container started {age:.0f} s ago",
        until=f"it answers, or {service.limits.start_grace.total_seconds():.0f} s after its start",
        look_again=left,
    )


def _spent(incident: Incident, service: Service, heals_in_window: int) -> Refusal | None:
    limits = service.limits
    counted = [attempt for attempt in incident.attempts if attempt.outcome is None or attempt.outcome.counts]
    if len(counted) >= limits.attempts:
        tried = ", then ".join(_tried(attempt.plan, attempt.outcome) for attempt in counted)
        return Refusal(code=RefusalCode.ATTEMPTS_SPENT, because=f"{len(counted)} attempts did not help: {tried}")
    if not counted and heals_in_window >= limits.heals_in_window:
        hours = limits.window.total_seconds() / 3600
        return Refusal(
            code=RefusalCode.CHRONIC, because=f"healed {heals_in_window} times in {hours:.0f} h: it does not stay well"
        )
    return None


def _tried(plan: Plan, outcome: Outcome | None) -> str:
    return f"{plan.runbook} ({outcome.value if outcome else 'unfinished'})"


def _unsaved(findings: Findings, runbooks: tuple[Runbook, ...]) -> Refusal | None:
    if findings.saved or not all(runbook.evidence_required for runbook in runbooks):
        return None
    return Refusal(
        code=RefusalCode.NO_EVIDENCE, because=f"evidence could not be saved, so nothing is changed: {findings.why_not_saved}"
    )


def _remedy(
    incident: Incident, service: Service, findings: Findings, runbooks: tuple[Runbook, ...], good_copy: Path | None
) -> Plan | Refusal:
    """Return the lowest unused rung that fits, a remedy for the cause before one for a symptom."""
    # What was called off before its first change was not tried.
    used = {a.plan.runbook for a in incident.attempts if a.outcome is None or a.outcome.counts}
    symptoms = telling_symptoms(findings.evidence.verdict)
    passed_over: list[str] = []
    fitting: list[tuple[bool, int, Runbook]] = []
    for runbook in runbooks:
        by_cause = _treats_cause(runbook, findings.diagnosis)
        if not by_cause and not any(symptom.word in runbook.treats_symptoms for symptom in symptoms):
            continue
        objection = _objection(runbook, service, findings, used, good_copy)
        if objection:
            passed_over.append(f"{runbook.id}: {objection}")
        else:
            fitting.append((not by_cause, runbook.rung, runbook))
    if not fitting:
        because = "; ".join(passed_over) or f"no runbook treats {findings.diagnosis.cause.value} here"
        return Refusal(code=RefusalCode.NOTHING_KNOWN_HELPS, because=because)
    for_symptom, _, runbook = min(fitting, key=lambda fit: fit[:2])
    why = (
        f"treats {', '.join(sorted({s.word for s in symptoms}))}" if for_symptom else f"treats {findings.diagnosis.cause.value}"
    )
    try:
        return parameters.plan(runbook, service, good_copy=good_copy, settings={}, why=why)
    except ConfigError as exc:
        return Refusal(code=RefusalCode.NO_TARGET, because=str(exc))


def telling_symptoms(verdict: Verdict) -> tuple[Symptom, ...]:
    """Return the symptoms that speak of the container itself.

    Where an inner plane answers well, a red proxy or public plane says nothing against the container: only nginx's own
    symptoms stay, so that a healthy container is never restarted for a broken route.
    """
    inner_well = any(j.plane in INNER and j.health is Health.WELL for j in verdict.judgements)
    return tuple(s for s in verdict.symptoms if not (inner_well and s.plane in OUTER and not s.word.startswith("nginx-")))


def _treats_cause(runbook: Runbook, diagnosis: Diagnosis) -> bool:
    return diagnosis.sureness is Sureness.CONFIRMED and diagnosis.cause in runbook.treats_causes


def _objection(
    runbook: Runbook, service: Service, findings: Findings, used: set[RunbookId], good_copy: Path | None
) -> str | None:
    """Return why this runbook may not run now, as words, or None."""
    container = findings.evidence.container
    if runbook.id in used:
        return "already tried in this incident"
    if findings.diagnosis.cause in runbook.never_for:
        return f"never for {findings.diagnosis.cause.value}"
    if runbook.evidence_required and not findings.saved:
        return "its evidence could not be saved"
    if runbook.container_states and (container is None or container.state not in runbook.container_states):
        return f"the container is {container.state.value if container else 'not seen'}"
    lacking = parameters.unmet(runbook, service, good_copy=good_copy)
    return f"the service declares no {lacking.removeprefix('a ')}" if lacking else None
