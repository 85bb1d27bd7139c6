"""Docker's socket on an instance behind SSM: each request and its whole answer are one program there, `docker system dial-stdio`.

Looks like a connection to whoever dials. What goes on without an end (events as they happen) cannot come this way.
Source: docker(1) 18.09 and later; `dial-stdio` is what the client itself runs at the far end of `ssh://`.
"""

import base64
import io
import threading
import time
from datetime import timedelta
from typing import Any  # a buffer of any kind, which Python 3.11 has no name for

from agent.adapters import bounded_program
from agent.adapters.docker_stream import Connection, Dial
from agent.adapters.far_machine import Programs
from agent.errors import OutsideError
from agent.model import HostName

LIMIT = 4_194_304
"""Bytes of one answer."""
REFUSED = 70
"""Exit code of our script where there was no answer: what was said is a complaint. EX_SOFTWARE."""

# An engine takes the end of the request's stream for the end of the wish (net/http cancels what it serves), so the pipe stays
# open until the answer is whole.
_EXCHANGE = f"""
folder=$(mktemp -d /run/medic-XXXXXX 2>/dev/null || mktemp -d) || exit {REFUSED}
trap 'rm -rf "$folder"' EXIT
trap 'exit {REFUSED}' TERM INT
mkfifo "$folder/asked" || exit {REFUSED}
DOCKER_HOST=$2 docker system dial-stdio <"$folder/asked" 2>"$folder/complaint" &
exec 3>"$folder/asked"
printf %s "$1" | base64 -d >&3
wait $! || {{ head -c 500 "$folder/complaint"; exit {REFUSED}; }}
"""


def dial(host: HostName, programs: Programs, url: str) -> Dial:
    """Return what opens such connections to the engine at `url` on a host."""

    def opened(timeout: float) -> Connection:
        return Exchange(host, programs, url, timeout)

    return opened


class Exchange:
    """One request and its answer, as a connection: all that is sent before the first `recv` is the request."""

    def __init__(self, host: HostName, programs: Programs, url: str, within: float) -> None:
        self._host = host
        self._doing = f"cannot ask Docker on host {host!r}"
        self._programs = programs
        self._url = url
        self._until = time.monotonic() + within
        self._timeout: float | None = within
        self._asked = bytearray()
        self._began = False
        self._ended = threading.Event()
        self._answer = b""
        self._error: OutsideError | None = None

    def settimeout(self, value: float | None, /) -> None:
        """Bound each wait that follows, in seconds."""
        self._timeout = value

    def sendall(self, data: bytes, /) -> None:
        """Add to the request. Raises OSError once it was sent."""
        if self._began:
            raise ConnectionError("one connection carries one request")
        self._asked += data

    def recv(self, bufsize: int, /) -> bytes:
        """Return the next bytes of the answer, b"" at its end. Raises TimeoutError, OutsideError."""
        if not self._began:
            self._began = True
            try:
                threading.Thread(target=self._exchange, name=f"docker of {self._host}"[:60], daemon=True).start()
            except RuntimeError as exc:  # "can't start new thread": our own exhaustion
                raise OutsideError(f"{self._doing}: {exc}", transient=True) from exc
        if not self._ended.wait(self._timeout):
            raise TimeoutError("timed out")
        if self._error is not None:
            raise OutsideError(str(self._error), transient=self._error.transient)
        chunk, self._answer = self._answer[:bufsize], self._answer[bufsize:]
        return chunk

    def makefile(self, mode: str, buffering: int | None = None) -> io.BufferedReader:  # noqa: ARG002  (as a socket's)
        """Return it as a file for reading: how http.client reads."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Nothing is kept open."""

    def _exchange(self) -> None:
        self._error = OutsideError(f"{self._doing}: Medic itself failed", transient=True)  # unless we come to the end
        try:
            asked = base64.b64encode(_alone(bytes(self._asked))).decode()
            left = timedelta(seconds=max(self._until - time.monotonic(), 0.5))
            code, said = self._programs.run(("sh", "-c", _EXCHANGE, "sh", asked, self._url), timeout=left, limit=LIMIT)
            if code != 0:
                self._error = OutsideError(f"{self._doing}: {bounded_program.text(said)}", transient=True)
            elif len(said) >= LIMIT:
                self._error = OutsideError(f"{self._doing}: its answer is longer than {LIMIT} bytes", transient=False)
            else:
                self._answer, self._error = said, None
        except OutsideError as exc:
            self._error = exc
        finally:
            self._ended.set()


class _Reader(io.RawIOBase):
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        chunk = self._exchange.recv(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def _alone(request: bytes) -> bytes:
    """Return a request that asks the engine to close the connection behind its answer."""
    head, end, body = request.partition(b"\r\n\r\n")
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*kept, b"Connection: close"]) + end + body
