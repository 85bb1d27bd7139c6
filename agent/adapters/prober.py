"""The prober: takes a mixed batch of questions apart by kind, asks every kind at once, and puts the answers together.

HTTP and TCP go out as one batch each. Questions to one host are answered by a few threads of that host, so that a host that
hangs costs its own answers and nothing else, and so that no host has to run more than a few programs at once for us.
"""

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from agent import ports, xid_file
from agent.adapters import (
    at_once,
    certificate_probe,
    curl_probe,
    exec_probe,
    gpu_probe,
    http_probe,
    log_probe,
    machine_probe,
    nginx_probe,
    tcp_probe,
)
from agent.adapters.machine import MachineOf
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.adapters.windows import Windows
from agent.errors import HostKeyRefused, JumpHostLost, OutsideError
from agent.model import (
    Blind,
    CertificateRequest,
    ContainersRequest,
    ContainersSeen,
    ExecRequest,
    GpuRequest,
    HostName,
    HostRequest,
    HttpRequest,
    HttpSeen,
    LogRequest,
    MachineRequest,
    NginxRequest,
    Observation,
    ProbeRequest,
    TcpRequest,
)

MARGIN = timedelta(seconds=0.2)
"""The batches of HTTP and TCP end this much before the whole does, so that their answers are not lost at the line."""

STUCK_QUESTIONS = 4
"""Questions to one host that hang past their deadline. With so many no more is asked of it: threads would pile up."""

AT_ONCE = 8
"""Questions to one host under way at once: a program in a container costs its engine some 50 ms of CPU (`runc exec`)."""

NOWHERE = Ways(machines={}, engines={}, doors={})

Question = ContainersRequest | HostRequest | HttpRequest | TcpRequest


class Docker(ports.Containers, nginx_probe.Exec, Protocol):
    """What the prober needs of Docker: to list containers, and to run programs inside one."""


