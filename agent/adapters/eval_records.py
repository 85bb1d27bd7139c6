"""What evaluations showed, one small file per bundle under `state_dir/evals`: a bundle that was never measured only suggests."""

import json
from datetime import datetime
from pathlib import Path

from agent.adapters import state_folder
from agent.errors import StoreError

FORMAT = 1


class EvalRecords:
    """The records of one state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "evals"

    def keep(self, bundle: str, *, passed: bool, figures: dict[str, float | int | str], now: datetime) -> None:
        """Write what an evaluation of this bundle showed; the latest one counts. Raises StoreError."""
        record = {"format": FORMAT, "bundle": bundle, "at": now.isoformat(), "passed": passed, "figures": figures}
        state_folder.private_folder(self._folder)
        state_folder.write(self._path(bundle), json.dumps(record, indent=1).encode())

    def passed(self, bundle: str) -> bool:
        """Say whether the latest evaluation of this bundle passed. A record that cannot be read is none."""
        try:
            content = state_folder.read(self._path(bundle))
            record = json.loads(content) if content is not None else {}
        except (StoreError, ValueError):
            return False
        return isinstance(record, dict) and record.get("bundle") == bundle and record.get("passed") is True

    def _path(self, bundle: str) -> Path:
        return self._folder / f"{state_folder.segment(bundle)}.json"
