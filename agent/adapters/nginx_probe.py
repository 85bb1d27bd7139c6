"""The nginx probe: `nginx -T` inside one container or on a host, read into an observation. Observes, does not judge."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from agent.adapters import nginx_dump
from agent.adapters.machine import MachineOf
from agent.errors import OutsideError
from agent.model import Blind, HostName, NginxRequest, NginxSeen

ARGV = ("nginx", "-q", "-T")
"""Test and dump the configuration; `-q` keeps the sentences of success out of the dump. Changes nothing."""

OUTPUT_LIMIT = 4 * 1024 * 1024
"""Bytes of configuration that are read. A longer one is not judged by half."""

_REFUSAL = re.compile(r"^(?:nginx: |\d{4}/.*?)\[emerg\] (?:\d+#\d+: )?(?P<sentence>.+)$", re.MULTILINE)
"""`nginx: [emerg] ...` on stderr; `2026/11/21 00:31:03 [emerg] 15#15: ...` where the log is a link to stderr, as in most images."""

_NOT_ALLOWED = "(13: Permission denied)"
"""How nginx ends where we may not read what it may: on a host, as anybody but root. Says nothing of the configuration."""

MASTER = "nginx: master process"
"""How nginx names its first process. Source: nginx, src/os/unix/ngx_process_cycle.c."""

_MESSAGE_LIMIT = 500


class Exec(Protocol):
    """Runs one program inside a container. Provided by the Docker adapter."""

    def exec(
        self, host: HostName, container: str, argv: tuple[str, ...], *, timeout: timedelta, limit: int
    ) -> tuple[int, bytes]:
        """Return the exit code and the first `limit` bytes of output. Raises OutsideError."""


def probe(engine: Exec, request: NginxRequest, deadline: timedelta, machine_of: MachineOf) -> NginxSeen | Blind:
    """Return what nginx routes, that it refuses its configuration, or why we cannot tell. Never raises for what is outside."""
    where = f"host {request.host}" if request.container is None else f"container {request.container}"
    try:
        if request.container is None:
            machine = machine_of(request.host)
            code, output = machine.run(ARGV, timeout=deadline, limit=OUTPUT_LIMIT)
            seen = _read(code, output, where)
            return replace(seen, running=machine.runs(MASTER)) if isinstance(seen, NginxSeen) else seen
        code, output = engine.exec(request.host, request.container, ARGV, timeout=deadline, limit=OUTPUT_LIMIT)
    except OutsideError as exc:
        return Blind(why=str(exc))
    return _read(code, output, where)


def _read(code: int, output: bytes, where: str) -> NginxSeen | Blind:
    if len(output) >= OUTPUT_LIMIT:
        return Blind(why=f"the nginx configuration on {where} is longer than {OUTPUT_LIMIT} bytes")
    text = output.decode("utf-8", errors="replace")
    if code == 0:
        try:
            return NginxSeen(valid=True, routes=nginx_dump.routes(text))
        except ValueError as exc:
            return Blind(why=f"{where}: {exc}")
    refusal = _REFUSAL.search(text)
    if refusal is None or _NOT_ALLOWED in refusal["sentence"]:
        # No such program (126, 127), killed (137), not allowed: this says nothing of the configuration.
        first = text.strip().splitlines()[0][:_MESSAGE_LIMIT] if text.strip() else "no output"
        return Blind(why=f"cannot run nginx -T on {where}: exit code {code}, {first}")
    return NginxSeen(valid=False, message=refusal["sentence"][:_MESSAGE_LIMIT])
