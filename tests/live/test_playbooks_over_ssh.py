"""Real Ansible over a real sshd: what runs where, what a cut leaves, and that no task runs twice."""

import contextlib
import os
import pwd
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters import ansible_playbooks, state_folder, target_keeper
from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from agent.errors import OutsideError
from agent.model import Host, HostName, Plan, PlaybookRun, RunEnd, TaskResult
from tests import far_hosts
from tests.far_hosts import FarHost
from tests.live import plans

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]

MARKED = """
- hosts: target
  gather_facts: false
  tasks:
    - import_role: {name: marker}
      vars: {marker: started}
    - name: one
      ansible.builtin.raw: "echo one >> {{ ran }}"
    - name: two
      ansible.builtin.raw: "echo two >> {{ ran }}; {{ long | default('true') }}"
    - name: three
      ansible.builtin.raw: "echo three >> {{ ran }}"
    - import_role: {name: marker}
      vars: {marker: finished}
"""
MODULES = """
- hosts: target
  gather_facts: false
  tasks:
    - name: where
      ansible.builtin.command: {argv: [sh, -c, "echo $SSH_CONNECTION $DOCKER_HOST; id -un"]}
      register: where
      check_mode: false
    - name: raw
      ansible.builtin.raw: "echo '$it' $MEDIC_RUN_THERE $DOCKER_HOST $(id -un)"
      register: raw
    - name: say raw
      ansible.builtin.debug: {msg: "{{ raw.stdout | trim }}"}
    - name: say
      ansible.builtin.debug: {msg: "{{ where.stdout_lines | join(' ') }}"}
    - name: write
      ansible.builtin.copy: {content: "{{ word }}\\n", dest: "{{ file }}", mode: "0644"}
"""


def never() -> str | None:
    return None


def no_one(task: TaskResult) -> None:
    del task


def wait_until(true: Callable[[], bool], within: float = 90.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end and not true():
        time.sleep(0.05)
    return true()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FarHost]:
    with far_hosts.far_host(tmp_path / "sshd") as served:
        yield served


@pytest.fixture
def ansible(tmp_path: Path) -> Path:
    folder = tmp_path / "ansible"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "ansible.cfg").write_text((ROOT / "ansible" / "ansible.cfg").read_text())
    (folder / "roles").symlink_to(ROOT / "ansible" / "roles")
    for name, text in (("marked", MARKED), ("modules", MODULES)):
        (folder / "playbooks" / f"{name}.yml").write_text(text)
    return folder


class Ground:
    """Playbooks on hosts, a name no other run has, and the file in which the tasks of `marked.yml` say that they ran."""

    def __init__(self, ansible: Path, state_dir: Path, *hosts: Host) -> None:
        self.playbooks = AnsiblePlaybooks(ansible=ansible, state_dir=state_dir, redact=lambda text: text, hosts=hosts)
        self.state_dir = state_dir
        self.run_id = f"ssh-{uuid.uuid4().hex[:8]}"
        self.ran = state_dir / f"ran-{self.run_id}"

    def plan(self, **parameters: object) -> Plan:
        # Long, since a machine that is busy with other things takes its time; no test waits for it to be over.
        names = {"ran": str(self.ran), "container": self.run_id, **parameters}
        plan = plans.plan("marked.yml", names, timeout=timedelta(minutes=4))
        return replace(plan, host=HostName("far"))

    def run(self, plan: Plan) -> PlaybookRun:
        return self.playbooks.run(plan, run_id=self.run_id, check=False, on_task=no_one, should_stop=never)

    def tasks(self) -> list[str]:
        return self.ran.read_text().split() if self.ran.exists() else []

    def left_on_target(self) -> list[str]:
        """Return the processes that carry this run's mark."""
        found = subprocess.run(
            f"grep -lsF {target_keeper.MARK}={self.run_id}/ /proc/[0-9]*/environ", shell=True, capture_output=True, text=True
        )
        return found.stdout.split()


@pytest.fixture
def ground(ansible: Path, server: FarHost, tmp_path: Path) -> Iterator[Ground]:
    state_folder.private_folder(tmp_path / "state")
    ground = Ground(ansible, tmp_path / "state", server.host("far"))
    yield ground
    ground.playbooks.close()


def cut_in_task_two(ground: Ground, cut: Callable[[], None]) -> None:
    def when_it_is_there() -> None:
        if wait_until(lambda: "two" in ground.tasks()):
            cut()

    threading.Thread(target=when_it_is_there, daemon=True).start()


def test_runs_on_the_target_and_leaves_its_marker_there(ground: Ground) -> None:
    plan = ground.plan()

    assert ground.playbooks.finished(plan, run_id=ground.run_id) is None
    run = ground.run(plan)

    assert run.end is RunEnd.COMPLETED, run.message
    assert ground.tasks() == ["one", "two", "three"]
    assert ground.playbooks.finished(plan, run_id=ground.run_id) is True
    assert ground.left_on_target() == []


