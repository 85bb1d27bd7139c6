"""The fleet demo is a test: three real hosts over SSH, each broken in its own way, end as they should, and nothing is left."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import far_hosts
from tests.lab.test_demo import left_of_demos

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name: an engine's sockets lie deep in it, and a socket's path has 107 bytes. Source: unix(7)."""
    with tempfile.TemporaryDirectory(prefix="m-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="hosts with networks of their own can only be made by root")
def test_the_fleet_demo_ends_with_every_host_as_it_should(short: Path) -> None:
    far_hosts.needs_sshd()
    environment = {**os.environ, "TMPDIR": str(short)}
    demo = subprocess.run(
        (sys.executable, "-m", "tests.lab.demo_fleet"),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout[-6000:] + demo.stderr[-2000:]
    assert "left running: nothing" in demo.stdout
    assert left_of_demos(short) == []
