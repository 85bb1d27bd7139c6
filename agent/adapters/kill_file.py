"""The kill switch: the file `state_dir/halt`, so that stopping Medic needs neither the store nor the daemon.

`halt` writes it, `resume` takes it away, and `touch halt` by hand works as well. What cannot be read counts as halted.
"""

import json
import stat
from pathlib import Path

from agent.adapters import state_folder
from agent.errors import StoreError

_LONGEST = 500
"""Characters of a halt file shown at most; a person may have written anything into it."""


class KillFile:
    """`ports.KillSwitch` on the local disk and one value from the environment."""

    def __init__(self, state_dir: Path, *, environment: str | None) -> None:
        """environment: the value of MEDIC_HALT when Medic started; anything but empty or `0` halts it until it is started anew."""
        self._path = state_dir / "halt"
        self._environment = environment.strip() if environment else ""

    def halted(self) -> str | None:
        """Return who halted and why, or None. One `stat` while nobody did."""
        if self._environment not in ("", "0"):
            return f"MEDIC_HALT={self._environment[:_LONGEST]} in the environment"
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            return None
        except OSError as exc:
            return f"the halt file {str(self._path)!r} cannot be looked for: {exc.strerror or exc}"
        return self._sentence() if stat.S_ISREG(mode) else f"the halt file {str(self._path)!r} is no plain file"

    def halt(self, by: str, why: str) -> None:
        """Write the halt file in one step. Raises StoreError."""
        state_folder.write(self._path, json.dumps({"by": by, "why": why}).encode() + b"\n")

    def resume(self) -> bool:
        """Take the halt file away; return whether there was one. MEDIC_HALT stays as it is. Raises StoreError."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise StoreError(f"cannot remove {str(self._path)!r}: {exc.strerror or exc}", transient=True) from exc
        return True

    def _sentence(self) -> str:
        try:
            with self._path.open("rb") as file:
                text = file.read(4 * _LONGEST).decode(errors="replace").strip()
        except OSError as exc:
            return f"the halt file {str(self._path)!r} cannot be read: {exc.strerror or exc}"
        try:
            said = json.loads(text)
            sentence = f"{said['by']}: {said['why']}"
        except (ValueError, KeyError, TypeError):
            sentence = f"the halt file {str(self._path)!r}: {text or 'no reason given'}"
        return " ".join(sentence.split())[:_LONGEST]
