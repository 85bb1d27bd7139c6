"""A real sshd on loopback, with a host key and a client key of its own: for tests of hosts that are reached over SSH.

It listens on a port of its own, lets one key in, and keeps everything in one folder. Its sessions can be killed one by one, as a
network that goes away kills them, and its host key can be changed. Nothing of it outlives `stop`.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from agent.model import Host, HostName, SshAccess

SSHD = "/usr/sbin/sshd"
PATIENCE = 10.0
RUN = Path("/run/sshd")
"""Where sshd confines itself before a client is known (its compiled-in default); Debian's service makes it."""


@dataclass
class Sshd:
    """One server."""

    folder: Path
    port: int
    address: str = "127.0.0.1"
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def key(self) -> Path:
        """The private key that is let in."""
        return self.folder / "client"

    @property
    def known_hosts(self) -> Path:
        """Where its host key is pinned."""
        return self.folder / "known_hosts"

    @property
    def target_state(self) -> Path:
        """Where Medic keeps locks and markers on this "host", without sudo."""
        return self.folder / "state" / "target"

    @property
    def authorized_keys(self) -> Path:
        return self.folder / "authorized_keys"

    def host(self, name: str, **access: object) -> Host:
        """Return it as a host of Medic's, as the user that runs the tests."""
        docker = str(access.pop("docker", "unix:///var/run/docker.sock"))
        words: dict[str, object] = {
            "address": self.address,
            "port": self.port,
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "key_file": str(self.key),
            "known_hosts": str(self.known_hosts),
            **access,
        }
        return Host(name=HostName(name), docker=docker, access=SshAccess(**words))  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it and wait until it listens."""
        RUN.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen((SSHD, "-D", "-e", "-f", self.folder / "config"), stderr=log)
        end = time.monotonic() + PATIENCE
        while not self.listens():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"sshd does not listen: {(self.folder / 'log').read_text()[-500:]}")
            time.sleep(0.02)

    def listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((self.address, self.port)) == 0

    def sessions(self) -> list[psutil.Process]:
        """Return the processes that serve a client each."""
        if self.process is None or self.process.poll() is not None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    def cut(self) -> None:
        """Kill every session, and leave the server."""
        for session in self.sessions():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended by itself
                for process in (*session.children(recursive=False), session):
                    if "sshd" in process.name():
                        process.kill()

    def stop(self) -> None:
        """Stop listening and kill every session."""
        if self.process is not None:
            self.cut()
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def change_host_key(self) -> None:
        """Start anew with another host key, as a machine that was set up again, or another one in its place."""
        self.stop()
        for suffix in ("", ".pub"):
            (self.folder / f"host{suffix}").unlink()
        _make_key(self.folder / "host")
        self.start()


@contextmanager
def served(folder: Path, *, address: str = "127.0.0.1", options: tuple[str, ...] = ()) -> Iterator[Sshd]:
    """Serve SSH in `folder` for as long as the body lasts. options: further lines of its configuration."""
    if not Path(SSHD).exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"there is no {SSHD}, and CI=true: install openssh-server (scripts/test.sh does)", pytrace=False)
        pytest.skip(f"there is no {SSHD}")
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind((address, 0))
        server = Sshd(folder=folder, port=free.getsockname()[1], address=address)
    for name in ("host", "client"):
        _make_key(folder / name)
    shutil.copy(folder / "client.pub", server.authorized_keys)
    server.authorized_keys.chmod(0o644)  # sshd reads it as the user who comes in
    kind, key, *_ = (folder / "host.pub").read_text().split()
    server.known_hosts.write_text(f"[{address}]:{server.port} {kind} {key}\n")
    (folder / "config").write_text(
        "\n".join(
            (
                f"ListenAddress {address}",
                f"Port {server.port}",
                f"HostKey {folder / 'host'}",
                f"AuthorizedKeysFile {server.authorized_keys}",
                f"PidFile {folder / 'pid'}",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "PermitRootLogin prohibit-password",
                "StrictModes no",  # pytest's folders are below /tmp, which others may write to
                "UsePAM no",
                "UseDNS no",
                "MaxStartups 100",
                "Subsystem sftp internal-sftp",
                *options,
                f"SetEnv MEDIC_STATE_DIR={folder / 'state'}",  # the first of its kind wins
            )
        )
        + "\n"
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


def _make_key(path: Path) -> None:
    subprocess.run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "medic-test", "-f", str(path)), check=True)
