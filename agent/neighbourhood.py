"""Looks at the services beside the patient: before the first change, and after it for what turned sick meanwhile.

In: the patient and every service that should run. Out: raw verdicts of its neighbours; which of them were harmed.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from agent import look
from agent.model import (
    ContainerFacts,
    ContainerState,
    HostName,
    Observation,
    ProbeRequest,
    Recorded,
    RunSpec,
    Service,
    ServiceRecord,
    Verdict,
)
from agent.policy import holds, neighbours
from agent.ports import Clock, Containers, Prober

STEADY_FOR = timedelta(seconds=5)
"""A neighbour counts as harmed when every look of so long a time says SICK: one flap, or a reload of its proxy, does not."""

DOWN = (ContainerState.EXITED, ContainerState.MISSING)


def supposed_to_run(services: Iterable[Service], records: Iterable[ServiceRecord]) -> tuple[Service, ...]:
    """Return the services that are not stopped on purpose and not given up: only they can be harmed."""
    running = {record.service for record in records if record.status is Recorded.RUNNING}
    return tuple(service for service in services if service.name in running)


def verdicts(patient: Service, services: Sequence[Service], prober: Prober, clock: Clock) -> tuple[Verdict, ...]:
    """Look once at every neighbour, in one batch."""
    observed = look.hosts(_hosts(patient, services), prober)
    networks = {service.name: _networks(service, observed) for service in (patient, *services)}
    near = neighbours.of(patient, services, networks)
    return _judged(near, observed, prober, clock) if near else ()


def harmed(
    before: Sequence[Verdict],
    services: Sequence[Service],
    *,
    ours: Sequence[tuple[datetime, datetime | None]],
    prober: Prober,
    containers: Containers,
    clock: Clock,
) -> tuple[Verdict, ...]:
    """Return the neighbours that were WELL before and are steadily SICK now, through nobody else's `docker stop`.

    ours: (begin, end) of our own attempt: what Docker was told meanwhile is not somebody else's doing.
    Raises OutsideError when Docker cannot say who stopped one.
    """
    known = {verdict.service for verdict in before}
    suspects = tuple(service for service in services if service.name in known)
    seen: tuple[Verdict, ...] = ()
    end = clock.monotonic() + STEADY_FOR.total_seconds()
    while suspects:
        observed = look.hosts(tuple(dict.fromkeys(service.host for service in suspects)), prober)
        seen = neighbours.turned_sick(before, _judged(suspects, observed, prober, clock))
        sick = {verdict.service for verdict in seen}
        suspects = tuple(service for service in suspects if service.name in sick)
        if clock.monotonic() >= end:
            break
        if suspects:
            clock.sleep(look.PAUSE)
    since = min((verdict.at for verdict in before), default=clock.now())
    stopped = {service.name for service in suspects if _stopped_by_others(service, since, ours, containers)}
    return tuple(verdict for verdict in seen if verdict.service not in stopped)


def _stopped_by_others(
    service: Service, since: datetime, ours: Sequence[tuple[datetime, datetime | None]], containers: Containers
) -> bool:
    facts = containers.inspect(service.host, service.container)
    if facts.state not in DOWN:
        return False
    events = containers.events(service.host, service.container, since=since)
    return holds.stop_by_others(events, ours=ours, removed=facts.state is ContainerState.MISSING) is not None


def _judged(
    services: Sequence[Service], observed: Mapping[ProbeRequest, Observation], prober: Prober, clock: Clock
) -> tuple[Verdict, ...]:
    due = {service.name: service.checks for service in services}
    judgements = look.at_all(due, services, prober, observed)
    return tuple(look.verdict(service.name, judgements[service.name], clock) for service in services)


def _hosts(patient: Service, services: Sequence[Service]) -> tuple[HostName, ...]:
    same_group = (service.host for service in services if service.group is not None and service.group == patient.group)
    return tuple(dict.fromkeys((patient.host, *same_group)))


def _networks(service: Service, observed: Mapping[ProbeRequest, Observation]) -> frozenset[str]:
    """Return the networks of a service's container as Docker says, or as declared where there is no container."""
    facts = look.container_of(service, observed)
    if isinstance(facts, ContainerFacts) and facts.networks:
        return frozenset(network.name for network in facts.networks)
    return frozenset(service.spec.networks) if isinstance(service.spec, RunSpec) else frozenset[str]()
