"""A program that is ended on its own host, whatever becomes of the way there: the words that do it, and what its exit code means."""

import shlex
import time
from datetime import timedelta

from agent.errors import HungError, OutsideError

KILL_AFTER = 0.3
"""Seconds that a program has between SIGTERM and SIGKILL."""
TIMED_OUT = (124, 137)
"""Exit codes of `timeout`, by SIGTERM and by SIGKILL. Source: GNU coreutils 9.1, timeout."""
NOT_STARTED = (126, 127)
"""Exit codes of `env` and `timeout` for a program that cannot be run or is not there."""
QUIET = timedelta(minutes=5)
"""What did not end in time on another machine may be left there, and from here nobody can see whether it is."""
LONGEST = 200
"""Characters of what others say that are kept in a sentence."""


def words(argv: tuple[str, ...], seconds: float) -> str:
    """Return the words for a shell that run `argv` for so many seconds at most, in a plain locale."""
    return f"env LC_ALL=C timeout -k {KILL_AFTER:g} {seconds:.3f} {shlex.join(argv)}"


def checked(doing: str, code: int, output: bytes, span: float) -> tuple[int, bytes]:
    """Return code and output of a program that ran to its end. Raises HungError where it did not end, OutsideError where it
    never began."""
    if code in TIMED_OUT:
        raise hung(f"{doing}: it did not end within {span:g} s")
    if code in NOT_STARTED:
        raise OutsideError(f"{doing}: {text(output)}", transient=False)
    return code, output


def hung(sentence: str) -> HungError:
    """Return the error for what was silent past its time: it counts as left for `QUIET`."""
    until = time.monotonic() + QUIET.total_seconds()
    return HungError(sentence, left=lambda: time.monotonic() < until)


def text(said: bytes | bytearray) -> str:
    """Return what a program said as a part of a sentence."""
    return " ".join(said.decode("utf-8", errors="replace").split())[:LONGEST] or "it says nothing"
