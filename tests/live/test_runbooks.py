"""What only the real thing shows of single playbooks. That each mends what its inject.yml breaks is `medic runbook test --all`."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from agent.model import PlaybookRun, RunEnd
from tests.lab import images
from tests.live.plans import plan

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = {"all": {"hosts": {"target": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}}}


def docker(*words: str, within: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=within)


def state(container: str) -> str:
    return docker("inspect", "--format", "{{.State.Status}}", container).stdout.strip() or "missing"


def runs(container: str) -> bool:
    return state(container) == "running"


def answers(container: str) -> bool:
    """Say whether the program inside answers HTTP, asked from inside."""
    asked = docker("exec", container, "timeout", "2", "wget", "-q", "-O-", "http://127.0.0.1/etc/hostname")
    return asked.returncode == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One throw-away container with what a runbook may be told about it."""

    container: str
    folder: Path

    @property
    def nginx(self) -> str:
        return f"{self.container}-nginx"

    def parameters(self, runbook: str) -> dict[str, object]:
        """Return the values of this runbook's parameters, as the declaration of a service would give them."""
        every: dict[str, object] = {
            "container": self.container,
            "nginx": self.nginx,
            "stop_timeout": 1,
            "config_path": str(self.folder / "service.conf"),
            "good_copy": str(self.folder / "good.conf"),
            "spec": {
                "kind": "run",
                "image": images.TINY,
                "command": ["sh", "-c", "sleep 3600"],
                "ports": [],
                "volumes": [f"{self.folder}:/folder:ro"],
                "networks": [],
                "env": [["GREETING", "{{ hello }} $HOME"]],
                "env_files": [str(self.folder / "a.env"), str(self.folder / "b.env")],
                "labels": [["medic.test", "runbooks"]],
                "memory": "32m",
                "restart_policy": "on-failure:2",
                "user": None,
                "stop_timeout": 1,
            },
        }
        named = {
            "recreate-container": ("container", "spec", "stop_timeout"),
            "reload-nginx": ("nginx",),
            "restore-config": ("container", "config_path", "good_copy", "stop_timeout"),
        }
        return {name: every[name] for name in named[runbook]}


@pytest.fixture
def playbooks(tmp_path: Path) -> Iterator[AnsiblePlaybooks]:
    made = AnsiblePlaybooks(ansible=ROOT / "ansible", state_dir=tmp_path / "state", redact=lambda text: text)
    yield made
    made.close()


@pytest.fixture
def injected(tmp_path: Path) -> Iterator[Callable[[str], Patient]]:
    """Run a runbook's inject.yml on a new patient, which is gone at the end whatever the test did."""
    patients: list[Patient] = []

    def inject(runbook: str) -> Patient:
        images.ensure(images.TINY)
        if runbook == "reload-nginx":
            images.ensure(images.BASE)
        patient = Patient(container=f"medic-rb-{uuid.uuid4().hex[:8]}", folder=tmp_path / "folder")
        patient.folder.mkdir()
        (patient.folder / "a.env").write_text("# a comment\nFIRST=1\nBOTH=a\n")
        (patient.folder / "b.env").write_text("BOTH=b=b\n")
        patients.append(patient)
        play(ROOT / "runbooks" / runbook / "inject.yml", patient, tmp_path)
        return patient

    yield inject
    for patient in patients:
        docker("rm", "-f", patient.container, patient.nginx, f"{patient.container}-occupant")
        docker("network", "rm", patient.container)


def play(playbook: Path, patient: Patient, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps(INVENTORY))
    variables = {"container": patient.container, "nginx": patient.nginx, "folder": str(patient.folder)}
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i",
            str(inventory),
            "-e",
            json.dumps(variables),
            str(playbook),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT / "ansible",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def carry_out(
    playbooks: AnsiblePlaybooks, runbook: str, parameters: Mapping[str, object], *, check: bool = False
) -> PlaybookRun:
    return playbooks.run(
        plan(f"{runbook}.yml", parameters), run_id="I1-1", check=check, on_task=lambda _task: None, should_stop=lambda: None
    )


def test_recreates_exactly_what_the_spec_declares(playbooks: AnsiblePlaybooks, injected: Callable[[str], Patient]) -> None:
    patient = injected("recreate-container")

    carry_out(playbooks, "recreate-container", patient.parameters("recreate-container"))

    (found,) = json.loads(docker("inspect", patient.container).stdout)
    assert sorted(found["Config"]["Env"]) == ["BOTH=b=b", "FIRST=1", "GREETING={{ hello }} $HOME"]
    assert found["Config"]["Cmd"] == ["sh", "-c", "sleep 3600"]
    assert found["HostConfig"]["Memory"] == 32 * 1024 * 1024
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert found["HostConfig"]["Binds"] == [f"{patient.folder}:/folder:ro"]


def test_an_image_that_is_not_there_costs_no_container(playbooks: AnsiblePlaybooks, injected: Callable[[str], Patient]) -> None:
    patient = injected("unpause-container")
    before = docker("inspect", "--format", "{{.Id}}", patient.container).stdout
    parameters = patient.parameters("recreate-container")
    parameters["spec"] = {**parameters["spec"], "image": "medic-lab/there-is-none"}  # type: ignore[dict-item]

    run = carry_out(playbooks, "recreate-container", parameters)

    assert run.end is RunEnd.FAILED
    assert "medic-lab/there-is-none" in run.message
    assert docker("inspect", "--format", "{{.Id}}", patient.container).stdout == before


