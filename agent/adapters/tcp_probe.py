"""The TCP probe: many connections opened at once without blocking, each closed as soon as it opens. Observes, does not judge."""

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent.adapters import names, own_limits
from agent.model import Blind, Observation, TcpRequest, TcpSeen

WINDOW = 1_024
"""Most connections being opened at once."""

LOOK_UP_SHARE = 0.3
"""The part of the batch's time that names may take."""

_THEIRS = {
    errno.ECONNREFUSED: "connection-refused",
    errno.ECONNRESET: "reset",
    errno.EHOSTUNREACH: "host-unreachable",
    errno.ETIMEDOUT: "timeout",
}


@dataclass(slots=True)
class _Opening:
    """One connection on its way: the addresses not tried yet, and when it began and must have ended."""

    request: TcpRequest
    port: int
    addresses: list[str]
    began: float
    ends: float


def probe_over(request: TcpRequest, connect: Callable[[str, int], socket.socket | str]) -> TcpSeen | Blind:
    """Answer one request by a connection that somebody else makes. Raises what `connect` raises.

    connect: gets host and port; returns a connected socket, or the word for what the target did instead (`TcpSeen.error`).
    """
    place = _place(request.address)
    if place is None:
        return Blind(why=f"cannot ask {request.address!r}: not host:port")
    began = time.monotonic()
    connected = connect(*place)
    latency = timedelta(seconds=time.monotonic() - began)
    if isinstance(connected, str):
        return TcpSeen(connected=False, latency=latency, error=connected)
    connected.close()
    return TcpSeen(connected=True, latency=latency)


def probe(requests: Sequence[TcpRequest], deadline: timedelta) -> dict[TcpRequest, Observation]:
    """Answer every request within `deadline`; equal requests are asked once. Raises nothing for what is outside."""
    end = time.monotonic() + deadline.total_seconds()
    asked = dict.fromkeys(requests)
    answers, ready = _prepare(asked, deadline)
    window = min(WINDOW, own_limits.files_left() - 1)
    if ready and window < 1:
        answers.update((request, Blind(why="we ran out of open files ourselves")) for request, _, _ in ready)
    elif ready:
        answers.update(_Batch(window).run(iter(ready), end))
    late = Blind(why=f"not answered within the {deadline.total_seconds():g} s of its batch")
    return {request: answers.get(request, late) for request in asked}


def _prepare(
    requests: dict[TcpRequest, None], deadline: timedelta
) -> tuple[dict[TcpRequest, Observation], list[tuple[TcpRequest, int, list[str]]]]:
    """Split the requests into those answered without a connection and those to open, with port and addresses."""
    places = {request: _place(request.address) for request in requests}
    hosts = [place[0] for place in places.values() if place is not None]
    addresses = names.look_up(hosts, deadline * LOOK_UP_SHARE)
    answers: dict[TcpRequest, Observation] = {}
    ready = []
    for request, place in places.items():
        if place is None:
            answers[request] = Blind(why=f"cannot ask {request.address!r}: not host:port")
            continue
        host, port = place
        match addresses[host]:
            case Blind() as blind:
                answers[request] = blind
            case ():
                answers[request] = TcpSeen(connected=False, latency=timedelta(0), error=f"dns: no such name {host!r}")
            case found:
                ready.append((request, port, list(found)))
    return answers, ready


def _place(address: str) -> tuple[str, int] | None:
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        return None
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Batch:
    """The connections under way, on one selector."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._answers: dict[TcpRequest, Observation] = {}
        self._open: dict[socket.socket, _Opening] = {}

    def run(self, waiting: Iterator[tuple[TcpRequest, int, list[str]]], end: float) -> dict[TcpRequest, Observation]:
        """Open until all are answered or the time is over; return the answers that came."""
        try:
            with selectors.DefaultSelector() as self._selector:
                self._fill(waiting)
                while self._open and time.monotonic() < end:
                    soonest = min(end, *(opening.ends for opening in self._open.values()))
                    for key, _ in self._selector.select(max(0.0, soonest - time.monotonic())):
                        assert isinstance(key.fileobj, socket.socket)  # noqa: S101 (only sockets are registered; for the type)
                        self._opened(key.fileobj)
                    self._give_up_late()
                    self._fill(waiting)
        except OSError as exc:  # no file for the selector itself
            why = Blind(why=f"our own trouble: {exc.strerror}")
            self._answers.update((opening.request, why) for opening in self._open.values())
        finally:
            for connection in self._open:
                connection.close()
        return self._answers

    def _fill(self, waiting: Iterator[tuple[TcpRequest, int, list[str]]]) -> None:
        while len(self._open) < self._window:
            following = next(waiting, None)
            if following is None:
                return
            request, port, addresses = following
            now = time.monotonic()
            self._try_next(_Opening(request, port, addresses, began=now, ends=now + request.timeout.total_seconds()), 0)

    def _try_next(self, opening: _Opening, last_errno: int) -> None:
        """Start connecting to the next address, or answer with what became of the last one."""
        while opening.addresses:
            address = opening.addresses.pop(0)
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            try:
                connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError as exc:
                last_errno = exc.errno or errno.EMFILE
                continue
            last_errno = connection.connect_ex((address, opening.port))
            if last_errno in (0, errno.EINPROGRESS):
                self._selector.register(connection, selectors.EVENT_WRITE)
                self._open[connection] = opening
                return
            connection.close()
        self._answer(opening, connected=False, error_number=last_errno)

    def _opened(self, connection: socket.socket) -> None:
        error_number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error_number == 0 and connection.getsockname() == connection.getpeername():
            # A closed port in the ephemeral range can connect to itself (simultaneous open): nobody listens there.
            error_number = errno.ECONNREFUSED
        opening = self._drop(connection)
        if error_number:
            self._try_next(opening, error_number)
        else:
            self._answer(opening, connected=True, error_number=0)

    def _give_up_late(self) -> None:
        now = time.monotonic()
        for connection in [late for late, opening in self._open.items() if opening.ends <= now]:
            self._answer(self._drop(connection), connected=False, error_number=errno.ETIMEDOUT)

    def _drop(self, connection: socket.socket) -> _Opening:
        self._selector.unregister(connection)
        connection.close()
        return self._open.pop(connection)

    def _answer(self, opening: _Opening, *, connected: bool, error_number: int) -> None:
        latency = timedelta(seconds=time.monotonic() - opening.began)
        if error_number in own_limits.OURS:
            self._answers[opening.request] = Blind(why=f"our own trouble: {os.strerror(error_number)}")
            return
        error = None if connected else _THEIRS.get(error_number, f"broken: {os.strerror(error_number)}")
        self._answers[opening.request] = TcpSeen(connected=connected, latency=latency, error=error)
