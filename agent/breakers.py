"""Opens and resets breakers: reads the store, asks the rules of `policy/breaker.py`, writes what they say.

In: what a sweep just saw, or an attempt that failed. Out: rows of the store. A breaker is written before its correlated
incident, so that a crash between the two loses neither: the next sweep finds a breaker without an incident and opens it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain

from agent import closing
from agent.model import (
    Action,
    Breaker,
    BreakerRule,
    Closing,
    ContainerFacts,
    Health,
    HoldCode,
    HostName,
    Incident,
    IncidentState,
    Judgement,
    NginxCheck,
    Others,
    Plane,
    Recorded,
    RunbookId,
    RunbookRule,
    Service,
    ServiceName,
    Verdict,
)
from agent.policy import breaker, dependencies, restarts
from agent.policy import streaks as streak_rules
from agent.ports import Clock, Store

LOOK_AT_MOST = 200
"""Services, the nearest first: that many answer in some tenths of a second."""


def trip(
    verdicts: Mapping[ServiceName, Verdict],
    unclosed: Mapping[ServiceName, Incident],
    facts: Mapping[ServiceName, ContainerFacts],
    on_purpose: Callable[[Service], bool],
    *,
    store: Store,
    rule: BreakerRule,
    now: datetime,
) -> tuple[Breaker, ...]:
    """Open the breakers of the scopes that fail together now, and return those that this look opened.

    verdicts: of this look. unclosed: the heartbeat's incidents. facts: the containers that this look saw. on_purpose: whether
    somebody stopped, took down or deploys a service; it asks Docker, and only where a breaker would open otherwise.
    """
    fresh = [name for name, verdict in verdicts.items() if verdict.health is Health.SICK and name not in unclosed]
    if not fresh:
        return ()  # nothing turned SICK in this look, so nothing more fails together than before
    services = _to_run(store)
    turned = _roots(dict.fromkeys(fresh, now) | _turned(unclosed), services)
    resets = _resets(services, store)
    trips = breaker.tripped(services, turned, resets, rule, now)
    if trips:
        failing = {name for each in trips for name in each.failing}
        left_alone = {each.name for each in services if each.name in failing and on_purpose(each)}
        services = [service for service in services if service.name not in left_alone]
        trips = breaker.tripped(services, turned, resets, rule, now)
    opened = []
    for each in breaker.outermost(trips):
        members = [
            breaker.Member(service=service, container=facts.get(service.name), sick=service.name in each.failing)
            for service in services
        ]
        because = (
            f"{len(each.failing)} of {each.members} services turned sick within {restarts.span(rule.window)}: "
            f"{', '.join(each.failing)}; in common: {breaker.common_factor(members)}"
        )
        row, is_new = store.breakers.open(each.scope, because=because, services=each.failing, now=now)
        opened += [row] if is_new else []
    return tuple(opened)


def others(
    service: Service,
    incident: Incident,
    look_bad: Callable[[Sequence[Service]], Collection[ServiceName]],
    *,
    store: Store,
    rule: BreakerRule,
    clock: Clock,
) -> Others:
    """Return who else looks bad right now and is not judged yet, where that could open a breaker over `service`.

    Beats look at each service in its own time, and a streak takes two of them: between the first that turns SICK and the
    third there is time for two restarts of what a restart cannot help. So before a change everybody is looked at once more
    (`look_bad`: one batch, and none where no breaker could open), and who looked bad to the latest beat counts as well.
    """
    if incident.requested is not None or not breaker.may_wait(incident, clock.now()):
        return Others()
    services = _to_run(store)
    unclosed = {each.service: each for each in store.incidents.unclosed() if each.requested is None}
    candidates = [each for each in services if each.name not in unclosed]
    turned = _turned(unclosed)
    if len(turned) + len(candidates) < rule.least:
        return Others()
    streaks = store.services.all_streaks()
    doubtful = {each.name for each in candidates if streak_rules.doubtful(streaks.get(each.name, ()))}
    near = breaker.nearest(service, [each for each in candidates if each.name not in doubtful])[:LOOK_AT_MOST]
    now = clock.now()
    roots = _roots(turned | dict.fromkeys(doubtful.union(look_bad(near)), now), services)
    judged = {name: at for name, at in roots.items() if name in turned}
    names = breaker.gathering(service, services, judged, roots.keys() - judged.keys(), _resets(services, store), rule, now)
    return Others(doubtful=names, judged_within=breaker.judged_within(each for each in services if each.name in names))


def _to_run(store: Store) -> list[Service]:
    stopped = {record.service for record in store.services.records() if record.status is Recorded.STOPPED}
    return [service for service in store.services.services() if service.name not in stopped]


def _turned(unclosed: Mapping[ServiceName, Incident]) -> dict[ServiceName, datetime]:
    return {
        name: incident.opened_at
        for name, incident in unclosed.items()
        if incident.first.health is Health.SICK and not _is_left_alone(incident)
    }


def _resets(services: Sequence[Service], store: Store) -> dict[str, datetime]:
    scopes = {scope for service in services for scope in breaker.scopes(service, hosts=2)}
    return {scope: at for scope in scopes if (at := store.breakers.last_reset(scope)) is not None}


def _is_left_alone(incident: Incident) -> bool:
    """People stopped it, deploy it or work on it: that is no trouble, alone or together."""
    by_people = (HoldCode.STOPPED_ON_PURPOSE, HoldCode.DEPLOY_IN_PROGRESS, HoldCode.MAINTENANCE)
    return incident.state is IncidentState.HELD and incident.hold is not None and incident.hold.code in by_people


def _roots(turned: Mapping[ServiceName, datetime], services: Sequence[Service]) -> dict[ServiceName, datetime]:
    """Leave out what suffers from a sick parent, declared or the nginx in front: its parent is healed, and that is enough."""
    by_container = {(service.host, service.container): service.name for service in services}
    graph = {service.name: tuple(chain(service.depends_on, _proxies(service, by_container))) for service in services}
    return {
        name: at for name, at in turned.items() if not any(parent in turned for parent in dependencies.parents(name, graph))
    }


def _proxies(service: Service, by_container: Mapping[tuple[HostName, str], ServiceName]) -> tuple[ServiceName, ...]:
    proxies = [(service.host, check.nginx) for check in service.checks if isinstance(check, NginxCheck) and check.nginx]
    return tuple(by_container[place] for place in proxies if place in by_container)


def verdict(row: Breaker, seen: Mapping[ServiceName, Verdict], now: datetime) -> Verdict:
    """Return the verdict of the correlated incident: first what fails together, then each service with its own reasons."""
    together = Judgement(check=row.scope, plane=Plane.CONTAINER, health=Health.SICK, detail=row.because)
    each = [
        Judgement(
            check=name,
            plane=Plane.CONTAINER,
            health=Health.SICK,
            detail="; ".join(seen[name].reasons),
            symptoms=seen[name].symptoms,
        )
        for name in row.services
        if name in seen
    ]
    return Verdict(service=ServiceName(row.scope), health=Health.SICK, at=now, judgements=(together, *each))


def take_out(runbook: RunbookId, *, store: Store, rule: RunbookRule, now: datetime) -> Breaker | None:
    """Take a runbook out of service if it failed on too many services; return its breaker if it is out."""
    scope = f"{breaker.RUNBOOK}{runbook}"
    reset = store.breakers.last_reset(scope)
    actions = [a for a in store.attempts.actions_since(now - rule.window) if reset is None or a.at > reset]
    services = failed_on(runbook, actions)
    if len(services) < rule.failures_on_services:
        return None
    because = f"it failed on {len(services)} services in {restarts.span(rule.window)}: {', '.join(services)}"
    return store.breakers.open(scope, because=because, services=services, now=now)[0]


def failed_on(runbook: RunbookId, actions: Sequence[Action]) -> tuple[ServiceName, ...]:
    """Return the services on which a runbook failed, each once."""
    return tuple(sorted({action.service for action in actions if action.runbook == runbook and action.failed}))


def reset(scope: str, *, by: str, why: str, store: Store, channels: tuple[str, ...], clock: Clock) -> Breaker | None:
    """Close the open breaker of a scope and its correlated incident; None where none is open.

    What it held is decided afresh at the next beat, on a fresh look: nothing from before is replayed.
    """
    row = store.breakers.reset(scope, by=by, why=why, now=clock.now())
    if row is None:
        return None
    incident = store.incidents.get(row.incident) if row.incident else None
    if incident is not None and incident.state is not IncidentState.CLOSED:
        closing.close(incident, Closing.BY_PERSON, by=f"{by}: {why}", store=store, channels=channels, clock=clock)
    return row
