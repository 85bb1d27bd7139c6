"""Real hosts for tests: an OpenSSH server per host on a loopback address of its own, each with its own key, all on this machine.

Needs `sshd` (Debian: openssh-server; scripts/sshd.sh installs it) and root, since sshd logs in whoever runs the tests.
"""

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from agent.model import Host, HostName, SshAccess

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

_CONFIG = """
ListenAddress {address}:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
SetEnv SHLVL=2 MEDIC_STATE_DIR={folder}/state {environment}
MaxStartups 100:30:200
{more}
"""


def needs_sshd() -> None:
    """Skip where there is no sshd; an error when CI=true."""
    import pytest  # here alone: the demos and the lab stand on these hosts too, and run without the test tools

    if SSHD is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no sshd is installed, and CI=true: remote hosts must be tested here (scripts/sshd.sh)", pytrace=False)
        pytest.skip("no sshd is installed")


@dataclass
class FarHost:
    """One sshd. `stop`, `start` and `new_key` change it under whoever is connected."""

    folder: Path
    address: str
    port: int = 0
    more: str = ""
    """Further lines of sshd_config(5)."""
    environment: str = ""
    """`NAME=value` words that every session has, beside Medic's own state folder: tests leave nothing in the real one."""
    within: tuple[str, ...] = ()
    """Words before the server's own: `nsenter --net=...`, for a host with a network, a loopback and addresses of its own."""
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.new_key()
        _keygen(self.folder / "user_key")
        shutil.copy(self.folder / "user_key.pub", self.folder / "authorized_keys")
        self.port = self.port or _free_port(self.address)
        self.pin()

    @property
    def target_state(self) -> Path:
        """Return where Medic keeps locks and markers on this host."""
        return self.folder / "state" / "target"

    def new_key(self) -> None:
        """Make a host key, replacing the older one. A running server shows it once it is started anew."""
        for old in self.folder.glob("host_key*"):
            old.unlink()
        _keygen(self.folder / "host_key")

    def pin(self) -> None:
        """Write down the key that it shows now."""
        kind, key, *_ = (self.folder / "host_key.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[{self.address}]:{self.port} {kind} {key}\n")

    def start(self) -> None:
        """Start the server and wait until it listens."""
        assert SSHD is not None
        config = self.folder / "sshd_config"
        words = {"address": self.address, "port": self.port, "folder": self.folder, "environment": self.environment}
        config.write_text(_CONFIG.format(**words, more=self.more.format(port=self.port)))
        Path("/run/sshd").mkdir(exist_ok=True)
        command = (*self.within, SSHD, "-D", "-f", str(config), "-E", str(self.folder / "log"))
        self._process = subprocess.Popen(command, start_new_session=True)
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port), 1):
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < end, "sshd does not listen"
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and the connections it has: the processes that it started are its children."""
        if self._process is None:
            return
        for pid in (*_below(self._process.pid), self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(10)
        self._process = None

    def cut(self) -> None:
        """End the connections it has, and go on listening."""
        assert self._process is not None
        for pid in _below(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                if b"sshd" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)

    def access(self, **changed: object) -> SshAccess:
        """Return how it is reached."""
        said: dict[str, object] = {
            "address": self.address,
            "port": self.port,
            "user": getpass.getuser(),
            "known_hosts": str(self.folder / "known_hosts"),
            "key_file": str(self.folder / "user_key"),
        }
        return SshAccess(**(said | changed))  # type: ignore[arg-type]

    def words(self) -> dict[str, object]:
        """Return how it is reached, in the words of a `ssh:` block of medic.yaml."""
        access = self.access()
        names = ("address", "port", "user", "known_hosts", "key_file")
        return {name: getattr(access, name) for name in names}

    def host(self, name: str, **changed: object) -> Host:
        """Return it as it is declared."""
        return Host(name=HostName(name), access=self.access(**changed))


@contextlib.contextmanager
def far_host(
    folder: Path,
    address: str = "127.0.1.1",
    *,
    port: int = 0,
    more: str = "",
    environment: str = "",
    within: tuple[str, ...] = (),
) -> Iterator[FarHost]:
    """Run one sshd while the body runs."""
    needs_sshd()
    host = FarHost(folder, address, port, more, environment, within)
    try:
        host.start()
        yield host
    finally:
        host.stop()


def _keygen(path: Path) -> None:
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)), check=True, timeout=20)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _below(pid: int) -> list[int]:
    """Return every descendant of a process, children before their own."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_below(child)]
    return found
