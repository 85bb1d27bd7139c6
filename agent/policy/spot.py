"""Hosts that the cloud takes back: what their events amount to, how a drain fits into the time left, and what comes after.

Pure: events, rows and `now` in; the next row, a timetable, a sentence out.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent.model import (
    Departure,
    DepartureStage,
    FleetEvent,
    FleetEventKind,
    FleetSize,
    Hold,
    HoldCode,
    HostName,
    Member,
    Timetable,
)

NOTICE = timedelta(seconds=120)
"""From an interruption notice to the end of the host. Source: EC2 User Guide, "Spot Instance interruption notices"."""
MARGIN = timedelta(seconds=10)
"""What is not done so long before the end is lost: the host may be slow to the last."""
LEAVING = 4.0
"""Seconds for telling the balancer: one call with its retry."""
LONGEST_FINISH, LONGEST_STOP, LONGEST_KEEP = 36.0, 45.0, 15.0
"""Seconds. The balancer shows a host as draining for its whole delay (`BALANCER_DELAY` of infra/settings.py), also once it has nothing
with it any more: waiting for that delay's end would tell nothing, and leave the containers less. Source: Elastic Load Balancing,
"Deregistration delay"."""
FINISH, STOP, KEEP = 0.40, 0.40, 0.15
"""Shares of the time left, where there is less than all of that takes; the rest is for telling the group."""
OLD = timedelta(minutes=10)
"""A notice older than this is about a host that is gone."""
DOOMED_FOR = timedelta(seconds=30)

ENDING = frozenset({DepartureStage.DOOMED, DepartureStage.DRAINED, DepartureStage.ASKED, DepartureStage.OVER})
"""Stages in which nothing is mended in place any more."""
GONE_STATES = frozenset({"shutting-down", "stopping", "stopped", "terminated"})


def heard(
    known: Departure | None, event: FleetEvent, member: Member | None, drain_hook: str, now: datetime
) -> Departure | None:
    """Return the row after one event; `known` itself where the event says nothing new, None where there is no row to write.

    member: the host, where it is one of this fleet's. Events may come twice, late and in any order: the stage only goes
    forward, and the earliest deadline stands.
    """
    match event.kind:
        case FleetEventKind.REBALANCE:
            return _noted(known, event, member, DepartureStage.AT_RISK, now)
        case FleetEventKind.INTERRUPTION:
            return _noted(known, event, member, DepartureStage.DOOMED, now)
        case FleetEventKind.TERMINATE_HOOK if event.hook in ("", drain_hook):
            return _noted(known, event, member, DepartureStage.DOOMED, now)
        case FleetEventKind.STATE if known is not None and event.action in GONE_STATES:
            return _noted(known, event, member, DepartureStage.DOOMED, now)
        case FleetEventKind.HEALTH:
            return _noted(known, event, member, DepartureStage.AT_RISK, now)
        case FleetEventKind.TERMINATE_HOOK | FleetEventKind.STATE | FleetEventKind.LAUNCH_HOOK:
            return known


def _noted(
    known: Departure | None, event: FleetEvent, member: Member | None, stage: DepartureStage, now: datetime
) -> Departure | None:
    if known is None:
        # Another fleet's host, or one that is long gone: EC2's spot events cannot be filtered by tag.
        if member is None or now - event.at > OLD:
            return None
        known = Departure(
            instance=member.instance,
            host=member.instance,
            group=member.group,
            stage=stage,
            why="",
            heard_at=now,
            spot=member.spot,
            kind=member.kind,
        )
    forward = _order(stage) > _order(known.stage)
    doomed = stage is DepartureStage.DOOMED
    said = tuple(each for each in known.why.split(", ") if each)
    return replace(
        known,
        stage=stage if forward else known.stage,
        why=known.why if event.kind.value in said else ", ".join((*said, event.kind.value)),
        doomed_at=known.doomed_at or (now if doomed else None),
        deadline=_earliest(known.deadline, _deadline(event)) if doomed else known.deadline,
        action=event.action if event.kind is FleetEventKind.INTERRUPTION and event.action else known.action,
        hook=known.hook or event.hook,
        group=known.group or event.group,
    )


def _deadline(event: FleetEvent) -> datetime | None:
    """Return when the host ends, by this event. A hibernating host has no two minutes: it is on its way already."""
    if event.deadline is not None:
        return event.deadline
    match event.kind:
        case FleetEventKind.INTERRUPTION if event.action == "hibernate":
            return event.at
        case FleetEventKind.INTERRUPTION | FleetEventKind.TERMINATE_HOOK:
            return event.at + NOTICE
        case FleetEventKind.STATE:
            return event.at
        case FleetEventKind.REBALANCE | FleetEventKind.LAUNCH_HOOK | FleetEventKind.HEALTH:
            return None


def _earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    both = [each for each in (one, other) if each is not None]
    return min(both, default=None)


def _order(stage: DepartureStage) -> int:
    return list(DepartureStage).index(stage)


def timetable(deadline: datetime, now: datetime, *, balanced: bool) -> Timetable:
    """Return until when each part of a drain may go on, so that all of it ends MARGIN before the host does.

    balanced: a balancer sends it requests, and those it has may end before its containers are told to. Shape of an answer with
    120 s: leave 4, finish 40, stop 82, keep 97, complete 110. With 20 s: leave 4, finish 6, stop 9, keep 10, complete 10.
    """
    whole = max((deadline - MARGIN - now).total_seconds(), 0.0)
    leave = min(LEAVING, whole) if balanced else 0.0
    left = whole - leave
    finish = leave + (min(LONGEST_FINISH, left * FINISH) if balanced else 0.0)
    stop = finish + min(LONGEST_STOP, left * (STOP if balanced else STOP + FINISH))
    keep = stop + min(LONGEST_KEEP, left * KEEP)
    at = [now + timedelta(seconds=each) for each in (leave, finish, stop, keep, whole)]
    return Timetable(leave=at[0], finish=at[1], stop=at[2], keep=at[3], complete=at[4])


def doomed(departures: Sequence[Departure], host: HostName) -> Hold | None:
    """Nothing is mended in place on a host that is being taken away: its replacement is the remedy."""
    this = next((each for each in departures if each.host == host and each.stage in ENDING), None)
    if this is None:
        return None
    end = "soon" if this.deadline is None or this.attempt is not None else f"at {this.deadline:%H:%M:%S} UTC"
    return Hold(
        code=HoldCode.HOST_DOOMED,
        because=f"its host {this.instance} ends {end} ({this.why}) and is drained",
        until="another host serves in its place",
        look_again=DOOMED_FOR,
    )


def needs_replacement(departure: Departure, members: Sequence[Member]) -> bool:
    """Say whether the group must be told to start another host now: not where one warms up already, nor where it knows.

    A host that waits in its terminate hook was given up by the group itself, which has begun to replace it.
    """
    this = next((each for each in members if each.instance == departure.instance), None)
    if this is None or departure.hook or not this.state.startswith("InService"):
        return False
    return not any(each.coming for each in members if each.group == departure.group)


def stands(departure: Departure, members: Sequence[Member]) -> bool:
    """Say whether the group still counts on this host, and must be told that it goes."""
    return any(each.instance == departure.instance and each.state.startswith("InService") for each in members)


def is_replaced(departure: Departure, members: Sequence[Member]) -> bool:
    """Say whether as many hosts are warm as the group was to have, without the one that left; of one retired, whether it is gone."""
    if departure.retired:
        return departure.drained_at is not None and all(each.instance != departure.instance for each in members)
    if departure.wanted is None or (departure.attempt is not None and stands(departure, members)):
        return False
    return len(warm(departure, members)) >= departure.wanted


def warm(departure: Departure, members: Sequence[Member]) -> tuple[Member, ...]:
    """Return the hosts of the group that serve, without the one that left."""
    return tuple(m for m in members if m.in_service and m.group == departure.group and m.instance != departure.instance)


def came(departure: Departure, members: Sequence[Member]) -> tuple[Member, ...]:
    """Return the hosts that serve now and did not when this one was given up."""
    return tuple(each for each in warm(departure, members) if each.instance not in departure.before)


def overdue(departure: Departure, warm_up: timedelta, now: datetime) -> bool:
    """Say whether the replacement should have been warm by now. warm_up: how long the launch hook holds a host."""
    return departure.drained_at is not None and now - departure.drained_at > warm_up


def raised_base(size: FleetSize) -> int | None:
    """Return the on-demand base that lets one more host come when spot does not; None where the group cannot take one."""
    return size.on_demand_base + 1 if size.on_demand_base < min(size.wanted, size.largest) else None
