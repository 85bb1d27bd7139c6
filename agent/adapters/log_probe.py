"""The probe of Docker's log files: their sizes, without reading them. Observes, does not judge."""

from agent.adapters.machine import MachineOf
from agent.adapters.windows import Windows
from agent.errors import OutsideError
from agent.model import Blind, LogRequest, LogSeen

MOST_ROTATED = 100
"""Rotated files that are counted. Docker names them `<log>.1`, `<log>.2` and so on; `max-file` is seldom above 10."""


def probe(request: LogRequest, windows: Windows, machine_of: MachineOf) -> LogSeen | Blind:
    """Return how large the log is and how it grew, or why that cannot be told. Only its owner, root, may look."""
    try:
        machine = machine_of(request.host)
        newest = machine.facts(request.path)
        if newest is None:
            return Blind(why=f"there is no log file {request.path}")
        size = newest.size
        for number in range(1, MOST_ROTATED + 1):
            rotated = machine.facts(f"{request.path}.{number}")
            if rotated is None:
                break
            size += rotated.size
    except OutsideError as exc:
        return Blind(why=str(exc))
    return windows.with_growth(request, newest.size, size)
