"""Durable, private files below Medic's state folder: what bundles, good copies, locks and the halt file rest on.

Folders are 0700 and files 0600: evidence holds logs, and logs hold what they should not. A write is whole or not there:
temporary file, fsync, rename, fsync of the folder.
"""

import contextlib
import os
import re
import socket
import tempfile
import uuid
from pathlib import Path

from agent.errors import StoreError

FOLDER_MODE = 0o700
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
"""One path segment. It starts with no dot and holds no separator, so it cannot leave its folder or name our temporary files."""


def segment(name: str) -> str:
    """Return `name` if it is safe as one path segment. Raises StoreError otherwise."""
    if _NAME.fullmatch(name) is None:
        raise StoreError(f"cannot use {name[:128]!r} as a file name: letters, digits, '.', '_' and '-' only", transient=False)
    return name


def private_folder(path: Path) -> Path:
    """Make a folder and its missing parents, each 0700; return it. Raises StoreError."""
    try:
        for folder in (*reversed(path.parents), path):
            if not folder.is_dir():
                folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
                _sync_folder(folder.parent)
    except OSError as exc:
        raise StoreError(f"cannot make folder {str(path)!r}: {exc.strerror or exc}", transient=True) from exc
    return path


def place(state_dir: Path) -> str:
    """Return a name of this state folder that no other has, here or on another machine. Raises StoreError."""
    marker = state_dir / "place"
    name = read(marker)
    if not name:
        name = uuid.uuid4().hex.encode()
        write(marker, name)
    # The host as well: a folder that was copied along with its machine is another place.
    return f"{socket.gethostname()}/{name.decode(errors='replace').strip()}"


def write(path: Path, content: bytes) -> None:
    """Write a file durably, replacing the older one in one step, mode 0600. Raises StoreError, leaving the older one whole."""
    private_folder(path.parent)
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)  # mkstemp makes it 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as exc:
        raise StoreError(f"cannot write {str(path)!r}: {exc.strerror or exc}", transient=True) from exc
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def read(path: Path) -> bytes | None:
    """Return a file of ours, None when there is none. Raises StoreError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise StoreError(f"cannot read {str(path)!r}: {exc.strerror or exc}", transient=True) from exc


def _sync_folder(path: Path) -> None:
    """Make renames and new names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
