"""The fleet breaker: when so much fails together that healing one by one is the wrong answer. Pure.

In: who is sick since when. Out: the scopes in which healing stops, and what the failing have in common. A breaker never
closes by itself: nothing here says that one may.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model import (
    Breaker,
    BreakerRule,
    ContainerFacts,
    Hold,
    HoldCode,
    Incident,
    NginxCheck,
    Others,
    RunbookId,
    Service,
    ServiceName,
    Standing,
)

FLEET = "fleet"
GROUP = "group:"
RUNBOOK = "runbook:"

LOOK_AGAIN = timedelta(minutes=10)
"""While a breaker is open; a reset brings every held incident back at the next beat."""

LONGEST_WAIT = timedelta(minutes=1)
"""No incident waits longer than this for a verdict on others, however seldom they are looked at."""

_SLACK = timedelta(seconds=10)
"""A busy machine beats late, and an answer that does not come takes its time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One scope that fails together."""

    scope: str
    failing: tuple[ServiceName, ...]
    members: int


def scopes(service: Service, hosts: int) -> tuple[str, ...]:
    """Return the scopes that a service is in, the narrowest first. hosts: how many the fleet has; one is the fleet itself."""
    group = (f"{GROUP}{service.group}",) if service.group else ()
    host = (f"{FLEET}:{service.host}",) if hosts > 1 else ()
    return (*group, *host, FLEET)


def is_scope(name: str) -> bool:
    """Say whether a name stands for a scope and not for a service: a service's name holds no colon."""
    return name == FLEET or name.startswith((f"{FLEET}:", GROUP))


def tripped(
    services: Sequence[Service],
    turned: Mapping[ServiceName, datetime],
    resets: Mapping[str, datetime],
    rule: BreakerRule,
    now: datetime,
) -> tuple[Trip, ...]:
    """Return the scopes that fail together, the narrowest first.

    services: those that should run. turned: when each that is SICK now turned so; those that merely suffer from a sick
    parent are left out by the caller. resets: when a person last reset a scope: what turned SICK before is not counted again.
    """
    hosts = len({service.host for service in services})
    members: dict[str, list[Service]] = {}
    for service in services:
        for scope in scopes(service, hosts):
            members.setdefault(scope, []).append(service)
    trips = []
    for scope in sorted(members, key=lambda scope: (scope == FLEET, not scope.startswith(GROUP), scope)):
        begin = now - rule.window
        reset = resets.get(scope)
        failing = [
            service.name
            for service in members[scope]
            if (at := turned.get(service.name)) is not None and at >= begin and (reset is None or at > reset)
        ]
        if len(failing) >= rule.least and len(failing) >= rule.share * len(members[scope]):
            trips.append(Trip(scope=scope, failing=tuple(sorted(failing)), members=len(members[scope])))
    return tuple(trips)


def gathering(
    service: Service,
    services: Sequence[Service],
    turned: Mapping[ServiceName, datetime],
    doubtful: Collection[ServiceName],
    resets: Mapping[str, datetime],
    rule: BreakerRule,
    now: datetime,
) -> tuple[ServiceName, ...]:
    """Return those that look bad, are not judged yet, and would open a breaker over `service` were they judged SICK.

    As `tripped`, with `doubtful`: those whose latest look was SICK while their streak is not through. Empty where no verdict
    on them could make a difference to this service.
    """
    fresh = {name: now for name in doubtful if name not in turned}
    trips = tripped(services, {**turned, **fresh}, resets, rule, now) if fresh else ()
    waited_for = {name for trip in trips if service.name in trip.failing for name in trip.failing if name in fresh}
    return tuple(sorted(waited_for))


def judged_within(services: Iterable[Service]) -> timedelta:
    """Return how long it takes at most until every one of `services` that fails counts as SICK, `LONGEST_WAIT` at most."""
    spans = (check.every * check.thresholds.sick_after + _SLACK for service in services for check in service.checks)
    return min(max(spans, default=timedelta(0)), LONGEST_WAIT)


def may_wait(incident: Incident, now: datetime) -> bool:
    """Say whether it is so soon after an incident was opened that a verdict on others can still be awaited."""
    return incident.opened_at <= now < incident.opened_at + LONGEST_WAIT


