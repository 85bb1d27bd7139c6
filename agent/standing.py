"""Reads what `plan` needs to know of the past and of people's wishes: one `Standing` per decision.

In: the store, the kill switch, the kept copies. Out: a plain value, so that the rules of `agent/policy/` stay pure.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agent import parameters, recall, words
from agent.errors import OutsideError
from agent.model import (
    MEDIC,
    Berth,
    ContainerCheck,
    FleetLimits,
    Health,
    Incident,
    IncidentId,
    MemoryRule,
    Others,
    Peer,
    Permissions,
    Recorded,
    Remedy,
    ReplacementLimits,
    Runbook,
    RunSpec,
    Service,
    ServiceName,
    Silence,
    Standing,
    Surroundings,
)
from agent.policy import alive, breaker, dependencies, maintenance, memory, trust
from agent.ports import Clock, Containers, GoodCopies, KillSwitch, Store

LATEST = 5
"""Incidents of one service that are looked through for changes of our own: more than fit into ten minutes of heals."""


def read(
    service: Service,
    incident: IncidentId,
    *,
    store: Store,
    kill_switch: KillSwitch,
    good_copies: GoodCopies,
    permissions: Permissions,
    runbooks: Sequence[Runbook],
    fleet_limits: FleetLimits,
    others: Others,
    berth: Berth | None = None,
    refused: tuple[str, ...] = (),
    replacement_limits: ReplacementLimits | None = None,
    clock: Clock,
) -> Standing:
    """Return where one service stands now.

    runbooks: the catalogue, of which some may be demoted or out of service. others: who else looks bad at this moment.
    berth: where its host stands in a fleet, and from how many replacements on there is no further one. refused: what Docker on its
    host refuses Medic.
    """
    now = clock.now()
    rule = fleet_limits.runbooks
    begin = now - service.limits.window
    before = same_before(incident, begin, store)
    breakers = store.breakers.standing()
    return Standing(
        now=now,
        halted=kill_switch.halted(),
        good_copy=parameters.good_copy(service, good_copies.latest(service.name)),
        around=replace(surroundings(service, store, good_copies, now), berth=berth, refused=refused),
        heals_in_window=store.incidents.heals_since(service.name, now - service.limits.window),
        silence=silence(service.name, store, now),
        maintenance=window(service, fleet_limits, now),
        starts=store.starts.of(service.name),
        flips=store.starts.flips(service.name),
        own_changes=own_changes(service.name, store),
        parents_down=parents_down(service, store),
        monitor_blind=monitor_blind(store),
        same_before=len(before),
        same_ended_at=max((each.closed_at for each in before if each.closed_at is not None), default=None),
        actions=store.attempts.actions_since(min(begin, now - fleet_limits.budget.window)),
        restarts=store.foreign_restarts.since(service.host, service.container, begin),
        breaker=breaker.over(service, breakers),
        others=others,
        out_of_service=breaker.runbooks_out(breakers),
        peers=peers(service, store),
        budget=fleet_limits.budget,
        permissions=permissions,
        departures=store.departures.standing(),
        replacement_limits=replacement_limits or ReplacementLimits(),
        approvals=store.approvals.of(incident),
        remedies=remedies(incident, runbooks, store, fleet_limits.memory, now),
        memory=fleet_limits.memory,
        demoted=trust.demoted(
            runbooks, store.runbook_standing.marks([each.hash for each in runbooks]), service.name, rule, now
        ),
    )


def of_hold(
    service: Service,
    *,
    store: Store,
    kill_switch: KillSwitch,
    fleet_limits: FleetLimits,
    clock: Clock,
    others: Others | None = None,
) -> Standing:
    """Return the part that says whether a Hold is over before its time: cheap enough for every sweep.

    others: for a Hold that waits for them.
    """
    now = clock.now()
    return Standing(
        now=now,
        halted=kill_switch.halted(),
        silence=silence(service.name, store, now),
        maintenance=window(service, fleet_limits, now),
        flips=store.starts.flips(service.name),
        own_changes=own_changes(service.name, store),
        restarts=store.foreign_restarts.since(service.host, service.container, now - alive.FLAPS_WITHIN),
        breaker=breaker.over(service, store.breakers.standing()),
        others=others or Others(),
        parents_down=parents_down(service, store),
        departures=store.departures.standing(),
    )


def remedies(
    incident: IncidentId, runbooks: Sequence[Runbook], store: Store, rule: MemoryRule, now: datetime
) -> tuple[Remedy, ...]:
    """Return what runbooks as they are now came to against the trouble of an incident, before it."""
    this = store.incidents.get(incident)
    if this is None:
        return ()
    found = recall.trouble(this.fingerprint, store=store, rule=rule, now=now, besides=incident).episode
    return memory.of_now(found.remedies, runbooks) if found is not None else ()


def same_before(incident: IncidentId, since: datetime, store: Store) -> tuple[Incident, ...]:
    """Return the earlier incidents with the fingerprint of this one that were acted on or handed over.

    One that was left alone until it was over (stopped on purpose, warming, deployed) is no trouble that came back.
    """
    this = store.incidents.get(incident)
    if this is None:
        return ()
    alike = store.incidents.opened_since(since, fingerprint=this.fingerprint)
    return tuple(each for each in alike if each.id != incident and (_was_tried(each) or each.refusal is not None))


def _was_tried(incident: Incident) -> bool:
    return any(attempt.outcome is None or attempt.outcome.counts for attempt in incident.attempts)


def peers(service: Service, store: Store) -> tuple[Peer, ...]:
    """Return the other members of the service's group, and whether each is well by all its checks and meant to run."""
    if service.group is None:
        return ()
    found = []
    for each in store.services.services():
        if each.group == service.group and each.name != service.name:
            record, streaks = store.services.record(each.name), store.services.streaks(each.name)
            runs = record is not None and record.status is Recorded.RUNNING
            well = runs and bool(streaks) and all(streak.settled is Health.WELL for streak in streaks)
            found.append(Peer(service=each.name, well=well))
    return tuple(found)


