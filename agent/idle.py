"""Idle hosts of a fleet: found by what their cards did, and people asked whether one may be retired. Nothing is stopped unasked.

In: the members, the meter. Out: for one that may go, an incident whose only plan is the runbook `retire-host`, which waits for a
person's word (`policy/permission.py:confirmed`). Safe to repeat: one request a host.
"""

import logging
from collections.abc import Sequence

from agent import berths, look, parameters
from agent.errors import ConfigError, OutsideError
from agent.model import FleetAct, HostName, Member, Runbook, Service, Surroundings
from agent.policy import giving_up, idleness
from agent.ports import Fleet, Workflows, World

logger = logging.getLogger(__name__)

BY = "medic"
"""Who asks for it: not a person, who only answers."""


def ask(members: Sequence[Member], world: World, workflows: Workflows, fleet: Fleet) -> None:
    """Ask people about one idle host that may go: one at a time, so that each answer is about the fleet as it is then."""
    runbook = next((each for each in world.runbooks if each.fleet is FleetAct.RETIRE), None)
    if runbook is None or world.permissions.only_watches or world.permissions.dry_run or world.kill_switch.halted():
        return
    if _is_asked(runbook, world) or world.store.departures.standing():
        return
    try:
        idle = [each for each in berths.loads(members, fleet, world.clock.now()) if each.load is idleness.Load.IDLE]
    except OutsideError as exc:
        logger.debug("cannot tell which hosts are idle", extra={"cause": str(exc)})
        return
    for each in idle:
        if _ask(each, runbook, world, workflows, fleet):
            return


def _is_asked(runbook: Runbook, world: World) -> bool:
    """Say whether a request stands already, answered or not: one that people denied stands until they close it."""
    return any(each.requested is not None and each.requested.runbook == runbook.id for each in world.store.incidents.unclosed())


def _ask(idle: idleness.HostLoad, runbook: Runbook, world: World, workflows: Workflows, fleet: Fleet) -> bool:
    service = next((each for each in world.store.services.services() if each.host == idle.instance), None)
    if service is None or service.host in world.permissions.look_only:
        return False
    stands = berths.berth(HostName(idle.instance), fleet, world.store)
    if stands is None or giving_up.objection(stands, None, serves=True, now=world.clock.now(), act=FleetAct.RETIRE) is not None:
        return False
    cost = "" if idle.usd is None else f"; that time cost up to {idle.usd:.2f} USD"
    return _request(service, runbook, f"{idle.because}{cost}", Surroundings(berth=stands), world, workflows)


def _request(service: Service, runbook: Runbook, why: str, around: Surroundings, world: World, workflows: Workflows) -> bool:
    try:
        plan = parameters.plan(runbook, service, good_copy=None, settings={}, why=why, around=around)
    except ConfigError as exc:
        logger.warning("cannot ask about an idle host", extra={"host": service.host, "cause": str(exc)})
        return False
    verdict = look.at(service, world.prober, world.clock)
    incident = world.store.incidents.request(service, verdict, plan, by=BY, now=world.clock.now())
    workflows.start(incident.id, incident.round)
    logger.info("asks about an idle host", extra={"host": service.host, "incident": incident.id})
    return True
