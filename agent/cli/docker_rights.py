"""What a host's Docker socket lets Medic do: a door in front of it (a socket proxy) may forbid more than half.

Asked by requests that change nothing whatever is allowed: each is about a container, network or image that there cannot be. Docker
answers that there is none (404), or that the request is empty (400); a door, or a plugin that authorises, answers 403.
"""

import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from agent.model import Check, CommandCheck, DnsCheck, GpuCheck, NginxCheck
from agent.settings import Settings

FORBIDDEN = 403
NOBODY = "medic-doctor-{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One thing that may be allowed, and the request that asks for it about nobody."""

    name: str
    method: str
    path: str
    body: str = ""


LOOKS = (
    Right(name="list", method="GET", path="/containers/json?limit=1"),
    Right(name="inspect", method="GET", path="/containers/{nobody}/json"),
    Right(name="logs", method="GET", path="/containers/{nobody}/logs?stdout=1&tail=1"),
    Right(name="events", method="GET", path="/events?since=1&until=2"),
)
"""Without one of these Medic is blind, or cannot explain what it sees."""
ACTS = (
    Right(name="start", method="POST", path="/containers/{nobody}/start"),
    Right(name="restart", method="POST", path="/containers/{nobody}/restart"),
    Right(name="unpause", method="POST", path="/containers/{nobody}/unpause"),
    Right(name="exec", method="POST", path="/containers/{nobody}/exec", body='{"Cmd":["true"]}'),
    Right(name="create", method="POST", path="/containers/create", body="{}"),
    Right(name="remove", method="DELETE", path="/containers/{nobody}"),
    Right(name="networks", method="POST", path="/networks/{nobody}/connect", body='{"Container":"{nobody}"}'),
    Right(name="images", method="DELETE", path="/images/{nobody}"),
)

RUNBOOKS: Mapping[str, tuple[str, ...]] = {
    "start-container": ("start",),
    "restart-container": ("restart",),
    "regain-gpu": ("restart",),
    "unpause-container": ("unpause",),
    "reload-nginx": ("exec",),
    "restore-nginx-config": ("exec",),
    "regenerate-nginx-routes": ("exec",),
    "reconnect-network": ("networks",),
    "recreate-container": ("create", "remove", "start"),
    "recreate-gpu-container": ("create", "remove", "start"),
    "recreate-namespace-child": ("create", "remove", "start"),
    "rollback-image": ("create", "remove", "start"),
    "truncate-container-log": ("start",),
    "evict-cache": ("start",),
    "renew-certificate": ("start",),
    "prune-unused-images": ("images", "start"),
    "restore-artefact": ("restart",),
    "restore-config": ("restart",),
    "put-back-config": ("restart",),
    "restart-dependency": ("restart",),
    "restart-replica": ("restart", "exec"),
    "quarantine-gpu-host": (),
    "replace-host": (),  # it ends containers where it may; where it may not, they end with their host
    "retire-host": (),
    "sync-clock": (),
    "restart-fabric-manager": (),
    "rotate-logs": ("start",),
    "restart-docker": ("start",),
    "reboot-host": (),
}
"""What each shipped runbook does through Docker, beside looking."""


def forbidden(path: str, within: timedelta) -> tuple[str, ...]:
    """Return the names of the rights that the socket at `path` refuses. Raises OSError or ValueError where it does not answer."""
    nobody = NOBODY.format(uuid.uuid4().hex)
    end = time.monotonic() + within.total_seconds()
    return tuple(right.name for right in (*LOOKS, *ACTS) if _status(path, right, nobody, end) == FORBIDDEN)


def cannot_run(refused: tuple[str, ...]) -> tuple[str, ...]:
    """Return the runbooks that need what is refused."""
    return tuple(sorted(id_ for id_, needs in RUNBOOKS.items() if set(needs) & set(refused)))


def cannot_ask(refused: tuple[str, ...], host: str, settings: Settings) -> Iterator[str]:
    """Yield the checks of a host that run a program in a container, where that is refused."""
    for service in settings.services if "exec" in refused else ():
        if service.host == host:
            yield from (f"{service.name}/{check.name}" for check in service.checks if _runs_inside(check))


def _runs_inside(check: Check) -> bool:
    match check:
        case CommandCheck() | DnsCheck():
            return True
        case GpuCheck(in_container=inside):
            return inside
        case NginxCheck(nginx=nginx):
            return nginx is not None
        case _:
            return False


def _status(path: str, right: Right, nobody: str, end: float) -> int:
    """Return the status of the answer to one request."""
    body = right.body.replace("{nobody}", nobody)
    target = right.path.replace("{nobody}", nobody)
    head = f"{right.method} {target} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(max(0.01, end - time.monotonic()))
        connection.connect(path)
        connection.sendall((head + body).encode())
        line = connection.recv(4096).split(b"\r\n")[0].split()
    if len(line) < 2 or not line[1].isdigit():
        raise ValueError("it answered no HTTP")
    return int(line[1])
