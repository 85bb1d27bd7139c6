"""The lock that lets one daemon own a state folder: flock on `state_dir/watch.lock`.

The kernel lets go of it when its holder dies, however it dies.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from agent.adapters import state_folder
from agent.errors import OutsideError, StoreError


class WatchLock:
    """The one daemon of a state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "watch.lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Own the state folder. Raises OutsideError (not transient) naming the process that owns it already, StoreError."""
        with _opened(self._path) as descriptor:
            if not _take(descriptor, self._path):
                raise OutsideError(
                    f"cannot own the state folder {str(self._path.parent)!r}: {_holder(self._path)} owns it", transient=False
                )
            yield

    def owner(self) -> int | None:
        """Return the pid of the process that owns the state folder now, None when nobody does. Raises StoreError."""
        if not self._path.exists():
            return None
        with _opened(self._path) as descriptor:
            return None if _take(descriptor, self._path, write_pid=False) else _pid(self._path)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a lock file, made if missing. The file stays: removing it would let two processes lock two files of one name."""
    state_folder.private_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreError(f"cannot open the lock {str(path)!r}: {exc.strerror or exc}", transient=True) from exc
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # the flock goes with it


def _take(descriptor: int, path: Path, *, write_pid: bool = True) -> bool:
    """Try the lock once; return whether it is ours now. The pid inside is for people: the kernel's lock is what counts."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if write_pid:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as exc:
        if exc.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise StoreError(f"cannot lock {str(path)!r}: {exc.strerror or exc}", transient=True) from exc
    return True


def _holder(path: Path) -> str:
    pid = _pid(path)
    return f"another Medic (pid {pid})" if pid is not None else "another Medic"


def _pid(path: Path) -> int | None:
    try:
        text = path.read_text(errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None
