"""Hosts of a fleet that people let go: where a host stands at this moment, and giving it up.

In: the live groups, the store. Out: a `Berth` for `plan` and for what people are shown; or a row in the departures, which the
drain carries out like any other host that goes (`drain`, `departing`). Nothing is changed here but that row and the ledger.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from agent import money
from agent.errors import OutsideError
from agent.model import (
    Berth,
    Choice,
    Departure,
    DepartureStage,
    FleetAct,
    Health,
    Hold,
    HoldCode,
    HostName,
    IdleRule,
    Incident,
    Member,
    Plan,
    Refusal,
    RefusalCode,
    ReplacementLimits,
    Service,
    Spending,
    SpendingKind,
    Streak,
)
from agent.policy import giving_up, idleness, spot, starting
from agent.policy.idleness import HostLoad
from agent.ports import Clock, Fleet, GpuMeter, Store

SOON = timedelta(seconds=30)


def berth(host: HostName, fleet: Fleet | None, store: Store) -> Berth | None:
    """Return where a host stands in its fleet now; None where it is no member of one, or the groups do not answer."""
    if fleet is None:
        return None
    try:
        return _berth(host, fleet, store)
    except OutsideError:
        return None


def _berth(host: HostName, fleet: Fleet, store: Store) -> Berth | None:
    members = fleet.groups.members()
    member = next((each for each in members if each.instance == host), None)
    if member is None:
        return None
    others = tuple(
        each for each in members if each.in_service and each.group == member.group and each.instance != member.instance
    )
    return _seen(
        Berth(
            member=member,
            others=others,
            sick=_sick(store),
            size=fleet.groups.size(member.group),
            price=fleet.price(member.kind),
            priced_on=fleet.priced_on,
            warm_up=fleet.warm_up,
        ),
        store.departures.latest(),
    )


def choice(act: FleetAct, service: Service, stands: Berth, fleet: Fleet, store: Store) -> Choice:
    """Return what could be done about a host of a fleet: each way with its price, and how the host would go."""
    took = [start.took for start in store.starts.of(service.name)]
    usual = starting.percentile_95(took) if took else stands.warm_up
    return Choice(
        options=giving_up.options(act, service, stands, usual),
        outlook=giving_up.outlook(act, stands, balanced=fleet.balancer is not None),
    )


def _seen(berth: Berth, departures: Sequence[Departure]) -> Berth:
    """Return the berth beside what is known of hosts that go: whoever is on its way out is nobody's replica any more."""
    ending = {each.instance for each in departures if each.stage in spot.ENDING}
    others = tuple(each for each in berth.others if each.instance not in ending)
    here = {each.instance for each in others}
    return replace(berth, others=others, sick=tuple(each for each in berth.sick if each in here), replaced=tuple(departures))


def _sick(store: Store) -> tuple[str, ...]:
    """Return the hosts with a service that is not settled WELL: one that was never looked at counts as not well."""
    streaks = store.services.all_streaks()
    bad = {str(each.host) for each in store.services.services() if each.checks and not _is_well(streaks.get(each.name, ()))}
    return tuple(sorted(bad))


def _is_well(streaks: Sequence[Streak]) -> bool:
    return bool(streaks) and all(streak.settled is Health.WELL for streak in streaks)


