"""The HTTP probe: many bounded GETs at once on libcurl's multi interface, each on a fresh connection (a kept one hides a
dead listener). Observes and does not judge. Most requests are plain and share handles that are set up once; one that wants
more (`_wants_more`) gets a handle of its own.

What the target does (refuses, hangs, resets, answers nonsense) is an `HttpSeen`; what we lack (files, memory, network, a
resolver, time) is `Blind`. Never follows a redirect, never uses a proxy, never speaks anything but HTTP/1.1.
Figures: `bench/bench_http.py`.
"""

import errno
import functools
import os
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pycurl

from agent.adapters import names, own_limits
from agent.adapters.system_clock import SystemClock
from agent.model import Blind, HttpRequest, HttpSeen, Observation

WINDOW = 1024
"""Most transfers at once. Between 256 and 1 024 speed is the same (bench_http); a wide one is not filled by a few targets that hang."""

LOOK_UP_SHARE = 0.3
"""The part of the batch's time that names may take."""

_SENTENCE = 200
"""Characters of libcurl's own sentence that an observation keeps."""

_HEADER_VALUE = 1_024
"""Characters of one kept header that an observation keeps."""

_ARRIVALS = 256
"""Parts of a body whose arrival is noted: more than a completion of a few tokens has."""

_HAS_EXPIRED = 10
"""X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL. Source: openssl/x509_vfy.h."""

# Codes of libcurl 8 (https://curl.se/libcurl/c/libcurl-errors.html) by whose trouble they are.
_TLS = frozenset({pycurl.E_SSL_CONNECT_ERROR, pycurl.E_SSL_CIPHER, pycurl.E_SSL_ISSUER_ERROR})
_OURS = frozenset(
    {
        pycurl.E_FAILED_INIT,
        pycurl.E_URL_MALFORMAT,
        pycurl.E_NOT_BUILT_IN,
        pycurl.E_COULDNT_RESOLVE_HOST,
        pycurl.E_OUT_OF_MEMORY,
        pycurl.E_BAD_FUNCTION_ARGUMENT,
        pycurl.E_SSL_CACERT_BADFILE,
        pycurl.E_SSL_ENGINE_INITFAILED,
        pycurl.E_ABORTED_BY_CALLBACK,
    }
)


