"""Real containers for live tests: made from the lab's tiny image, labelled `medic.test=docker`, and each removed by its own test.

That an engine answers is settled before any fixture runs (`tests/conftest.py`: skipped on a laptop, an error with CI=true).
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import docker
import pytest

from tests import canaries
from tests.lab import images
from tests.live.daemon import Site

LABELS = {"medic.test": "docker"}

Make = Callable[..., str]
"""Takes a command and `create_host_config` or `create_container` options; returns the name of the container."""


@pytest.fixture(scope="session")
def docker_client() -> Iterator[docker.APIClient]:
    """A client of the local engine for arranging tests; what is tested has a client of its own."""
    client = docker.APIClient(version="auto", timeout=30)
    yield client
    client.close()


@pytest.fixture
def site(docker_client: docker.APIClient, tmp_path: Path) -> Iterator[Site]:
    """A folder with a medic.yaml, and the containers that it names."""
    site = Site(tmp_path, docker_client)
    yield site
    site.clear()


@pytest.fixture(scope="session")
def tiny_image(docker_client: docker.APIClient) -> str:
    """busybox and nothing else; built in a second when it is not there."""
    return images.ensure(images.TINY)


@pytest.fixture
def container(docker_client: docker.APIClient, tiny_image: str) -> Iterator[Make]:
    """A factory of containers that removes exactly those it made."""
    made: list[str] = []

    def make(
        command: list[str],
        *,
        start: bool = True,
        host: dict[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
        **options: object,
    ) -> str:
        id_ = docker_client.create_container(
            tiny_image,
            command,
            labels={**LABELS, **(labels or {})},
            # No network unless a test asks for one: it starts faster and needs nothing of the machine's bridges.
            host_config=docker_client.create_host_config(**{"network_mode": "none", **(host or {})}),
            **{"environment": canaries.words(), **options},
        )["Id"]
        made.append(id_)
        if start:
            docker_client.start(id_)
        return str(docker_client.inspect_container(id_)["Name"]).removeprefix("/")

    yield make
    for id_ in made:
        with contextlib.suppress(docker.errors.NotFound):  # the test itself may have removed it
            docker_client.remove_container(id_, force=True, v=True)
