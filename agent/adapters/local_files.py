"""Configuration files on this very machine. Reads only plain files, bounded: a pipe, a device or an endless file cannot hold us."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from agent.errors import OutsideError
from agent.model import Host, HostName

MOST = 67_108_864
"""Bytes of a file whose digest we take: no configuration is larger."""
_CHUNK = 1_048_576


class LocalFiles:
    """`ports.HostFiles` for hosts whose engine answers on a local socket: their files are ours."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._local = frozenset(host.name for host in hosts if host.docker.startswith("unix://"))

    def digest(self, host: HostName, path: str) -> str | None:
        """Return the sha256 of a file in hex, None when there is none. Raises OutsideError, also for more than `MOST` bytes."""
        with self._opened(host, path) as descriptor:
            if descriptor is None:
                return None
            digest, size = hashlib.sha256(), 0
            while chunk := os.read(descriptor, _CHUNK):
                size += len(chunk)
                if size > MOST:
                    raise OutsideError(
                        f"cannot read {path!r} on host {host!r}: it is larger than {MOST} bytes", transient=False
                    )
                digest.update(chunk)
            return digest.hexdigest()

    def read(self, host: HostName, path: str, *, limit: int) -> bytes | None:
        """Return at most `limit` bytes of a file, None when there is none. Raises OutsideError."""
        with self._opened(host, path) as descriptor:
            if descriptor is None:
                return None
            content = bytearray()
            while len(content) < limit and (chunk := os.read(descriptor, min(_CHUNK, limit - len(content)))):
                content += chunk
            return bytes(content)

    def size(self, host: HostName, path: str) -> int | None:
        """Return the bytes of a file, None when there is none. Raises OutsideError."""
        with self._opened(host, path) as descriptor:
            return None if descriptor is None else os.fstat(descriptor).st_size

    def usage(self, host: HostName, path: str) -> tuple[float, float] | None:
        """Return the used shares of space and of inodes, None when the path is not there. Raises OutsideError."""
        self._refuse(host, path)
        try:
            disk = os.statvfs(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise OutsideError(f"cannot look at the disk of {path!r} on host {host!r}: {exc.strerror}", transient=True) from exc
        used = disk.f_blocks - disk.f_bfree
        inodes = (disk.f_files - disk.f_ffree) / disk.f_files if disk.f_files else 0.0
        # As df does: what root keeps for itself is not there for others.
        return used / (used + disk.f_bavail) if used + disk.f_bavail else 1.0, inodes

    def modified(self, host: HostName, path: str) -> datetime | None:
        """Return when a file was last written, None when there is none. Raises OutsideError."""
        with self._opened(host, path) as descriptor:
            return None if descriptor is None else datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC)

    def _refuse(self, host: HostName, path: str) -> None:
        if host not in self._local:
            raise OutsideError(
                f"cannot read {path!r} on host {host!r}: only files of this machine can be read", transient=False
            )
        if not Path(path).is_absolute() or "\0" in path:
            raise OutsideError(f"cannot read {path!r}: not an absolute path", transient=False)

    @contextlib.contextmanager
    def _opened(self, host: HostName, path: str) -> Iterator[int | None]:
        """Open a plain file for reading. A link is followed (configurations are often linked), what it leads to must be plain."""
        self._refuse(host, path)
        descriptor = None
        try:
            # Without O_NONBLOCK, opening a pipe waits for its writer.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
            if descriptor is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OutsideError(f"cannot read {path!r}: not a plain file", transient=False)
            yield descriptor
        except OSError as exc:
            transient = not isinstance(exc, PermissionError)
            raise OutsideError(f"cannot read {path!r} on host {host!r}: {exc.strerror or exc}", transient=transient) from exc
        finally:
            if descriptor is not None:
                os.close(descriptor)
