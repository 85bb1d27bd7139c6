"""How every host is reached, whichever way: what wiring makes once, and what adapters that look at hosts are given."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from agent.adapters.docker_stream import Dial, Greet
from agent.adapters.machine import Machine
from agent.errors import OutsideError
from agent.model import HostName

Door = Callable[[str, int, float], "socket.socket | str"]
"""Connects from a host to an address and port as that host sees them, within so many seconds.

Returns a connected socket, or the word for what the target did: `connection-refused`, `host-unreachable`, `timeout`, or
`dns: ...`. Raises OutsideError where the host itself is out of reach or connects nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The ways to all hosts. A new kind of host adds its own to each of these."""

    machines: Mapping[HostName, Machine]
    """Their files and programs."""
    engines: Mapping[HostName, Dial]
    """Connections to the Docker engines of those that are not this machine: every one of them that has one."""
    doors: Mapping[HostName, Door | None]
    """Connections from those that are not this machine to what they alone can reach: every one of them. None where no connection
    can be brought here: there the host's own programs ask (`curl_probe`)."""
    bare: Mapping[HostName, Greet] = field(default_factory=dict)
    """Those without an engine, and what asks whether they answer."""
    late: Mapping[HostName, timedelta] = field(default_factory=dict)
    """Those whose engine's answers come whole and late, and how late: what waits for them waits so much longer."""

    def machine_of(self, host: HostName) -> Machine:
        """Return the machine of a host. Raises OutsideError where its files and programs are out of reach."""
        try:
            return self.machines[host]
        except KeyError:
            why = f"cannot look at host {host!r}: Medic has no way to its files and programs"
            raise OutsideError(why, transient=False) from None
