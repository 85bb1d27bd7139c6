"""Which remedy: the lowest unused rung that fits, a remedy for the cause before one for a symptom, and only where there is none,
what a model proposes. Pure.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from agent import parameters, rights
from agent.diagnosis import facts as structural
from agent.errors import ConfigError
from agent.model import (
    Cause,
    Diagnosis,
    Findings,
    Health,
    Incident,
    MemoryRule,
    Plan,
    Plane,
    Refusal,
    RefusalCode,
    Remedy,
    Risk,
    Runbook,
    RunbookId,
    Service,
    Sureness,
    Surroundings,
    Symptom,
    Verdict,
)
from agent.policy import advice, memory

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
    remedies: Sequence[Remedy] = (),
    rule: MemoryRule = MemoryRule(),  # noqa: B008  it is a constant
) -> Plan | Refusal:
    """Return the lowest unused rung that fits, a remedy for the cause before one for a symptom; else what a model proposes.

    remedies: what runbooks came to against this very trouble. It only orders what fits: one that let people down comes last, and
    one that helped comes before what would be first without it, unless it is riskier.
    """
    # What was called off before its first change was not tried.
    used = {a.plan.runbook for a in incident.attempts if a.outcome is None or a.outcome.counts}
    symptoms = telling_symptoms(findings.evidence.verdict)
    passed_over: list[str] = []
    behind, ahead = memory.behind(remedies, rule), memory.ahead(remedies, rule)
    fitting: list[tuple[bool, bool, int, Runbook]] = []
    ruled = None if advice.is_named_by_model(findings.diagnosis) else findings.diagnosis.cause

    def objection_to(runbook: Runbook, cause: Cause | None) -> str | None:
        if runbook.id in out_of_service:
            return f"out of service until `medic runbook restore {runbook.id}`"
        return _objection(runbook, service, findings, cause, used, good_copy, around)

    for runbook in runbooks:
        by_cause = _treats_cause(runbook, findings.diagnosis)
        if not by_cause and not any(symptom.word in runbook.treats_symptoms for symptom in symptoms):
            continue
        objection = objection_to(runbook, ruled)
        if objection:
            passed_over.append(f"{runbook.id}: {objection}")
        else:
            fitting.append((runbook.id in behind, not by_cause, runbook.rung, runbook))
    if not fitting:
        proposed = _proposed(findings.diagnosis, runbooks, objection_to, ruled)
        if isinstance(proposed, Runbook):
            return _planned(proposed, findings.diagnosis, service, good_copy, around)
        passed_over += [proposed] if proposed else []
        because = "; ".join(passed_over) or f"no runbook treats {findings.diagnosis.cause.value} here"
        return Refusal(code=RefusalCode.NOTHING_KNOWN_HELPS, because=because)
    for_symptom, runbook = _first(fitting, ahead)
    why = (
        f"treats {', '.join(sorted({s.word for s in symptoms}))}" if for_symptom else f"treats {findings.diagnosis.cause.value}"
    )
    why += memory.said_of(runbook.id, (each[-1].id for each in fitting), remedies, rule)
    try:
        return parameters.plan(runbook, service, good_copy=good_copy, settings={}, why=why, around=around)
    except ConfigError as exc:
        return Refusal(code=RefusalCode.NO_TARGET, because=str(exc))


def _first(fitting: Sequence[tuple[bool, bool, int, Runbook]], ahead: Collection[RunbookId]) -> tuple[bool, Runbook]:
    """Return whether the runbook that comes first is one for a symptom, and the runbook.

    fitting: (let people down here, only for a symptom, rung, runbook) of each that fits.
    """
    behind, for_symptom, _, first = min(fitting, key=lambda fit: fit[:3])
    risks = list(Risk)
    helped = [
        (rung, runbook)
        for *kind, rung, runbook in fitting
        if kind == [behind, for_symptom] and runbook.id in ahead and risks.index(runbook.risk) <= risks.index(first.risk)
    ]
    return for_symptom, min(helped, key=lambda each: each[0])[1] if helped else first


def _proposed(
    diagnosis: Diagnosis,
    runbooks: tuple[Runbook, ...],
    objection_to: Callable[[Runbook, Cause | None], str | None],
    ruled: Cause | None,
) -> Runbook | str:
    """Return the runbook that a model proposes, or what is against it, as words; empty where none is proposed."""
    consultation = diagnosis.consultation
    if consultation is None or consultation.proposal is None:
        return ""
    runbook = next((each for each in runbooks if each.id == consultation.proposal.runbook), None)
    if runbook is None:
        objection: str | None = "the catalogue has none of this name"
    else:
        objection = objection_to(runbook, ruled) or objection_to(runbook, consultation.cause)
    if runbook is not None and objection is None:
        return runbook
    return f"{consultation.proposal.runbook} (proposed by model {consultation.model}): {objection}"


def _planned(
    runbook: Runbook, diagnosis: Diagnosis, service: Service, good_copy: str | None, around: Surroundings
) -> Plan | Refusal:
    """Return the plan of a runbook that a model proposes. Its parameters come from where they always come from."""
    consultation = diagnosis.consultation
    if consultation is None or consultation.proposal is None or consultation.cause is None:
        return Refusal(code=RefusalCode.NOTHING_KNOWN_HELPS, because=f"{runbook.id} is proposed for no cause that was shown")
    why = f"proposed by model {consultation.model} for {consultation.cause.value}"
    why += f", only suggested: {consultation.proposal.because}" if consultation.proposal.because else ""
    try:
        plan = parameters.plan(runbook, service, good_copy=good_copy, settings={}, why=why, around=around)
    except ConfigError as exc:
        return Refusal(code=RefusalCode.NO_TARGET, because=str(exc))
    other = parameters.disagreement(plan, consultation.proposal.parameters)
    if other is not None:
        return Refusal(code=RefusalCode.NOTHING_KNOWN_HELPS, because=f"{runbook.id} ({why}): {other}")
    return replace(plan, proposed_by=f"model:{consultation.model}")


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
    cause: Cause | None,
    used: set[RunbookId],
    good_copy: str | None,
    around: Surroundings,
) -> str | None:
    """Return why this runbook may not run now, as words, or None. cause: the one that it must not be `never_for`."""
    container = findings.evidence.container
    if runbook.id in used:
        return "already tried in this incident"
    if cause in runbook.never_for and cause is not None:
        return f"never for {cause.value}"
    if runbook.evidence_required and not findings.saved:
        return "its evidence could not be saved"
    if runbook.container_states and (container is None or container.state not in runbook.container_states):
        return f"the container is {container.state.value if container else 'not seen'}"
    found = structural.facts(findings.evidence)
    absent = next((fact for fact in runbook.facts if structural.agrees(found, *fact) is None), None)
    if absent is not None:
        return f"nothing shows that {absent[0]} is {absent[1].replace('|', ' or ')}"
    lacking = parameters.unmet(runbook, service, good_copy=good_copy, around=around)
    if lacking:
        return f"the service declares no {lacking.removeprefix('a ')}"
    return rights.lacking(runbook.id, around.refused, service.host)
