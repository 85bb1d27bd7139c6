"""Medic's own image from the Dockerfile as it is, and the guide's compose file: Medic beside the services it heals, behind a door.

No registry is needed: `tests.lab.own_image` makes the base and fetches the packages. The compose file runs unchanged but for the
images, the socket and the network that its variables name.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any  # JSON of the command

import pytest

from agent import rights
from tests.lab import images, own_image, stage

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/how-to/restricted"
SOCKET = os.environ.get("MEDIC_DOCKER_SOCKET", "/var/run/docker.sock")
"""Docker's socket as the engine itself sees it: a container that mounts it gets that one."""
PATIENCE = 240.0
"""Seconds for one command of Compose, which starts a Python and then one in the container: seconds on a machine that is not busy."""
REFUSED = ("exec", "create", "remove", "networks", "images")


@dataclass(frozen=True)
class Stack:
    """The guide's folder with a project of its own, up; and the service beside it, broken and looked at from outside."""

    folder: Path
    project: str
    web: str
    compose: tuple[str, ...]
    environment: dict[str, str]

    def do(self, *words: str, within: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        command = (*self.compose, "--project-name", self.project, *words)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=within, check=False
        )

    def must(self, *words: str, within: float = PATIENCE) -> str:
        done = self.do(*words, within=within)
        assert done.returncode == 0, f"{words} ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        return done.stdout

    def medic(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.do("exec", "-T", "medic", "medic", *words)

    @property
    def agent(self) -> str:
        return self.must("ps", "-q", "medic").strip()

    def incidents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.must("exec", "-T", "medic", "medic", "incident", "list", "--json"))
        return found

    def wait(self, what: str, within: float = PATIENCE) -> dict[str, Any]:
        """Return the first incident that is closed as `what`."""
        end = time.monotonic() + within
        while True:
            seen = self.incidents()
            if found := [each for each in seen if each["closing"] == what]:
                return found[0]
            assert time.monotonic() < end, f"{seen}\n{self.do('logs').stdout[-3000:]}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def compose() -> tuple[str, ...]:
    """The command of Compose: Docker's plugin, or the older program."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if (
            shutil.which(command[0])
            and subprocess.run((*command, "version"), capture_output=True, timeout=PATIENCE).returncode == 0
        ):
            return command
    pytest.skip("Docker Compose is not here: scripts/docker.sh installs it as root on Debian or Ubuntu")


@pytest.fixture(scope="module")
def own() -> str:
    images.ensure(images.TINY)
    try:
        made = own_image.ensure()
    except images.LabError as error:
        pytest.skip(str(error))
    seen = subprocess.run(
        ("docker", "run", "--rm", "--network", "none", "-v", f"{SOCKET}:/door.sock", "--user", "0", "--entrypoint", "docker",
         made, "-H", "unix:///door.sock", "info", "--format", "{{.ID}}"),
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    if seen.stdout.strip() != stage.docker("info", "--format", "{{.ID}}").strip():
        pytest.skip(f"this engine's own socket is not {SOCKET}: name it in MEDIC_DOCKER_SOCKET")
    return made


@pytest.fixture(scope="module")
def stack(own: str, compose: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    name = f"medic-own-{secrets.token_hex(3)}"
    folder = tmp_path_factory.mktemp("stack")
    for file in GUIDE.iterdir():
        text = file.read_text()
        if file.name == "medic.yaml":  # on this machine there may be somebody's `web`
            assert "container: web " in text
            text = text.replace("container: web ", f"container: {name} ")
        (folder / file.name).write_text(text)
        (folder / file.name).chmod(0o644)
    environment = {
        **os.environ,
        "MEDIC_IMAGE": own,
        "MEDIC_DOOR_IMAGE": images.PYTHON,
        "MEDIC_DOCKER_SOCKET": SOCKET,
        "MEDIC_SERVICES_NETWORK": name,
    }
    made = Stack(folder, name, name, compose, environment)
    stage.docker("network", "create", "--label", "medic.test=own-image", name)
    try:
        serves = "echo ok >/srv/index.html; httpd -f -p 8000 -h /srv & wait $!"
        label = ("--label", "medic.test=own-image")
        stage.docker("run", "--detach", "--name", name, *label, "--network", name, images.TINY, "sh", "-c", serves)
        # Made before anything starts, as the plugin does it: the door's folder is then made by whoever mounts it first.
        made.must("up", "--no-start")
        made.must("up", "--detach")
        yield made
    finally:
        made.do("down", "--volumes", "--timeout", "20")
        subprocess.run(("docker", "rm", "--force", name), capture_output=True, timeout=60)
        stage.docker("network", "rm", name)


def started(container: str) -> datetime:
    return datetime.fromisoformat(stage.inspect(container)["State"]["StartedAt"][:19])


def test_the_image_runs_as_nobody_in_particular_and_holds_no_package_installer(own: str) -> None:
    script = "id -u; command -v pip; ls /opt/medic/bin/pip* 2>/dev/null; medic --version"
    said = stage.docker("run", "--rm", "--network", "none", "--entrypoint", "sh", own, "-c", script).split()
    assert said[:2] == ["10001", "medic"]


def test_the_image_has_every_collection_that_a_playbook_uses(own: str) -> None:
    used = {
        collection
        for file in (ROOT / "ansible").rglob("*.yml")
        for collection in re.findall(r"\b((?:community|ansible)\.(?!builtin)[a-z_]+)\.[a-z_]+", file.read_text())
    }
    script = "cd /opt/medic/lib/python3*/site-packages/ansible_collections && ls -d */*"
    listed = stage.docker("run", "--rm", "--network", "none", "--entrypoint", "sh", own, "-c", script).split()
    assert used
    assert used <= {each.replace("/", ".") for each in listed}


def test_doctor_in_the_container_says_what_the_door_refuses_and_that_nothing_needed_is_missing(stack: Stack) -> None:
    ended = stack.medic("doctor", "--json")
    found = {each["what"]: each for each in json.loads(ended.stdout)}
    assert ended.returncode == 0, ended.stdout
    assert f"refuses {', '.join(REFUSED)};" in found["rights on local"]["found"]
    assert [each for each in found.values() if each["needed"] and not each["well"]] == []


def test_a_killed_container_is_healed_by_the_medic_in_the_container(stack: Stack) -> None:
    before = started(stack.web)
    stage.docker("exec", stack.web, "killall", "-9", "httpd")
    healed = stack.wait("healed")
    assert [attempt["plan"]["runbook"] for attempt in healed["attempts"]] == ["start-container"]
    state = stage.inspect(stack.web)["State"]
    assert state["Status"] == "running"
    assert started(stack.web) >= before


def test_a_runbook_that_needs_more_is_refused_and_says_what_it_needs(stack: Stack) -> None:
    before = stage.inspect(stack.web)["Id"]
    for words in ((), ("--dry-run",)):
        ended = stack.medic("runbook", "run", "recreate-container", "web", *words)
        assert ended.returncode == 2, ended.stdout + ended.stderr
        assert "it needs create and remove, which Docker on local refuses Medic" in ended.stdout + ended.stderr
    assert stage.inspect(stack.web)["Id"] == before
    assert set(rights.cannot_run(REFUSED)) >= {"recreate-container", "rollback-image", "reload-nginx"}


def test_it_ends_by_itself_within_its_grace_and_leaves_no_process_unburied(stack: Stack) -> None:
    agent = stack.agent
    assert "<defunct>" not in stage.docker("top", agent)
    stack.must("stop", "medic")
    state = stage.inspect(agent)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