@dataclass(slots=True)
class _Transfer:
    """One GET under way."""

    request: HttpRequest
    body: bytearray = field(default_factory=bytearray)
    cut: bool = False
    spare: pycurl.Curl | None = None
    """The shared handle that waits while a handle of its own is used."""
    began: float = 0.0
    arrivals: list[tuple[int, timedelta]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    first: HttpSeen | None = None
    """What the first request saw, while the second is on the same connection."""

    def take(self, chunk: bytes) -> int:
        """libcurl's write callback: keep what fits, and end the transfer once the limit is passed."""
        room = self.request.body_limit - len(self.body)
        self.body += chunk[:room]
        if len(chunk) <= room:
            return len(chunk)
        self.cut = True
        return -1

    def take_timed(self, chunk: bytes) -> int:
        """The same, and note when it came."""
        taken = self.take(chunk)
        if len(self.arrivals) < _ARRIVALS:
            self.arrivals.append((len(self.body), timedelta(seconds=time.monotonic() - self.began)))
        return taken

    def hear(self, line: bytes) -> None:
        """libcurl's header callback: keep the headers that are wanted, of the last answer (100s come before it)."""
        if line.startswith(b"HTTP/"):
            self.headers.clear()
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() in self.request.keep:
            said = self.headers.get(name.lower())
            value = value.strip()
            self.headers[name.lower()] = (value if said is None else f"{said}, {value}")[:_HEADER_VALUE]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that can be asked, and libcurl's `host:port:addresses` line where the host is a name."""

    request: HttpRequest
    resolve: str | None
    connected: socket.socket | None = None
    """The connection to ask it over, in place of one that libcurl makes."""


def probe_over(request: HttpRequest, connect: Callable[[str, int], socket.socket | str], deadline: timedelta) -> Observation:
    """Answer one request over a connection that somebody else makes. Raises what `connect` raises, and nothing else.

    connect: gets host and port; returns a connected socket, or the word for what the target did instead (`HttpSeen.error`).
    """
    began = time.monotonic()
    place = _place(request)
    if isinstance(place, Blind):
        return place
    connected = connect(request.address or place[0], place[1])
    took = timedelta(seconds=time.monotonic() - began)
    if isinstance(connected, str):
        return HttpSeen(status=None, latency=took, error=connected)
    left = replace(request, timeout=max(request.timeout - took, timedelta(milliseconds=1)))
    with connected:
        seen = _ask([_Asked(left, None, connected)], began + deadline.total_seconds()).get(left)
    if isinstance(seen, HttpSeen):
        return replace(seen, latency=seen.latency + took, arrivals=tuple((size, at + took) for size, at in seen.arrivals))
    return seen or Blind(why=f"not answered within {deadline.total_seconds():g} s")


def probe(requests: Sequence[HttpRequest], deadline: timedelta) -> dict[HttpRequest, Observation]:
    """Answer every request within `deadline`; equal requests are asked once. Raises nothing for what is outside."""
    end = time.monotonic() + deadline.total_seconds()
    answers, ready = _prepare(dict.fromkeys(requests), deadline)
    if ready:
        answers.update(_ask(ready, end))
    late = Blind(why=f"not answered within the {deadline.total_seconds():g} s of its batch")
    return {request: answers.get(request, late) for request in dict.fromkeys(requests)}


def _prepare(requests: dict[HttpRequest, None], deadline: timedelta) -> tuple[dict[HttpRequest, Observation], list[_Asked]]:
    """Split the requests into those answered without a connection (unsayable, no such name, blind) and those to ask."""
    places = {request: _place(request) for request in requests}
    hosts = [request.address or place[0] for request, place in places.items() if not isinstance(place, Blind)]
    addresses = names.look_up(hosts, deadline * LOOK_UP_SHARE)
    answers: dict[HttpRequest, Observation] = {}
    ready = []
    for request, place in places.items():
        if isinstance(place, Blind):
            answers[request] = place
            continue
        host, port = place
        match addresses[request.address or host]:
            case Blind() as blind:
                answers[request] = blind
            case ():
                error = f"dns: no such name {request.address or host!r}"
                answers[request] = HttpSeen(status=None, latency=timedelta(0), error=error)
            case (only,) if only == host:
                ready.append(_Asked(request, None))
            case found:
                listed = ",".join(f"[{address}]" if ":" in address else address for address in found)
                ready.append(_Asked(request, f"{host}:{port}:{listed}"))
    return answers, ready


def _place(request: HttpRequest) -> tuple[str, int] | Blind:
    """Return host and port of a request, or why it cannot be asked as written."""
    place = _host_and_port(request.url)
    if place is None:
        return Blind(why=f"cannot ask {request.url!r}: not an http or https address")
    if not all(part.isprintable() for header in request.headers for part in header):
        return Blind(why=f"cannot ask {request.url!r}: a header holds a line break or another control character")
    return place


@functools.lru_cache(maxsize=20_000)
def _host_and_port(url: str) -> tuple[str, int] | None:
    """Return where a URL leads, None where it cannot be asked. Remembered: the same ones are asked at every beat."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname and url.isprintable() and " " not in url else None


def _ask(ready: Sequence[_Asked], end: float) -> dict[HttpRequest, Observation]:
    # Two sockets per transfer, since libcurl races the addresses of a name; three files for epoll and the multi itself.
    window = min(WINDOW, (own_limits.files_left() - 3) // 2)
    if window < 1:
        blind = Blind(why="we ran out of open files ourselves")
        return {asked.request: blind for asked in ready}
    try:
        batch = _Batch(min(window, len(ready)))
    except (OSError, pycurl.error) as exc:
        return {asked.request: Blind(why=f"we ran out of something ourselves: {exc}") for asked in ready}
    try:
        return batch.run(iter(ready), end)
    finally:
        batch.close()


class _Batch:
    """One libcurl multi on one epoll. (`CurlMulti.select` is select(2), which ends at file number 1 024.)"""

    def __init__(self, window: int) -> None:
        self._epoll = select.epoll()
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._wake_at: float | None = None
        self._watched: set[int] = set()
        self._free = [_handle() for _ in range(window)]
        self._busy: dict[pycurl.Curl, _Transfer] = {}
        self._answers: dict[HttpRequest, Observation] = {}

    def run(self, waiting: Iterator[_Asked], end: float) -> dict[HttpRequest, Observation]:
        """Ask until all are answered or the time is over; return the answers that came."""
        self._fill(waiting)
        while self._busy:
            now = time.monotonic()
            if now >= end:
                break
            pause = end - now if self._wake_at is None else max(0.0, min(self._wake_at, end) - now)
            for fd, events in self._epoll.poll(pause):
                self._multi.socket_action(fd, _bits(events))
            if self._wake_at is not None and time.monotonic() >= self._wake_at:
                self._wake_at = None
                self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._collect()
            self._fill(waiting)
        return self._answers

    def close(self) -> None:
        """End what is still under way and give everything back."""
        for curl in self._busy:
            self._multi.remove_handle(curl)
        spares = [transfer.spare for transfer in self._busy.values() if transfer.spare is not None]
        for curl in (*self._busy, *spares, *self._free):
            curl.close()
        self._multi.close()
        self._epoll.close()

    def _fill(self, waiting: Iterator[_Asked]) -> None:
        while self._free:
            asked = next(waiting, None)
            if asked is None:
                return
            curl, transfer = self._free.pop(), _Transfer(asked.request)
            if _wants_more(asked):
                curl, transfer.spare = _handle(asked.request.ca_file), curl
            try:
                _point(curl, asked, transfer)
                self._multi.add_handle(curl)
            except (pycurl.error, UnicodeError) as exc:
                self._answers[asked.request] = Blind(why=f"cannot ask {asked.request.url!r}: {exc}")
                self._give_back(curl, transfer)
            else:
                self._busy[curl] = transfer

    def _collect(self) -> None:
        more = 1
        while more:
            more, ended_well, ended_badly = self._multi.info_read()
            for curl in ended_well:
                self._end(curl, pycurl.E_OK, "")
            for curl, code, sentence in ended_badly:
                self._end(curl, code, sentence)

    def _end(self, curl: pycurl.Curl, code: int, sentence: str) -> None:
        transfer = self._busy.pop(curl)
        seen = _observation(curl, transfer, code, sentence)
        self._multi.remove_handle(curl)
        if transfer.request.again and code == pycurl.E_OK and isinstance(seen, HttpSeen) and transfer.first is None:
            self._ask_again(curl, transfer, seen)
            return
        if transfer.first is not None:
            kept = code == pycurl.E_OK and curl.getinfo(pycurl.NUM_CONNECTS) == 0
            seen = replace(transfer.first, reused=kept)
        self._answers[transfer.request] = seen
        self._give_back(curl, transfer)

    def _ask_again(self, curl: pycurl.Curl, transfer: _Transfer, seen: HttpSeen) -> None:
        """Put the same request on the connection that the first one left, within what is left of its time."""
        left = transfer.request.timeout - seen.latency
        curl.setopt(pycurl.FRESH_CONNECT, 0)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, int(left / timedelta(milliseconds=1))))
        second = _Transfer(transfer.request, spare=transfer.spare, first=seen)
        curl.setopt(pycurl.WRITEFUNCTION, second.take)
        self._multi.add_handle(curl)
        self._busy[curl] = second

    def _give_back(self, curl: pycurl.Curl, transfer: _Transfer) -> None:
        if transfer.spare is not None:
            curl.close()
        self._free.append(transfer.spare or curl)

    def _watch(self, event: int, fd: int, _multi: object, _data: object) -> None:
        """libcurl's socket callback: which events it waits for on which socket."""
        if event == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._watched.discard(fd)
                self._epoll.unregister(fd)
            return
        wanted = (select.EPOLLIN if event & pycurl.POLL_IN else 0) | (select.EPOLLOUT if event & pycurl.POLL_OUT else 0)
        if fd in self._watched:
            self._epoll.modify(fd, wanted)
        else:
            self._epoll.register(fd, wanted)
            self._watched.add(fd)

    def _set_timer(self, milliseconds: int) -> None:
        """libcurl's timer callback: when it wants to be called at the latest; -1 is never."""
        self._wake_at = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _wants_more(asked: _Asked) -> bool:
    """Say whether a request needs options that no other one may inherit."""
    request = asked.request
    wants = asked.connected is not None or request.payload is not None or request.ca_file is not None or bool(request.keep)
    return wants or request.certificate or request.again or request.timed


def _handle(ca_file: str | None = None) -> pycurl.Curl:
    """Return a handle with everything set that is the same for all requests. ca_file: trust only these issuers."""
    curl = pycurl.Curl()
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.FOLLOWLOCATION, 0)
    curl.setopt(pycurl.PROXY, "")  # without it libcurl reads http_proxy and its kin from the environment
    curl.setopt(pycurl.FRESH_CONNECT, 1)
    curl.setopt(pycurl.FORBID_REUSE, 1)
    curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
    curl.setopt(pycurl.USERAGENT, "medic")
    # A wheel's libcurl has the certificate paths of the machine it was built on.
    trusted = _trusted()
    if ca_file is not None:
        curl.setopt(pycurl.CAINFO, ca_file)
        curl.unsetopt(pycurl.CAPATH)
        return curl
    if trusted.cafile:
        curl.setopt(pycurl.CAINFO, trusted.cafile)
    if trusted.capath:
        curl.setopt(pycurl.CAPATH, trusted.capath)
    return curl


