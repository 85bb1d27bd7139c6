"""This very machine: its files, disks, memory and programs. Reads only plain files, bounded: a pipe, a device or an endless
file cannot hold us."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.adapters import local_exec, machine
from agent.adapters.machine import DiskFacts, FileFacts, MachineFacts
from agent.errors import OutsideError

_CHUNK = 1_048_576
_NOWHERE = (FileNotFoundError, NotADirectoryError)


class LocalMachine:
    """`machine.Machine` by the kernel's own calls."""

    patience = timedelta(0)

    def run(self, argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        """Return exit code and output of one program; past `timeout` all of it is killed. Raises OutsideError."""
        return local_exec.run(argv, timeout=timeout, limit=limit)

    def facts(self, path: str) -> FileFacts | None:
        """Return what a path leads to, None where it leads nowhere. Raises OutsideError."""
        machine.absolute(path)
        try:
            return _facts(os.stat(path))  # noqa: PTH116 (a text, no Path)
        except _NOWHERE:
            return None
        except OSError as exc:
            raise _error(f"cannot read {path!r}", exc) from exc

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return at most `limit` bytes of a plain file, None where there is none. Raises OutsideError."""
        with self._opened(path) as descriptor:
            if descriptor is None:
                return None
            content = bytearray()
            while len(content) < limit and (chunk := os.read(descriptor, min(_CHUNK, limit - len(content)))):
                content += chunk
            return bytes(content)

    def digest(self, path: str, *, most: int) -> str | None:
        """Return the sha256 of a plain file in hex, None where there is none. Raises OutsideError."""
        with self._opened(path) as descriptor:
            if descriptor is None:
                return None
            digest, size = hashlib.sha256(), 0
            while chunk := os.read(descriptor, _CHUNK):
                size += len(chunk)
                if size > most:
                    raise OutsideError(f"cannot read {path!r}: it is larger than {most} bytes", transient=False)
                digest.update(chunk)
            return digest.hexdigest()

    def disk(self, path: str) -> DiskFacts | None:
        """Return the state of the file system under a path, None where it leads nowhere. Raises OutsideError."""
        machine.absolute(path)
        try:
            found = os.statvfs(path)
        except _NOWHERE:
            return None
        except OSError as exc:
            raise _error(f"cannot look at the disk of {path!r}", exc) from exc
        return DiskFacts(
            blocks=found.f_blocks,
            free=found.f_bfree,
            available=found.f_bavail,
            inodes=found.f_files,
            inodes_free=found.f_ffree,
        )

    def measure(self, disks: tuple[str, ...]) -> MachineFacts:
        """Return memory, load, CPUs, clock and disks. Raises OutsideError."""
        measured = tuple(self.disk(path) for path in disks)
        try:
            meminfo = Path("/proc/meminfo").read_text("ascii")
            return MachineFacts(
                meminfo=meminfo, load=os.getloadavg()[1], cpus=os.cpu_count() or 1, ahead=timedelta(0), disks=measured
            )
        except OSError as exc:
            raise _error("cannot measure this machine", exc) from exc

    def runs(self, title: str) -> bool:
        """Say whether a process of this machine begins its command line so."""
        return local_exec.runs(title)

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int | None]:
        """Open a plain file for reading. A link is followed (configurations are often linked), what it leads to must be plain."""
        machine.absolute(path)
        descriptor = None
        try:
            # Without O_NONBLOCK, opening a pipe waits for its writer.
            with contextlib.suppress(*_NOWHERE):
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            if descriptor is not None:
                machine.plain(path, _facts(os.fstat(descriptor)))
            yield descriptor
        except OSError as exc:
            raise _error(f"cannot read {path!r}", exc) from exc
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _facts(found: os.stat_result) -> FileFacts:
    return FileFacts(
        plain=stat.S_ISREG(found.st_mode),
        size=found.st_size,
        mode=stat.S_IMODE(found.st_mode),
        written=datetime.fromtimestamp(found.st_mtime, UTC),
    )


def _error(doing: str, exc: OSError) -> OutsideError:
    return OutsideError(f"{doing} on this machine: {exc.strerror or exc}", transient=not isinstance(exc, PermissionError))
