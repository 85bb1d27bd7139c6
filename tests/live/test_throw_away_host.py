"""What is done to a whole host is done to one here: a network, an sshd and a Docker engine of its own, nobody else's."""

import contextlib
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters import state_folder
from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from agent.cli import options
from agent.model import HostName, PlaybookRun, RunEnd
from tests import far_hosts
from tests.lab import fleet_ground, images
from tests.lab.fleet_ground import FleetHost
from tests.lab.stage import StageError
from tests.live import plans
from tests.live.daemon import MEDIC, ROOT

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.getuid() != 0, reason="hosts with networks of their own can only be made by root"),
]

LOGROTATE = """\
#!/bin/sh
# This machine's logrotate, on the rules of a rehearsal alone: its file system is this host's, too.
here=$(dirname "$0")
cat /etc/logrotate.d/medic-rehearsal-* > "$here/rules"
for word do
    shift
    [ "$word" != /etc/logrotate.conf ] || word=$here/rules
    set -- "$@" "$word"
done
exec /usr/sbin/logrotate --state "$here/rotated" "$@"
"""
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
        for name, text in (("logrotate", LOGROTATE), ("shutdown", SHUTDOWN)):
            (made.files / name).write_text(text)
            (made.files / name).chmod(0o755)
        try:
            fleet_ground.raise_all((made,), Path(folder))
            yield made
        finally:
            fleet_ground.strike_all((made,))
        assert fleet_ground.left_over((made,)) == ()


def medic(host: FleetHost, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    declared = {"state_dir": "state", "discover_labels": False, "hosts": {"local": {}, "spare": host.declared()}}
    (folder / "medic.yaml").write_text(json.dumps(declared))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MEDIC_")}
    said = (MEDIC, "--config", str(folder / "medic.yaml"), *words)
    return subprocess.run(said, cwd=folder, env=environment, capture_output=True, text=True, timeout=1500, check=False)


def test_what_is_done_to_a_whole_host_is_rehearsed_on_one_on_which_nothing_else_runs(host: FleetHost, tmp_path: Path) -> None:
    unnamed = medic(host, tmp_path, "runbook", "test", "restart-docker")
    assert unnamed.returncode == options.BAD_INPUT
    assert "it is done to a whole host; name one with --host" in unnamed.stderr

    name = host.docker("run", "--detach", "--name", "needed", images.TINY, "sleep", "600")
    needed = medic(host, tmp_path, "runbook", "test", "restart-docker", "--host", "spare")
    assert needed.returncode == options.CANNOT_LOOK
    assert "cannot test 'restart-docker' on host 'spare': it is done to a whole host, and this one has needed" in needed.stderr
    host.docker("rm", "--force", name)

    for runbook in ("restart-docker", "rotate-logs"):
        ended = medic(host, tmp_path, "runbook", "test", runbook, "--host", "spare", "--json")
        assert ended.returncode == options.WELL, ended.stdout + ended.stderr
        (done,) = json.loads(ended.stdout)
        names = [step["name"] for step in done["steps"]]
        assert names[:3] + names[-2:] == ["inject", "detect", "dry run", "revert", "nothing left"]
        assert all(step["passed"] for step in done["steps"])
    assert host.docker("ps", "--all", "--quiet") == ""


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
