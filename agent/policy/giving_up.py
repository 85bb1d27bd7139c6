"""Whether a host of a fleet may be given up by its people's word, and what each way of answering its trouble costs. Pure.

In: a plan that gives the host up, its `Berth`, whether it still serves. Out: the decision, or a refusal in its
place; the options and their prices, as lines that people read before they say yes.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from agent.model import (
    Berth,
    Departure,
    Findings,
    FleetAct,
    Incident,
    Plan,
    Refusal,
    RefusalCode,
    ReplacementLimits,
    Service,
    Standing,
)
from agent.policy import replicas
from agent.policy.idleness import HostLoad, Load

HOUR = timedelta(hours=1)
BOOT = timedelta(minutes=5)
"""What a machine takes to go down and to come back before its services start. Source: runbooks/reboot-host, `settle`."""


Decided = TypeVar("Decided", Plan | Refusal, Plan | Refusal | None)


def spared(
    decision: Decided, incident: Incident, service: Service, findings: Findings, standing: Standing
) -> Decided | Refusal:
    """Return the decision, or a refusal where it would take the last host that serves, or one more of a loop.

    What a person asked for is outside the automatic budget, and of that the loop is a part; the last host is not.
    """
    if not isinstance(decision, Plan) or decision.fleet is None:
        return decision
    berth = standing.around.berth
    if berth is None:
        because = f"{decision.runbook} acts on a host of a fleet, and the groups do not say that {service.host} is one"
        return Refusal(code=RefusalCode.NO_TARGET, because=because)
    limits = None if incident.requested is not None else standing.replacement_limits
    return objection(berth, limits, serves=replicas.serves(findings), now=standing.now, act=decision.fleet) or decision


def objection(
    berth: Berth,
    limits: ReplacementLimits | None,
    *,
    serves: bool,
    now: datetime,
    act: FleetAct = FleetAct.REPLACE,
) -> Refusal | None:
    """Return why a host must stay where it is, None where nothing speaks against giving it up.

    serves: whether it still answers anybody. A host that answers nobody may go even where it is the last one. limits: None
    leaves the history out.
    """
    instance, group = berth.member.instance, berth.member.group
    if serves and not berth.well:
        doubted = f"; not well: {', '.join(berth.sick)}" if berth.sick else ""
        return Refusal(code=RefusalCode.LAST_HOST, because=f"{instance} is the last host of {group} that serves{doubted}")
    if act is FleetAct.RETIRE:
        return _too_small(berth)
    return loop(berth, limits, now) if limits is not None else None


def _too_small(berth: Berth) -> Refusal | None:
    """Nobody comes for a host that is retired: the group must be allowed to be one smaller."""
    size, group = berth.size, berth.member.group
    if size.wanted > max(size.smallest, 1):
        return None
    because = f"{group} is to have {size.wanted} hosts and may have no fewer than {max(size.smallest, 1)} (medic:minSize)"
    return Refusal(code=RefusalCode.LAST_HOST, because=because)


def in_use(instance: str, load: HostLoad | None) -> Refusal | None:
    """Return why a host is not retired after all: it has work now, or nobody knows."""
    if load is not None and load.load is Load.IDLE:
        return None
    because = "the group does not count it as in service" if load is None else load.because
    return Refusal(code=RefusalCode.IN_USE, because=f"{instance} is retired only while it is idle: {because}")


def loop(berth: Berth, limits: ReplacementLimits, now: datetime) -> Refusal | None:
    """Return the refusal of one replacement more, with the history, where its pool or its fleet was replaced too often."""
    member = berth.member
    of_fleet = given_up(berth.replaced, member.group, now - limits.within)
    of_pool = [each for each in of_fleet if (each.kind, each.zone) == (member.kind, member.zone)]
    if len(of_pool) >= limits.of_pool:
        return _looped(of_pool, f"pool {member.kind} in {member.zone or 'its zone'}", limits.of_pool, limits.within)
    if len(of_fleet) >= limits.of_fleet:
        return _looped(of_fleet, f"fleet {member.group}", limits.of_fleet, limits.within)
    return None


def given_up(departures: Sequence[Departure], group: str, since: datetime) -> tuple[Departure, ...]:
    """Return the hosts of a group that Medic had replaced since then, oldest first: not those that the cloud took back."""
    ours = [
        each
        for each in departures
        if each.attempt is not None and each.group == group and each.doomed_at is not None and not each.retired
    ]
    return tuple(each for each in sorted(ours, key=_given_up_at) if _given_up_at(each) > since)


def _given_up_at(departure: Departure) -> datetime:
    return departure.doomed_at or departure.heard_at


def _looped(history: Sequence[Departure], where: str, most: int, within: timedelta) -> Refusal:
    rows = [f"{each.instance} at {_given_up_at(each):%Y-%m-%d %H:%M} UTC ({each.incident}: {each.why})" for each in history]
    hours = within / HOUR
    because = f"{where} was replaced {len(history)} times within {hours:g} h, {most} are allowed: {'; '.join(rows)}"
    return Refusal(code=RefusalCode.REPLACEMENT_LOOP, because=because)


def cost(berth: Berth) -> Decimal | None:
    """Return at most how many US dollars a replacement costs beside the host that it replaces: its time until it serves."""
    return None if berth.price is None else berth.price * Decimal(berth.warm_up / HOUR).quantize(Decimal("0.0001"))


def options(act: FleetAct, service: Service, berth: Berth, usual_start: timedelta) -> tuple[str, ...]:
    """Return every way of answering, each with its price, the one that is asked for marked with `*`.

    usual_start: how long the service takes from its start until it answers.
    """
    member = berth.member
    hour = "at a price that the price file does not have" if berth.price is None else f"{berth.price:.3f} USD/h"
    priced = f"{member.kind} on demand, prices of {berth.priced_on}; spot costs less"
    capacity = f"{_minutes(BOOT + usual_start)} with {len(berth.others)} of {len(berth.others) + 1} hosts"
    if act is FleetAct.RETIRE:
        return (
            f"* retire-host: {hour} less ({priced}); {berth.size.wanted - 1} hosts are left, and the autoscaler brings one back"
            f" within {_minutes(berth.warm_up)} when there is work",
            f"do nothing: {hour} goes on being paid for it",
            "fewer hosts for good: medic:minSize, or medic:sleepCron and medic:wakeCron for the nights",
        )
    replacement = cost(berth)
    spent = f"up to {replacement:.2f} USD" if replacement is not None else hour
    return (
        f"restart container {service.container}: 0 USD, {_minutes(usual_start)} without it; it does not mend a card",
        f"reboot-host: 0 USD, {capacity}",
        f"* replace-host: {spent} for the {_minutes(berth.warm_up)} until the new host serves ({hour}, {priced})",
        f"do nothing: {hour} goes on being paid for it, and its trouble stays",
    )


def outlook(act: FleetAct, berth: Berth, *, balanced: bool) -> tuple[str, ...]:
    """Return what would be done, step by step, as people are shown it. balanced: a balancer sends requests to the host."""
    this = f"{berth.member.instance} ({berth.member.kind}, {berth.member.zone})"
    retires = act is FleetAct.RETIRE
    ends = (
        f"serves on with {berth.size.wanted - 1} hosts"
        if retires
        else f"serves again with {berth.size.wanted} hosts once the new one is seen well, within {_minutes(berth.warm_up)}"
    )
    steps = (
        *([f"takes {this} out of the balancer and lets its requests end"] if balanced else []),
        f"tells {berth.member.group} to end it and {'become one smaller' if retires else 'start another'}",
        "ends its containers, keeps their last words",
        ends,
    )
    return tuple(f"{number}. {step}" for number, step in enumerate(steps, 1))


def last_of(going: Departure, berth: Berth) -> Refusal | None:
    """Return why a host that was given up may not go after all: time has passed, and now it is the last that serves."""
    act = FleetAct.RETIRE if going.retired else FleetAct.REPLACE
    return objection(berth, None, serves=going.serves, now=going.heard_at, act=act) if going.attempt is not None else None


def _minutes(span: timedelta) -> str:
    minutes = span / timedelta(minutes=1)
    return f"{span.total_seconds():.0f} s" if minutes < 1 else f"{minutes:.0f} min"
