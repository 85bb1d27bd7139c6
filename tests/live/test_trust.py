"""Trust on real containers: harm is taken back, runbooks pass their tests, and a halt stops a running playbook at once."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import docker
import pytest

from agent.cli import options
from tests import canaries

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
STRICT = "grep -qx 'port=[0-9]*' /etc/service/service.conf || exit 78; trap 'exit 0' TERM; while :; do sleep 0.1; done"
DEAF = "trap '' TERM; while :; do sleep 1; done"

Make = Callable[..., str]
Medic = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(folder: Path) -> dict[str, str]:
    ours = {"MEDIC_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("MEDIC_")}, **ours}


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from agent.cli.main import run; run()", *words]


@pytest.fixture
def medic(tmp_path: Path) -> Medic:
    """Run one command as a process of its own, on a state folder of its own."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command(*words), cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=300, check=False
        )

    return run


@pytest.fixture
def make(docker_client: docker.APIClient, tiny_image: str) -> Iterator[Make]:
    """A factory of containers that removes exactly those it made."""
    made: list[str] = []

    def start(script: str, *, binds: list[str] | None = None) -> str:
        name = f"medic-trust-{uuid.uuid4().hex[:8]}"
        host = docker_client.create_host_config(binds=binds or [], network_mode="none")
        made.append(
            docker_client.create_container(
                tiny_image,
                ["sh", "-c", script],
                name=name,
                environment=canaries.words(),
                labels={"medic.test": "trust"},
                host_config=host,
            )["Id"]
        )
        docker_client.start(name)
        return name

    yield start
    for id_ in made:
        docker_client.remove_container(id_, force=True, v=True)


def test_a_good_copy_that_makes_things_worse_is_taken_back(make: Make, medic: Medic, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "service.conf").write_text("port=80\n")
    (tmp_path / "wrong.conf").write_text("port=eighty\n")
    name = make(STRICT, binds=[f"{folder}:/etc/service"])
    declared = {
        "discover_labels": False,
        "services": {
            name: {
                "config_file": {"path": str(folder / "service.conf"), "template": str(tmp_path / "wrong.conf")},
                "limits": {"start_grace": "0s", "verify_within": "20s"},
            }
        },
    }
    (tmp_path / "medic.yaml").write_text(json.dumps(declared))

    medic("runbook", "run", "restore-config", name)

    (incident,) = json.loads(medic("incident", "list", "--json").stdout)
    (attempt,) = incident["attempts"]
    assert attempt["harm"]["patient"], "the restart killed it"
    assert attempt["undo"]["end"] == "completed"
    assert [seen["health"] for seen in attempt["undo_seen"]] == ["well"]
    assert (folder / "service.conf").read_text() == "port=80\n"
    assert medic("check", name).returncode == options.WELL


# One of each kind; `medic runbook test --all` is all of them, in some minutes.
@pytest.mark.abuse("50")
@pytest.mark.parametrize("runbook", ["start-container", "evict-cache", "regenerate-nginx-routes"])
def test_a_shipped_runbook_passes_its_test_and_leaves_nothing(medic: Medic, tiny_image: str, runbook: str) -> None:
    ended = medic("runbook", "test", runbook, "--json")
    assert ended.returncode == options.WELL, ended.stderr
    (done,) = json.loads(ended.stdout)
    names = [step["name"] for step in done["steps"]]
    assert names[-10:] == [
        "inject", "detect", "diagnose", "choose", "dry run", "heal", "verify", "run again", "revert", "nothing left",
    ]  # fmt: skip
    assert all(step["passed"] for step in done["steps"])


def test_a_test_without_its_image_says_where_to_get_one(medic: Medic) -> None:
    ended = medic("runbook", "test", "start-container", "--image", "medic-lab/there-is-none")
    assert ended.returncode == options.CANNOT_LOOK
    assert "python -m tests.lab.images" in ended.stderr


def test_a_halt_keeps_a_test_from_changing_anything(medic: Medic) -> None:
    medic("halt", "no changes now")
    ended = medic("runbook", "test", "start-container")
    assert ended.returncode == options.REFUSED
    assert "no changes now" in ended.stderr


@pytest.mark.abuse("69")
def test_a_halt_stops_a_running_playbook_within_a_second_and_says_which(make: Make, medic: Medic, tmp_path: Path) -> None:
    name = make(DEAF)
    spec = {"image": "medic-lab/tiny", "command": "sleep 60", "stop_timeout": "60s"}
    declared = {"discover_labels": False, "services": {name: {"run": spec, "limits": {"verify_within": "1s"}}}}
    (tmp_path / "medic.yaml").write_text(json.dumps(declared))
    words = command("runbook", "run", "restart-container", name)
    running = subprocess.Popen(
        words, cwd=tmp_path, env=environment(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_the_playbook(tmp_path)
        halted = medic("halt", "stop")
        running.wait(60)
    finally:
        running.kill()
        running.wait()
    assert "stopped restart-container (I1-1)" in halted.stdout
    (incident,) = json.loads(medic("incident", "list", "--json").stdout)
    (attempt,) = incident["attempts"]
    assert attempt["run"]["end"] == "cancelled"
    said = (tmp_path / "state" / "halt").stat().st_mtime
    assert epoch(attempt["ran_until"]) - said <= 1.0


def wait_for_the_playbook(folder: Path) -> None:
    """Wait until the container is being stopped: the marker on the target says that the playbook has begun."""
    end = time.monotonic() + 120
    while not (folder / "state" / "markers" / "I1-1" / "started").is_dir():
        assert time.monotonic() < end, "the playbook never began"
        time.sleep(0.1)


def epoch(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