def nearest(service: Service, others: Sequence[Service]) -> list[Service]:
    """Return `others` with those first that share most with `service`: its group, then its host."""
    mine = scopes(service, hosts=2)
    return sorted(others, key=lambda other: -len(set(mine) & set(scopes(other, hosts=2))))


def wait(incident: Incident, others: Others, now: datetime) -> Hold | None:
    """Others look bad at this moment and would fail together with this one: their verdicts come first.

    A wait ends with them, one way or the other, and never lasts longer than they can take: a service that comes and goes
    beside a sick one must not keep it from being healed.
    """
    left = incident.opened_at + others.judged_within - now
    if not others.doubtful or not may_wait(incident, now) or left <= timedelta(0):
        return None
    return Hold(
        code=HoldCode.OTHERS_FAILING,
        because=f"{', '.join(others.doubtful)} {'look' if len(others.doubtful) > 1 else 'looks'} bad at this very moment as well",
        until="it is known whether they fail together",
        look_again=left,
    )


def outermost(trips: Sequence[Trip]) -> tuple[Trip, ...]:
    """Return one trip for each trouble: the one that names most, the narrowest where two name the same.

    trips: the narrowest first.
    """
    kept: list[Trip] = []
    for trip in sorted(trips, key=lambda trip: -len(trip.failing)):  # stable: the narrowest of equals stays first
        if not any(set(trip.failing) <= set(other.failing) for other in kept):
            kept.append(trip)
    return tuple(kept)


def over(service: Service, standing: Iterable[Breaker]) -> Breaker | None:
    """Return the first open breaker whose scope holds this service."""
    mine = scopes(service, hosts=2)  # a breaker of one host may stand from a time when there were two
    return next((breaker for breaker in standing if breaker.scope in mine), None)


def runbooks_out(standing: Iterable[Breaker]) -> tuple[RunbookId, ...]:
    """Return the runbooks that are out of service."""
    return tuple(RunbookId(b.scope.removeprefix(RUNBOOK)) for b in standing if b.scope.startswith(RUNBOOK))


def hold(breaker: Breaker | None) -> Hold | None:
    """Healing has stopped where this service is."""
    if breaker is None:
        return None
    where = f" ({breaker.incident})" if breaker.incident else ""
    return Hold(
        code=HoldCode.BREAKER_OPEN,
        because=f"the breaker of {breaker.scope} is open{where}: {breaker.because}",
        until=f"`medic breaker reset {breaker.scope} --why ...`",
        look_again=LOOK_AGAIN,
    )


def is_decided(hold: Hold, standing: Standing) -> bool:
    """Say whether a Hold of this module is over: a person has reset the breaker, or those waited for are judged."""
    if hold.code is HoldCode.BREAKER_OPEN:
        return standing.breaker is None
    return standing.breaker is not None or not standing.others.doubtful


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One service as the search for a common factor sees it."""

    service: Service
    container: ContainerFacts | None
    sick: bool


def common_factor(members: Sequence[Member]) -> str:
    """Return what the failing have in common, as words: what no well member shares comes first, and alone if there is any.

    Considered: the host, Docker networks, the image, the nginx in front, a parent they all name.
    """
    sick = [traits(member) for member in members if member.sick]
    well = [traits(member) for member in members if not member.sick]
    shared = [trait for trait in (sick[0] if sick else ()) if all(trait in each for each in sick)]
    telling = [trait for trait in shared if not any(trait in each for each in well)]
    found = telling or shared
    return " and ".join(found) if found else "nothing that Medic knows of"


def traits(member: Member) -> tuple[str, ...]:
    """Return what a service shares with others, as words."""
    service, container = member.service, member.container
    proxies = dict.fromkeys(check.nginx for check in service.checks if isinstance(check, NginxCheck))
    return (
        f"host {service.host}",
        *(f"network {network.name}" for network in (container.networks if container else ())),
        *((f"image {container.image}",) if container and container.image else ()),
        *(f"nginx {proxy or 'on the host'}" for proxy in proxies),
        *(f"parent {parent}" for parent in service.depends_on),
    )
