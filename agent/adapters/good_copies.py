"""Configuration files as they were when their service was WELL, below `state_dir/good/<service>/<sha256>`."""

import contextlib
import re
from pathlib import Path

from agent.adapters import state_folder
from agent.errors import StoreError
from agent.model import ServiceName

_DIGEST = re.compile(r"[0-9a-f]{64}")


class GoodCopyFiles:
    """`ports.GoodCopies` on the local disk: one copy per service, named by its digest."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / "good"

    def keep(self, service: ServiceName, digest: str, content: bytes) -> None:
        """Keep one copy, then drop the older ones: a crash in between leaves two, never none.

        digest: sha256 of `content` in hex. Raises StoreError.
        """
        if _DIGEST.fullmatch(digest) is None:
            raise StoreError(f"cannot keep a good copy for {service!r}: {digest[:80]!r} is no sha256", transient=False)
        path = self._folder(service) / digest
        state_folder.write(path, content)
        for older in self._copies(service):
            if older != path:
                with contextlib.suppress(OSError):  # found and dropped by the next keep
                    older.unlink()

    def latest(self, service: ServiceName) -> tuple[str, Path] | None:
        """Return the digest and path of the kept copy. Raises StoreError."""
        try:
            newest = max(self._copies(service), key=lambda path: path.stat().st_mtime_ns, default=None)
        except OSError as exc:
            raise StoreError(f"cannot look for the good copy of {service!r}: {exc.strerror or exc}", transient=True) from exc
        return (newest.name, newest) if newest is not None else None

    def forget(self, service: ServiceName) -> None:
        """Delete every copy of one service. Raises StoreError."""
        try:
            for path in self._copies(service):
                path.unlink(missing_ok=True)
        except OSError as exc:
            raise StoreError(f"cannot forget the good copy of {service!r}: {exc.strerror or exc}", transient=True) from exc

    def _copies(self, service: ServiceName) -> list[Path]:
        folder = self._folder(service)
        return [path for path in folder.iterdir() if _DIGEST.fullmatch(path.name)] if folder.is_dir() else []

    def _folder(self, service: ServiceName) -> Path:
        return self._root / state_folder.segment(service)
