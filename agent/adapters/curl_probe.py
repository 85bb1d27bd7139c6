"""HTTP and TCP asked on another host by its own `curl` and `bash`: for a host from which no connection can be brought here.

The words are those of `http_probe` and `tcp_probe`. Times are measured there, so the way to the host is not in them. What curl's
command line cannot tell (a kept connection, when each part came, how long a certificate lasts) is Blind, and so is a request whose
headers may hold a secret: others keep what is sent this way.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from agent.adapters.machine import Machine
from agent.errors import OutsideError
from agent.model import Blind, HttpRequest, HttpSeen, Observation, TcpRequest, TcpSeen

HEAD_LIMIT = 16_384
"""Bytes of status line and headers, beside the body."""
OPEN_HEADERS = frozenset({"host", "accept", "content-type", "user-agent"})
"""What may be sent along: none of these is a credential."""
STARTS_WITHIN = timedelta(seconds=1)
"""For a shell and curl to start, beside the request's own time."""

_ASK = """
limit=$1; shift; export LC_ALL=C
{ meta=$( { curl "$@" | head -c "$limit" >&3; } 2>&1 ); } 3>&1
case $meta in *"curl: (7)"*) meta="$meta $(timeout 1 bash -c ': <>"/dev/tcp/$0/$1"' "$HOST_ASKED" "$PORT_ASKED" 2>&1)" ;; esac
printf '\\n%s' "$(printf %s "$meta" | tr '\\n' ' ')"
"""
_CONNECT = """
export LC_ALL=C
began=$(date +%s%N); said=$(timeout "$3" bash -c ': <>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1); code=$?
echo "$code $(( ($(date +%s%N) - began) / 1000 )) $(printf %s "$said" | tr '\\n' ' ')"
"""
_TOLD = "medic %{http_code} %{time_total} %{size_download} %{redirect_url}"
_META = re.compile(r"medic (?P<status>\d{3}) (?P<took>[\d.]+) (?P<size>\d+) (?P<location>\S*)")
_FAILED = re.compile(r"curl: \((?P<code>\d+)\) ?(?P<said>.*)")
_CONNECTED = re.compile(r"(?P<code>\d+) (?P<took>\d+) (?P<said>.*)")
_STRERROR: Mapping[str, str] = {
    "Connection refused": "connection-refused",
    "Connection reset": "reset",
    "No route to host": "host-unreachable",
    "Network is unreachable": "host-unreachable",
    "Connection timed out": "timeout",
    "Name or service not known": "dns: no such name",
}
"""strerror(3) and gai_strerror(3), as bash says them."""
_TIMED_OUT = 124
_BY_US = 23
"""CURLE_WRITE_ERROR: `head` had enough."""
_WORDS: Mapping[int, str] = {28: "timeout", 52: "empty-reply", 55: "reset", 56: "reset"}
_TLS = frozenset({35, 59, 83})
_UNTRUSTED = frozenset({51, 60})
_OURS = frozenset({2, 3, 4, 6, 26, 27, 43, 77})
"""Exit codes of curl(1) by whose trouble they are: a name that cannot be looked up may be the resolver's."""


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    port: int


def http(machine: Machine, request: HttpRequest, deadline: timedelta) -> HttpSeen | Blind:
    """Return what the target did, as its host saw it, or why that cannot be told. Never raises for what is outside."""
    place = _place(request.url)
    why = _cannot(request) if place is not None else "not an http or https address"
    if place is None or why is not None:
        return Blind(why=f"cannot ask {request.url!r} on its host: {why}")
    within = min(request.timeout, max(deadline - machine.patience - STARTS_WITHIN, deadline / 2))
    words = (
        *("env", f"HOST_ASKED={request.address or place.host}", f"PORT_ASKED={place.port}"),
        *("sh", "-c", _ASK, "sh", str(request.body_limit + HEAD_LIMIT), *_curl(request, place, within)),
    )
    try:
        _, output = machine.run(
            words, timeout=within + machine.patience + STARTS_WITHIN, limit=request.body_limit + HEAD_LIMIT + 4096
        )
    except OutsideError as exc:
        return Blind(why=str(exc))
    answer, _, meta = output.rpartition(b"\n")
    seen = _seen(request, answer, meta.decode("utf-8", "replace"))
    if isinstance(seen, HttpSeen) and seen.error == "timeout" and within < request.timeout:
        return Blind(why=f"it had only {within.total_seconds():.1f} s to answer, for the way to its host takes time as well")
    return seen


