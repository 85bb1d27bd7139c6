"""One look at some services: ask every due check's questions in one batch, judge the answers.

In: services and a `Prober`. Out: judgements per service, before thresholds (`sweep` keeps the streaks), or one raw
`Verdict` for the steps of `heal`, which look at a single service.

Two rounds of questions: `hosts` first (one list of containers per host), since a check may name its container's own
address, then everything else in one batch (`at_all`).
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

PAUSE = timedelta(milliseconds=250)
"""Between the looks of one step."""

DEADLINE = timedelta(seconds=10)
"""For one whole batch. Each probe has its own, shorter time-out; this one bounds a prober that is itself in trouble."""


def at(service: Service, prober: Prober, clock: Clock) -> Verdict:
    """Look at one service once with all its checks and return the raw verdict, without thresholds."""
    observed = hosts((service.host,), prober)
    judgements = at_all({service.name: service.checks}, (service,), prober, observed)[service.name]
    return verdict(service.name, judgements, clock)


def steadily(service: Service, prober: Prober, clock: Clock) -> Verdict:
    """Look until it is WELL `well_after` times in a row, or return the first verdict that is not.

    Asked before anything is changed: one good answer among bad ones does not end an incident, one bad answer goes on with it.
    """
    for _ in range(looks_needed(service)):
        seen = at(service, prober, clock)
        if seen.health is not Health.WELL:
            return seen
        clock.sleep(PAUSE)
    return seen


def looks_needed(service: Service) -> int:
    """Return how many WELL looks in a row make a steady WELL: the largest `well_after` of its checks, at least 1."""
    return max((check.thresholds.well_after for check in service.checks), default=1)


def hosts(names: Sequence[HostName], prober: Prober) -> dict[ProbeRequest, Observation]:
    """List the containers of each host: one call per host, all at once."""
    return dict(prober.ask([ContainersRequest(host=name) for name in dict.fromkeys(names)], DEADLINE))


def at_all(
    due: Mapping[ServiceName, Sequence[Check]],
    services: Sequence[Service],
    prober: Prober,
    observed: Mapping[ProbeRequest, Observation],
) -> dict[ServiceName, tuple[Judgement, ...]]:
    """Look at many services in one batch, each with its due checks; return their judgements in the order of the checks.

    observed: what `hosts` saw.
    """
    facts = {service.name: container_of(service, observed) for service in services}
    questions: list[ProbeRequest] = []
    for service in services:
        for check in due[service.name]:
            questions.extend(checks.requests(check, service, facts[service.name]))
    asked = [question for question in dict.fromkeys(questions) if question not in observed]
    answers = {**observed, **(prober.ask(asked, DEADLINE) if asked else {})}
    return {
        service.name: tuple(checks.judge(check, service, facts[service.name], answers) for check in due[service.name])
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