@functools.cache
def _trusted() -> ssl.DefaultVerifyPaths:
    """Return where this machine keeps the issuers it trusts."""
    return ssl.get_default_verify_paths()


def _point(curl: pycurl.Curl, asked: _Asked, transfer: _Transfer) -> None:
    """Point a handle at one request."""
    milliseconds = max(1, int(asked.request.timeout / timedelta(milliseconds=1)))
    curl.setopt(pycurl.URL, asked.request.url)
    curl.setopt(pycurl.TIMEOUT_MS, milliseconds)
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, milliseconds)
    curl.setopt(pycurl.WRITEFUNCTION, transfer.take)
    curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in asked.request.headers])
    curl.setopt(pycurl.RESOLVE, [asked.resolve] if asked.resolve else [])
    if transfer.spare is not None:
        _set_more(curl, asked.request, transfer)
    if asked.connected is not None:
        _go_over(curl, asked.connected)


def _go_over(curl: pycurl.Curl, connected: socket.socket) -> None:
    """Let a handle use a connection that is there, once: it takes a copy of what it is given."""
    once = [connected]
    curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda _purpose, _address: once.pop() if once else pycurl.SOCKET_BAD)
    curl.setopt(pycurl.SOCKOPTFUNCTION, lambda _descriptor, _purpose: pycurl.SOCKOPT_ALREADY_CONNECTED)
    curl.setopt(pycurl.RESOLVE, ["*:0:127.0.0.1"])  # nobody connects there: it only keeps libcurl from asking the resolver