def test_modules_run_there_with_its_own_engine_and_no_text_is_a_template(
    ground: Ground, server: FarHost, tmp_path: Path
) -> None:
    far = replace(server.host("far"), docker="unix:///run/far.sock")
    ground.playbooks._hosts[far.name] = far
    word = "{{ lookup('pipe', 'id') }} \"'$(id)"
    plan = replace(plans.plan("modules.yml", {"word": word, "file": str(tmp_path / "written")}), host=HostName("far"))

    run = ground.run(plan)

    assert run.end is RunEnd.COMPLETED, run.message
    said = next(task.message for task in run.tasks if task.name == "say")
    assert str(server.port) in said
    assert "unix:///run/far.sock" in said
    assert (tmp_path / "written").read_text() == word + "\n"
    raw = next(task.message for task in run.tasks if task.name == "say raw").split()
    assert (raw[0], raw[1].split("/")[0], raw[2]) == ("$it", ground.run_id, "unix:///run/far.sock")


def test_a_command_that_fails_says_what_it_printed_there(ground: Ground) -> None:
    run = ground.run(ground.plan(long="echo no such container; exit 3"))

    assert (run.end, run.message) == (RunEnd.FAILED, "no such container")


def test_a_session_killed_in_the_second_task_is_lost_and_no_task_runs_twice(ground: Ground, server: FarHost) -> None:
    plan = ground.plan(long="timeout -k 1 200 sleep 200")
    cut_in_task_two(ground, server.cut)

    run = ground.run(plan)

    assert run.end is RunEnd.LOST
    assert "began and did not finish" in run.message
    assert ground.tasks() == ["one", "two"]
    assert wait_until(lambda: not ground.left_on_target()), ground.left_on_target()


def test_a_server_that_goes_away_for_good_leaves_it_open_how_far_the_run_came(ground: Ground, server: FarHost) -> None:
    cut_in_task_two(ground, server.stop)

    run = ground.run(ground.plan(long="timeout -k 1 200 sleep 200"))

    assert run.end is RunEnd.LOST
    assert "nothing listens on port" in run.message
    assert ground.tasks() == ["one", "two"]


def test_what_a_lost_run_left_on_the_target_keeps_the_next_one_out(
    ground: Ground, server: FarHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ansible_playbooks, "LOCK_WAIT", 1.0)
    # A process that hid from the sweep by having no mark keeps nothing out; one that carries the mark does.
    leftover = subprocess.Popen(
        ("sleep", "60"), env={**os.environ, target_keeper.MARK: f"{ground.run_id}/old"}, start_new_session=True
    )
    lock = server.target_state / "locks" / ground.run_id
    lock.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (lock / "who").write_text(f"{ground.run_id}/old\n{boot}\n999999999\nMedic on elsewhere\n")
    try:
        with pytest.raises(
            OutsideError, match=f"run {ground.run_id} of Medic on elsewhere is not gone there yet .sleep 60"
        ) as busy:
            ground.run(ground.plan())
        assert busy.value.transient
        assert ground.tasks() == []
    finally:
        leftover.kill()
        leftover.wait()

    assert ground.run(ground.plan()).end is RunEnd.COMPLETED
    assert not lock.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a disk")
def test_a_host_whose_disk_is_full_is_named_and_nothing_is_run_or_left_there(
    ground: Ground, server: FarHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ansible_playbooks, "LOCK_WAIT", 1.0)
    disk = server.folder / "state"
    disk.mkdir(exist_ok=True)
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk), check=True)
    try:
        with contextlib.suppress(OSError):
            (disk / "full").write_bytes(bytes(1_000_000))
        with pytest.raises(OutsideError, match=r"cannot start on host .far.: cannot make .* No space left on device"):
            ground.run(ground.plan())
        assert ground.tasks() == []
        assert list((server.target_state / "locks").glob("[!.]*")) == []

        (disk / "full").unlink()
        assert ground.run(ground.plan()).end is RunEnd.COMPLETED
    finally:
        subprocess.run(("umount", "--lazy", disk), check=True)


@pytest.mark.parametrize("trouble", ["revoked", "changed", "unknown", "refused"])
def test_what_keeps_it_from_reaching_a_host_is_named_with_what_to_do(trouble: str, ground: Ground, server: FarHost) -> None:
    match trouble:
        case "revoked":
            (server.folder / "authorized_keys").write_text("")
            says, transient = "it refuses the key .*authorized_keys", False
        case "changed":
            server.new_key()
            server.stop()
            server.start()
            says, transient = "is not the one pinned in .*: this may be an attack", False
        case "unknown":
            (server.folder / "known_hosts").write_text("")
            says, transient = "`medic host add` shows its fingerprint", False
        case _:
            server.stop()
            says, transient = "nothing listens on port", True

    with pytest.raises(OutsideError, match=says) as error:
        ground.run(ground.plan())

    assert error.value.transient is transient
    assert ground.tasks() == []


