"""Looks at the services beside the patient: before the first change, and after it for what turned sick meanwhile.

In: the patient, the containers that are changed, and every service that should run. Out: raw verdicts of its neighbours and
how each is tied to the change; which of them were harmed, and which fell sick by chance.
"""

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta

from agent import look
from agent.errors import OutsideError
from agent.model import (
    Attempt,
    ContainerCheck,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    Health,
    HostName,
    HttpCheck,
    Observation,
    ProbeRequest,
    Recorded,
    Service,
    ServiceName,
    ServiceRecord,
    TcpCheck,
    Tie,
    Verdict,
)
from agent.policy import dependencies, holds, neighbours, ties
from agent.ports import Clock, Containers, Prober

STEADY_FOR = timedelta(seconds=5)
"""A neighbour counts as harmed when every look of so long a time says SICK: one flap, or a reload of its proxy, does not."""

LOG_LIMIT = 16_384
"""Bytes of a suspect's log that are searched for what was changed."""

QUICK = (ContainerCheck, HttpCheck, TcpCheck)
"""What many services may be asked right before a change: no completion, no program in a container, no file."""

DOWN = (ContainerState.EXITED, ContainerState.MISSING)

Span = tuple[datetime, datetime | None]


def supposed_to_run(
    services: Iterable[Service], records: Iterable[ServiceRecord], sick: Collection[ServiceName] = ()
) -> tuple[Service, ...]:
    """Return the services that are not stopped on purpose, not given up and not `sick` already: only they can be harmed."""
    running = {record.service for record in records if record.status is Recorded.RUNNING}
    return tuple(service for service in services if service.name in running and service.name not in sick)


def verdicts(
    patient: Service, changed: Set[str], services: Sequence[Service], prober: Prober, clock: Clock
) -> tuple[tuple[Verdict, ...], tuple[Tie, ...]]:
    """Look once at every neighbour, in one batch; return what was seen of them and how they are tied to the change."""
    observed = look.hosts(_hosts(patient, services), prober)
    found = ties.of(patient, changed, services, _on_host(observed))
    tied = {tie.service for tie in found}
    near = tuple(service for service in services if service.name in tied)
    return (_judged(near, observed, prober, clock) if near else ()), found


def look_bad(services: Sequence[Service], prober: Prober) -> frozenset[ServiceName]:
    """Look once, in one batch, at what is quick to ask of `services`; return those of which something is SICK."""
    if not services:
        return frozenset()
    due = {each.name: tuple(check for check in each.checks if isinstance(check, QUICK)) for each in services}
    judged = look.at_all(due, services, prober, look.hosts(tuple(dict.fromkeys(each.host for each in services)), prober))
    return frozenset(name for name, judgements in judged.items() if any(each.health is Health.SICK for each in judgements))


def harmed(
    attempt: Attempt, services: Sequence[Service], *, prober: Prober, containers: Containers, clock: Clock
) -> tuple[tuple[ties.Suspect, ...], tuple[Verdict, ...]]:
    """Return the neighbours that an attempt harmed, and those that turned sick meanwhile without any link to it.

    Both were WELL before the first change and are steadily SICK now, and not through somebody else's `docker stop`.
    Raises OutsideError when Docker cannot say who stopped one.
    """
    suspects, seen = _steadily_sick(attempt, services, prober, clock)
    since = min((verdict.at for verdict in attempt.around), default=clock.now())
    ours = (attempt.intent_at, attempt.ran_until)
    known = {tie.service: tie for tie in attempt.ties}
    found = []
    for service in suspects:
        tie = known.get(service.name, Tie(service=service.name, strong=False, why="it was near"))
        suspect = _suspect(service, tie, seen[service.name], since, ours, containers)
        found += [suspect] if suspect is not None else []
    guilty = ties.blamed(found)
    names = {each.verdict.service for each in guilty}
    return guilty, tuple(each.verdict for each in found if each.verdict.service not in names)


def _steadily_sick(
    attempt: Attempt, services: Sequence[Service], prober: Prober, clock: Clock
) -> tuple[tuple[Service, ...], dict[ServiceName, Verdict]]:
    known = {verdict.service for verdict in attempt.around}
    suspects = tuple(service for service in services if service.name in known)
    seen: tuple[Verdict, ...] = ()
    end = clock.monotonic() + STEADY_FOR.total_seconds()
    while suspects:
        observed = look.hosts(tuple(dict.fromkeys(service.host for service in suspects)), prober)
        seen = neighbours.turned_sick(attempt.around, _judged(suspects, observed, prober, clock))
        sick = {verdict.service for verdict in seen}
        suspects = tuple(service for service in suspects if service.name in sick)
        if clock.monotonic() >= end:
            break
        if suspects:
            clock.sleep(look.PAUSE)
    return suspects, {verdict.service: verdict for verdict in seen}


def _suspect(
    service: Service, tie: Tie, verdict: Verdict, since: datetime, ours: Span, containers: Containers
) -> ties.Suspect | None:
    """Return what is known of how a neighbour turned sick; None where somebody else stopped it."""
    facts = containers.inspect(service.host, service.container)
    told = False
    if facts.state in DOWN:
        events = containers.events(service.host, service.container, since=since)
        if holds.stop_by_others(events, ours=(ours,), removed=facts.state is ContainerState.MISSING) is not None:
            return None
        told = holds.told_meanwhile(events, ours)
    said = ""
    if not tie.strong:
        with contextlib.suppress(OutsideError):  # a log that cannot be read blames nobody
            log = containers.logs(service.host, service.container, limit=LOG_LIMIT, since=since)
            said = log.decode("utf-8", "replace")
    return ties.Suspect(tie=tie, verdict=verdict, container=facts, told=told, said=said)


def _judged(
    services: Sequence[Service], observed: Mapping[ProbeRequest, Observation], prober: Prober, clock: Clock
) -> tuple[Verdict, ...]:
    due = {service.name: service.checks for service in services}
    judgements = look.at_all(due, services, prober, observed)
    return tuple(look.verdict(service.name, judgements[service.name], clock) for service in services)


def _hosts(patient: Service, services: Sequence[Service]) -> tuple[HostName, ...]:
    """Return the hosts of everything that a tie may lead to: beyond the patient's own only groups and `depends_on` do."""
    graph = {service.name: service.depends_on for service in (*services, patient)}
    family = {*dependencies.parents(patient.name, graph)}
    family |= {each.name for each in services if patient.name in dependencies.parents(each.name, graph)}
    far = (s.host for s in services if s.name in family or (s.group is not None and s.group == patient.group))
    return tuple(dict.fromkeys((patient.host, *far)))


def _on_host(observed: Mapping[ProbeRequest, Observation]) -> ties.OnHost:
    return {
        (request.host, facts.name): facts
        for request, seen in observed.items()
        if isinstance(request, ContainersRequest) and isinstance(seen, ContainersSeen)
        for facts in seen.containers
    }
