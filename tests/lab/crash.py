"""The crash driver: kills a real `medic watch` at seeded moments while it heals real containers with real Ansible.

`python -m tests.lab.crash --kills 60 --seed 1` (`make crash KILLS=60`). Breaks services for real, waits for a seeded moment (a
random one, or a moment inside a running playbook), sends SIGKILL, starts the daemon again. In the end it lets everything
settle and holds the ledger against what Docker and the process table say really happened:

    lost         an attempt without an outcome, or an incident that never ended
    repeated     a container changed more often than the ledger counts starts of playbooks
    overlapping  two playbooks of one service at work in the same moment
    survivors    a process of a killed run that is still there `SWEPT_WITHIN` later
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from agent import wiring
from agent.model import Incident, IncidentState
from tests.lab import images

MEDIC = Path(sys.executable).with_name("medic")
MARK = "MEDIC_RUN"
"""Environment variable that every process of one playbook run carries (agent/adapters/ansible_playbooks.py)."""
LABEL = "medic.crash"
SWEPT_WITHIN = 12.0
"""Seconds. A guard whose parent died sweeps for at most 10."""
SETTLE_WITHIN = 120.0
HTTPD = ("/bin/busybox", "httpd", "-f", "-p", "8000")
KINDS = {"crash-1": "crash", "crash-2": "crash", "hang-1": "hang", "hang-2": "hang", "doomed": "doomed"}
"""Service -> how it breaks. `crash` dies, `hang` stops answering, `doomed` dies again whenever it is started."""


@dataclass
class Tally:
    """What is printed at the end."""

    kills: int = 0
    inside_apply: int = 0
    attempts: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Nothing lost, repeated, overlapping or surviving, and something was really tested."""
        return self.kills > 0 and self.attempts > 0 and not (self.lost or self.repeated or self.overlapping or self.survivors)

    def __str__(self) -> str:
        lines = [
            f"kills {self.kills} (inside apply {self.inside_apply}), attempts {self.attempts}, "
            f"attempts lost {len(self.lost)}, repeated {len(self.repeated)}, "
            f"overlapping {len(self.overlapping)}, survivors {len(self.survivors)}"
        ]
        for name in ("lost", "repeated", "overlapping", "survivors"):
            lines += [f"  {name}: {what}" for what in getattr(self, name)]
        return "\n".join(lines)


