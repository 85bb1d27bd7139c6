"""Errands: what a person asks of the daemon, `medic heal` and `medic runbook run`.

In: a `Request`, claimed from the inbox or asked in the foreground. Out: a `RequestAnswer` with the incident to follow, or a
sentence why not. A person's run goes through the same lock, gate, halt and ledger as every attempt, outside the budget.
"""

from dataclasses import replace

from agent import berths, look, parameters, standing
from agent.errors import ConfigError, OutsideError
from agent.model import (
    Health,
    IncidentId,
    IncidentState,
    Request,
    RequestAnswer,
    RequestKind,
    Runbook,
    RunbookId,
    Service,
    ServiceName,
    Surroundings,
)
from agent.policy import permission
from agent.ports import Workflows, World
from agent.sweep import Sweep


def answer(request: Request, world: World, workflows: Workflows, sweep: Sweep) -> RequestAnswer:
    """Carry one request as far as its incident; the heal itself goes on in the background."""
    try:
        service = service_of(request.service, world)
        match request.kind:
            case RequestKind.HEAL:
                return _heal(request, service, world, sweep)
            case RequestKind.RUN:
                return _run(request, service, world, workflows)
    except ConfigError as exc:
        return RequestAnswer(request=request.id, accepted=False, incident=None, sentence=str(exc), mistaken=True)
    except OutsideError as exc:  # claimed is claimed: whoever asked must hear that nothing came of it
        return RequestAnswer(request=request.id, accepted=False, incident=None, sentence=str(exc))


def service_of(name: ServiceName, world: World) -> Service:
    """Return an enrolled service. Raises ConfigError: no target is never "all"."""
    service = world.store.services.service(name)
    if service is None:
        known = ", ".join(sorted(each.name for each in world.store.services.services())) or "none"
        raise ConfigError(f"cannot find service {name!r}: the services are {known}")
    return service


def runbook_of(id_: RunbookId | None, runbooks: tuple[Runbook, ...]) -> Runbook:
    """Return one runbook of the catalogue. Raises ConfigError."""
    runbook = next((each for each in runbooks if each.id == id_), None)
    if runbook is None:
        known = ", ".join(sorted(each.id for each in runbooks))
        raise ConfigError(f"cannot find runbook {id_!r}: the runbooks are {known}")
    return runbook


def good_copy(service: Service, world: World) -> str | None:
    """Return what the service's configuration can be restored from."""
    return parameters.good_copy(service, world.good_copies.latest(service.name))


def around(runbook: Runbook, service: Service, world: World) -> Surroundings:
    """Return what the parameters of one runbook are filled from beside the declaration, and what it would be refused."""
    stands = standing.surroundings(service, world.store, world.good_copies, world.clock.now())
    return replace(
        stands,
        berth=None if runbook.fleet is None else berths.berth(service.host, world.fleet, world.store),
        refused=standing.refused(service, world.containers, world.permissions),
    )


def _heal(request: Request, service: Service, world: World, sweep: Sweep) -> RequestAnswer:
    if (escalated := _escalated(service, world)) is not None:
        sentence = (
            f"cannot heal {service.name!r}: {escalated} is escalated; close it first with `medic incident close {escalated}`"
        )
        return RequestAnswer(request=request.id, accepted=False, incident=escalated, sentence=sentence)
    verdict = sweep.heal_now(service)
    unclosed = [i for i in world.store.incidents.unclosed(service.name) if i.requested is None]
    if not unclosed:
        return RequestAnswer(
            request=request.id,
            accepted=verdict.health is Health.WELL,
            incident=None,
            sentence=f"{service.name} is {verdict.health.value}",
        )
    incident = unclosed[0]
    return RequestAnswer(
        request=request.id, accepted=True, incident=incident.id, sentence=f"healing {service.name} as {incident.id}"
    )


def _escalated(service: Service, world: World) -> IncidentId | None:
    unclosed = (i for i in world.store.incidents.unclosed(service.name) if i.requested is None)
    return next((incident.id for incident in unclosed if incident.state is IncidentState.ESCALATED), None)


def _run(request: Request, service: Service, world: World, workflows: Workflows) -> RequestAnswer:
    halted = world.kill_switch.halted()
    if halted is not None:
        sentence = f"cannot run {request.runbook!r}: halted ({halted}); `medic resume` first"
        return RequestAnswer(request=request.id, accepted=False, incident=None, sentence=sentence)
    if service.dry_run or world.permissions.dry_run:
        sentence = f"cannot run {request.runbook!r}: dry_run is set in medic.yaml; --dry-run shows what it would change"
        return RequestAnswer(request=request.id, accepted=False, incident=None, sentence=sentence)
    runbook = runbook_of(request.runbook, world.runbooks)
    if service.host in world.permissions.look_only:
        sentence = (
            f"cannot run {runbook.id!r} for {service.name!r}: {permission.cannot_act(service.host)}; declare `ssh:` for it"
        )
        return RequestAnswer(request=request.id, accepted=False, incident=None, sentence=sentence, mistaken=True)
    why = f"asked for by {request.by}"
    copy = good_copy(service, world)
    settings = dict(request.settings)
    plan = parameters.plan(runbook, service, good_copy=copy, settings=settings, why=why, around=around(runbook, service, world))
    verdict = look.at(service, world.prober, world.clock)
    incident = world.store.incidents.request(service, verdict, plan, by=request.by, now=world.clock.now())
    workflows.start(incident.id, incident.round)
    sentence = f"running {runbook.id} on {service.name} as {incident.id}"
    return RequestAnswer(request=request.id, accepted=True, incident=incident.id, sentence=sentence)
