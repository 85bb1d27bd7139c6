"""The commands against a real engine: look, propose, heal in the foreground, and change nothing in a dry run."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from agent import config
from agent.cli import options
from agent.model import TcpCheck
from tests import canaries

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
CRASHES_ONCE = ["sh", "-c", "if [ -f /ran ]; then exec sleep 600; fi; touch /ran; exit 3"]
LISTENS = ["sh", "-c", "mkdir /w; exec httpd -f -p 8000 -h /w"]

Make = Callable[..., str]
Medic = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def make(docker_client: docker.APIClient, tiny_image: str) -> Iterator[Make]:
    """A factory of containers with labels of their own; it removes exactly those it made."""
    made: list[str] = []

    def start(command: list[str], ports: dict[int, tuple[str, int | None]] | None = None, **labels: str) -> str:
        name = f"medic-cli-{uuid.uuid4().hex[:8]}"
        id_ = docker_client.create_container(
            tiny_image,
            command,
            name=name,
            ports=list(ports or {}),
            environment=canaries.words(),
            labels={"medic.test": "cli", **{f"medic.{key}": value for key, value in labels.items()}},
            host_config=docker_client.create_host_config(port_bindings=ports or {}),
        )["Id"]
        made.append(id_)
        docker_client.start(id_)
        return name

    yield start
    for id_ in made:
        docker_client.remove_container(id_, force=True, v=True)


@pytest.fixture
def medic(tmp_path: Path) -> Medic:
    """Run one command as a process of its own, on a state folder of its own."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", "from agent.cli.main import run; run()", *words]
        ours = {"MEDIC_STATE_DIR": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
        variables = {**{key: value for key, value in os.environ.items() if not key.startswith("MEDIC_")}, **ours}
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120, check=False)

    return run


def declare(folder: Path, *services: str) -> None:
    limits = "{limits: {start_grace: 0s, verify_within: 20s}}"
    (folder / "medic.yaml").write_text(
        "discover_labels: false\nservices:\n" + "".join(f"  {name}: {limits}\n" for name in services)
    )


def test_check_tells_the_well_from_the_sick(make: Make, medic: Medic, tmp_path: Path) -> None:
    well, sick = make(["sleep", "600"]), make(["false"])
    declare(tmp_path, well, sick)
    ended = medic("check", "--json")
    assert ended.returncode == options.SICK, ended.stderr
    seen = {verdict["service"]: verdict["health"] for verdict in json.loads(ended.stdout)}
    assert (seen[well], seen[sick]) == ("well", "sick")
    assert medic("check", well).returncode == options.WELL
    assert not (tmp_path / "state").exists()


def test_a_label_declares_a_service(make: Make, medic: Medic) -> None:
    name = make(LISTENS, enable="true", tcp="8000")
    (verdict,) = json.loads(medic("check", name, "--json").stdout)
    assert [judgement["check"] for judgement in verdict["judgements"]] == ["container", "tcp"]


def test_what_init_writes_loads_and_names_the_published_port(make: Make, medic: Medic, tmp_path: Path) -> None:
    name = make(LISTENS, ports={8000: ("127.0.0.1", None)})
    ended = medic("init", "--to", "proposed.yaml")
    assert ended.returncode == options.WELL, ended.stderr
    (proposed,) = [service for service in config.load(tmp_path / "proposed.yaml", {}).services if service.name == name]
    check = proposed.checks[1]
    assert isinstance(
        check, TcpCheck
    )  # busybox answers 404 for an empty folder: it speaks HTTP, but no path is known to be well
    assert check.address.startswith("127.0.0.1:")
    assert "speaks HTTP (404 at /)" in (tmp_path / "proposed.yaml").read_text()


def test_heal_without_a_watch_works_in_the_foreground(
    make: Make, medic: Medic, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    name = make(CRASHES_ONCE)
    docker_client.wait(name, timeout=30)
    declare(tmp_path, name)
    ended = medic("heal", name)
    assert ended.returncode == options.WELL, ended.stdout + ended.stderr
    assert "healed" in ended.stdout
    assert docker_client.inspect_container(name)["State"]["Running"]
    (incident,) = json.loads(medic("incident", "list", "--json").stdout)
    assert (incident["state"], incident["closing"]) == ("closed", "healed")
    again = medic("heal", name)
    assert again.returncode == options.WELL
    assert "is well" in again.stdout


def test_a_dry_run_says_what_it_would_change_and_changes_nothing(
    make: Make, medic: Medic, docker_client: docker.APIClient, tmp_path: Path
) -> None:
    name = make(["sleep", "600"])
    declare(tmp_path, name)
    before = docker_client.inspect_container(name)["State"]["StartedAt"]
    ended = medic("runbook", "run", "restart-container", name, "--dry-run")
    assert ended.returncode == options.WELL, ended.stdout + ended.stderr
    assert "Restart the container" in ended.stdout
    assert docker_client.inspect_container(name)["State"]["StartedAt"] == before


def test_doctor_is_content_with_a_machine_that_can_heal(medic: Medic) -> None:
    ended = medic("doctor", "--json")
    answers = {answer["what"]: answer for answer in json.loads(ended.stdout)}
    assert ended.returncode == options.WELL, ended.stdout
    assert answers["docker on local"]["well"]
    assert answers["ansible-playbook"]["well"]
    assert answers["community.docker"]["well"]
