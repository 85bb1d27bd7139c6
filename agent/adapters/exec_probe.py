"""The probe that runs a program inside a container. Observes, does not judge."""

from datetime import timedelta

from agent.adapters.nginx_probe import Exec
from agent.errors import OutsideError
from agent.model import Blind, ExecRequest, ExecSeen

OUTPUT_LIMIT = 65_536
"""Bytes of output that are kept."""


def probe(engine: Exec, request: ExecRequest, deadline: timedelta) -> ExecSeen | Blind:
    """Return how the program ended, or why it could not be run. Never raises for what is outside.

    deadline: of the batch. The program has its own bound inside the container; starting it and hearing of its end come on top.
    """
    try:
        code, output = engine.exec(request.host, request.container, request.argv, timeout=deadline, limit=OUTPUT_LIMIT)
    except OutsideError as exc:
        return Blind(why=str(exc))
    return ExecSeen(exit_code=code, output=output.decode("utf-8", errors="replace"))
