"""The files of each incident (evidence, reports, Ansible output) below `state_dir/incidents/<incident id>/`."""

from pathlib import Path

from agent.adapters import state_folder
from agent.errors import StoreError
from agent.model import IncidentId


class BundleFiles:
    """`ports.EvidenceFiles` on the local disk."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "incidents"

    def keep(self, incident: IncidentId, name: str, content: bytes) -> str:
        """Write one file durably; return its path relative to the incident's folder.

        name: a file name, or one folder and a file name (`attempt-1/stdout`). Raises StoreError for any other, and for a full disk.
        """
        path = self._path(incident, name)
        state_folder.write(path, content)
        return name

    def read(self, incident: IncidentId, name: str) -> bytes | None:
        """Return one file, None when there is none. Raises StoreError."""
        return state_folder.read(self._path(incident, name))

    def folder(self, incident: IncidentId) -> Path:
        """Return the incident's folder, made if it is not there. Raises StoreError."""
        return state_folder.private_folder(self._root / state_folder.segment(incident))

    def _path(self, incident: IncidentId, name: str) -> Path:
        parts = name.split("/")
        if len(parts) > 2:
            raise StoreError(f"cannot keep {name[:128]!r}: one folder and a file name at most", transient=False)
        return self._root.joinpath(state_folder.segment(incident), *map(state_folder.segment, parts))