def test_a_host_behind_another_is_reached_through_it(ansible: Path, server: FarHost, tmp_path: Path) -> None:
    state_folder.private_folder(tmp_path / "state")
    with far_hosts.far_host(tmp_path / "bastion") as bastion:
        far = server.host("far", jump=HostName("bastion"))
        ground = Ground(ansible, tmp_path / "state", far, bastion.host("bastion"))
        run = ground.run(ground.plan())
        seen = (tmp_path / "bastion" / "log").read_text()
    ground.playbooks.close()

    assert run.end is RunEnd.COMPLETED, run.message
    assert "Accepted publickey" in seen


def test_a_timeout_ends_what_runs_on_the_target(ground: Ground) -> None:
    plan = replace(ground.plan(long="setsid sleep 61 & timeout -k 1 200 sleep 200"), timeout=timedelta(seconds=15))

    run = ground.run(plan)

    assert run.end is RunEnd.TIMED_OUT
    assert ground.left_on_target() == []
    assert run.swept >= 2


@pytest.fixture
def operator() -> Iterator[str]:
    """A user of this machine who is not root and may not use sudo."""
    name = f"medic{uuid.uuid4().hex[:6]}"
    subprocess.run(("useradd", "--create-home", "--shell", "/bin/sh", "--password", "*", name), check=True)
    yield name
    subprocess.run(("userdel", "--remove", "--force", name), check=False, capture_output=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make users")
def test_sudo_that_asks_for_a_password_is_named_and_one_that_does_not_makes_root(
    operator: str, ground: Ground, server: FarHost, tmp_path: Path
) -> None:
    far = replace(server.host("far", user=operator, sudo=True), docker="unix:///run/far.sock")
    ground.playbooks._hosts[far.name] = far
    plan = replace(plans.plan("modules.yml", {"word": "it", "file": str(tmp_path / "written")}), host=HostName("far"))
    # The user reads its authorized_keys there. pytest's own folders are closed to others.
    for folder in (
        server.folder,
        tmp_path,
        *(each for each in tmp_path.parents if each.name.startswith(("pytest-", "popen-"))),
    ):
        folder.chmod(0o711)

    with pytest.raises(OutsideError, match=f"sudo asks {operator} for a password there: allow"):
        ground.run(plan)

    rule = Path(f"/etc/sudoers.d/{operator}")
    rule.write_text(
        f'{operator} ALL=(ALL) NOPASSWD: ALL\nDefaults:{operator} env_keep += "MEDIC_STATE_DIR"\n'  # the test's own folder
    )
    rule.chmod(0o440)
    try:
        run = ground.run(plan)
    finally:
        rule.unlink()
    assert run.end is RunEnd.COMPLETED, run.message
    said = next(task.message for task in run.tasks if task.name == "say")
    assert said.endswith("unix:///run/far.sock root")
    raw = next(task.message for task in run.tasks if task.name == "say raw")
    assert raw.endswith("unix:///run/far.sock root")
    assert pwd.getpwuid((tmp_path / "written").stat().st_uid).pw_name == "root"


HOST_RUNBOOKS = {
    "sync-clock": ({}, ["chronyc -a burst 4/4", "chronyc waitsync 10 0 0 5", "chronyc -a makestep"]),
    "rotate-logs": (
        {"container": "nobody"},
        ["logrotate --debug --force /etc/logrotate.conf", "logrotate --force /etc/logrotate.conf"],
    ),
    "restart-docker": ({"container": "nobody"}, ["service docker restart"]),
    "restart-fabric-manager": ({}, ["systemctl restart nvidia-fabricmanager"]),
    "reboot-host": ({"minutes": 7}, ["service docker stop", "shutdown -r +7 Medic reboots this host"]),
}
"""What each says to the host's own programs, which are stand-ins here: the real ones would do it to this machine."""


@pytest.mark.parametrize("runbook", HOST_RUNBOOKS)
def test_a_runbook_for_the_host_says_this_to_its_programs_and_nothing_in_a_dry_run(runbook: str, tmp_path: Path) -> None:
    parameters, says = HOST_RUNBOOKS[runbook]
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("chronyc", "timedatectl", "logrotate", "service", "systemctl", "shutdown"):
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/said\n')
        (programs / name).chmod(0o755)
    state_folder.private_folder(tmp_path / "state")
    path = f"PATH={programs}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with far_hosts.far_host(tmp_path / "sshd", environment=path) as served:
        ground = Ground(ROOT / "ansible", tmp_path / "state", served.host("far"))
        plan = replace(plans.plan(f"{runbook}.yml", parameters), host=HostName("far"))
        checked = ground.playbooks.run(plan, run_id=ground.run_id, check=True, on_task=no_one, should_stop=never)
        before = (tmp_path / "said").read_text().splitlines() if (tmp_path / "said").exists() else []
        ran = ground.run(plan)
        ground.playbooks.close()

    assert (checked.end, ran.end) == (RunEnd.COMPLETED, RunEnd.COMPLETED), (checked.message, ran.message)
    assert [line for line in before if "--debug" not in line and "is-active" not in line] == []
    heard = [line for line in (tmp_path / "said").read_text().splitlines()[len(before) :] if "is-active" not in line]
    assert heard == says
