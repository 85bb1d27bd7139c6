"""A Compose project that somebody else brings up or takes down: its services are left alone meanwhile. Pure.

A deploy of a project shows as Docker being told to make, rename, stop or remove several of its containers within seconds. A
crash does not: nobody tells Docker to let a process die. Source: events of Docker 20.10 under `docker compose up` and `down`.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import (
    COMPOSE_PROJECT,
    Action,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Findings,
    Hold,
    HoldCode,
    HostName,
    Incident,
    ProjectSeen,
    Service,
    Standing,
)
from agent.policy import holds

TOLD = frozenset({"create", "rename", "stop", "destroy"})
"""What Docker does only because it was told to."""

SEVERAL = 2
"""So many containers of one project that are changed together are a deploy; one is looked at by itself (`holds.deploying`)."""

QUIET = timedelta(seconds=20)
"""A deploy is over when nobody has told Docker anything about the project for so long: Compose waits 10 s for one stop."""

LONGEST = timedelta(minutes=10)
"""A deploy that goes on for longer is one that does not get through: what is sick is sick."""

_TEMPORARY = re.compile(r"^[0-9a-f]{12}_")
"""Compose makes a replacement as `<id>_<name>` and renames it."""


def project_of(container: ContainerFacts | None, events: Sequence[ContainerEvent]) -> str | None:
    """Return the Compose project of a container, by its label, or by its latest events where it is gone."""
    label = dict(container.labels).get(COMPOSE_PROJECT) if container is not None else None
    return label or next((event.project for event in reversed(events) if event.project), None)


def running(incident: Incident, service: Service, findings: Findings, standing: Standing) -> Hold | None:
    """Somebody deploys the project that the service is of."""
    project, now = findings.evidence.project, standing.now
    burst = _burst(project, standing.actions, service.host, now) if project is not None else []
    if project is None or not burst or _too_long(burst, incident, now):
        return None
    last = burst[-1].at
    return Hold(
        code=HoldCode.DEPLOY_IN_PROGRESS,
        because=f"its Compose project {project.name} is being deployed, and not by Medic",
        until=f"nothing of it changes for {QUIET.total_seconds():.0f} s, or the deploy takes longer than {_minutes(LONGEST)}",
        look_again=min(max(last + QUIET - now, timedelta(seconds=1)), QUIET),
    )


def taken_down(service: Service, findings: Findings, standing: Standing) -> Hold | None:
    """Every container of the service's project was removed together: `docker compose down`, with or without a stop before it."""
    project, container = findings.evidence.project, findings.evidence.container
    if project is None or container is None or container.state is not ContainerState.MISSING:
        return None
    removed = _removed_together(project, standing.actions, service.host)
    if not removed:
        return None
    return Hold(
        code=HoldCode.STOPPED_ON_PURPOSE,
        because=f"all {removed} containers of its Compose project {project.name} were removed, and not by Medic",
        until="a person brings the project up",
        look_again=holds.STOPPED_FOR,
    )


def is_handled(project: ProjectSeen, actions: Sequence[Action], host: HostName, now: datetime) -> bool:
    """Say whether somebody deploys a project or has taken it down: what is sick in it is no sign of a common fault."""
    return bool(_burst(project, actions, host, now)) or _removed_together(project, actions, host) > 0


def _removed_together(project: ProjectSeen, actions: Sequence[Action], host: HostName) -> int:
    """Return how many containers were removed where none is left and it was done in one go; 0 otherwise."""
    theirs = _theirs(project.events, actions, host)
    removed = {_name(event): event.at for event in theirs if event.action == "destroy"}
    if project.containers or len(removed) < SEVERAL or max(removed.values()) - min(removed.values()) > LONGEST:
        return 0
    return len(removed)


def _burst(project: ProjectSeen, actions: Sequence[Action], host: HostName, now: datetime) -> list[ContainerEvent]:
    """Return what others told Docker about the project just now, where that is a deploy; empty otherwise. Oldest first."""
    burst = _latest_burst(_theirs(project.events, actions, host), now)
    return burst if len({_name(event) for event in burst}) >= SEVERAL else []


def _theirs(events: Sequence[ContainerEvent], actions: Sequence[Action], host: HostName) -> list[ContainerEvent]:
    """Return what others told Docker: nothing from the time of our own playbooks on this host, which tell it things as well."""
    ours = [(a.at, a.until if a.until or a.under_way else a.at) for a in actions if a.host == host]
    told = (event for event in events if event.action in TOLD)
    return [event for event in told if not any(holds.within(event.at, *span) for span in ours)]


def _latest_burst(events: Sequence[ContainerEvent], now: datetime) -> list[ContainerEvent]:
    """Return the latest events with no more than `QUIET` between any two of them, and between the last and now; oldest first."""
    burst: list[ContainerEvent] = []
    newer = now
    for event in sorted(events, key=lambda each: each.at, reverse=True):
        if newer - event.at >= QUIET:
            break
        burst.append(event)
        newer = event.at
    return burst[::-1]


def _too_long(burst: Sequence[ContainerEvent], incident: Incident, now: datetime) -> bool:
    """Say whether it has gone on for too long, by Docker's events, or by our own memory where Docker has forgotten its begin."""
    held = incident.hold is not None and incident.hold.code is HoldCode.DEPLOY_IN_PROGRESS
    return now - burst[0].at > LONGEST or (held and now - incident.opened_at > LONGEST)


def _name(event: ContainerEvent) -> str:
    return _TEMPORARY.sub("", event.container)


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"
