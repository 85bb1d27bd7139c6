"""The last healthy replica is not disrupted. Pure.

What must never happen is that a remedy takes down the last member of a group that still serves. A member that serves nobody
may be remedied: it cannot get worse.
"""

from agent.model import (
    ContainerState,
    Findings,
    Health,
    ParameterSource,
    Plan,
    Plane,
    Refusal,
    RefusalCode,
    Risk,
    Runbook,
    Service,
    Standing,
    Verdict,
)


def spared(
    decision: Plan | Refusal, service: Service, findings: Findings, runbooks: tuple[Runbook, ...], standing: Standing
) -> Plan | Refusal:
    """Return the decision, or a refusal in its place where it would take down the last member that serves."""
    if not isinstance(decision, Plan) or not standing.peers or not serves(findings):
        return decision
    runbook = next((each for each in runbooks if each.id == decision.runbook), None)
    if runbook is not None and not interrupts(runbook):
        return decision
    if any(peer.well for peer in standing.peers):
        return decision
    others = ", ".join(sorted(peer.service for peer in standing.peers))
    return Refusal(
        code=RefusalCode.LAST_REPLICA,
        because=f"{decision.runbook} would interrupt the last member of group {service.group} that serves: not well: {others}",
    )


def serves(findings: Findings) -> bool:
    """Say whether the sick service may still serve somebody: its container runs, and not every probe of it is red.

    A container without any probe but Docker's own counts as serving, since nothing says that it does not.
    """
    container = findings.evidence.container
    if container is not None and container.state is not ContainerState.RUNNING:
        return False
    return answers(findings.evidence.verdict)


def answers(verdict: Verdict) -> bool:
    """Say whether somebody may still get an answer, by the probes of one look: without any, nothing says that nobody does."""
    probes = [j for j in verdict.judgements if j.plane not in (Plane.HOST, Plane.CONTAINER)]
    return not probes or any(judgement.health is not Health.SICK for judgement in probes)


def interrupts(runbook: Runbook) -> bool:
    """Say whether a runbook takes a running container of the service down, if only for a moment.

    Source: what the shipped ones do: a safe one that acts on the service's container while it runs is a restart, unless it
    says that it is none.
    """
    if not runbook.interrupts:
        return False
    on_container = any(parameter.source is ParameterSource.CONTAINER for parameter in runbook.parameters)
    while_running = not runbook.container_states or ContainerState.RUNNING in runbook.container_states
    return runbook.risk is not Risk.SAFE or (on_container and while_running)
