"""The built wheel, in an empty venv, away from the checkout: its runbooks, playbooks, rules and templates came along."""

import json
import os
import secrets
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # JSON of the command

import pytest
import yaml

from tests.lab import images, stage

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, folder: Path, timeout: float = 60) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stdout[-1500:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), folder=ROOT)
    return next(folder.glob("medic_agent-*.whl"))


@pytest.fixture(scope="module")
def medic(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a fresh venv with the locked dependencies and the wheel, and nothing of this checkout."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", venv, folder=venv.parent)
    python = venv / "bin/python"
    install = (python, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", "install")
    run(*install, "--require-hashes", "--no-compile", "-r", ROOT / "requirements.lock", folder=venv.parent, timeout=420)
    run(*install, "--no-deps", wheel, folder=venv.parent, timeout=60)
    return venv / "bin/medic"


@pytest.fixture
def crashed(tmp_path: Path) -> Iterator[str]:
    """A container that ends by itself when its file `crash` appears, declared in ./medic.yaml, and crashed."""
    name = f"medic-wheel-{secrets.token_hex(3)}"
    images.ensure(images.TINY)
    command = "while [ ! -e /tmp/crash ]; do sleep 0.1; done; rm /tmp/crash; exit 3"
    stage.docker("run", "--detach", "--name", name, "--label", "medic.test=wheel", images.TINY, "sh", "-c", command)
    document = {
        "state_dir": str(tmp_path / "state"),
        "interval": "500ms",
        "discover_labels": False,
        "services": {"patient": {"container": name, "checks": [{"kind": "container"}], "limits": {"start_grace": "0s"}}},
    }
    (tmp_path / "medic.yaml").write_text(yaml.safe_dump(document))
    stage.docker("exec", name, "touch", "/tmp/crash")
    try:
        wait_for_state(name, "exited")
        yield name
    finally:
        stage.docker("rm", "--force", name)


def wait_for_state(container: str, state: str, within: float = 20) -> None:
    end = time.monotonic() + within
    while (seen := stage.inspect(container)["State"]["Status"]) != state:
        assert time.monotonic() < end, f"{container} is {seen} and not {state} after {within:.0f} s"
        time.sleep(0.1)


def test_the_wheel_holds_all_that_the_agent_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {f"agent/_shipped/{path.relative_to(ROOT)}" for path in tracked("runbooks", "ansible")}
    wanted |= {str(path.relative_to(ROOT)) for path in tracked("agent", "heartbeat", "infra")}
    assert wanted - names == set()


def test_the_wheel_puts_nothing_else_at_the_top_of_site_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"agent", "heartbeat", "infra"}


def test_an_installed_medic_knows_its_version_and_its_runbooks(medic: Path, tmp_path: Path) -> None:
    assert run(medic, "--version", folder=tmp_path).split()[0] == "medic"
    shipped = {path.parent.name for path in ROOT.glob("runbooks/*/runbook.yaml")}
    listed = {runbook["id"] for runbook in json.loads(run(medic, "runbook", "list", "--json", folder=tmp_path))}
    assert listed == shipped


def test_an_installed_medic_heals_a_crashed_container_outside_the_checkout(medic: Path, tmp_path: Path, crashed: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    with (tmp_path / "watch.log").open("wb") as log:
        watch = subprocess.Popen(
            (medic, "watch"), cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        try:
            end = time.monotonic() + 60
            while not (closed := [i for i in incidents(medic, tmp_path) if i["closing"] == "healed"]):
                assert watch.poll() is None, (tmp_path / "watch.log").read_text()[-3000:]
                assert time.monotonic() < end, (tmp_path / "watch.log").read_text()[-3000:]
                time.sleep(0.5)
        finally:
            watch.terminate()
            code = watch.wait(timeout=30)
    assert code == 0
    assert [attempt["plan"]["runbook"] for attempt in closed[0]["attempts"]] == ["start-container"]
    assert stage.inspect(crashed)["State"]["Status"] == "running"


def incidents(medic: Path, folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(medic, "incident", "list", "--json", folder=folder))
    return found


def tracked(*folders: str) -> list[Path]:
    listed = run("git", "ls-files", *folders, folder=ROOT).splitlines()
    return [path for name in listed if (path := ROOT / name).is_file()]