class BatchProber:
    """`ports.Prober` on the real world."""

    def __init__(self, docker: Docker, ways: Ways = NOWHERE) -> None:
        """ways: to the hosts whose files, memory and programs are looked at."""
        self._docker = docker
        self._ways = ways
        self._machine_of: MachineOf = ways.machine_of
        self._windows = Windows()
        self._gpus = gpu_probe.GpuProbe(ways.machine_of, catalogue=xid_file.load, clock=SystemClock())
        self._lock = threading.Lock()
        self._running: dict[object, tuple[HostName, float]] = {}
        """Questions to hosts that are under way: their host, and when their caller stops waiting."""

    def ask(self, requests: Sequence[ProbeRequest], deadline: timedelta) -> Mapping[ProbeRequest, Observation]:
        """Answer all `requests` within `deadline`; equal requests are asked once. Never raises for what is outside."""
        asked = dict.fromkeys(requests)
        inner = max(deadline - MARGIN, deadline / 2)
        until = time.monotonic() + deadline.total_seconds()
        http = [request for request in asked if isinstance(request, HttpRequest) and not self._is_far(request)]
        tcp = [request for request in asked if isinstance(request, TcpRequest) and not self._is_far(request)]
        answers: dict[ProbeRequest, Observation] = {}
        calls: dict[object, Callable[[], None]] = {}
        if http:
            calls["http"] = lambda: answers.update(self._ask_http(http, inner))
        if tcp:
            calls["tcp"] = lambda: answers.update(tcp_probe.probe(tcp, inner).items())
        for host, questions in self._by_host(asked).items():
            for number in range(min(AT_ONCE, len(questions))):
                calls[host, number] = functools.partial(self._work_off, host, questions, answers, inner, until)
        at_once.call_all(calls, deadline)
        late = Blind(why=f"no answer within {deadline.total_seconds():g} s")
        return {request: answers.get(request, late) for request in asked}

    def _ask_http(self, requests: Sequence[HttpRequest], deadline: timedelta) -> Mapping[ProbeRequest, Observation]:
        answers = http_probe.probe(requests, deadline)
        return {request: self._with_window(request, seen) for request, seen in answers.items()}

    def _with_window(self, request: ProbeRequest, seen: Observation) -> Observation:
        if isinstance(request, HttpRequest) and request.window is not None and isinstance(seen, HttpSeen):
            return self._windows.with_latencies(request, seen)
        return seen

    def _is_far(self, request: HttpRequest | TcpRequest) -> bool:
        return request.via is not None and request.via in self._ways.doors

    def _by_host(self, requests: Mapping[ProbeRequest, None]) -> "dict[HostName, deque[Question]]":
        """Return the questions to each host, the lists of containers first: everything rests on them."""
        found: dict[HostName, deque[Question]] = {}
        for request in requests:
            if isinstance(request, ContainersRequest):
                found.setdefault(request.host, deque()).appendleft(request)
            elif not isinstance(request, HttpRequest | TcpRequest):
                found.setdefault(request.host, deque()).append(request)
            elif request.via is not None and self._is_far(request):
                found.setdefault(request.via, deque()).append(request)
        return found

    def _work_off(
        self,
        host: HostName,
        questions: "deque[Question]",
        answers: dict[ProbeRequest, Observation],
        deadline: timedelta,
        until: float,
    ) -> None:
        """Answer questions to one host until none is left. Whoever hangs in one leaves the others to the other threads."""
        while time.monotonic() < until:
            try:
                request = questions.popleft()
            except IndexError:
                return
            answers[request] = self._with_window(request, self._ask_host(host, request, deadline, until))

    def _ask_host(self, host: HostName, request: Question, deadline: timedelta, until: float) -> Observation:
        question = object()
        now = time.monotonic()
        with self._lock:
            stuck = sum(asked == host and waited_until < now for asked, waited_until in self._running.values())
            if stuck >= STUCK_QUESTIONS:
                return Blind(why=f"{stuck} earlier questions to host {host!r} still hang")
            self._running[question] = (host, until)
        try:
            return self._seen(request, min(deadline, timedelta(seconds=until - now)))
        finally:
            with self._lock:
                del self._running[question]

    def _seen(self, request: Question, deadline: timedelta) -> Observation:
        match request:
            case ContainersRequest(host=host):
                began = time.monotonic()
                try:
                    containers = self._docker.list(host)
                except OutsideError as exc:
                    behind = HostName(exc.host) if isinstance(exc, JumpHostLost) else None
                    return Blind(why=str(exc), security=isinstance(exc, HostKeyRefused), behind=behind)
                return ContainersSeen(containers=containers, took=timedelta(seconds=time.monotonic() - began))
            case HttpRequest() | TcpRequest():
                return self._through(request, deadline)
            case ExecRequest():
                return exec_probe.probe(self._docker, request, deadline)
            case NginxRequest():
                return nginx_probe.probe(self._docker, request, deadline, self._machine_of)
            case LogRequest():
                return log_probe.probe(request, self._windows, self._machine_of)
            case MachineRequest():
                return machine_probe.probe(request, self._machine_of)
            case CertificateRequest():
                return certificate_probe.probe(request, self._machine_of)
            case GpuRequest():
                return self._gpus.probe(request, deadline)

    def _through(self, request: HttpRequest | TcpRequest, deadline: timedelta) -> Observation:
        """Ask what only another host can reach, over a connection that is made there."""
        assert request.via is not None  # noqa: S101 (it is far; for the type)
        connect = self._ways.doors[request.via]
        if connect is None:
            try:
                return curl_probe.observation(self._machine_of(request.via), request, deadline)
            except OutsideError as exc:
                return Blind(why=str(exc))
        within = min(request.timeout, deadline).total_seconds()
        try:
            if isinstance(request, HttpRequest):
                return http_probe.probe_over(request, lambda host, port: connect(host, port, within), deadline)
            return tcp_probe.probe_over(request, lambda host, port: connect(host, port, within))
        except OutsideError as exc:
            return Blind(why=str(exc))
