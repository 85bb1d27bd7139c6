"""What a host's Docker lets Medic do: a door in front of its socket (a socket proxy) may forbid more than half.

In: how to connect to it. Out: the names of `agent.rights` that it refuses. Asked by requests that change nothing whatever is
allowed: each is about a container, network or image that there cannot be. Docker answers that there is none (404), or that the
request is empty (400); a door, or a plugin that authorises, answers 403.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.adapters import docker_stream
from agent.ports import Clock

FORBIDDEN = 403
NOBODY = "medic-asks-{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One thing that may be allowed, and the request that asks for it about nobody. `{nobody}` stands for its name."""

    name: str
    method: str
    path: str
    body: Mapping[str, object] | None = field(default=None)


RIGHTS = (
    Right(name="list", method="GET", path="/containers/json?limit=1"),
    Right(name="inspect", method="GET", path="/containers/{nobody}/json"),
    Right(name="logs", method="GET", path="/containers/{nobody}/logs?stdout=1&tail=1"),
    Right(name="events", method="GET", path="/events?since=1&until=2"),
    Right(name="start", method="POST", path="/containers/{nobody}/start"),
    Right(name="restart", method="POST", path="/containers/{nobody}/restart"),
    Right(name="unpause", method="POST", path="/containers/{nobody}/unpause"),
    Right(name="exec", method="POST", path="/containers/{nobody}/exec", body={"Cmd": ["true"]}),
    Right(name="create", method="POST", path="/containers/create", body={}),
    Right(name="remove", method="DELETE", path="/containers/{nobody}"),
    Right(
        name="networks", method="POST", path="/networks/{nobody}/connect", body={"Container": NOBODY.format("on-no-network")}
    ),
    Right(name="images", method="DELETE", path="/images/{nobody}"),
)


def refused(dial: docker_stream.Dial, clock: Clock, until: float) -> tuple[str, ...]:
    """Return the names of the rights that are refused, all asked by `until` (the clock's monotonic seconds).

    Raises OSError or OutsideError where Docker does not answer.
    """
    nobody = NOBODY.format(uuid.uuid4().hex)
    return tuple(right.name for right in RIGHTS if status(dial, right, nobody, clock, until) == FORBIDDEN)


def status(dial: docker_stream.Dial, right: Right, nobody: str, clock: Clock, until: float) -> int:
    """Return the status of the answer to one request, 200 for every good one. Raises OSError or OutsideError."""
    target = right.path.replace("{nobody}", nobody)
    try:
        docker_stream.open_stream(dial, right.method, target, clock=clock, until=until, body=right.body).close()
    except docker_stream.EngineRefusalError as exc:
        return exc.status
    return 200
