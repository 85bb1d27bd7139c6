"""What every `ports.Playbooks` does: the make-believe machine, real Ansible on this machine, and real Ansible over a real sshd."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agent.adapters import state_folder
from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from agent.model import Host, HostName, Plan, RunEnd, TaskResult
from agent.ports import Playbooks
from tests import far_hosts
from tests.fakes import FakeClock
from tests.live import plans
from tests.machine import Machine

ROOT = Path(__file__).resolve().parents[2]
HOST = HostName("patient-host")
GOES_WELL = """
- hosts: target
  gather_facts: false
  tasks:
    - import_role: {name: marker}
      vars: {marker: started}
    - name: change it
      ansible.builtin.raw: "true"
    - import_role: {name: marker}
      vars: {marker: finished}
"""
GOES_WRONG = """
- hosts: target
  gather_facts: false
  tasks:
    - import_role: {name: marker}
      vars: {marker: started}
    - name: change it
      ansible.builtin.raw: "echo no such thing >&2; false"
    - import_role: {name: marker}
      vars: {marker: finished}
"""


@dataclass(frozen=True)
class Ground:
    """One implementation, and plans for a playbook that goes well and for one that does not."""

    playbooks: Playbooks
    well: Plan
    wrong: Plan


@pytest.fixture(params=["memory", pytest.param("local", marks=pytest.mark.live), pytest.param("ssh", marks=pytest.mark.live)])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    names = {"container": f"contract-{uuid.uuid4().hex[:8]}"}
    well, wrong = (replace(plans.plan(f"{name}.yml", names), host=HOST) for name in ("well", "wrong"))
    if request.param == "memory":
        machine = Machine(clock=FakeClock())
        machine.effects[wrong.runbook] = lambda: RunEnd.FAILED
        yield Ground(machine, well, wrong)
        return
    folder = tmp_path / "ansible"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "ansible.cfg").write_text((ROOT / "ansible" / "ansible.cfg").read_text())
    (folder / "roles").symlink_to(ROOT / "ansible" / "roles")
    (folder / "playbooks" / "well.yml").write_text(GOES_WELL)
    (folder / "playbooks" / "wrong.yml").write_text(GOES_WRONG)
    state_folder.private_folder(tmp_path / "state")
    with far_hosts.far_host(tmp_path / "sshd") as server:
        host = server.host(HOST) if request.param == "ssh" else Host(name=HOST)
        real = AnsiblePlaybooks(ansible=folder, state_dir=tmp_path / "state", redact=lambda text: text, hosts=(host,))
        yield Ground(real, well, wrong)
        real.close()


def test_a_check_changes_nothing_and_a_run_leaves_a_marker_that_says_it_finished(ground: Ground) -> None:
    told: list[TaskResult] = []

    checked = ground.playbooks.run(ground.well, run_id="C1-1", check=True, on_task=told.append, should_stop=lambda: None)
    assert checked.end is RunEnd.COMPLETED
    assert ground.playbooks.finished(ground.well, run_id="C1-1") is None

    told.clear()
    ran = ground.playbooks.run(ground.well, run_id="C1-1", check=False, on_task=told.append, should_stop=lambda: None)
    assert ran.end is RunEnd.COMPLETED
    assert any(task.status == "changed" for task in told)
    assert ground.playbooks.finished(ground.well, run_id="C1-1") is True
    assert ground.playbooks.finished(ground.well, run_id="C1-2") is None


def test_a_run_that_fails_leaves_a_marker_that_says_it_did_not_finish(ground: Ground) -> None:
    ran = ground.playbooks.run(ground.wrong, run_id="C2-1", check=False, on_task=lambda _: None, should_stop=lambda: None)

    assert ran.end is RunEnd.FAILED
    assert ground.playbooks.finished(ground.wrong, run_id="C2-1") is False
