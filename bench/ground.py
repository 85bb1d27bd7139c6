"""What the figures stand on: HTTP endpoints in a process of their own, containers, and a `medic watch` that is measured.

Everything is made for one run and removed with it: containers carry the label `medic.bench` and the run's own name.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any  # JSON of Docker's

import docker
import psutil

from tests.lab import images

MEDIC = str(Path(sys.executable).with_name("medic"))
SLEEP = ("/bin/busybox", "sleep", "100000")
HTTPD = ("/bin/busybox", "httpd", "-f", "-p", "8000")


class Ground:
    """The containers of one run of the bench."""

    def __init__(self) -> None:
        self.run = uuid.uuid4().hex[:8]
        self.engine = docker.APIClient(version="auto", timeout=60, num_pools=4)
        self._names: list[str] = []

    def containers(self, count: int) -> list[str]:
        """Make sure that `count` idle containers without a network run; return their names."""
        wanted = [f"medic-bench-{self.run}-idle-{number}" for number in range(count)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda name: self.container(name, SLEEP, network="none"), sorted({*wanted} - {*self._names})))
        return wanted

    def served(self, name: str, command: Sequence[str]) -> tuple[str, str]:
        """Start one container that publishes its port 8000; return its name and its URL on this machine."""
        port = free_port()  # one that Docker chose would be another after each start
        self.container(name, command, ports={8000: ("127.0.0.1", port)})
        return name, f"http://127.0.0.1:{port}/"

    def container(self, name: str, command: Sequence[str], network: str = "bridge", ports: dict[int, Any] | None = None) -> str:
        """Start one container of the tiny image and return its name."""
        config = self.engine.create_host_config(network_mode=network, port_bindings=ports)
        labels = {"medic.bench": self.run}
        made = self.engine.create_container(
            images.ensure(images.TINY), [*command], name=name, labels=labels, host_config=config, ports=[*(ports or ())]
        )
        self._names.append(name)
        self.engine.start(made["Id"])
        return name

    def look(self, name: str) -> dict[str, Any]:
        """What Docker says of one container."""
        seen: dict[str, Any] = self.engine.inspect_container(name)
        return seen

    def kill(self, name: str) -> float:
        """Kill the first process of a container from below Docker, as a crash does; return when, in seconds since 1970."""
        process = int(self.look(name)["State"]["Pid"])
        at = time.time()
        os.kill(process, signal.SIGKILL)
        return at

    def close(self) -> None:
        """Remove every container of this run, by name: a remedy may have made one anew."""
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(self._remove, self._names))
        self.engine.close()

    def _remove(self, name: str) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            self.engine.remove_container(name, force=True, v=True)


class Daemon:
    """One `medic watch` with a folder of its own."""

    def __init__(self, folder: Path, services: Mapping[str, Any], **top: Any) -> None:
        self.folder = folder
        self.config = folder / "medic.yaml"
        document = {"state_dir": str(folder / "state"), "discover_labels": False, **top, "services": services}
        self.config.write_text(json.dumps(document))  # JSON is YAML
        self._log = (folder / "watch.log").open("wb")
        words = (MEDIC, "--config", str(self.config), "watch", "--json")
        self.process = psutil.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log, env=environment()
        )

    def beats(self) -> int:
        """Return the slot of the latest beat, 0 before the first."""
        try:
            return int(json.loads((self.folder / "state/beat").read_text())["slot"])
        except (OSError, ValueError):
            return 0

    def cpu_seconds(self) -> float:
        """Return what the daemon has used of the processor so far, with children that have ended."""
        used = self.process.cpu_times()
        return float(used.user + used.system + used.children_user + used.children_system)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the story's events as the daemon tells them."""
        for line in self.process.stdout:
            yield json.loads(line)

    def stop(self) -> None:
        """End it, however it was left."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.terminate()
        try:
            self.process.wait(25)
        except psutil.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


@contextlib.contextmanager
def watching(services: Mapping[str, Any], **top: Any) -> Iterator[Daemon]:
    """Run a daemon over `services`; yield it after its first beat."""
    with tempfile.TemporaryDirectory(prefix="medic-bench-", ignore_cleanup_errors=True) as folder:
        daemon = Daemon(Path(folder), services, **top)
        try:
            wait_until(lambda: daemon.beats() > 0 or daemon.process.poll() is not None, 60, "the first beat did not come")
            if daemon.process.poll() is not None:
                raise RuntimeError(f"medic watch ended: {(Path(folder) / 'watch.log').read_text()[-2000:]}")
            yield daemon
        finally:
            daemon.stop()


def environment() -> dict[str, str]:
    """The environment without the variables of a Medic that runs here for real."""
    return {key: value for key, value in os.environ.items() if not key.startswith("MEDIC_")}


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def wait_until(is_so: Callable[[], bool], within: float, otherwise: str) -> None:
    """Wait for something outside. Raises RuntimeError when it does not come."""
    end = time.monotonic() + within
    while not is_so():
        if time.monotonic() > end:
            raise RuntimeError(f"{otherwise} within {within:.0f} s")
        time.sleep(0.02)
