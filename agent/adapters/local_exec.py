"""Runs one short program on this machine, bounded in time and output, and says whether a program runs. Changes nothing by itself."""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path

from agent.errors import HungError, OutsideError

KILLED_WITHIN = 1.0
"""Seconds after SIGKILL by which a process is gone that can be killed at all."""

_CHUNK = 65_536


def run(argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
    """Return the exit code and the first `limit` bytes of stdout and stderr. Past `timeout` all of it is killed.

    Raises OutsideError; HungError where it did not end in time. Never waits longer than `timeout` and a second. argv: fixed in the code that calls, never text from outside; it passes no shell.
    """
    end = time.monotonic() + timeout.total_seconds()
    doing = f"cannot run {' '.join(argv)!r} on this machine"
    try:
        program = subprocess.Popen(  # noqa: S603 (fixed words)
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as exc:
        raise OutsideError(f"{doing}: {exc.strerror or exc}", transient=False) from exc
    try:
        output = _output(program, end, limit)
        return program.wait(max(0.0, end - time.monotonic())), output
    except (TimeoutError, subprocess.TimeoutExpired) as exc:
        # Before anything reaps it: until then its number, which is that of its group, is nobody else's.
        _kill(program)
        raise HungError(
            f"{doing}: it did not end within {timeout.total_seconds():g} s", left=lambda: program.poll() is None
        ) from exc
    finally:
        if program.stdout is not None:
            program.stdout.close()


def _kill(program: "subprocess.Popen[bytes]") -> None:
    """Kill it with all that it started, and see it end, unless nothing can end it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(KILLED_WITHIN)


def _output(program: "subprocess.Popen[bytes]", end: float, limit: int) -> bytes:
    kept = bytearray()
    assert program.stdout is not None  # noqa: S101 (it is a pipe, as asked for; for the type)
    with selectors.DefaultSelector() as selector:
        selector.register(program.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, end - time.monotonic())):
                raise TimeoutError
            chunk = os.read(program.stdout.fileno(), _CHUNK)
            if not chunk:
                return bytes(kept)
            kept += chunk[: limit - len(kept)]
            if time.monotonic() >= end:
                raise TimeoutError


def runs(title: str) -> bool:
    """Say whether a process of this machine begins its command line so. Those inside containers are not of this machine."""
    own = Path("/proc/self/ns/pid").readlink()
    for entry in Path("/proc").iterdir():
        try:
            found = entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(title.encode())
            if found and (entry / "ns/pid").readlink() == own:
                return True
        except OSError:
            continue  # it has ended meanwhile, or is not ours to look at
    return False
