"""Hosts for the fleet demo, on one machine: each has a network namespace of its own, an sshd in it, and a Docker engine in it.

Medic reaches them as it would reach any: by address, over SSH. What cannot be made so is a clock of its own. Needs root. Everything
lies below one folder and carries the run's name, and `strike` takes all of it away again.
"""

import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests import far_hosts
from tests.far_hosts import FarHost
from tests.lab import images, stage
from tests.lab.stage import StageError

PORT = 2222
ENGINE_UP = timedelta(seconds=60)
"""An engine is there in 3 s; on a machine with two busy cores it takes many times that."""
LOADED = timedelta(seconds=120)


@dataclass
class FleetHost:
    """One host: number 1 to 9, of one run."""

    run: str
    number: int
    folder: Path
    sshd: FarHost | None = None
    _engine: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return f"gpu-{self.number}"

    @property
    def namespace(self) -> str:
        return f"medic-{self.run}-{self.number}"

    @property
    def link(self) -> str:
        """The end of its cable that is on this side. Names of links have 15 characters at most."""
        return f"mf{self.run}{self.number}"

    @property
    def address(self) -> str:
        return f"{subnet(self.run)}.{self.number + 1}"

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    def docker(self, *words: str, timeout: timedelta = stage.PATIENCE) -> str:
        """Run one docker command on this host's own engine."""
        return stage.docker("--host", f"unix://{self.socket}", *words, timeout=timeout)

    def raise_(self, image: Path) -> None:
        """Make its network, start its engine and its sshd, and load an image into the engine."""
        self.folder.mkdir(parents=True)
        # Not `ip netns exec`: it gives the program a /sys of its own, in which no engine finds its control groups.
        within = ("nsenter", f"--net=/run/netns/{self.namespace}")
        _ip("netns", "add", self.namespace)
        _ip("link", "add", self.link, "type", "veth", "peer", "name", "up0", "netns", self.namespace)
        _ip("link", "set", self.link, "master", bridge(self.run), "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "set", "up0", "up"),
            ("addr", "add", f"{self.address}/24", "dev", "up0"),
        ):
            _ip("-n", self.namespace, *words)
        with (self.folder / "dockerd.log").open("wb") as log:
            self._engine = subprocess.Popen(
                (
                    *(*within, "dockerd", "--host", f"unix://{self.socket}", "--data-root", self.folder / "data"),
                    *("--exec-root", self.folder / "exec", "--pidfile", self.folder / "docker.pid"),
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.sshd = FarHost(self.folder / "ssh", self.address, PORT, within=within)
        self.sshd.start()
        end = time.monotonic() + ENGINE_UP.total_seconds()
        while True:
            with contextlib.suppress(StageError):
                self.docker("version", timeout=timedelta(seconds=5))
                break
            if self._engine.poll() is not None or time.monotonic() > end:
                raise StageError(f"no engine on {self.name}: {(self.folder / 'dockerd.log').read_text()[-600:]}")
            time.sleep(0.2)
        self.docker("load", "--input", str(image), timeout=LOADED)

    def cut(self) -> None:
        """Pull its cable: nothing that is sent arrives, and nobody is told."""
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """Put the cable back."""
        _ip("link", "set", self.link, "up")

    def strike(self) -> None:
        """Take it away again, however far it came."""
        if self.sshd is not None:
            self.sshd.stop()
        if self._engine is not None:
            with contextlib.suppress(StageError):
                for id_ in self.docker("ps", "--all", "--quiet").split():
                    self.docker("rm", "--force", "--volumes", id_)
            self._engine.send_signal(signal.SIGTERM)
            try:
                self._engine.wait(30)
            except subprocess.TimeoutExpired:
                self._engine.kill()
                self._engine.wait()
        for mount in reversed(mounts_below(self.folder)):
            subprocess.run(("umount", "--lazy", mount), check=False, capture_output=True)
        _ip("netns", "del", self.namespace, check=False)
        _ip("link", "del", self.link, check=False)
        for part in ("data", "exec"):
            shutil.rmtree(self.folder / part, ignore_errors=True)


def subnet(run: str) -> str:
    """Return the first three parts of the fleet's addresses."""
    number = int(run, 16)
    return f"10.{200 + number % 40}.{number // 40 % 256}"


def bridge(run: str) -> str:
    """Return the name of the switch that the hosts hang on."""
    return f"mf{run}"


def raise_all(hosts: Sequence[FleetHost], folder: Path) -> None:
    """Make the switch and every host. Raises StageError where this machine cannot."""
    if far_hosts.SSHD is None or shutil.which("ip") is None:
        raise StageError("cannot make hosts here: sshd and ip are needed (apt install openssh-server iproute2)")
    image = folder / "tiny.tar"
    stage.docker("save", "--output", str(image), images.TINY, timeout=LOADED)
    run = hosts[0].run
    _ip("link", "add", bridge(run), "type", "bridge")
    _ip("addr", "add", f"{subnet(run)}.1/24", "dev", bridge(run))
    _ip("link", "set", bridge(run), "up")
    for host in hosts:
        host.raise_(image)


def strike_all(hosts: Sequence[FleetHost]) -> None:
    """Take every host and the switch away."""
    for host in hosts:
        host.strike()
    _ip("link", "del", bridge(hosts[0].run), check=False)


def left_over(hosts: Sequence[FleetHost]) -> tuple[str, ...]:
    """Return what of these hosts is still there: namespaces, links, mounts."""
    found = []
    spaces, links = _ip("netns", "list"), _ip("-brief", "link")
    for host in hosts:
        found += [f"namespace {host.namespace}"] * (host.namespace in spaces) + [f"link {host.link}"] * (host.link in links)
        found += [f"mount {mount}" for mount in mounts_below(host.folder)]
    return (*found, *[f"link {bridge(hosts[0].run)}"] * (f"{bridge(hosts[0].run)} " in links))


def mounts_below(folder: Path) -> list[str]:
    """Return what is mounted below a folder, in the order it was."""
    return [words.split()[1] for words in Path("/proc/mounts").read_text().splitlines() if f" {folder}/" in words]


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, timeout=20, check=False)
    if check and done.returncode != 0:
        raise StageError(f"cannot run ip {' '.join(words[:3])}: {done.stderr.strip()[-300:]}")
    return done.stdout
