"""Hosts for the lab and the fleet demo, on one machine: each has a network of its own, an sshd in it, and a Docker engine in it.

Medic reaches them as it would reach any: by address, over SSH. What cannot be made so is a clock of its own. Needs root. Everything
lies below one folder and carries the run's name, and `strike` takes all of it away again.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests import far_hosts
from tests.far_hosts import FarHost
from tests.lab import images, stage
from tests.lab.images import LabError
from tests.lab.stage import StageError

PORT = 2222
SERVICE = Path(__file__).with_name("host_service.sh")
ENGINE_UP = timedelta(seconds=180)
"""An engine is there in 3 s; on a machine with two busy cores it takes many times that, a minute and more at the lowest priority."""
LOADED = timedelta(seconds=120)


@dataclass
class FleetHost:
    """One host: number 1 to 9, of one run."""

    run: str
    number: int
    folder: Path
    called: str = ""
    disk: str = ""
    """Size of the disk that its engine keeps its data on, in mount(8)'s words; without one it is this machine's own."""
    sshd: FarHost = field(init=False)
    _rules: list[tuple[str, ...]] = field(default_factory=list, repr=False)
    """What its firewall was told, to be taken back."""
    _slow: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _hangs: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        self.sshd = FarHost(self.folder / "ssh", self.address, PORT, environment=f"PATH={self._path()}", within=self._within())

    @property
    def name(self) -> str:
        return self.called or f"gpu-{self.number}"

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

    @property
    def files(self) -> Path:
        """Return the folder of the programs that stand before this machine's own in every session on the host."""
        return self.folder / "files"

    @property
    def data(self) -> Path:
        """Return where its engine keeps everything: the host's disk."""
        return self.folder / "data"

    @property
    def engine(self) -> tuple[str, ...]:
        """Return the words that make `docker` speak to this host's own engine."""
        return ("--host", f"unix://{self.socket}")

    def declared(self) -> dict[str, object]:
        """Return it as medic.yaml has it."""
        return {"docker": f"unix://{self.socket}", "ssh": self.sshd.words()}

    def docker(self, *words: str, timeout: timedelta = stage.PATIENCE) -> str:
        """Run one docker command on this host's own engine."""
        return stage.docker(*self.engine, *words, timeout=timeout)

    def shell(self, *command: str) -> str:
        """Run a command on it, as something there would. Raises StageError when it fails."""
        there = (*self._within(), "env", f"PATH={self._path()}", f"DOCKER_HOST=unix://{self.socket}")
        return stage.run((*there, *command), f"{command[0]} on {self.name}", stage.PATIENCE)

    def raise_(self, image: Path) -> None:
        """Make its network, start its engine and its sshd, and load an image into the engine."""
        self.files.mkdir(parents=True, exist_ok=True)
        for name in ("service", "systemctl"):
            shutil.copy(SERVICE, self.files / name)
        _ip("netns", "add", self.namespace)
        _ip("link", "add", self.link, "type", "veth", "peer", "name", "up0", "netns", self.namespace)
        _ip("link", "set", self.link, "master", bridge(self.run), "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "set", "up0", "up"),
            ("addr", "add", f"{self.address}/24", "dev", "up0"),
        ):
            _ip("-n", self.namespace, *words)
        self.data.mkdir()
        if self.disk:
            # A disk of memory: an engine's layers need room, and nothing of this machine's may fill.
            _mount("-t", "tmpfs", "-o", f"size={self.disk}", "tmpfs", str(self.data))
        self.sshd.start()
        self.start_engine()
        self.docker("load", "--input", str(image), timeout=LOADED)

    def start_engine(self) -> None:
        """Start its Docker engine and wait until it answers."""
        self.shell("service", "docker", "start")
        end = time.monotonic() + ENGINE_UP.total_seconds()
        while True:
            with contextlib.suppress(StageError):
                self.docker("version", timeout=timedelta(seconds=5))
                return
            if time.monotonic() > end:
                raise StageError(f"no engine on {self.name}: {(self.folder / 'dockerd.log').read_text()[-600:]}")
            time.sleep(0.2)

    def stop_engine(self) -> None:
        """End its Docker engine, and with it every container."""
        self.go_on()
        self.shell("service", "docker", "stop")

    def hang(self) -> None:
        """Stop its Docker engine where it stands: its socket takes connections, and nobody answers. Containers go on."""
        self._signal_engine(signal.SIGSTOP)
        self._hangs = True

    def go_on(self) -> None:
        """Let its Docker engine go on."""
        self._signal_engine(signal.SIGCONT)
        self._hangs = False

    def _signal_engine(self, number: signal.Signals) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it was stopped
            os.kill(int((self.folder / "docker.pid").read_text()), number)

    @contextlib.contextmanager
    def seen(self) -> Iterator[None]:
        """Let a hung engine answer for as long as somebody of the lab's looks."""
        hung = self._hangs
        if hung:
            self.go_on()
        try:
            yield
        finally:
            if hung:
                self.hang()

    def cut(self) -> None:
        """Pull its cable: nothing that is sent arrives, and nobody is told."""
        _ip("link", "set", self.link, "down")

    def half_open(self) -> None:
        """Let connections open and carry nothing: what holds data is lost on the way, both ways, and nobody is told."""
        data = ("-p", "tcp", "--tcp-flags", "PSH", "PSH", "-j", "DROP")
        self._forbid("INPUT", "--destination", self.address, *data)
        self._forbid("OUTPUT", "--source", self.address, *data)

    def reset(self) -> None:
        """Let every connection to its sshd be reset, those that stand and those that are tried."""
        self._forbid("INPUT", "-p", "tcp", "--dport", str(PORT), "-j", "REJECT", "--reject-with", "tcp-reset")

    def slow(self, seconds: float) -> None:
        """Let everything that is said to and by its sshd arrive so many seconds late. Connections that stand are ended."""
        port = str(PORT + 1)
        self._slow = subprocess.Popen(
            (*self._within(), sys.executable, "-m", "tests.lab.slow_line", port, self.address, str(PORT), str(seconds)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert self._slow.stdout is not None
        self._slow.stdout.readline()
        self._forbid("PREROUTING", "-i", "up0", "-p", "tcp", "--dport", str(PORT), "-j", "REDIRECT", "--to-ports", port)
        self.sshd.cut()

    def mend(self) -> None:
        """Put the cable back, and take back all that was done to what it carries."""
        _ip("link", "set", self.link, "up")
        while self._rules:
            table, *rule = self._rules.pop()
            self.shell("iptables", "-w", "-t", table, "-D", *rule)
        if self._slow is not None:
            self._slow.kill()
            self._slow.communicate()
            self._slow = None

    def _forbid(self, chain: str, *rule: str) -> None:
        table = "nat" if chain == "PREROUTING" else "filter"
        self.shell("iptables", "-w", "-t", table, "-I", chain, *rule)
        self._rules.append((table, chain, *rule))

    def _within(self) -> tuple[str, ...]:
        # Not `ip netns exec`: it gives the program a /sys of its own, in which no engine finds its control groups.
        return ("nsenter", f"--net=/run/netns/{self.namespace}")

    def _path(self) -> str:
        return f"{self.files}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    def strike(self) -> None:
        """Take it away again, however far it came."""
        if self._slow is not None:
            self._slow.kill()
            self._slow.communicate()
        self.sshd.stop()
        self.go_on()
        if (self.folder / "docker.pid").exists():
            with contextlib.suppress(StageError):
                for id_ in self.docker("ps", "--all", "--quiet").split():
                    self.docker("rm", "--force", "--volumes", id_)
            with contextlib.suppress(StageError):
                self.stop_engine()
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


def needs_tools() -> None:
    """Raise LabError where this machine cannot make hosts."""
    missing = [name for name in ("ip", "iptables", "nsenter", "dockerd", "ssh-keygen") if shutil.which(name) is None]
    missing += ["sshd"] * (far_hosts.SSHD is None) + ["root"] * (os.getuid() != 0)
    if missing:
        raise LabError(
            f"cannot make hosts here: {', '.join(missing)} needed; run scripts/docker.sh and scripts/sshd.sh as root"
        )


def raise_all(hosts: Sequence[FleetHost], folder: Path) -> None:
    """Make the switch and every host. Raises StageError where this machine does not let it."""
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


def _mount(*words: str) -> None:
    done = subprocess.run(("mount", *words), capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise StageError(f"cannot mount {words[-1]}: {done.stderr.strip()[-300:]}")


def _ip(*words: str, check: bool = True) -> str:
    done = subprocess.run(("ip", *words), capture_output=True, text=True, timeout=20, check=False)
    if check and done.returncode != 0:
        raise StageError(f"cannot run ip {' '.join(words[:3])}: {done.stderr.strip()[-300:]}")
    return done.stdout
