"""What it takes to know the state of every container of one host."""

import statistics
import time
from collections.abc import Iterator
from datetime import timedelta

from agent.adapters.docker_engine import DockerEngine
from agent.adapters.system_clock import SystemClock
from agent.model import ContainerState, Host, HostName
from bench.figure import Figure
from bench.ground import Ground

CONTAINERS = 60
ROUNDS = 30
LOCAL = HostName("local")


def figures(on: Ground) -> Iterator[Figure]:
    """Measure the list that every beat makes, once it knows each container."""
    ours = {*on.containers(CONTAINERS)}
    docker = DockerEngine((Host(name=LOCAL),), SystemClock())
    try:
        # A container younger than a second is inspected anew each time; its age is told in whole seconds.
        time.sleep(timedelta(seconds=3).total_seconds())
        docker.list(LOCAL)
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            listed = docker.list(LOCAL)
            took.append((time.perf_counter() - began) * 1000)
    finally:
        docker.close()
    running = {facts.name for facts in listed if facts.state is ContainerState.RUNNING}
    if not ours <= running:
        raise RuntimeError(f"{len(ours - running)} of {CONTAINERS} containers are not listed as running")
    yield Figure(
        name="container-state",
        what=f"state of one host with {CONTAINERS} containers",
        value=statistics.median(took),
        unit="ms",
        bar=20,
        limit="dockerd's own answer to one list, and JSON in Python",
        more={"all_containers": len(listed), "slowest_ms": round(max(took), 1)},
    )
