"""What the crash driver breaks, and what really happens to it: containers, Docker's events, the process table.

Nothing in here asks the agent. The containers are one per service, each on a network of its own (on a shared one, a service that
is broken while another is mended looks like harm done).
"""

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Container, Iterator
from pathlib import Path

import psutil

from tests import canaries
from tests.lab import images, stage

MARK = "MEDIC_RUN"
"""Environment variable that every process of one playbook run carries (agent/adapters/ansible_playbooks.py)."""
LABEL = "medic.crash"
HTTPD = ("/bin/busybox", "httpd", "-f", "-p", "8000")
KINDS = {
    "crash-1": "crash",
    "crash-2": "crash",
    "hang-1": "hang",
    "hang-2": "hang",
    "doomed": "doomed",
    "drifted": "drifted",
    "asks": "asks",
}
"""Service -> how it breaks. `crash` dies, `hang` stops answering, `doomed` dies again whenever it is started; of `drifted` nothing
known helps, and `asks` dies and waits for a person's word."""
BREAKABLE = tuple(service for service, kind in KINDS.items() if kind in ("crash", "hang"))
LOOK_EVERY = 0.1
"""Seconds between two looks at the process table. A playbook takes a second at least."""


class Ground:
    """The containers of one run, and what Docker and the process table say of them, seen by the driver's own eyes."""

    def __init__(self, run: str, folder: Path) -> None:
        self.run = run
        self.folder = folder
        self.changes: Counter[str] = Counter()
        """Service -> `start` events of its container after the first: what playbooks really did to it."""
        self.together: set[frozenset[str]] = set()
        """Marks of playbooks that were at work in the same moment."""
        self.marks: set[str] = set()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch_docker), threading.Thread(target=self._watch_processes)]
        self._events: subprocess.Popen[str] | None = None

    def name(self, service: str) -> str:
        return f"medic-crash-{self.run}-{service}"

    def build(self) -> None:
        images.ensure(images.TINY)
        for service, kind in KINDS.items():
            command = ("/bin/busybox", "sh", "-c", "sleep 1; exit 3") if kind == "doomed" else HTTPD
            name, label = self.name(service), f"{LABEL}={self.run}"
            stage.make_network(name, label)
            docker("run", "-d", "--name", name, "--network", name, "--label", label, *canaries.flags(), images.TINY, *command)
        for thread in self._threads:
            thread.start()

    def clear(self) -> None:
        self._stop.set()
        if self._events is not None:
            self._events.terminate()
            self._events.wait(10)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        for container in docker("ps", "-aq", "--filter", f"label={LABEL}={self.run}").split():
            docker("rm", "-f", container)
        for network in docker("network", "ls", "-q", "--filter", f"label={LABEL}={self.run}").split():
            docker("network", "rm", network)

    def break_(self, service: str) -> None:
        """Break one service for real, from below Docker, as a fault does."""
        pid = self._pid(service)
        if pid:
            os.kill(pid, signal.SIGSTOP if KINDS[service] == "hang" else signal.SIGKILL)

    def mend(self, service: str) -> None:
        """Let a stopped process go on, as a person would."""
        pid = self._pid(service)
        if pid:
            os.kill(pid, signal.SIGCONT)

    def _pid(self, service: str) -> int:
        return int(docker("inspect", "-f", "{{.State.Pid}}", self.name(service)) or 0)

    def survivors(self, living: Container[int]) -> list[str]:
        """Processes of our runs that are still there, but for the runs whose guard is the child of a living daemon."""
        found: list[tuple[str, str]] = []
        ours = set()
        for process in psutil.process_iter():
            try:
                mark, words = process.environ().get(MARK), " ".join(process.cmdline())
                if mark in self.marks:
                    found.append((mark, f"{process.pid} {words[:120]}"))
                    ours |= {mark} if "playbook_guard" in words and process.ppid() in living else set()
            except (psutil.Error, OSError):
                continue
        return [process for mark, process in found if mark not in ours]

    def playbook_is_at_work(self) -> bool:
        return any(True for _ in self._playbooks())

    def _watch_docker(self) -> None:
        words = ("docker", "events", "--filter", f"label={LABEL}={self.run}", "--filter", "event=start")
        self._events = subprocess.Popen((*words, "--format", "{{.Actor.Attributes.name}}"), stdout=subprocess.PIPE, text=True)
        assert self._events.stdout is not None
        with self._events.stdout as lines:
            for line in lines:
                self.changes[line.strip().removeprefix(f"medic-crash-{self.run}-")] += 1

    def _watch_processes(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            together = frozenset(self._playbooks())
            self.marks |= together
            if len(together) > 1:
                self.together.add(together)

    def _playbooks(self) -> Iterator[str]:
        """Yield the mark (`<incident>-<attempt>/<unique>`) of every playbook of ours that is at work."""
        for pid in psutil.pids():
            try:
                # /proc itself: psutil reads five files of every process where one says enough.
                words = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"ansible-playbook" in words and os.fsencode(self.folder) in words:
                    yield psutil.Process(pid).environ()[MARK]
            except (psutil.Error, OSError, KeyError):
                continue


def docker(*words: str) -> str:
    done = subprocess.run(("docker", *words), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"cannot run docker {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()
