"""A moto server in this process, and a project of ours on it: stand-ins, both (tests/infra/stand_in)."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.infra.stand_in.cloud import Cloud
from tests.infra.stand_in.engine import Project

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    """An empty account."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Cloud(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="module")
def project(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """This repository's program, with a state file of its own."""
    return Project(ROOT, "test", aws, tmp_path_factory.mktemp("state") / "state.json")
