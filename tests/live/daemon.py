"""A real `medic watch` as a process of its own, and commands beside it, on one folder with a medic.yaml."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from agent.cli.main import run; run()"]


def variables(folder: Path) -> dict[str, str]:
    """The environment of a Medic whose state lies under `folder`."""
    ours = {"MEDIC_STATE_DIR": str(folder / "state"), "PYTHONPATH": str(ROOT)}
    return {**{key: value for key, value in os.environ.items() if not key.startswith("MEDIC_")}, **ours}


def medic(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    """Run one command to its end."""
    return subprocess.run([*COMMAND, *words], cwd=folder, env=variables(folder), capture_output=True, timeout=60, check=False)


@contextmanager
def watching(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run the daemon, all it says in `watch.log`; it is ended and waited for, however it was left."""
    with (folder / "watch.log").open("wb") as log:
        words = ["--verbose", "watch", "--json"]
        daemon = subprocess.Popen([*COMMAND, *words], cwd=folder, env=variables(folder), stdout=log, stderr=log)
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                daemon.terminate()
                try:
                    daemon.wait(40)
                except subprocess.TimeoutExpired:
                    daemon.kill()
            daemon.wait()


def wait_until(is_so: Callable[[], bool], within: float, what: str) -> None:
    """Wait for something outside. Fails with `what` when it does not come."""
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.2)
