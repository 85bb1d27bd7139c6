"""One look at some services: ask every due check's questions in one batch, judge the answers.

In: services and a `Prober`. Out: judgements per service, before thresholds (`sweep` keeps the streaks), or one raw
`Verdict` for the steps of `heal`, which look at a single service.

Two rounds of questions: the containers first (one list per host), since a check may name its container's own address,
then everything else in one batch.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from agent import checks
from agent.model import (
    Blind,
    Check,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    Health,
    HostName,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
    ServiceName,
    Verdict,
)
from agent.ports import Clock, Prober

DEADLINE = timedelta(seconds=10)
"""For one whole batch. Each probe has its own, shorter time-out; this one bounds a prober that is itself in trouble."""


def at(service: Service, prober: Prober, clock: Clock) -> Verdict:
    """Look at one service once with all its checks and return the raw verdict, without thresholds."""
    judgements = at_all({service.name: service.checks}, (service,), prober)[service.name]
    return verdict(service.name, judgements, clock)


def until_steady(service: Service, prober: Prober, clock: Clock, *, within: timedelta, pause: timedelta) -> Verdict:
    """Look until `well_after` WELL verdicts in a row or until `within` is over; return the last verdict.

    Used before the first change (is the fault really still there?) and by verify (is it really gone?).
    """
    needed = max((check.thresholds.well_after for check in service.checks), default=1)
    end = clock.monotonic() + within.total_seconds()
    well = 0
    while True:
        seen = at(service, prober, clock)
        well = well + 1 if seen.health is Health.WELL else 0
        if well >= needed or clock.monotonic() >= end:
            return seen
        clock.sleep(pause)


def at_all(
    due: Mapping[ServiceName, Sequence[Check]], services: Sequence[Service], prober: Prober, deadline: timedelta = DEADLINE
) -> dict[ServiceName, tuple[Judgement, ...]]:
    """Look at many services in one batch, each with its due checks; return their judgements in the order of the checks."""
    hosts = sorted({service.host for service in services})
    observed: dict[ProbeRequest, Observation] = {}
    observed.update(prober.ask([ContainersRequest(host=host) for host in hosts], deadline))

    questions: list[ProbeRequest] = []
    for service in services:
        facts = container_of(service, observed)
        for check in due[service.name]:
            questions.extend(checks.requests(check, service, facts))
    asked = [question for question in dict.fromkeys(questions) if question not in observed]
    if asked:
        observed.update(prober.ask(asked, deadline))

    return {
        service.name: tuple(checks.judge(check, service, container_of(service, observed), observed) for check in due[service.name])
        for service in services
    }


def container_of(service: Service, observed: Mapping[ProbeRequest, Observation]) -> ContainerFacts | Blind:
    """Return the service's container among what was observed: its facts, state MISSING, or why we could not look."""
    match observed.get(ContainersRequest(host=service.host)):
        case ContainersSeen(containers=containers):
            found = next((facts for facts in containers if facts.name == service.container), None)
            return found or checks.missing(service.container)
        case Blind() as blind:
            return blind
        case _:
            return Blind(why=f"the containers of host {service.host!r} were not listed")


def verdict(service: ServiceName, judgements: Sequence[Judgement], clock: Clock) -> Verdict:
    """Return the raw verdict: SICK if any check is, else UNKNOWN if any is, else WELL."""
    healths = {judgement.health for judgement in judgements}
    worst = next((health for health in (Health.SICK, Health.UNKNOWN) if health in healths), Health.WELL)
    return Verdict(service=service, health=worst, at=clock.now(), judgements=tuple(judgements))


def host_containers(host: HostName, observed: Mapping[ProbeRequest, Observation]) -> tuple[ContainerFacts, ...]:
    """Return all containers seen on one host; empty when we could not look."""
    seen = observed.get(ContainersRequest(host=host))
    return seen.containers if isinstance(seen, ContainersSeen) else ()
