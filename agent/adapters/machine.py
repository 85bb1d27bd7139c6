"""What the adapters need of one host, whichever way it is reached: a port of their own, with an implementation per kind.

`local_machine` is this very machine; `far_machine` makes one of anything that runs programs there (SSH, SSM). What
checks and evidence make of it is written once, in `host_files` and the probes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agent.errors import OutsideError
from agent.model import HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What the file system says of what a path leads to; links are followed."""

    plain: bool
    size: int
    mode: int
    """Permissions, as in 0o644."""
    written: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """What statvfs(3) says of the file system under a path: blocks and inodes, in units of their own."""

    blocks: int
    free: int
    """With what is kept for root."""
    available: int
    """Without."""
    inodes: int
    """0 where the file system counts none."""
    inodes_free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """Memory, load, CPUs, clock and disks. meminfo: the text of /proc/meminfo."""

    meminfo: str
    load: float
    """Of the last five minutes."""
    cpus: int
    ahead: timedelta
    """How far its clock is ahead of this machine's."""
    disks: tuple[DiskFacts | None, ...]
    """One for each path that was asked for; None for one that leads nowhere."""


class Machine(Protocol):
    """One host. Every call is bounded and raises OutsideError when it cannot answer; a path that leads nowhere is None."""

    patience: timedelta
    """What an answer may take beside what it asks for: the way there and back."""

    def run(self, argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        """Return exit code and the first `limit` bytes of output of one program; past `timeout` it is ended there.

        argv: words fixed in the code, and paths that people declared. Never text from logs, the network or a model.
        """

    def facts(self, path: str) -> FileFacts | None:
        """Return what a path leads to, None where it leads nowhere."""

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return at most `limit` bytes of a plain file; anything else but a plain file is refused."""

    def digest(self, path: str, *, most: int) -> str | None:
        """Return the sha256 of a plain file in hex; one of more than `most` bytes is refused."""

    def disk(self, path: str) -> DiskFacts | None:
        """Return the state of the file system under a path."""

    def measure(self, disks: tuple[str, ...]) -> MachineFacts:
        """Return memory, load, CPUs, clock, and the state of the file system under each path."""

    def runs(self, title: str) -> bool:
        """Say whether a process, not inside a container, begins its command line so."""


MachineOf = Callable[[HostName], Machine]
"""Finds the machine of a host. Raises OutsideError for one whose files and programs are out of reach."""


def plain(path: str, facts: FileFacts) -> None:
    """Raises OutsideError for what is no plain file: a pipe or a device can hold whoever reads it."""
    if not facts.plain:
        raise OutsideError(f"cannot read {path!r}: not a plain file", transient=False)


def absolute(path: str) -> None:
    """Raises OutsideError for a path that is not absolute."""
    if not path.startswith("/") or "\0" in path:
        raise OutsideError(f"cannot read {path!r}: not an absolute path", transient=False)
