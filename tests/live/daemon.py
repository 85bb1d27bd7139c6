"""A real `medic watch` for live tests: containers of its own, a folder of its own, a process, its timeline as it happens."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self  # Any: JSON

import docker
import psutil

from agent.model import Incident, ServiceName
from agent.ports import Store
from agent.wiring import keeping, reading
from tests import canaries
from tests.lab import images

MEDIC = str(Path(sys.executable).with_name("medic"))
ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from agent.cli.main import run; run()"]
MARK = "MEDIC_RUN"
"""Environment variable that every process of one playbook run carries (agent/adapters/ansible_playbooks.py)."""
HTTPD = ("/bin/busybox", "httpd", "-f", "-p", "8000")
HTTP = {"kind": "http", "plane": "direct", "url": "http://container:8000/", "timeout": "500ms", "status": ["200-404"]}
CONTAINER = {"kind": "container"}
LIMITS = {"start_grace": "0s", "verify_within": "5s"}


@dataclass
class Site:
    """A folder with a medic.yaml and a state folder, and the containers that it speaks of."""

    folder: Path
    engine: docker.APIClient
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    made: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def config(self) -> Path:
        return self.folder / "medic.yaml"

    def container(self, service: str, command: Sequence[str] = HTTPD, **labels: str) -> str:
        """Start one container; its name is unique to this test."""
        name = f"medic-watch-{self.run}-{service}"
        made = self.engine.create_container(
            images.ensure(images.TINY),
            list(command),
            name=name,
            environment=canaries.words(),
            labels={"medic.test": "watch", **{f"medic.{key}": value for key, value in labels.items()}},
        )["Id"]
        self.made.append(name)
        self.engine.start(made)
        return name

    def write(self, services: Mapping[str, Mapping[str, Any]], **top: Any) -> None:
        """Write medic.yaml. Labels of other containers on this machine are none of a test's business unless it says so."""
        document = {"state_dir": str(self.state), "interval": "1s", "discover_labels": False, **top, "services": services}
        self.config.write_text(json.dumps(document))  # JSON is YAML

    def http_service(self, service: str, **more: Any) -> dict[str, Any]:
        """Start a container that answers, and return its declaration."""
        return self.declared(self.container(service), checks=[CONTAINER, HTTP], **more)

    def declared(self, container: str, *, checks: Sequence[Mapping[str, Any]] = (CONTAINER,), **more: Any) -> dict[str, Any]:
        return {"container": container, "checks": list(checks), "limits": LIMITS, **more}

    def look(self, container: str) -> dict[str, Any]:
        """What Docker says of a container's state."""
        state: dict[str, Any] = self.engine.inspect_container(container)["State"]
        return state

    def send(self, container: str, number: signal.Signals) -> None:
        """Signal the container's first process from below Docker, as a fault does."""
        os.kill(int(self.look(container)["Pid"]), number)

    def medic(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run one command to its end."""
        return subprocess.run(
            (MEDIC, "--config", str(self.config), *words),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            env=_environment(),
        )

    def ask(self, *words: str) -> Any:
        """Run one command and return the JSON it prints."""
        asked = self.medic("--json", *words)
        assert asked.returncode == 0, asked.stdout + asked.stderr
        return json.loads(asked.stdout)

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        with keeping.open_store(reading.settings(self.config)) as store:
            yield store

    def incidents(self, service: str | None = None) -> tuple[Incident, ...]:
        """The incidents of a service (or all), newest first."""
        with self.store() as store:
            return store.incidents.recent(service=ServiceName(service) if service else None, limit=100)

    def beat(self) -> int:
        """The slot of the latest beat; 0 before the first."""
        try:
            return int(json.loads((self.state / "beat").read_text())["slot"])
        except (OSError, ValueError):
            return 0

    def playbooks(self) -> list[psutil.Process]:
        """Processes of playbook runs of this state folder that are alive."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                environment = process.environ()
                ours = str(self.state) in environment.get("ANSIBLE_LOCAL_TEMP", "")
                if MARK in environment and ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def playbook_is_at_work(self) -> bool:
        return any("ansible-playbook" in " ".join(_words(process)) for process in self.playbooks())

    def clear(self) -> None:
        """Remove the containers by name: a remedy may have made one anew."""
        for made in self.made:
            with contextlib.suppress(docker.errors.NotFound):
                self.engine.remove_container(made, force=True, v=True)


class Daemon:
    """One `medic watch --json`: ends with the context, by SIGTERM, by SIGKILL if that is not heard."""

    def __init__(self, site: Site, *, before: Sequence[str] = (), beats: bool = True, within: float = 60) -> None:
        """before: words in front of the command. beats: its beat file can be seen from here, so wait for the first beat, for so
        many seconds."""
        self._site = site
        self._beats = beats
        self._within = within
        self.events: list[dict[str, Any]] = []
        self.log = site.folder / "watch.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                (*before, MEDIC, "--config", str(site.config), "watch", "--json"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, name="timeline")
        self._reader.start()

    def __enter__(self) -> Self:
        before = self._site.beat()
        if self._beats:
            try:
                until(lambda: self._site.beat() > before or self.process.poll() is not None, self._within, self.said)
                assert self.process.poll() is None, self.said()
            except BaseException:
                self.__exit__()  # a context that was not entered ends nothing by itself
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(25)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join(5)

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def wait(self, service: str, *kinds: str, times: int = 1, within: float = 30) -> dict[str, Any]:
        """Wait for the story event of one of the kinds (the `times`-th), and return it."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if event["service"] == service and event["kind"] in kinds]

        until(lambda: len(found()) >= times, within, lambda: f"{self.events}\n{self.said()}")
        return found()[times - 1]

    def stop(self, within: float = 15) -> float:
        """Send SIGTERM; return how many seconds it took to end."""
        began = time.monotonic()
        self.process.terminate()
        self.process.wait(within)
        return time.monotonic() - began

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.events.append(json.loads(line))


def seconds(event: Mapping[str, Any]) -> float:
    """The moment of a story event, in seconds since the epoch."""
    return datetime.fromisoformat(event["at"]).timestamp()


def until(true: Callable[[], bool], within: float, otherwise: Callable[[], str] = str) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, f"it did not happen within {within} s\n{otherwise()}"
        time.sleep(0.02)


def _words(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("MEDIC_")}


# ---------------------------------------------------------------------------------- the same without containers of its own


def variables(folder: Path) -> dict[str, str]:
    """The environment of a Medic whose state lies under `folder`."""
    ours = {"MEDIC_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("MEDIC_")}, **ours}


def medic(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    """Run one command to its end."""
    return subprocess.run([*COMMAND, *words], cwd=folder, env=variables(folder), capture_output=True, timeout=60, check=False)


@contextlib.contextmanager
def watching(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the daemon, all it says in `watch.log`; it is ended and waited for, however it was left."""
    with (folder / "watch.log").open("wb") as log:
        words = ["--verbose", "watch", "--json"]
        daemon = subprocess.Popen([*COMMAND, *words], cwd=folder, env=variables(folder), stdout=log, stderr=log)
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.terminate()
                try:
                    daemon.wait(40)
                except subprocess.TimeoutExpired:
                    daemon.kill()
            daemon.wait()


def wait_until(is_so: Callable[[], bool], within: float, what: str) -> None:
    """Wait for something outside. Fails with `what` when it does not come."""
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.5)