def _set_more(curl: pycurl.Curl, request: HttpRequest, transfer: _Transfer) -> None:
    """Set what only this request wants, on a handle of its own."""
    if request.payload is not None:
        headers = (("Content-Type", "application/json"), *request.headers)
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" for name, value in headers])
        curl.setopt(pycurl.COPYPOSTFIELDS, request.payload)
    if request.keep:
        curl.setopt(pycurl.HEADERFUNCTION, transfer.hear)
    if request.certificate:
        curl.setopt(pycurl.OPT_CERTINFO, 1)
    if request.again:
        curl.setopt(pycurl.FORBID_REUSE, 0)
    if request.timed:
        transfer.began = time.monotonic()
        curl.setopt(pycurl.WRITEFUNCTION, transfer.take_timed)


def _observation(curl: pycurl.Curl, transfer: _Transfer, code: int, sentence: str) -> Observation:
    stopped_by_us = code == pycurl.E_WRITE_ERROR and transfer.cut
    error = None if code == pycurl.E_OK or stopped_by_us else _error(curl, code, sentence)
    if isinstance(error, Blind):
        return error
    seen = HttpSeen(
        status=curl.getinfo(pycurl.RESPONSE_CODE) or None,
        latency=timedelta(seconds=curl.getinfo(pycurl.TOTAL_TIME)),
        body=transfer.body.decode("utf-8", errors="replace"),
        location=curl.getinfo(pycurl.REDIRECT_URL) or None,
        cut=transfer.cut,
        error=error,
        # libcurl reads seconds and dates alike, and says 0 without the header (CURLINFO_RETRY_AFTER).
        retry_after=timedelta(seconds=curl.getinfo(pycurl.RETRY_AFTER)) or None,
    )
    return seen if transfer.spare is None else _with_more(seen, curl, transfer)


