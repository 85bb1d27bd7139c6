"""The prober: takes a mixed batch of questions apart by kind, asks every kind at once, and puts the answers together.

Docker answers come over threads, one per question, so that a host that hangs costs its own answers and nothing else.
"""

import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from agent import ports
from agent.adapters import at_once, http_probe, nginx_probe, tcp_probe
from agent.errors import OutsideError
from agent.model import (
    Blind,
    ContainersRequest,
    ContainersSeen,
    HostName,
    HttpRequest,
    NginxRequest,
    Observation,
    ProbeRequest,
    TcpRequest,
)

MARGIN = timedelta(seconds=0.2)
"""The batches of HTTP and TCP end this much before the whole does, so that their answers are not lost at the line."""

STUCK_QUESTIONS = 4
"""Questions to one host that hang past their deadline. With so many no more is asked of it: threads would pile up."""

Answers = Iterable[tuple[ProbeRequest, Observation]]


class Docker(ports.Containers, nginx_probe.Exec, Protocol):
    """What the prober needs of Docker: to list containers, and to run `nginx -T` inside one."""


class BatchProber:
    """`ports.Prober` on the real world."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self._lock = threading.Lock()
        self._running: dict[object, tuple[HostName, float]] = {}
        """Docker questions under way: their host, and when their caller stops waiting."""

    def ask(self, requests: Sequence[ProbeRequest], deadline: timedelta) -> Mapping[ProbeRequest, Observation]:
        """Answer all `requests` within `deadline`; equal requests are asked once. Never raises for what is outside."""
        asked = dict.fromkeys(requests)
        inner = max(deadline - MARGIN, deadline / 2)
        http = [request for request in asked if isinstance(request, HttpRequest)]
        tcp = [request for request in asked if isinstance(request, TcpRequest)]
        calls: dict[object, Callable[[], Answers]] = {}
        if http:
            calls["http"] = lambda: http_probe.probe(http, inner).items()
        if tcp:
            calls["tcp"] = lambda: tcp_probe.probe(tcp, inner).items()
        until = time.monotonic() + deadline.total_seconds()
        for request in asked:
            if isinstance(request, ContainersRequest | NginxRequest):
                calls[request] = functools.partial(self._ask_docker, request, inner, until)
        answers: dict[ProbeRequest, Observation] = {}
        for part in at_once.call_all(calls, deadline).values():
            answers.update(part)
        late = Blind(why=f"no answer within {deadline.total_seconds():g} s")
        return {request: answers.get(request, late) for request in asked}

    def _ask_docker(self, request: ContainersRequest | NginxRequest, deadline: timedelta, until: float) -> Answers:
        question = object()
        now = time.monotonic()
        with self._lock:
            stuck = sum(host == request.host and waited_until < now for host, waited_until in self._running.values())
            if stuck >= STUCK_QUESTIONS:
                return [(request, Blind(why=f"{stuck} earlier questions to host {request.host!r} still hang"))]
            self._running[question] = (request.host, until)
        try:
            return [(request, self._seen(request, deadline))]
        finally:
            with self._lock:
                del self._running[question]

    def _seen(self, request: ContainersRequest | NginxRequest, deadline: timedelta) -> Observation:
        match request:
            case ContainersRequest(host=host):
                try:
                    return ContainersSeen(containers=self._docker.list(host))
                except OutsideError as exc:
                    return Blind(why=str(exc))
            case NginxRequest():
                return nginx_probe.probe(self._docker, request, deadline)
