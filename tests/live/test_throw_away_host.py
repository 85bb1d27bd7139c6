"""What is done to a whole host is done to one here: a network, an sshd and a Docker engine of its own, nobody else's."""

import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters import state_folder
from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from agent.model import HostName, PlaybookRun, RunEnd
from tests import far_hosts
from tests.lab import fleet_ground, images
from tests.lab.fleet_ground import FleetHost
from tests.lab.stage import StageError
from tests.live import plans
from tests.live.daemon import ROOT

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.getuid() != 0, reason="hosts with networks of their own can only be made by root"),
]

SHUTDOWN = """\
#!/bin/sh
[ ! -e "$(dirname "$0")/refuses" ] || { echo "shutdown: not now" >&2; exit 1; }
echo "shutdown $*" >> "$(dirname "$0")/said"
"""
BUSY = """\
trap 'sleep 2; echo "the last request has ended" >> /said/said; exit 0' TERM
touch /said/serves
while :; do sleep 0.1; done
"""
"""A server with a request under way, which ends it before it ends itself."""


@pytest.fixture
def host() -> Iterator[FleetHost]:
    far_hosts.needs_sshd()
    images.ensure(images.TINY)
    # A short name: an engine's sockets lie deep in it, and a socket's path has 107 bytes. Source: unix(7).
    with tempfile.TemporaryDirectory(prefix="m-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        made = FleetHost(run=secrets.token_hex(3), number=1, folder=Path(folder) / "spare", called="spare")
        made.files.mkdir()
        (made.files / "shutdown").write_text(SHUTDOWN)
        (made.files / "shutdown").chmod(0o755)
        try:
            fleet_ground.raise_all((made,), Path(folder))
            yield made
        finally:
            fleet_ground.strike_all((made,))
        assert fleet_ground.left_over((made,)) == ()


def test_a_host_is_rebooted_once_its_containers_have_ended_and_not_at_all_where_that_cannot_be(
    host: FleetHost, tmp_path: Path
) -> None:
    words = ("--restart", "unless-stopped", "--stop-timeout", "30", "--volume", f"{host.files}:/said", images.TINY, "sh", "-c")
    host.docker("run", "--detach", "--name", "busy", *words, BUSY)
    said = host.files / "said"
    state_folder.private_folder(tmp_path / "state")
    spare = replace(host.sshd.host("spare"), docker=f"unix://{host.socket}")
    playbooks = AnsiblePlaybooks(ansible=ROOT / "ansible", state_dir=tmp_path / "state", redact=str, hosts=(spare,))
    plan = replace(plans.plan("reboot-host.yml", {"minutes": 1}, timeout=timedelta(minutes=15)), host=HostName("spare"))

    def reboot(run_id: str) -> PlaybookRun:
        wait_for((host.files / "serves").exists)
        return playbooks.run(plan, run_id=run_id, check=False, on_task=lambda _task: None, should_stop=lambda: None)

    def runs() -> bool:
        with contextlib.suppress(StageError):
            return host.docker("inspect", "--format", "{{.State.Running}}", "busy") == "true"
        return False

    (host.files / "refuses").touch()
    refused = reboot("R1-1")
    assert (refused.end, refused.message) == (RunEnd.FAILED, "shutdown: not now")
    assert said.read_text().splitlines() == ["the last request has ended"]
    wait_for(runs)  # the engine goes on, and all with it

    for file in (said, host.files / "refuses", host.files / "serves"):
        file.unlink()
    host.docker("restart", "--time", "0", "busy")
    assert reboot("R1-2").end is RunEnd.COMPLETED
    assert said.read_text().splitlines() == ["the last request has ended", "shutdown -r +1 Medic reboots this host"]
    assert not runs()
    host.start_engine()  # what a boot does
    wait_for(runs)
    playbooks.close()


def wait_for(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.2)