def _with_more(seen: HttpSeen, curl: pycurl.Curl, transfer: _Transfer) -> HttpSeen:
    """Return the observation with what only this request wanted to know."""
    now = SystemClock().now()
    return replace(
        seen,
        headers=tuple(transfer.headers.items()),
        at=now if transfer.request.keep else None,
        arrivals=tuple(transfer.arrivals),
        certificate_left=_certificate_left(curl, now) if transfer.request.certificate else None,
    )


def _certificate_left(curl: pycurl.Curl, now: datetime) -> timedelta | None:
    """Return how long the server's own certificate is still good; None where there was no TLS."""
    chain = curl.getinfo(pycurl.INFO_CERTINFO)
    own = dict(chain[0]) if chain else {}
    try:
        ends = ssl.cert_time_to_seconds(own["Expire date"])
    except (KeyError, ValueError):
        return None
    return datetime.fromtimestamp(ends, UTC) - now


def _error(curl: pycurl.Curl, code: int, sentence: str) -> str | Blind:
    """Return the word for what the target did, or why it was our own trouble."""
    sentence = sentence[:_SENTENCE]
    if code in _OURS:
        return Blind(why=f"our own trouble: {sentence}")
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return "timeout"
    if code == pycurl.E_COULDNT_CONNECT:
        return _connect_error(sentence, curl.getinfo(pycurl.OS_ERRNO))
    if code == pycurl.E_GOT_NOTHING:
        return "empty-reply"
    if code in (pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR):
        return "reset"
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        expired = curl.getinfo(pycurl.SSL_VERIFYRESULT) == _HAS_EXPIRED
        return f"certificate-{'expired' if expired else 'untrusted'}: {sentence}"
    return f"tls: {sentence}" if code in _TLS else f"broken: {sentence}"


def _connect_error(sentence: str, os_errno: int) -> str | Blind:
    match os_errno:
        case errno.ECONNREFUSED:
            return "connection-refused"
        case errno.ECONNRESET:
            return "reset"
        case errno.EHOSTUNREACH:
            return "host-unreachable"
        case errno.ETIMEDOUT:
            return "timeout"
        case 0:
            # No connect(2) failed, so there was no socket to try it on.
            return Blind(why=f"our own trouble: {sentence}")
        case _ if os_errno in own_limits.OURS:
            return Blind(why=f"our own trouble: {os.strerror(os_errno)}")
        case _:
            return f"broken: {sentence}"


def _bits(events: int) -> int:
    read = pycurl.CSELECT_IN if events & (select.EPOLLIN | select.EPOLLHUP) else 0
    write = pycurl.CSELECT_OUT if events & select.EPOLLOUT else 0
    return read | write | (pycurl.CSELECT_ERR if events & select.EPOLLERR else 0)
