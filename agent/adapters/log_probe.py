"""The probe of Docker's log files: their sizes, without reading them. Observes, does not judge."""

import os

from agent.adapters.windows import Windows
from agent.model import Blind, LogRequest, LogSeen

MOST_ROTATED = 100
"""Rotated files that are counted. Docker names them `<log>.1`, `<log>.2` and so on; `max-file` is seldom above 10."""


def probe(request: LogRequest, windows: Windows) -> LogSeen | Blind:
    """Return how large the log is and how it grew, or why that cannot be told. Only its owner, root, may look."""
    try:
        newest = size = os.stat(request.path).st_size  # noqa: PTH116 (a text, no Path)
        for number in range(1, MOST_ROTATED + 1):
            size += os.stat(f"{request.path}.{number}").st_size  # noqa: PTH116
    except FileNotFoundError as exc:
        if exc.filename == request.path:
            return Blind(why=f"there is no log file {request.path}")
    except OSError as exc:
        return Blind(why=f"cannot measure {request.path}: {exc.strerror or exc}")
    return windows.with_growth(request, newest, size)
