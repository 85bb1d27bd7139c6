"""Whether a container is still starting, judged by how long its own image took before. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import ContainerFacts, ContainerState, Findings, Hold, HoldCode, Service, Standing, Start

FEWEST = 3
"""Starts of one image from which its own time counts; with fewer, `limits.start_grace` does."""

HUNG = 3
"""So many times slower than the 95th percentile of its own starts is not slow any more: it hangs."""

LOOK_AT_HEALTH = timedelta(seconds=15)
"""Docker's `starting` may turn red at any moment, long before the time of a start is over."""


def warming(service: Service, findings: Findings, standing: Standing) -> Hold | None:
    """The container runs and has not had the time that its own starts take, or Docker itself says `starting`."""
    container = findings.evidence.container
    if container is None or container.state is not ContainerState.RUNNING or container.started_at is None:
        return None
    longest = _longest(service, container, container.started_at, standing)
    age = standing.now - container.started_at
    left = longest - age
    if left <= timedelta(0):
        return None
    starting = container.health == "starting"
    said = ", and Docker calls it starting" if starting else ""
    return Hold(
        code=HoldCode.WARMING,
        because=f"its container started {age.total_seconds():.0f} s ago{said}",
        until=f"it answers, or {longest.total_seconds():.0f} s after its start",
        look_again=min(left, LOOK_AT_HEALTH) if starting else left,
    )


def patience(service: Service, took: Sequence[timedelta]) -> timedelta:
    """Return the age from which a silent container hangs: `HUNG` times the 95th percentile of `took`.

    took: times from start to first WELL of the same image, in any order. Never shorter than `limits.start_grace`, which is
    also the answer for fewer than `FEWEST`; never longer than `limits.longest_start`, unless the grace itself is.
    Shape: 5 starts of 85 to 95 s -> 285 s; 5 starts of 1 s -> the grace.
    """
    limits = service.limits
    if len(took) < FEWEST:
        return limits.start_grace
    return max(limits.start_grace, min(HUNG * percentile_95(took), limits.longest_start))


def percentile_95(took: Sequence[timedelta]) -> timedelta:
    """Return the nearest-rank 95th percentile of one or more times: a value that was really seen."""
    rank = -(-95 * len(took) // 100)
    return sorted(took)[rank - 1]


def was_ready(starts: Sequence[Start], started_at: datetime) -> bool:
    """Say whether this very life of the container was seen WELL: then it is not warming, whatever its age."""
    return any(start.started_at == started_at for start in starts)


def _longest(service: Service, container: ContainerFacts, started_at: datetime, standing: Standing) -> timedelta:
    if was_ready(standing.starts, started_at):
        return service.limits.start_grace
    took = [start.took for start in standing.starts if start.image_id == container.image_id]
    if container.health == "starting" and len(took) < FEWEST:
        return max(service.limits.start_grace, service.limits.longest_start)
    return patience(service, took)
