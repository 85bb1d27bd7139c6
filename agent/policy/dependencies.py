"""Who depends on whom: the parents of a service, which of them are not well, and why a circle is refused. Pure."""

from collections.abc import Mapping, Sequence

from agent.model import (
    Health,
    HoldCode,
    Incident,
    IncidentState,
    Recorded,
    Service,
    ServiceName,
    ServiceRecord,
    Streak,
)

Graph = Mapping[ServiceName, Sequence[ServiceName]]


def parents(service: ServiceName, depends_on: Graph) -> tuple[ServiceName, ...]:
    """Return everything the service depends on, directly or not, nearest first, each once and never itself."""
    found: dict[ServiceName, None] = {}
    waiting = list(depends_on.get(service, ()))
    while waiting:
        parent = waiting.pop(0)
        if parent not in found and parent != service:
            found[parent] = None
            waiting += depends_on.get(parent, ())
    return tuple(found)


def circle(depends_on: Graph) -> tuple[ServiceName, ...]:
    """Return the services of one circle in their order, beginning and ending with the same; empty when there is none."""
    for start in sorted(depends_on):
        path = [start]
        if _leads_back(path, depends_on, set()):
            return tuple(path)
    return ()


def _leads_back(path: list[ServiceName], depends_on: Graph, tried: set[ServiceName]) -> bool:
    for parent in depends_on.get(path[-1], ()):
        if parent == path[0]:
            path.append(parent)
            return True
        if parent not in tried:
            tried.add(parent)
            path.append(parent)
            if _leads_back(path, depends_on, tried):
                return True
            path.pop()
    return False


def parents_first(services: Sequence[Service]) -> tuple[Service, ...]:
    """Return `services` with every parent before its children, so that a child is decided when its parents are."""
    graph = {service.name: service.depends_on for service in services}
    depth = {service.name: len(parents(service.name, graph)) for service in services}
    return tuple(sorted(services, key=lambda service: depth[service.name]))


def down(record: ServiceRecord | None, streaks: Sequence[Streak], unclosed: Sequence[Incident]) -> str | None:
    """Return why one parent is not well, None where it is, or where nobody has looked yet.

    One sick look is enough: its child only waits a little. A parent whose probe alone is wrong serves, and so counts as well.
    """
    if record is not None and record.status is not Recorded.RUNNING:
        return f"is recorded as {record.status.value}"
    serving = [incident for incident in unclosed if _only_its_probe_is_wrong(incident)]
    if len(unclosed) > len(serving):
        return f"has incident {next(incident.id for incident in unclosed if incident not in serving)}"
    sick = [streak.check for streak in streaks if Health.SICK in (streak.health, streak.settled)]
    return f"is sick: {', '.join(sick)}" if sick and not serving else None


def _only_its_probe_is_wrong(incident: Incident) -> bool:
    held = incident.state is IncidentState.HELD and incident.hold is not None
    return held and incident.hold is not None and incident.hold.code is HoldCode.WRONG_PROBE
