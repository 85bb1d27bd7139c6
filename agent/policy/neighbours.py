"""Who stands beside the patient, and whether an attempt made anything worse. Pure.

A neighbour shares the patient's host and a network, its nginx, or its group. Harm is what was WELL before an attempt and is
SICK after it; UNKNOWN is never harm, for an undo is a change, and what cannot be seen is no ground for one.
"""

from collections.abc import Mapping, Sequence

from agent.model import (
    Attempt,
    Harm,
    Health,
    Incident,
    IncidentState,
    NginxCheck,
    ParameterSource,
    Refusal,
    RefusalCode,
    Runbook,
    Service,
    ServiceName,
    Verdict,
)
from agent.policy import replicas

PRIVATE = frozenset({"none"})
"""Docker's networks that nobody shares, although every container on them carries their name."""


def within_reach(runbook: Runbook) -> bool:
    """Say whether a runbook can make anything beside its service worse: it takes a container down, or acts on a proxy.

    Starting what is dead cannot, and services often die together: the first one's start must not look guilty of the second.
    """
    on_proxy = any(parameter.source is ParameterSource.NGINX for parameter in runbook.parameters)
    return on_proxy or runbook.undo is not None or replicas.interrupts(runbook)


def of(patient: Service, services: Sequence[Service], networks: Mapping[ServiceName, frozenset[str]]) -> tuple[Service, ...]:
    """Return the neighbours of a service among all services. networks: what each one's container is attached to."""
    here = networks.get(patient.name, frozenset()) - PRIVATE
    proxies = _proxies(patient)
    return tuple(
        other
        for other in services
        if other.name != patient.name
        and (
            (other.group is not None and other.group == patient.group)
            or (other.host == patient.host and bool(here & networks.get(other.name, frozenset())))
            or (other.host == patient.host and bool(proxies & _proxies(other)))
        )
    )


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


def named(harm: Harm) -> str:
    """Return the harm as words: whom, and what is wrong with them now."""
    others = tuple(f"{verdict.service} ({'; '.join(verdict.reasons)})" for verdict in harm.neighbours)
    return ", ".join((*harm.patient, *others))


def _proxies(service: Service) -> frozenset[str]:
    """Return the containers of nginx that a service stands behind, and its own, for it may be that nginx."""
    return frozenset({service.container, *(check.nginx for check in service.checks if isinstance(check, NginxCheck))})
