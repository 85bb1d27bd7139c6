"""Files of services on their hosts: `ports.HostFiles` on whatever machines there are."""

from datetime import datetime

from agent.adapters.machine import MachineOf, plain
from agent.model import HostName

MOST = 67_108_864
"""Bytes of a file whose digest we take: no configuration is larger."""


class MachineFiles:
    """`ports.HostFiles`. Every call raises OutsideError where the host or the file cannot be read."""

    def __init__(self, machine_of: MachineOf) -> None:
        self._machine_of = machine_of

    def digest(self, host: HostName, path: str) -> str | None:
        """Return the sha256 of a plain file of at most `MOST` bytes in hex, None when there is none."""
        return self._machine_of(host).digest(path, most=MOST)

    def read(self, host: HostName, path: str, *, limit: int) -> bytes | None:
        """Return at most `limit` bytes of a plain file, None when there is none."""
        return self._machine_of(host).read(path, limit=limit)

    def size(self, host: HostName, path: str) -> int | None:
        """Return the bytes of a plain file, None when there is none."""
        facts = self._machine_of(host).facts(path)
        if facts is None:
            return None
        plain(path, facts)
        return facts.size

    def usage(self, host: HostName, path: str) -> tuple[float, float] | None:
        """Return the used shares of space and of inodes, None when the path is not there."""
        disk = self._machine_of(host).disk(path)
        if disk is None:
            return None
        used = disk.blocks - disk.free
        inodes = (disk.inodes - disk.inodes_free) / disk.inodes if disk.inodes else 0.0
        # As df does: what root keeps for itself is not there for others.
        return used / (used + disk.available) if used + disk.available else 1.0, inodes

    def modified(self, host: HostName, path: str) -> datetime | None:
        """Return when a plain file was last written, None when there is none."""
        facts = self._machine_of(host).facts(path)
        if facts is None:
            return None
        plain(path, facts)
        return facts.written
