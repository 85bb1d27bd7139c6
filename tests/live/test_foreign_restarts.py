"""Who restarted a container, told from the events and the restart count of a real Docker engine."""

import time
from collections.abc import Iterator
from datetime import timedelta

import docker
import pytest

from agent.adapters.docker_engine import DockerEngine
from agent.adapters.system_clock import SystemClock
from agent.model import ContainerState, Host, HostName, RestartedBy
from agent.policy import restarts
from tests.live.conftest import Make

pytestmark = pytest.mark.live

LOCAL = HostName("local")
SLEEP = ["sleep", "600"]


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    opened = DockerEngine((Host(name=LOCAL),), SystemClock())
    yield opened
    opened.close()


def who(engine: DockerEngine, name: str) -> list[RestartedBy]:
    events = engine.events(LOCAL, name, since=SystemClock().now() - timedelta(minutes=5))
    return [each.by for each in restarts.by_others(events, engine.inspect(LOCAL, name), ())]


def test_docker_restart_is_somebody_through_the_api(
    engine: DockerEngine, container: Make, docker_client: docker.APIClient
) -> None:
    name = container(SLEEP)
    assert who(engine, name) == []
    docker_client.restart(name, timeout=0)
    assert who(engine, name) == [RestartedBy.DOCKER_API]


def test_a_restart_policy_is_told_by_the_count(engine: DockerEngine, container: Make, docker_client: docker.APIClient) -> None:
    name = container(["sh", "-c", "exit 9"], host={"restart_policy": {"Name": "on-failure", "MaximumRetryCount": 2}})
    until = time.monotonic() + 10
    while (seen := engine.inspect(LOCAL, name)).restart_count != 2 or seen.state is not ContainerState.EXITED:
        assert time.monotonic() < until, "its policy did not restart it twice"
        time.sleep(0.05)
    assert who(engine, name) == [RestartedBy.RESTART_POLICY] * 2


def test_a_start_through_the_api_sets_the_count_back(
    engine: DockerEngine, container: Make, docker_client: docker.APIClient
) -> None:
    name = container(SLEEP, host={"restart_policy": {"Name": "always"}})
    docker_client.restart(name, timeout=0)
    assert engine.inspect(LOCAL, name).restart_count == 0
