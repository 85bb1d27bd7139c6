"""Real Ansible in its guarded process: how a run ends, what it may know, and that nothing of it is ever left running."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from agent.adapters import playbook_guard, playbook_order
from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from agent.adapters.lease import boottime
from agent.errors import OutsideError
from agent.model import RunEnd, TaskResult
from tests.live.plans import plan

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]

# Children, grandchildren in sessions of their own, one whose parent is gone, two without the run's mark: all deaf to SIGTERM.
TREE = """
- hosts: target
  gather_facts: false
  tasks:
    - name: grow a tree that does not want to die
      ansible.builtin.shell: |
        trap "" TERM HUP INT
        sleep {{ nap }} &
        setsid sh -c 'trap "" TERM; sleep {{ nap }} & sleep {{ nap }}' &
        {{ without_mark }} sleep {{ nap }} &
        nohup setsid sleep {{ nap }} >/dev/null 2>&1 &
        ({{ without_mark }} setsid sleep {{ nap }} &)
        echo $$ > {{ up }}
        sleep {{ nap }}
"""
QUICK = """
- hosts: target
  gather_facts: false
  tasks:
    - name: say it
      ansible.builtin.debug: {msg: "{{ word }}"}
    - name: show the environment
      ansible.builtin.command: timeout 5 env
    - name: write a file
      ansible.builtin.copy: {content: "new\\n", dest: "{{ file }}", mode: "0644"}
"""
TYPED = """
- hosts: target
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{% for each in words + [nested.label] %}{{ each | type_debug | regex_replace('^.*(str|Str).*$', 'str') }} {% endfor %}"
"""
LEAVING = """
- hosts: target
  gather_facts: false
  tasks:
    - ansible.builtin.shell: setsid nohup sleep {{ nap }} >/dev/null 2>&1 &
"""


class Tree:
    """One run of TREE: its own id and its own length of sleep, so that each of its processes can be told from all others."""

    def __init__(self, folder: Path, *, without_mark: str = "env -i") -> None:
        self.run_id = f"guard-{uuid.uuid4().hex[:8]}"
        self.nap = f"3600.{uuid.uuid4().int % 10**9:09d}"
        self.up = folder / "up"
        self.parameters = {"nap": self.nap, "up": str(self.up), "without_mark": without_mark, "container": self.run_id}

    def left(self) -> list[str]:
        """Return what still runs: whatever carries the run's mark, and every sleep of this very length."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                marked = process.environ().get("MEDIC_RUN", "").startswith(self.run_id)
                if (marked or self.nap in words) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(f"{process.pid}: {' '.join(words)[:400]}")
            except psutil.Error:
                continue
        return found

    def is_grown(self) -> bool:
        return self.up.exists() and sum(self.nap in line for line in self.left()) >= 8


def wait_until(true: Callable[[], bool], within: float = 20.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.05)
    return true()


@pytest.fixture
def ansible(tmp_path: Path) -> Path:
    folder = tmp_path / "ansible"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "ansible.cfg").write_text((ROOT / "ansible" / "ansible.cfg").read_text())
    for name, text in (("tree", TREE), ("quick", QUICK), ("typed", TYPED), ("leaving", LEAVING)):
        (folder / "playbooks" / f"{name}.yml").write_text(text)
    return folder


@pytest.fixture
def playbooks(ansible: Path, tmp_path: Path) -> Iterator[AnsiblePlaybooks]:
    made = AnsiblePlaybooks(
        ansible=ansible, state_dir=tmp_path / "state", redact=lambda text: text.replace("hunter2", "[redacted]")
    )
    yield made
    made.close()


def never() -> str | None:
    return None


def no_one(task: TaskResult) -> None:
    del task


