"""What may go from the state folder: bundles, run folders and markers of incidents that are over and old, or too many bytes.

In: how long and how much is kept, and which incidents are not closed. Out: folders deleted, oldest first. The database, the
audit in it, good copies and whatever belongs to an unclosed incident are never touched.
"""

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.model import IncidentId

YOUNG = timedelta(hours=1)
"""Whatever was written to within it stays, cap or no cap: a dry run or a heal may be at work in there."""
_INCIDENT = re.compile(r"(I[0-9]{1,18})(?:-.+)?", re.ASCII)
_FOLDERS = ("incidents", "runs", "markers")


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    incident: IncidentId | None
    """None for a dry run, which belongs to none."""
    at: datetime
    """When something in it was last written."""
    size: int
    """Bytes of its files."""


class OldFiles:
    """The three folders of a state folder that grow with every incident."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir

    def prune(self, unclosed: Callable[[], Collection[IncidentId]], *, now: datetime, keep: timedelta, most_bytes: int) -> int:
        """Delete what is older than `keep`, then the oldest until at most `most_bytes` are left; return how many folders went.

        unclosed: asked after the folders were listed, so that an incident opened meanwhile is not among them. What cannot be
        read or deleted is left for the next time.
        """
        folders = sorted(self._listed(), key=lambda folder: folder.at)
        kept = set(unclosed())
        left = sum(folder.size for folder in folders)
        gone = 0
        for folder in folders:
            may_go = folder.incident not in kept and now - folder.at > YOUNG
            if may_go and (now - folder.at > keep or left > most_bytes):
                shutil.rmtree(folder.path, ignore_errors=True)
                if not folder.path.exists():
                    left -= folder.size
                    gone += 1
        return gone

    def size(self) -> int:
        """Return the bytes of all of them."""
        return sum(folder.size for folder in self._listed())

    def _listed(self) -> Iterator[_Folder]:
        for name in _FOLDERS:
            try:
                entries = list(os.scandir(self._state_dir / name))
            except OSError:
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    incident = _INCIDENT.fullmatch(entry.name)
                    at, size = _last_written(Path(entry.path))
                    yield _Folder(Path(entry.path), IncidentId(incident[1]) if incident else None, at, size)


def _last_written(folder: Path) -> tuple[datetime, int]:
    """Return the newest time and the bytes of all that is below; what goes away meanwhile counts as nothing."""
    newest, size = 0.0, 0
    for parent, _, files in os.walk(folder):
        for path in (Path(parent), *(Path(parent, name) for name in files)):
            try:
                found = path.lstat()
            except OSError:
                continue
            newest = max(newest, found.st_mtime)
            size += found.st_size if path.name in files else 0
    return datetime.fromtimestamp(newest, UTC), size
