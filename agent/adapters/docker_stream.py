"""Answers of a Docker engine that go on for a while (logs, events, exec), read with deadlines that really stop.

The Docker SDK switches the socket's time-out off for every stream (docker 7.2, `APIClient._disable_socket_timeout`), so a
silent engine would hold its reader for ever. Here the request goes out as HTTP/1.0: the engine answers with plain bytes
until it closes the connection, no chunks, no kept connections, and every wait is ours.
"""

import json
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from agent.ports import Clock

_HEAD_LIMIT = 65_536
"""Bytes of status line and headers read at most."""
_MESSAGE_LIMIT = 4_096
"""Bytes of an error's body read at most."""
_CHUNK = 65_536
_FRAME_HEADER = 8
"""Bytes before each frame: stream number, three zeros, big-endian length. Source: Docker Engine API 1.41, ContainerAttach."""
_SHORTEST_WAIT = 0.001
"""Seconds. A socket time-out of 0 would mean "do not wait at all" and raise another error."""

_STOP_POLL = 0.2
"""Seconds between two looks at `stop` while nothing comes."""


class StopAskedError(Exception):
    """The caller's `stop` turned true while we waited."""


class UnfinishedError(TimeoutError):
    """The engine answers, and what it tells of has not ended in the time it was given."""


class EngineRefusalError(Exception):
    """The engine answered with an HTTP status of 400 or more."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connection(Protocol):
    """What is needed of a connection: what a socket does. One over SSH does it, too."""

    def settimeout(self, value: float | None, /) -> None:
        """Bound each call that follows, in seconds."""

    def recv(self, bufsize: int, /) -> bytes:
        """Return the next bytes, b"" at the end. Raises TimeoutError, OSError."""

    def sendall(self, data: bytes, /) -> None:
        """Send all. Raises TimeoutError, OSError."""

    def close(self) -> object:
        """End it."""


Dial = Callable[[float], Connection]
"""Opens a connection to one engine within so many seconds. Raises OSError, or OutsideError where its host is out of reach."""

Greet = Callable[[float], None]
"""Makes sure within so many seconds that a host without an engine answers. Raises OutsideError where it does not."""


class Stream:
    """One open answer. Close it (it is a context manager) and the engine ends its side."""

    def __init__(self, connection: Connection, clock: Clock, stop: Callable[[], bool]) -> None:
        self._connection = connection
        self._clock = clock
        self._stop = stop
        self._ahead = b""
        """Bytes of the body that came together with the headers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def read(self, until: float) -> bytes | None:
        """Return the next bytes, b"" once the engine has closed, or None when nothing came by `until`.

        until: the clock's monotonic seconds, as everywhere in this module. Raises StopAskedError, OSError.
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        while True:
            if self._stop():
                raise StopAskedError
            left = until - self._clock.monotonic()
            self._connection.settimeout(min(max(left, _SHORTEST_WAIT), _STOP_POLL))
            try:
                return self._connection.recv(_CHUNK)
            except TimeoutError:
                if left <= _STOP_POLL:
                    return None

    def chunks(self, until: float) -> Iterator[bytes]:
        """Yield bytes until the engine closes. Raises UnfinishedError at `until`, however fast they come; StopAskedError, OSError."""
        while (chunk := self.read(until)) != b"":
            if chunk is None or self._clock.monotonic() >= until:
                raise UnfinishedError("it did not end in time")
            yield chunk

    def begin(self, request: bytes, until: float) -> None:
        """Send the request and read the status line and headers. Raises EngineRefusalError, TimeoutError, OSError."""
        self._connection.settimeout(max(until - self._clock.monotonic(), _SHORTEST_WAIT))
        self._connection.sendall(request)
        head = b""
        while b"\r\n\r\n" not in head and len(head) <= _HEAD_LIMIT and (chunk := self.read(until)) != b"":
            if chunk is None or self._clock.monotonic() >= until:
                raise TimeoutError
            head += chunk
        top, found, self._ahead = head.partition(b"\r\n\r\n")
        words = top.split(b" ", 2)
        if not found or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise ConnectionError("the engine did not answer in HTTP")
        status = int(words[1])
        if status >= 400:
            raise EngineRefusalError(status, _message(first(self.chunks(until), _MESSAGE_LIMIT)))


def open_stream(
    dial: Dial,
    method: str,
    target: str,
    *,
    clock: Clock,
    until: float,
    body: Mapping[str, object] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Stream:
    """Send one request and return its answer, headers read.

    target: path and query, already quoted.
    until: the clock's monotonic seconds by which the headers must be there.
    stop: asked all the time while the answer is read; once true, reading raises StopAskedError.
    Raises EngineRefusalError, StopAskedError, TimeoutError or another OSError.
    """
    content = b"" if body is None else json.dumps(body).encode()
    request = (
        f"{method} {target} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content
    stream = Stream(dial(max(until - clock.monotonic(), _SHORTEST_WAIT)), clock, stop)
    try:
        stream.begin(request, until)
    except BaseException:
        stream.close()
        raise
    return stream


def demultiplex(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of stdout and stderr frames in the order they came. A frame's length is never believed for memory."""
    header = b""
    left = 0
    for chunk in chunks:
        while chunk:
            if left:
                part, chunk = chunk[:left], chunk[left:]
                left -= len(part)
                yield part
                continue
            wanted = _FRAME_HEADER - len(header)
            header, chunk = header + chunk[:wanted], chunk[wanted:]
            if len(header) == _FRAME_HEADER:
                left = int.from_bytes(header[4:], "big")
                header = b""


def first(chunks: Iterable[bytes], limit: int) -> bytes:
    """Return the first `limit` bytes; what follows is read and dropped, so that the sender can finish."""
    kept = bytearray()
    for chunk in chunks:
        kept += chunk[: limit - len(kept)]
    return bytes(kept)


def last(chunks: Iterable[bytes], limit: int) -> bytes:
    """Return the last `limit` bytes, holding at most about twice as many."""
    kept = bytearray()
    for chunk in chunks:
        kept += chunk
        if len(kept) > 2 * limit + _CHUNK:
            del kept[: len(kept) - limit]
    return bytes(kept[max(len(kept) - limit, 0) :])


def connect(url: str, timeout: float) -> socket.socket:
    """Connect to an engine on this machine. url: `unix:///path` or `tcp://host:port`. Raises OSError."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(parts.path)
        except BaseException:
            connection.close()
            raise
        return connection
    if parts.scheme == "tcp" and parts.hostname and parts.port:
        return socket.create_connection((parts.hostname, parts.port), timeout)
    raise ConnectionError(f"{url!r} is neither unix:///path nor tcp://host:port")


def _message(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        said = json.loads(text)
    except ValueError:
        return text
    return str(said.get("message", text)) if isinstance(said, dict) else text