class Ground:
    """The containers of one run, and what Docker and the process table say of them, seen by the driver's own eyes."""

    def __init__(self, run: str, folder: Path) -> None:
        self.run = run
        self.folder = folder
        self.daemon: int | None = None
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
            # A network of its own: on a shared one, a service that is broken while another is mended looks like harm done.
            name, label = self.name(service), f"{LABEL}={self.run}"
            docker("network", "create", "--label", label, name)
            docker("run", "-d", "--name", name, "--network", name, "--label", label, images.TINY, *command)
        for thread in self._threads:
            thread.start()

    def clear(self) -> None:
        self._stop.set()
        if self._events is not None:
            self._events.terminate()
            self._events.wait(10)
        for thread in self._threads:
            thread.join()
        for container in docker("ps", "-aq", "--filter", f"label={LABEL}={self.run}").split():
            docker("rm", "-f", container)
        for network in docker("network", "ls", "-q", "--filter", f"label={LABEL}={self.run}").split():
            docker("network", "rm", network)

    def break_(self, service: str) -> None:
        """Break one service for real, from below Docker, as a fault does."""
        pid = int(docker("inspect", "-f", "{{.State.Pid}}", self.name(service)) or 0)
        if pid:
            os.kill(pid, signal.SIGKILL if KINDS[service] == "crash" else signal.SIGSTOP)

    def mend(self, service: str) -> None:
        """Let a stopped process go on, as a person would."""
        pid = int(docker("inspect", "-f", "{{.State.Pid}}", self.name(service)) or 0)
        if pid:
            os.kill(pid, signal.SIGCONT)

    def _watch_docker(self) -> None:
        words = ("docker", "events", "--filter", f"label={LABEL}={self.run}", "--filter", "event=start")
        self._events = subprocess.Popen((*words, "--format", "{{.Actor.Attributes.name}}"), stdout=subprocess.PIPE, text=True)
        assert self._events.stdout is not None
        with self._events.stdout as lines:
            for line in lines:
                self.changes[line.strip().removeprefix(f"medic-crash-{self.run}-")] += 1

    def _watch_processes(self) -> None:
        """Sample which runs are at work, twenty times a second."""
        while not self._stop.wait(0.05):
            together = frozenset(self._playbooks())
            self.marks |= together
            if len(together) > 1:
                self.together.add(together)

    def _playbooks(self) -> Iterator[str]:
        """Yield the mark (`<incident>-<attempt>/<unique>`) of every playbook of ours that is at work."""
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if any(w.endswith("ansible-playbook") for w in words[:2]) and any(str(self.folder) in w for w in words):
                    yield process.environ()[MARK]
            except (psutil.Error, OSError, KeyError):
                continue

    def survivors(self) -> list[str]:
        """Processes of our runs that are still there."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) in self.marks:
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
            except (psutil.Error, OSError):
                continue
        return found

    def playbook_is_at_work(self) -> bool:
        return any(True for _ in self._playbooks())


def docker(*words: str) -> str:
    done = subprocess.run(("docker", *words), capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"cannot run docker {words[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def write_config(ground: Ground) -> Path:
    """Write a medic.yaml without the limits that would end the test early: the services are broken far too often for real."""
    http = {"kind": "http", "plane": "direct", "url": "http://container:8000/", "timeout": "500ms", "status": ["200-404"]}
    often = {"heals_in_window": 1000, "same_signature": 1000, "actions_per_service": 1000, "first_wait": "0s"}
    services = {
        service: {
            "container": ground.name(service),
            "every": "1s",
            "checks": [{"kind": "container"}, *([] if kind == "doomed" else [http])],
            "limits": {"start_grace": "500ms", "verify_within": "6s", **often},
        }
        for service, kind in KINDS.items()
    }
    file = ground.folder / "medic.yaml"
    fleet = {
        "budget": {"host_actions": 1000, "host_at_once": 1000, "fleet_actions": 1000},
        "breaker": {"least": 1000},
        "runbook_limits": {"failures_on_services": 1000, "ineffective_results": 1000},
    }
    document = {"state_dir": str(ground.folder / "state"), "interval": "1s", **fleet, "services": services}
    file.write_text(json.dumps(document))  # JSON is YAML, and has no aliases
    return file


@contextmanager
def daemon(ground: Ground, config: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (ground.folder / "watch.log").open("ab") as log:
        process = subprocess.Popen((MEDIC, "--config", config, "watch"), stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


def run(kills: int, seed: int, folder: Path) -> Tally:
    """Break, kill and restart `kills` times; settle; hold the ledger against the ground truth."""
    moments = random.Random(seed)
    ground = Ground(uuid.uuid4().hex[:6], folder)
    tally = Tally()
    config = write_config(ground)
    try:
        ground.build()
        for number in range(kills):
            with daemon(ground, config) as process:
                until(lambda: (folder / "state" / "beat").exists(), 15)
                _hand_back(ground, config)
                _break_and_kill(ground, process, moments, tally)
            if moments.random() < 0.5:  # else the next daemon meets the orphans of this one
                tally.survivors += _swept(ground)
            print(f"kill {number + 1}/{kills}", end="\r", flush=True)
        with daemon(ground, config):
            _settle(config)
        tally.survivors += _swept(ground)
    finally:
        ground.clear()
    _judge(tally, ground, config)
    return tally


def _hand_back(ground: Ground, config: Path) -> None:
    """Do what a person does about a handed-over incident, so that there is always something left to break."""
    for incident in _incidents(config):
        if incident.state is IncidentState.ESCALATED and KINDS[incident.service] != "doomed":
            ground.mend(incident.service)
            closing = (MEDIC, "--config", config, "incident", "close", incident.id)
            subprocess.run(closing, capture_output=True, timeout=30, check=False)


def _break_and_kill(ground: Ground, process: subprocess.Popen[bytes], moments: random.Random, tally: Tally) -> None:
    for service in moments.sample([s for s, kind in KINDS.items() if kind != "doomed"], moments.choice((1, 2))):
        ground.break_(service)
    if moments.random() < 0.6:
        until(ground.playbook_is_at_work, 12)
        tally.inside_apply += ground.playbook_is_at_work()
        time.sleep(moments.uniform(0, 0.9))
    else:
        time.sleep(moments.uniform(0, 5))
    process.kill()
    process.wait()
    tally.kills += 1


def _swept(ground: Ground) -> list[str]:
    until(lambda: not ground.survivors(), SWEPT_WITHIN)
    return ground.survivors()


def _settle(config: Path) -> None:
    """Wait until no incident is on its way any more."""

    def settled() -> bool:
        incidents = _incidents(config)
        return bool(incidents) and all(i.state in (IncidentState.CLOSED, IncidentState.ESCALATED) for i in incidents)

    time.sleep(5)
    until(settled, SETTLE_WITHIN)


def _incidents(config: Path) -> tuple[Incident, ...]:
    with wiring.open_store(wiring.settings(config)) as store:
        return store.incidents.recent(limit=10_000)


def _judge(tally: Tally, ground: Ground, config: Path) -> None:
    starts: Counter[str] = Counter()
    incidents = _incidents(config)
    for incident in incidents:
        if incident.state not in (IncidentState.CLOSED, IncidentState.ESCALATED):
            tally.lost.append(f"{incident.id} of {incident.service} is still {incident.state.value}")
        numbers = [attempt.number for attempt in incident.attempts]
        if numbers != list(range(1, len(numbers) + 1)):
            tally.lost.append(f"{incident.id} counts {numbers}")
        for attempt in incident.attempts:
            tally.attempts += 1
            starts[incident.service] += attempt.runs
            if attempt.outcome is None:
                tally.lost.append(f"{incident.id}-{attempt.number} has no outcome")
        counted = sum(attempt.outcome is not None and attempt.outcome.counts for attempt in incident.attempts)
        if counted > 2:
            tally.repeated.append(f"{incident.id} counts {counted} attempts")
    for service, changes in ground.changes.items():
        if changes > starts[service]:
            tally.repeated.append(f"{service} was started {changes} times, the ledger counts {starts[service]} playbooks")
    service_of = {incident.id: str(incident.service) for incident in incidents}
    for marks in ground.together:
        at_work = Counter(service_of[mark.partition("-")[0]] for mark in marks)
        tally.overlapping += [f"{service}: {sorted(marks)}" for service, number in at_work.items() if number > 1]


def until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True


def main() -> int:
    asked = argparse.ArgumentParser(description="Kill medic watch at seeded moments and hold its ledger against what happened.")
    asked.add_argument("--kills", type=int, default=60)
    asked.add_argument("--seed", type=int, default=1)
    words = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="medic-crash-") as folder:
        tally = run(words.kills, words.seed, Path(folder))
        print(tally)
        if not tally.clean:
            print((Path(folder) / "watch.log").read_text()[-4000:], file=sys.stderr)
    return 0 if tally.clean else 1


if __name__ == "__main__":
    sys.exit(main())
