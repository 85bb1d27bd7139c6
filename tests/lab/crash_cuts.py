"""`medic watch` that is cut at a chosen moment: `python -m tests.lab.crash_cuts FOLDER --config FILE watch`.

The agent is the real one; only the engine's `step` and `sleep` are wrapped, from out here. Each tells in `FOLDER/notes` when a
step begins and ends. When `FOLDER/arm` names a step and a moment of it, the process sends itself the signal named there, at
exactly that moment: of several daemons, the first that gets there.

    before   the engine asks for the step, nothing of it is done: the boundary
    inside   in the middle of its work: at the n-th call of a function of the agent's
    after    its work is done, and the engine has not remembered it yet
"""

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from agent import engine as engines

T = TypeVar("T")

MOMENTS = ("before", "inside", "after")
SIGNALS = ("KILL", "TERM", "STOP")


@dataclass(frozen=True)
class Arm:
    """Where to cut, and how."""

    step: str
    moment: str
    signal: str
    at: float
    """Of `inside`: how far into the step, from 0 to 1."""
    calls: int
    """Of `inside`: how many calls the step made the last time."""

    def write(self, folder: Path) -> None:
        fresh = folder / "arm.new"
        fresh.write_text(json.dumps(vars(self)))
        fresh.replace(folder / "arm")


def word(name: str) -> str:
    """Return the step without its number: `apply 2` -> `apply`."""
    return name.rstrip(" 0123456789")


class Cuts:
    """Reads the arm, writes the notes, strikes."""

    def __init__(self, folder: Path) -> None:
        self._arm = folder / "arm"
        self._notes = os.open(folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, **words: object) -> None:
        os.write(self._notes, json.dumps({"pid": os.getpid(), **words}).encode() + b"\n")

    def armed(self, step: str) -> Arm | None:
        """Return the arm if it is about this step."""
        with contextlib.suppress(OSError, ValueError):
            arm = Arm(**json.loads(self._arm.read_text()))
            return arm if arm.step == step else None
        return None

    def strike(self, arm: Arm) -> None:
        """Send the signal to this process, once per arm, and not for one that was taken back since a step read it."""
        with contextlib.suppress(FileNotFoundError):
            if self.armed(arm.step) != arm:
                return
            self._arm.unlink()
            self.note(cut=arm.step, moment=arm.moment, signal=arm.signal)
            os.kill(os.getpid(), getattr(signal, f"SIG{arm.signal}"))

    def around(self, name: str, call: Callable[[], T]) -> T:
        """Do the work of one step, cut where it is armed."""
        step = word(name)
        arm = self.armed(step)
        self.note(begins=step)
        if arm is not None and arm.moment == "before":
            self.strike(arm)
        made = 0

        def count(frame: Any, event: str, _argument: object) -> None:
            nonlocal made
            if event == "call" and frame.f_globals.get("__name__", "").startswith("agent."):
                made += 1
                if arm is not None and arm.moment == "inside" and made == max(1, round(arm.at * arm.calls)):
                    self.strike(arm)

        sys.setprofile(count)
        try:
            value = call()
        finally:
            sys.setprofile(None)
        if arm is not None and arm.moment == "after":
            self.strike(arm)
        self.note(ends=step, calls=made)
        return value


def cut_engine(cuts: Cuts) -> type[engines.DbosEngine]:
    class CutEngine(engines.DbosEngine):
        def step(self, name: str, call: Callable[[], T]) -> T:
            return super().step(name, lambda: cuts.around(name, call) if word(name) != "settle" else call())

        def sleep(self, name: str, span: timedelta) -> None:
            arm = cuts.armed(word(name))
            cuts.note(begins=word(name))
            timer = None
            if arm is not None and arm.moment == "before":
                cuts.strike(arm)
            if arm is not None and arm.moment == "inside":
                timer = threading.Timer(arm.at * span.total_seconds(), cuts.strike, (arm,))
                timer.start()
            super().sleep(name, span)
            if timer is not None:
                timer.cancel()
            if arm is not None and arm.moment == "after":
                cuts.strike(arm)
            cuts.note(ends=word(name), calls=0)

    return CutEngine


def main() -> None:
    folder, *words = sys.argv[1:]
    cuts = Cuts(Path(folder))
    cuts.note(starts=time.time())
    faulthandler.register(signal.SIGUSR1)  # where each thread is, into the log
    engines.DbosEngine = cut_engine(cuts)  # type: ignore[misc]  # what wiring builds, once, when it builds it
    sys.argv = ["medic", *words]
    from agent.cli import main as cli

    cli.run()


if __name__ == "__main__":
    main()
