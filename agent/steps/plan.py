"""plan: what to do about a diagnosed incident. Pure: facts in, a decision out. The one place that grants permission to act.

In: the incident with its attempts, the findings, the catalogue of runbooks, and `Standing` (the past and people's wishes).
Out: `Plan` (carry this out), `Hold` (do nothing now, because) or `Refusal` (nothing may or can be done: people take over).

The order below is the order of the questions: a person's word, can we see, may we act, does anything help. Each rule is a
function of `agent/policy/`.
"""

from agent.model import Decision, Findings, Incident, Plan, Refusal, Runbook, Service, Standing
from agent.policy import (
    advice,
    alive,
    breaker,
    deploys,
    giving_up,
    holds,
    ladder,
    limits,
    maintenance,
    permission,
    replicas,
    spot,
    starting,
)


def choose(
    incident: Incident, service: Service, findings: Findings, runbooks: tuple[Runbook, ...], standing: Standing
) -> Decision:
    """Return the decision for one incident at this moment."""
    return (
        holds.halted(standing.halted)
        or spot.doomed(standing.departures, service.host)
        or permission.confirmed(
            giving_up.spared(permission.asked_for(incident, runbooks), incident, service, findings, standing),
            incident,
            standing,
        )
        or holds.silenced(standing)
        or maintenance.hold(standing)
        or breaker.hold(standing.breaker)
        or holds.cannot_see(incident, findings)
        or holds.blind_network(findings, standing)
        or holds.deploying(findings, standing)
        or holds.stopped_on_purpose(incident, findings)
        or deploys.taken_down(service, findings, standing)
        or deploys.running(incident, service, findings, standing)
        or holds.quarantined(findings)
        or starting.warming(service, findings, standing)
        or holds.parent_down(standing)
        or alive.flapping(standing)
        or alive.overload(findings)
        or alive.wrong_probe(service, findings)
        or limits.spent(incident, service, standing.heals_in_window)
        or limits.same_signature(incident, service, standing)
        or limits.actions_spent(service, standing)
        or limits.cooldown(incident, service, standing)
        or limits.fleet_budget(service, standing)
        or limits.unsaved(findings, runbooks)
        or breaker.wait(incident, standing.others, standing.now)
        or _permitted(_remedy(incident, service, findings, runbooks, standing), incident, service, findings, runbooks, standing)
    )


def _remedy(
    incident: Incident, service: Service, findings: Findings, runbooks: tuple[Runbook, ...], standing: Standing
) -> Plan | Refusal:
    found = ladder.remedy(
        incident,
        service,
        findings,
        runbooks,
        standing.good_copy,
        standing.out_of_service,
        standing.around,
        standing.remedies,
        standing.memory,
    )
    decided = replicas.spared(found, service, findings, runbooks, standing)
    return giving_up.spared(decided, incident, service, findings, standing)


def _permitted(
    remedy: Plan | Refusal,
    incident: Incident,
    service: Service,
    findings: Findings,
    runbooks: tuple[Runbook, ...],
    standing: Standing,
) -> Decision:
    match remedy:
        case Plan():
            at_most = advice.at_most(remedy, findings.diagnosis, runbooks)
            return permission.granted(remedy, service, len(incident.attempts) + 1, standing, at_most)
        case Refusal():
            return remedy
