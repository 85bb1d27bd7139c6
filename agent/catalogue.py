"""The runbooks as they stand on disk: read again when a file changes, and compared once more right before one is carried out.

In: the folders of runbooks and of Ansible. Out: the catalogue that decisions are made from, and why a plan is no longer what
would run. An edit that cannot be read leaves the last good catalogue in force, and is told in the log once.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from agent import runbook_file
from agent.errors import ConfigError
from agent.model import Plan, Runbook

logger = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int, int], ...]
"""(path, inode, size, time of change in ns) of every file. A file's change time cannot be set back, unlike the time it tells."""


class RunbookFiles:
    """`ports.Catalogue` over files. Safe to share between threads."""

    def __init__(self, folder: Path, playbooks: Path) -> None:
        """Read the catalogue. Raises ConfigError: what a daemon starts with must be whole."""
        self._folder, self._playbooks = folder, playbooks
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._runbooks = runbook_file.load_runbooks(folder, playbooks)

    def runbooks(self) -> tuple[Runbook, ...]:
        """Return the last good catalogue, read afresh where a file has changed since."""
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._read()
            return self._runbooks

    def changed(self, plan: Plan) -> str | None:
        """Return why what would run is not what the plan was made of, from the bytes on disk now; None where it is."""
        folder = self._folder / plan.runbook
        try:
            now = runbook_file.hash_of(folder, self._playbooks / plan.playbook if plan.playbook else None)
        except ConfigError as exc:
            return f"{plan.runbook} is not what it was when it was chosen: {exc}"
        return None if now == plan.runbook_hash else f"{plan.runbook} is not what it was when it was chosen"

    def _read(self) -> None:
        try:
            self._runbooks = runbook_file.load_runbooks(self._folder, self._playbooks)
        except ConfigError as exc:
            # Once for each edit: the stamp of the broken files is remembered.
            logger.error("an edited runbook cannot be read; the ones before it stay in force", extra={"cause": str(exc)})
            return
        logger.info("the runbooks were read again", extra={"runbooks": len(self._runbooks)})

    def _look(self) -> Stamp:
        return tuple(stamp for root in (self._folder, self._playbooks.parent) for stamp in _stamps(str(root)))


def _stamps(folder: str) -> Iterator[tuple[str, int, int, int]]:
    """Yield the stamp of every file below a folder. Asked every few seconds for as long as Medic runs, so by the cheapest call."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:  # what went away just now is another stamp next time
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _stamps(entry.path)
            elif entry.is_file():
                stat = entry.stat()
                yield entry.path, stat.st_ino, stat.st_size, stat.st_ctime_ns
