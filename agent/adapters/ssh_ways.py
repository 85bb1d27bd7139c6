"""The ways to the hosts that are reached over SSH: one link for each, and what goes over it."""

import socket
import time
from collections.abc import Sequence

from agent.adapters.docker_stream import Connection, Dial, Greet
from agent.adapters.far_machine import FarMachine
from agent.adapters.relay import relay
from agent.adapters.ssh_link import CONNECT_FAILED, ChannelRefusedError, SshLink
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Door
from agent.errors import OutsideError
from agent.model import Host, HostName, SshAccess

SCHEME = "unix://"

_SAID = {
    "Connection refused": "connection-refused",
    "Connection timed out": "timeout",
    "No route to host": "host-unreachable",
    "Network is unreachable": "host-unreachable",
    "Name or service not known": "dns: no such name",
}
"""What sshd says of a connection it could not make (strerror(3), gai_strerror(3)), as our words for what a target does."""


class SshWays:
    """Links, opened as they are needed. `close` them in the end."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        """hosts: all that are declared, the jump hosts among them."""
        self._declared = {host.name: host.access for host in hosts if isinstance(host.access, SshAccess)}
        self.links: dict[HostName, SshLink] = {}
        for name in self._declared:
            self._link(name)
        self.machines = {name: FarMachine(name, link, SystemClock()) for name, link in self.links.items()}
        self.engines: dict[HostName, Dial] = {
            host.name: _engine(self.links[host.name], host.docker.removeprefix(SCHEME))
            for host in hosts
            if host.name in self.links and host.docker is not None
        }
        self.bare: dict[HostName, Greet] = {
            host.name: _greeting(self.links[host.name]) for host in hosts if host.name in self.links and host.docker is None
        }
        self.doors: dict[HostName, Door] = {name: _door(link) for name, link in self.links.items()}

    def close(self) -> None:
        """End every connection."""
        for link in self.links.values():
            link.close()

    def _link(self, name: HostName) -> SshLink:
        if name not in self.links:
            access = self._declared[name]
            over = None if access.jump is None else self._link(access.jump)  # the configuration has no circles
            self.links[name] = SshLink(name, access, over)
        return self.links[name]


def _engine(link: SshLink, path: str) -> Dial:
    def dial(timeout: float) -> Connection:
        return link.dial_unix(path, time.monotonic() + timeout)

    return dial


def _greeting(link: SshLink) -> Greet:
    def greet(timeout: float) -> None:
        link.greet(time.monotonic() + timeout)

    return greet


def _door(link: SshLink) -> Door:
    def connect(address: str, port: int, timeout: float) -> socket.socket | str:
        until = time.monotonic() + timeout
        try:
            channel = link.dial_tcp(address, port, until)
        except ChannelRefusedError as exc:
            if exc.code == CONNECT_FAILED and str(exc) in _SAID:
                return _SAID[str(exc)]
            raise OutsideError(
                f"cannot connect to {address}:{port} from host {link.host!r}: its sshd says {str(exc)!r}", transient=False
            ) from exc
        except TimeoutError:
            return "timeout"
        try:
            return relay(channel, until)
        except (OSError, RuntimeError) as exc:
            raise OutsideError(f"cannot connect to {address}:{port}: our own trouble: {exc}", transient=True) from exc

    return connect
