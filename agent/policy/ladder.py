"""Which remedy: the lowest unused rung that fits, a remedy for the cause before one for a symptom. Pure."""

from agent import parameters
from agent.diagnosis import facts as structural
from agent.errors import ConfigError
from agent.model import (
    Diagnosis,
    Findings,
    Health,
    Incident,
    Plan,
    Plane,
    Refusal,
    RefusalCode,
    Runbook,
    RunbookId,
    Service,
    Sureness,
    Surroundings,
    Symptom,
    Verdict,
)

INNER = (Plane.DIRECT, Plane.HOST_PORT, Plane.ENGINE)
OUTER = (Plane.NGINX, Plane.PUBLIC)


def remedy(
    incident: Incident,
    service: Service,
    findings: Findings,
    runbooks: tuple[Runbook, ...],
    good_copy: str | None,
    out_of_service: tuple[RunbookId, ...] = (),
    around: Surroundings = parameters.ALONE,
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
        objection = _objection(runbook, service, findings, used, good_copy, around)
        if runbook.id in out_of_service:
            objection = f"out of service until `medic runbook restore {runbook.id}`"
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
        return parameters.plan(runbook, service, good_copy=good_copy, settings={}, why=why, around=around)
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
    runbook: Runbook,
    service: Service,
    findings: Findings,
    used: set[RunbookId],
    good_copy: str | None,
    around: Surroundings,
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
    found = structural.facts(findings.evidence)
    absent = next((fact for fact in runbook.facts if structural.agrees(found, *fact) is None), None)
    if absent is not None:
        return f"nothing shows that {absent[0]} is {absent[1].replace('|', ' or ')}"
    lacking = parameters.unmet(runbook, service, good_copy=good_copy, around=around)
    return f"the service declares no {lacking.removeprefix('a ')}" if lacking else None