def hand_over(
    incident: Incident, number: int, plan: Plan, *, serves: bool, fleet: Fleet, store: Store, clock: Clock
) -> Hold | Refusal:
    """Give the host of `plan` up: from here on the drain has it. Safe to repeat. Raises StoreError.

    Asked with the groups as they are now, not as they were when the plan was made or approved. Returns the Hold that ends the
    round, or why the host stays after all.
    """
    host = plan.host
    if plan.fleet is None or host is None:
        raise ValueError(f"{plan.runbook} gives no host up")
    known = store.departures.of(incident.id)
    if known is not None:
        return _gone(known)
    try:
        found = _berth(host, fleet, store)
    except OutsideError as exc:
        return Hold(code=HoldCode.MONITOR_BLIND, because=str(exc), until="the group answers", look_again=SOON)
    if found is None:
        return Refusal(code=RefusalCode.NO_TARGET, because=f"{host} is no host of the fleet any more")
    limits = None if incident.requested is not None else fleet.replacements
    now = clock.now()
    refusal = giving_up.objection(found, limits, serves=serves, now=now, act=plan.fleet)
    if refusal is None and plan.fleet is FleetAct.RETIRE:
        load = _load(found.member, fleet, clock)
        if isinstance(load, Hold):
            return load
        refusal = giving_up.in_use(found.member.instance, load)
    elif refusal is None:
        refusal = _no_money(incident, number, found, fleet, store, clock)
    if refusal is not None:
        return refusal
    member = found.member
    going = Departure(
        instance=member.instance,
        host=str(host),
        group=member.group,
        stage=DepartureStage.DOOMED,
        why=f"{plan.runbook}: {plan.why}",
        heard_at=now,
        doomed_at=now,
        spot=member.spot,
        kind=member.kind,
        zone=member.zone,
        incident=incident.id,
        attempt=number,
        after_round=incident.round,
        before=tuple(each.instance for each in found.others),
        serves=serves,
        retired=plan.fleet is FleetAct.RETIRE,
    )
    stands, refusal = store.departures.give_up(going, lambda rows: _as_of(rows, found, limits, going))
    return refusal or _gone(stands)


def _as_of(rows: Sequence[Departure], found: Berth, limits: ReplacementLimits | None, going: Departure) -> Refusal | None:
    """Ask once more inside the transaction that writes: another host may have been given up since."""
    act = FleetAct.RETIRE if going.retired else FleetAct.REPLACE
    return giving_up.objection(_seen(found, rows), limits, serves=going.serves, now=going.heard_at, act=act)


def _load(member: Member, fleet: Fleet, clock: Clock) -> HostLoad | Hold | None:
    """Return what a host that is to be retired has to do now: a person's word may be hours old."""
    try:
        return next(iter(loads([member], fleet, clock.now())), None)
    except OutsideError as exc:
        return Hold(code=HoldCode.MONITOR_BLIND, because=str(exc), until="its figures can be read", look_again=SOON)


def loads(members: Sequence[Member], fleet: Fleet, now: datetime) -> tuple[HostLoad, ...]:
    """Return what every host in service had to do; none where nobody tells what the cards do. Raises OutsideError."""
    return () if fleet.meter is None else metered(members, fleet.meter, fleet.idle, fleet.price, now)


def metered(
    members: Sequence[Member], meter: GpuMeter, rule: IdleRule, price: Callable[[str], Decimal | None], now: datetime
) -> tuple[HostLoad, ...]:
    """Return what every host in service had to do within the rule's time, the idle first. Raises OutsideError."""
    here = [each.instance for each in members if each.in_service]
    return idleness.judge(members, meter.use(here, now - rule.within, now), rule, price)


def _no_money(incident: Incident, number: int, found: Berth, fleet: Fleet, store: Store, clock: Clock) -> Refusal | None:
    """Reserve the price of the time until the new host serves, or return why it does not fit into the day's money."""
    amount, kind = giving_up.cost(found), found.member.kind
    if amount is None:
        because = f"{kind} has no price in the price file, so the day's money cannot be kept to"
        return Refusal(code=RefusalCode.NO_MONEY, because=because)
    now = clock.now()
    bought = Spending(
        key=f"{incident.id} replacement {number}",
        kind=SpendingKind.CLOUD,
        what=kind,
        at=now,
        amount=amount,
        incident=incident.id,
    )
    why = store.spending.reserve(bought, now - money.DAY, lambda spent: money.no_room(spent, bought, fleet.daily_usd))
    return None if why is None else Refusal(code=RefusalCode.NO_MONEY, because=why)


def _gone(going: Departure) -> Hold:
    return Hold(
        code=HoldCode.HOST_DOOMED,
        because=f"{going.instance} is drained and replaced ({going.why})",
        until="its group serves without it",
        look_again=SOON,
    )