def tcp(machine: Machine, request: TcpRequest) -> TcpSeen | Blind:
    """Return whether a port accepts a connection from its host. Never raises for what is outside."""
    host, _, port = request.address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        return Blind(why=f"cannot ask {request.address!r}: not host:port")
    words = ("sh", "-c", _CONNECT, "sh", host.strip("[]"), port, f"{request.timeout.total_seconds():.3f}")
    try:
        _, output = machine.run(words, timeout=request.timeout + machine.patience + STARTS_WITHIN, limit=4096)
    except OutsideError as exc:
        return Blind(why=str(exc))
    found = _CONNECTED.match(output.decode("utf-8", "replace"))
    if found is None:
        return Blind(why=f"cannot ask {request.address!r} on its host: it answers nonsense")
    took, code = timedelta(microseconds=int(found["took"])), int(found["code"])
    if code == 0:
        return TcpSeen(connected=True, latency=took)
    word = "timeout" if code == _TIMED_OUT else _strerror(found["said"])
    if word is None:
        return Blind(why=f"cannot ask {request.address!r} on its host: {found['said'].strip()[:200] or f'exit code {code}'}")
    return TcpSeen(connected=False, latency=took, error=word)


def _cannot(request: HttpRequest) -> str | None:
    """Return why a request cannot be asked so; None where it can."""
    named = {name.lower() for name, _ in request.headers}
    if not named <= OPEN_HEADERS:
        return f"AWS keeps what Medic runs there, and a header may hold a secret ({', '.join(sorted(named - OPEN_HEADERS))})"
    if not all(part.isprintable() for header in request.headers for part in header):
        return "a header holds a control character"
    wants = (("again", request.again), ("timed", request.timed), ("certificate", request.certificate))
    wanted = [name for name, is_wanted in (*wants, ("ca_file", request.ca_file is not None)) if is_wanted]
    return f"no connection can be brought here, and its curl does not tell of: {', '.join(wanted)}" if wanted else None


def _curl(request: HttpRequest, place: _Place, within: timedelta) -> tuple[str, ...]:
    words = ["-q", "-s", "-S", "-i", "--http1.1", "--noproxy", "*", "-A", "medic", "-m", f"{within.total_seconds():.3f}"]
    words += ["--proto", "=http,https", "-g", "-w", f"%{{stderr}}{_TOLD}"]
    if request.address is not None:
        words += ["--resolve", f"{place.host}:{place.port}:{request.address}"]
    headers = request.headers if request.payload is None else (("Content-Type", "application/json"), *request.headers)
    for name, value in headers:
        words += ["-H", f"{name}: {value}"]
    if request.payload is not None:
        words += ["--data-raw", request.payload]
    return (*words, "--", request.url)


def _seen(request: HttpRequest, answer: bytes, meta: str) -> HttpSeen | Blind:
    told, failed = _META.search(meta), _FAILED.search(meta)
    if told is None:
        return Blind(why=f"cannot ask {request.url!r} on its host: {' '.join(meta.split())[:200] or 'its curl says nothing'}")
    head, body = _parted(answer)
    cut = len(body) > request.body_limit
    error = None if failed is None or (cut and int(failed["code"]) in (_BY_US, 28)) else _error(failed)
    if isinstance(error, Blind):
        return error
    fields = [
        (name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in head.splitlines()[1:])
    ]
    retry = next((value for name, value in fields if name == "retry-after" and value.isdigit()), None)
    return HttpSeen(
        status=int(told["status"]) or None,
        latency=timedelta(seconds=float(told["took"])),
        body=body[: request.body_limit].decode("utf-8", errors="replace"),
        location=told["location"] or None,
        cut=cut,
        error=error,
        retry_after=None if retry is None else timedelta(seconds=int(retry)) or None,
        headers=tuple((name, value[:1024]) for name, value in dict(fields).items() if name in request.keep),
    )


def _parted(answer: bytes) -> tuple[str, bytes]:
    """Return the head of the last answer (100s come before it) and its body."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    while rest.startswith(b"HTTP/1.") and head.split(b" ", 2)[1:2] in ([b"100"], [b"103"]):
        head, _, rest = rest.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _error(failed: re.Match[str]) -> str | Blind:
    """Return the word for what the target did, or why it is our own trouble. Source: curl(1), EXIT CODES."""
    code, said = int(failed["code"]), failed["said"].strip()[:200]
    # curl's own "told" line stands on the same stream.
    said = said.partition("medic ")[0].strip()
    if code in _OURS:
        return Blind(why=f"trouble of the host that asked: {said}")
    if code == 7:
        return _strerror(failed["said"]) or f"broken: {said}"
    if code in _UNTRUSTED:
        return f"certificate-{'expired' if 'expired' in said else 'untrusted'}: {said}"
    return f"tls: {said}" if code in _TLS else _WORDS.get(code, f"broken: {said}")


def _strerror(said: str) -> str | None:
    return next((word for phrase, word in _STRERROR.items() if phrase in said), None)


def _place(url: str) -> _Place | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    return _Place(parts.hostname, port) if parts.hostname and url.isprintable() and " " not in url else None


def observation(machine: Machine, request: HttpRequest | TcpRequest, deadline: timedelta) -> Observation:
    """Answer one request of either kind."""
    return http(machine, request, deadline) if isinstance(request, HttpRequest) else tcp(machine, request)