def surroundings(service: Service, store: Store, good_copies: GoodCopies, now: datetime) -> Surroundings:
    """Return what stands around one service, and how it looked when it was last WELL. A parent that is silenced is left alone."""
    record = store.services.record(service.name)
    on_host = [each for each in store.services.services() if each.host == service.host]
    parent = next((each for each in on_host if (each.name,) == service.depends_on), None)
    group = [each for each in on_host if service.group is not None and each.group == service.group]
    nginx = parameters.nginx_of(service)
    proxy = next((each for each in on_host if each.container == nginx), None)
    declared = {each.spec.image for each in on_host if isinstance(each.spec, RunSpec)}
    pinned = {check.image_digest for each in on_host for check in each.checks if isinstance(check, ContainerCheck)}
    last_well = {each.image_id for each in store.services.records() if each.host == service.host}
    return Surroundings(
        good_image=record.image_id if record is not None else None,
        parent=parent if parent is not None and silence(parent.name, store, now) is None else None,
        members=tuple(sorted({each.container for each in group} | {service.container})),
        proxy=proxy,
        proxy_good_copy=parameters.good_copy(proxy, good_copies.latest(proxy.name)) if proxy is not None else None,
        own_images=tuple(sorted({words.repository(image) for image in declared} - {""})),
        kept_images=tuple(sorted(filter(None, declared | pinned | last_well))),
    )


def refused(service: Service, containers: Containers, permissions: Permissions) -> tuple[str, ...]:
    """Return what Docker on a service's host refuses Medic; nothing where it cannot be asked, or nothing can be done there anyhow."""
    if service.host in permissions.look_only:
        return ()
    try:
        return containers.refuses(service.host)
    except OutsideError:
        return ()


def silence(service: ServiceName, store: Store, now: datetime) -> Silence | None:
    """Return the silence in force that ends last, None without one."""
    active = [each for each in store.silences.active(now) if each.service in (None, service)]
    return max(active, key=lambda each: each.until, default=None)


def window(service: Service, fleet_limits: FleetLimits, now: datetime) -> tuple[datetime, str] | None:
    """Return when the maintenance window that is in force for a service ends, and why it is."""
    return maintenance.in_force((*service.maintenance, *fleet_limits.maintenance), now)


def own_changes(service: ServiceName, store: Store) -> tuple[tuple[datetime, datetime | None], ...]:
    """Return when Medic changed the service, in its latest incidents."""
    latest = store.incidents.recent(service=service, limit=LATEST)
    return tuple((attempt.intent_at, attempt.ran_until) for incident in latest for attempt in incident.attempts)


def parents_down(service: Service, store: Store) -> tuple[str, ...]:
    """Return what the service depends on and is not well, each with why."""
    if not service.depends_on:
        return ()
    graph = {each.name: each.depends_on for each in (*store.services.services(), service)}
    found = []
    for parent in dependencies.parents(service.name, graph):
        why = dependencies.down(store.services.record(parent), store.services.streaks(parent), store.incidents.unclosed(parent))
        found += [f"{parent} {why}"] if why else []
    return tuple(found)


def monitor_blind(store: Store) -> str | None:
    """Return why Medic cannot trust its own network, None while it can."""
    unclosed = store.incidents.unclosed(MEDIC)
    return "; ".join(unclosed[0].first.reasons) if unclosed else None