@pytest.mark.abuse("47")
def test_leaves_nothing_after_a_timeout(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    tree = Tree(tmp_path)

    run = playbooks.run(
        plan("tree.yml", tree.parameters, timeout=timedelta(seconds=4)),
        run_id=tree.run_id,
        check=False,
        on_task=no_one,
        should_stop=never,
    )

    assert tree.up.exists(), run
    assert run.end is RunEnd.TIMED_OUT
    assert run.swept >= 5
    assert tree.left() == []


@pytest.mark.parametrize(("word", "end"), [("halt", RunEnd.CANCELLED), ("stopping", RunEnd.INTERRUPTED)])
def test_leaves_nothing_when_it_is_stopped(playbooks: AnsiblePlaybooks, tmp_path: Path, word: str, end: RunEnd) -> None:
    tree = Tree(tmp_path)

    run = playbooks.run(
        plan("tree.yml", tree.parameters),
        run_id=tree.run_id,
        check=False,
        on_task=no_one,
        should_stop=lambda: word if tree.is_grown() else None,
    )

    assert run.end is end
    assert tree.left() == []


def test_a_playbook_ends_by_itself_when_its_medic_is_not_heard_of_any_more(ansible: Path, tmp_path: Path) -> None:
    # A stopped agent cannot stop its guard, and another one may have taken over.
    tree, began = Tree(tmp_path), boottime()
    playbooks = AnsiblePlaybooks(
        ansible=ansible,
        state_dir=tmp_path / "state",
        redact=str,
        until=lambda: boottime() + 30 if not tree.is_grown() else began,
    )

    run = playbooks.run(plan("tree.yml", tree.parameters), run_id=tree.run_id, check=False, on_task=no_one, should_stop=never)

    playbooks.close()
    assert (run.end, run.message) == (RunEnd.INTERRUPTED, playbook_guard.FORSAKEN)
    assert tree.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_leaves_nothing_when_the_agent_dies(ansible: Path, tmp_path: Path, number: signal.Signals) -> None:
    tree = Tree(tmp_path)
    order = [str(ansible), str(tmp_path / "state"), tree.run_id, "tree.yml", json.dumps(tree.parameters)]
    with subprocess.Popen([sys.executable, "-m", "tests.live.lone_agent", *order], cwd=ROOT) as agent:
        assert wait_until(tree.is_grown), "the playbook did not get under way"
        agent.send_signal(number)
        agent.wait(10)

        assert wait_until(lambda: tree.left() == []), tree.left()
    assert list((tmp_path / "state" / "runs" / tree.run_id).glob("private-*")) == []


def test_leaves_nothing_when_the_guard_itself_is_killed(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    # Nobody reaps for a killed guard, so the agent goes by the mark in the environment; `env -i` alone would get away.
    tree = Tree(tmp_path, without_mark="")

    killed: list[int] = []

    def kill_the_guard() -> str | None:
        if not killed and tree.is_grown():
            (guard,) = (p for p in psutil.Process().children() if "agent.adapters.playbook_guard" in p.cmdline())
            guard.kill()
            killed.append(guard.pid)
        return None

    run = playbooks.run(
        plan("tree.yml", tree.parameters), run_id=tree.run_id, check=False, on_task=no_one, should_stop=kill_the_guard
    )

    assert run.end is RunEnd.LOST
    assert tree.left() == []


def test_leaves_nothing_when_the_listener_raises(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    tree = Tree(tmp_path)

    def store_is_gone() -> str | None:
        if tree.is_grown():
            raise OutsideError("cannot write the store: disk full", transient=True)
        return None

    with pytest.raises(OutsideError, match="disk full"):
        playbooks.run(
            plan("tree.yml", tree.parameters), run_id=tree.run_id, check=False, on_task=no_one, should_stop=store_is_gone
        )

    assert tree.left() == []


def test_sweeps_what_a_completed_playbook_left_in_the_background(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    tree = Tree(tmp_path)

    run = playbooks.run(
        plan("leaving.yml", tree.parameters), run_id=tree.run_id, check=False, on_task=no_one, should_stop=never
    )

    assert run.end is RunEnd.COMPLETED
    assert run.swept >= 1
    assert tree.left() == []


def test_keeps_modules_and_their_arguments_in_the_private_folder(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    # Ansible copies each module with its arguments to disk before it runs, and a killed one does not clean up.
    tree = Tree(tmp_path)
    run_folder = tmp_path / "state" / "runs" / tree.run_id
    modules: list[str] = []
    unpacked: list[Path] = []

    def look_then_halt() -> str | None:
        if not tree.is_grown():
            return None
        modules.extend(line for line in tree.left() if "AnsiballZ_" in line)
        unpacked.extend(run_folder.glob("private-*/ansible_*_payload_*"))
        return "halt"

    playbooks.run(
        plan("tree.yml", tree.parameters), run_id=tree.run_id, check=False, on_task=no_one, should_stop=look_then_halt
    )

    assert modules
    assert all(f"{run_folder}/private-" in line for line in modules)
    assert unpacked
    assert [path.name for path in run_folder.iterdir()] == ["output.txt"]


def quick(tmp_path: Path, word: str = "hello") -> dict[str, object]:
    return {"word": word, "file": str(tmp_path / "written"), "container": "quick"}


def test_tells_each_task_as_it_ends(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    told: list[TaskResult] = []

    run = playbooks.run(plan("quick.yml", quick(tmp_path)), run_id="I1-1", check=False, on_task=told.append, should_stop=never)

    assert run.end is RunEnd.COMPLETED
    assert tuple(told) == run.tasks
    assert [(task.name, task.status) for task in told] == [
        ("say it", "ok"),
        ("show the environment", "changed"),
        ("write a file", "changed"),
    ]


def test_never_reads_a_parameter_as_a_template(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    run = playbooks.run(
        plan("quick.yml", quick(tmp_path, word="{{ 6 * 7 }} {{ lookup('pipe', 'id') }}")),
        run_id="I1-1",
        check=False,
        on_task=no_one,
        should_stop=never,
    )

    assert run.tasks[0].message == "{{ 6 * 7 }} {{ lookup('pipe', 'id') }}"


def test_passes_nothing_of_the_agents_environment_on(
    playbooks: AnsiblePlaybooks, ansible: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIC_SECRET_OF_THE_AGENT", "xyzzy")
    (ansible / "playbooks" / "quick.yml").write_text(
        QUICK.replace("timeout 5 env", "timeout 5 sh -c 'env; exit 3'")  # a failing command's output is told
    )

    run = playbooks.run(plan("quick.yml", quick(tmp_path)), run_id="I1-1", check=False, on_task=no_one, should_stop=never)

    assert run.end is RunEnd.FAILED
    assert "ANSIBLE_HOST_KEY_CHECKING=True" in run.message
    assert "xyzzy" not in run.message


@pytest.mark.abuse("48")
def test_redacts_what_tasks_say_and_keeps_nothing_private(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    run = playbooks.run(
        plan("quick.yml", quick(tmp_path, word="the password is hunter2")),
        run_id="I1-1",
        check=False,
        on_task=no_one,
        should_stop=never,
    )

    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert run.tasks[0].message == "the password is [redacted]"
    assert kept == []
    assert [path.name for path in (tmp_path / "state" / "runs" / "I1-1").iterdir()] == ["output.txt"]


def test_a_dry_run_shows_the_difference_and_changes_nothing(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    written = tmp_path / "written"
    written.write_text("old\n")

    run = playbooks.run(plan("quick.yml", quick(tmp_path)), run_id="dry-1", check=True, on_task=no_one, should_stop=never)

    assert run.end is RunEnd.COMPLETED
    assert "-old" in run.diff
    assert "+new" in run.diff
    assert written.read_text() == "old\n"
    assert playbooks.finished(plan("quick.yml", {}), run_id="dry-1") is None


def test_waits_for_an_orphan_of_an_earlier_run_on_the_same_target(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    locks = tmp_path / "state" / "locks"
    locks.mkdir(parents=True)
    released: list[float] = []
    with (locks / "target-quick.lock").open("w") as orphan:
        fcntl.flock(orphan, fcntl.LOCK_EX)

        def let_go() -> None:
            released.append(time.monotonic())
            fcntl.flock(orphan, fcntl.LOCK_UN)

        timer = threading.Timer(1.5, let_go)
        timer.start()
        first: list[float] = []
        run = playbooks.run(
            plan("quick.yml", quick(tmp_path)),
            run_id="I1-1",
            check=False,
            on_task=lambda _task: first.append(time.monotonic()),
            should_stop=never,
        )
        timer.join()

    assert run.end is RunEnd.COMPLETED
    assert first[0] > released[0]


def test_says_that_there_is_no_such_playbook(playbooks: AnsiblePlaybooks) -> None:
    with pytest.raises(OutsideError, match=r"cannot run playbook 'none\.yml': there is no "):
        playbooks.run(plan("none.yml", {}), run_id="I1-1", check=False, on_task=no_one, should_stop=never)


def test_says_that_the_guard_cannot_start(playbooks: AnsiblePlaybooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))

    with pytest.raises(OutsideError, match=r"cannot start the guard of .*quick\.yml: .*No such file"):
        playbooks.run(plan("quick.yml", quick(tmp_path)), run_id="I1-1", check=False, on_task=no_one, should_stop=never)


def test_a_guard_without_its_agent_starts_nothing(tmp_path: Path) -> None:
    # The agent died between starting the guard and the guard's asking for the signal: its parent is another process.
    order = playbook_order.Order(
        agent=os.getppid(),
        playbook="/nowhere.yml",
        private=str(tmp_path / "private"),
        variables={},
        timeout=5,
        lock=str(tmp_path / "lock"),
        lock_wait=0,
        check=False,
    )

    guard = subprocess.run(
        [sys.executable, "-m", "agent.adapters.playbook_guard"],
        input=playbook_order.write(order).encode(),
        capture_output=True,
        cwd=ROOT,
        timeout=20,
    )

    assert (guard.returncode, guard.stdout) == (3, b"")


@pytest.mark.abuse("84")
def test_a_storm_of_signals_does_not_hang_the_guard(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    # A handler that took a lock met itself here, and the guard outlived its agent (found by `make crash`).
    tree = Tree(tmp_path)
    told = 0

    def storm() -> str | None:
        nonlocal told
        guards = [p for p in psutil.Process().children() if p.children()]  # one that plays already: its handlers are in place
        for _ in range(200):
            for guard in guards:
                with contextlib.suppress(psutil.NoSuchProcess):
                    guard.send_signal(signal.SIGTERM)
                    told += 1
        return None

    began = time.monotonic()
    playbooks.run(plan("tree.yml", tree.parameters), run_id=tree.run_id, check=False, on_task=no_one, should_stop=storm)

    assert told >= 200
    assert time.monotonic() - began < 20
    assert tree.left() == []


def test_a_text_stays_a_text_whatever_it_looks_like(playbooks: AnsiblePlaybooks, tmp_path: Path) -> None:
    # Labels and environment values are such texts, and Docker's modules refuse any other type.
    words = ["true", "1", "null", "~", "2026-11-20", "[]", "{{ 1 }}"]
    run = playbooks.run(
        plan("typed.yml", {**quick(tmp_path), "words": words, "nested": {"label": "true"}}),
        run_id="I1-1",
        check=False,
        on_task=no_one,
        should_stop=never,
    )

    assert run.tasks[0].message.split() == ["str"] * 8
