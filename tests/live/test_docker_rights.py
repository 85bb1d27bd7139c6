"""A restricted door to Docker: the very haproxy.cfg of the guide, run for real. Medic looks and restarts through it, and no more."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent import rights
from agent.adapters import docker_door, docker_stream
from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from agent.adapters.docker_engine import DockerEngine
from agent.adapters.system_clock import SystemClock
from agent.errors import OutsideError
from agent.model import ContainerState, Host, HostName, RunEnd
from tests.lab import images
from tests.live.plans import plan

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "docs/how-to/restricted/haproxy.cfg"
HERE = HostName("here")
WITHIN = timedelta(seconds=20)
SOCKET = "/var/run/docker.sock"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run HAProxy with the guide's configuration, its socket in a folder of ours; yield that socket."""
    program = shutil.which("haproxy")
    assert program, "haproxy is not installed: scripts/docker.sh does that"
    folder = tmp_path_factory.mktemp("door")
    path = folder / "docker.sock"
    text = CONFIG.read_text()
    assert "/run/medic-docker/docker.sock" in text
    (folder / "haproxy.cfg").write_text(text.replace("/run/medic-docker/docker.sock", str(path)))
    running = subprocess.Popen(
        [program, "-db", "-f", str(folder / "haproxy.cfg")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 20
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        yield path
    finally:
        running.kill()
        running.wait()


@pytest.fixture
def container() -> Iterator[str]:
    name = f"medic-door-{uuid.uuid4().hex[:8]}"
    words = [
        "docker",
        "run",
        "-d",
        "--name",
        name,
        "--label",
        "medic.test=door",
        images.TINY,
        "sh",
        "-c",
        "echo hello; sleep 3600",
    ]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    yield name
    subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True, timeout=60)


@pytest.fixture
def engine(door: Path) -> Iterator[DockerEngine]:
    made = DockerEngine((Host(name=HERE, docker=f"unix://{door}"),), SystemClock())
    yield made
    made.close()


def client(door: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": f"unix://{door}"}
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, env=environment)


def dial(path: str) -> docker_stream.Dial:
    return functools.partial(docker_stream.connect, f"unix://{path}")


def refused_at(path: str) -> tuple[str, ...]:
    clock = SystemClock()
    return docker_door.refused(dial(path), clock, clock.monotonic() + WITHIN.total_seconds())


def started(container: str) -> str:
    words = ["docker", "inspect", "--format", "{{.State.StartedAt}}", container]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=30).stdout


def test_what_the_door_refuses_is_told_and_the_real_socket_refuses_nothing(door: Path) -> None:
    assert refused_at(SOCKET) == ()
    refused = refused_at(str(door))
    assert refused == ("exec", "create", "remove", "networks", "images")
    left = set(rights.NEEDS) - set(rights.cannot_run(refused))
    assert {"start-container", "restart-container", "unpause-container", "regain-gpu"} <= left
    assert not left & {"recreate-container", "rollback-image", "reload-nginx", "prune-unused-images"}


def test_the_engine_that_plans_rest_on_tells_what_the_door_refuses(engine: DockerEngine) -> None:
    assert engine.refuses(HERE) == ("exec", "create", "remove", "networks", "images")


def test_asking_for_rights_changes_nothing(container: str) -> None:
    before = subprocess.run(["docker", "inspect", container], capture_output=True, text=True).stdout
    refused_at(SOCKET)
    assert subprocess.run(["docker", "inspect", container], capture_output=True, text=True).stdout == before


def test_medic_looks_through_the_door(engine: DockerEngine, container: str) -> None:
    assert container in [facts.name for facts in engine.list(HERE)]
    assert engine.inspect(HERE, container).state is ContainerState.RUNNING
    assert b"hello" in engine.logs(HERE, container, limit=1000, since=None)
    since = SystemClock().now() - timedelta(minutes=5)
    assert any(event.action == "start" for event in engine.events(HERE, container, since=since))
    with pytest.raises(OutsideError):
        engine.exec(HERE, container, ("true",), timeout=WITHIN, limit=10)


def test_the_client_that_playbooks_call_restarts_through_the_door_and_does_nothing_else(door: Path, container: str) -> None:
    assert client(door, "restart", "-t", "0", container).returncode == 0
    assert client(door, "pause", container).returncode != 0
    for words in (("rm", "-f", container), ("exec", container, "true"), ("stop", container), ("kill", container), ("cp", f"{container}:/etc", "-"),
                  ("commit", container, "stolen"), ("run", images.TINY, "true"), ("rename", container, "other"), ("update", "--memory", "1g", container),
                  ("image", "ls"), ("network", "ls"), ("volume", "ls"), ("system", "prune", "-f"), ("export", container)):  # fmt: skip
        ended = client(door, *words)
        assert ended.returncode != 0, words
    assert json.loads(subprocess.run(["docker", "inspect", container], capture_output=True).stdout)[0]["State"]["Running"]


def test_a_safe_runbook_runs_through_the_door_and_one_that_needs_more_fails_and_changes_nothing(
    door: Path, container: str, tmp_path: Path
) -> None:
    host = Host(name=HERE, docker=f"unix://{door}")
    playbooks = AnsiblePlaybooks(ansible=ROOT / "ansible", state_dir=tmp_path, redact=lambda text: text, hosts=(host,))

    def run(playbook: str, **parameters: object) -> RunEnd:
        made = plan(playbook, {"container": container, "stop_timeout": 1, **parameters})
        ended = playbooks.run(
            made, run_id=f"door-{playbook.removesuffix('.yml')}", check=False, on_task=lambda _: None, should_stop=lambda: None
        )
        return ended.end

    try:
        before = started(container)
        assert run("restart-container.yml") is RunEnd.COMPLETED
        assert started(container) != before
        before = started(container)
        spec = {"kind": "run", "image": images.TINY, "command": ["sleep", "1"], "stop_timeout": 1}
        assert run("recreate-container.yml", spec=spec) is RunEnd.FAILED
        assert started(container) == before
    finally:
        playbooks.close()


@pytest.mark.parametrize(
    "target",
    ["/containers/a/../../images/json", "/containers/%2e%2e/images/json", "/v1.41/containers/x/json/../../../secrets", "/containers/x/archive?path=/",
     "/containers/x/attach/ws", "//containers/json", "/containers/x/export", "/secrets", "/info/../secrets"],
)  # fmt: skip
def test_no_path_climbs_past_the_door(door: Path, target: str) -> None:
    right = docker_door.Right(name="x", method="GET", path=target)
    clock = SystemClock()
    assert docker_door.status(dial(str(door)), right, "x", clock, clock.monotonic() + 20) in (400, 403)


def test_doctor_says_what_the_door_forbids_and_what_that_costs(door: Path, tmp_path: Path) -> None:
    file = tmp_path / "medic.yaml"
    file.write_text(f"""
state_dir: {tmp_path / "state"}
hosts: {{local: {{docker: "unix://{door}"}}}}
services: {{web: {{checks: [{{kind: command, command: "true"}}]}}}}
""")
    ended = subprocess.run(
        [sys.executable, "-c", "from agent.cli.main import run; run()", "--config", str(file), "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = {each["what"]: each for each in json.loads(ended.stdout)}
    rights = found["rights on local"]
    assert not rights["well"]
    assert not rights["needed"]
    assert "refuses exec, create, remove, networks, images" in rights["found"]
    assert "recreate-container" in rights["found"]
    assert "restart-container" not in rights["found"].split("cannot run: ")[1].split("; ")[0].split(", ")
    assert "web/command" in rights["found"]
