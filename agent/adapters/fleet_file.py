"""The file in the state folder that holds the last snapshot of the fleet, and the known_hosts file made of it."""

import os
from pathlib import Path

from agent import fleet
from agent.adapters import state_folder
from agent.errors import OutsideError
from agent.fleet import Snapshot


def keep(state_dir: Path, snapshot: Snapshot) -> None:
    """Write both files, each whole or not at all. Raises OutsideError."""
    folder = state_dir / fleet.FOLDER
    try:
        state_folder.private_folder(state_dir)
        folder.mkdir(mode=0o700, exist_ok=True)
        # The keys first: a host that is known must have one.
        _write(folder / fleet.KNOWN_HOSTS, fleet.known_hosts(snapshot))
        _write(folder / fleet.FILE, fleet.text(snapshot))
    except OSError as exc:
        raise OutsideError(f"cannot keep the inventory in {folder}: {exc.strerror or exc}", transient=True) from exc


def _write(path: Path, content: str) -> None:
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        part.chmod(0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