def test_a_dry_run_of_a_recreate_shows_no_secret_of_an_env_file(
    playbooks: AnsiblePlaybooks, injected: Callable[[str], Patient]
) -> None:
    patient = injected("recreate-container")
    (patient.folder / "b.env").write_text("API_KEY=hunter2\n")

    run = carry_out(playbooks, "recreate-container", patient.parameters("recreate-container"), check=True)

    assert run.end is RunEnd.COMPLETED
    assert "hunter2" not in str(run)


@pytest.mark.skipif(docker("compose", "version").returncode == 0, reason="this machine has the compose plugin")
def test_says_that_the_compose_plugin_is_absent(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    spec = {"kind": "compose", "file": str(tmp_path / "compose.yml"), "service": "web", "project": None}

    run = carry_out(playbooks, "recreate-container", {"container": "medic-rb-none", "spec": spec, "stop_timeout": 1})

    assert run.end is RunEnd.FAILED
    assert "does not have the compose plugin installed" in run.message


@pytest.mark.abuse("27")
def test_never_reloads_an_nginx_whose_configuration_is_broken(
    playbooks: AnsiblePlaybooks, injected: Callable[[str], Patient]
) -> None:
    patient = injected("reload-nginx")
    (patient.folder / "site.conf").write_text("server { listen 80; no_such_word on; }\n")

    run = carry_out(playbooks, "reload-nginx", patient.parameters("reload-nginx"))

    assert run.end is RunEnd.FAILED
    assert 'unknown directive "no_such_word"' in run.message
    assert [task.name for task in run.tasks] == ["Test the configuration"]
    assert runs(patient.nginx)


def test_keeps_the_replaced_configuration_and_its_mode(playbooks: AnsiblePlaybooks, injected: Callable[[str], Patient]) -> None:
    patient = injected("restore-config")
    config = patient.folder / "service.conf"
    config.chmod(0o640)

    for _ in range(2):  # the second run must not overwrite the backup with the good copy
        carry_out(playbooks, "restore-config", patient.parameters("restore-config"))

    assert config.read_text() == "port=80\n"
    assert config.stat().st_mode & 0o777 == 0o640
    assert (patient.folder / "service.conf.medic-replaced").read_text() == "port=eighty\n"


def test_touches_nothing_without_a_good_copy(playbooks: AnsiblePlaybooks, injected: Callable[[str], Patient]) -> None:
    patient = injected("restore-config")
    (patient.folder / "good.conf").unlink()

    run = carry_out(playbooks, "restore-config", patient.parameters("restore-config"))

    assert run.end is RunEnd.FAILED
    assert run.message == f"cannot put the good copy back: there is no file {patient.folder / 'good.conf'}"
    assert (patient.folder / "service.conf").read_text() == "port=eighty\n"
    assert playbooks.finished(plan("restore-config.yml", {}), run_id="I1-1") is None


def test_a_cache_that_leads_elsewhere_is_refused(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "data").write_text("precious")
    (tmp_path / "cache").symlink_to(tmp_path / "precious")

    run = carry_out(playbooks, "evict-cache", {"container": "medic-rb-none", "cache_paths": [str(tmp_path / "cache")]})

    assert run.end is RunEnd.FAILED
    assert run.message == f"cannot evict {tmp_path / 'cache'}: it leads to {tmp_path / 'precious'}"
    assert (tmp_path / "precious" / "data").read_text() == "precious"
    assert playbooks.finished(plan("evict-cache.yml", {}), run_id="I1-1") is None


def test_an_artefact_is_not_replaced_by_what_was_not_declared(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("half of i")
    (tmp_path / "source").write_text("another model")
    artefact = {"path": str(tmp_path / "weights"), "source": str(tmp_path / "source"), "sha256": "0" * 64}

    run = carry_out(playbooks, "restore-artefact", {"container": "medic-rb-none", "artefacts": [artefact], "stop_timeout": 1})

    assert run.end is RunEnd.FAILED
    assert (tmp_path / "weights").read_text() == "half of i"
    assert not (tmp_path / "weights.medic-new").exists()
    assert playbooks.finished(plan("restore-artefact.yml", {}), run_id="I1-1") is None


def test_what_nginx_refuses_is_taken_back(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    images.ensure(images.BASE)
    name, site, good = f"medic-rb-{uuid.uuid4().hex[:8]}", tmp_path / "conf" / "site.conf", tmp_path / "good.conf"
    site.parent.mkdir()
    site.write_text("server { listen 80; return 200 old; }\n")
    good.write_text("server { listen 80; no_such_word on; }\n")
    docker(
        "run", "-d", "--name", name, "--label", "medic.test=runbooks", "-v", f"{site.parent}:/etc/nginx/sites-enabled",
        images.BASE, "nginx", "-g", "daemon off;",
    )  # fmt: skip
    try:
        parameters = {"nginx": name, "config_path": str(site), "good_copy": str(good)}
        run = carry_out(playbooks, "restore-nginx-config", parameters)

        assert run.end is RunEnd.FAILED
        assert 'unknown directive "no_such_word"' in run.message
        assert site.read_text() == "server { listen 80; return 200 old; }\n"
        assert docker("exec", name, "curl", "-s", "-m", "5", "http://127.0.0.1/").stdout == "old"
    finally:
        docker("rm", "-f", name)
