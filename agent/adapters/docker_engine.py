"""Docker engines: containers, logs, events and short programs inside containers. The only importer of the Docker SDK.

In: hosts and a clock. Out: `ports.Containers`, and `exec` for the other adapters. Requests and answers go through the SDK's
low-level client, one kept per host; answers that go on for a while through `docker_stream`, which can be stopped.
"""

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any  # inspect is JSON of the engine: read here for four keys, everything else by docker_facts
from urllib.parse import quote, urlencode

# Where paramiko is installed the SDK imports it for `ssh://` addresses: 0.2 s of user time for each `medic check`. Medic dials SSH
# itself (docker_dialled), so the SDK is told that its own SSH transport is not there: None in sys.modules makes an import fail
# (docs.python.org/3.11/reference/import.html, "The module cache"), which docker/transport/__init__.py (7.2) takes as just that.
sys.modules.setdefault("docker.transport.sshconn", None)  # type: ignore[arg-type]  # typeshed leaves out the None that Python defines

import docker
import docker.errors

from agent.adapters import docker_dialled, docker_door, docker_errors, docker_facts, docker_stream
from agent.adapters.docker_memory import InspectMemory, Row
from agent.errors import OutsideError
from agent.model import COMPOSE_PROJECT, ContainerEvent, ContainerFacts, ContainerState, Host, HostName, ProjectSeen
from agent.ports import Clock

logger = logging.getLogger(__name__)

TIMEOUT = timedelta(seconds=5)
"""For one request. The SDK's own default is 60 s, longer than many beats."""
POOLS = 4
"""Kept connections per host, about: the SDK keeps one per address it was asked for, and every inspect is another address."""
INSPECT_BUDGET = timedelta(seconds=2)
"""For all inspects of one list call: an engine may list at once and hang in an inspect (moby#33136)."""
LOG_DEADLINE = timedelta(seconds=2)
"""For reading one log, whatever its size."""
LOG_ENTRIES = 64
"""Log entries asked for first. An entry is at most 16 KiB (longer lines are stored in parts), so this is 1 MiB at most."""
EVENTS_LIMIT = 1_048_576
"""Bytes of remembered events read at most; the engine remembers 256."""
VERSION_LIMIT = 65_536
"""Bytes of the engine's account of itself read at most."""
EXEC_POLL = timedelta(milliseconds=10)
"""Between looks at a program whose output has ended and whose exit code is not there yet."""
GONE = 404
STOP_MARGIN = timedelta(seconds=3)
"""For the engine to answer, once a container has had its grace."""
SILENCE = timedelta(seconds=5)
"""Without an event after which the engine is asked whether it is still there."""

_VENDOR = (docker.errors.DockerException, OSError)
"""What the SDK raises: its own errors, those of requests and the operating system's (requests' are OSErrors, too)."""

EVENTS = ("create", "start", "restart", "die", "oom", "kill", "stop", "pause", "unpause", "rename", "destroy", "health_status")


class DockerEngine:
    """`ports.Containers` on real engines. Safe to share between threads; `close` it in the end."""

    def __init__(
        self,
        hosts: Sequence[Host],
        clock: Clock,
        *,
        far: Mapping[HostName, docker_stream.Dial] = MappingProxyType({}),
        late: Mapping[HostName, timedelta] = MappingProxyType({}),
        bare: Mapping[HostName, docker_stream.Greet] = MappingProxyType({}),
        timeout: timedelta = TIMEOUT,
        silence: timedelta = SILENCE,
    ) -> None:
        """far: how to connect to the engines of hosts that are not this machine. late: those whose answers come whole, and
        so much later than over a connection. bare: hosts without an engine: their list is empty as long as they answer."""
        self._urls = {host.name: host.docker for host in hosts}
        self._far = dict(far)
        self._late = dict(late)
        self._bare = dict(bare)
        self._clock = clock
        self._timeout = timeout.total_seconds()
        self._silence = silence.total_seconds()
        self._clients: dict[HostName, docker.APIClient] = {}
        self._memories = {host.name: InspectMemory() for host in hosts}

    def close(self) -> None:
        """Close every kept connection."""
        while self._clients:
            self._clients.popitem()[1].close()

    def list(self, host: HostName) -> tuple[ContainerFacts, ...]:
        """List all containers of a host in one call, and inspect those that started, stopped or are new since the last call."""
        if host in self._bare:
            self._bare[host](self._timeout)
            return ()
        with self._outside(host, f"cannot list the containers of host {host!r}"):
            client = self._client(host)
            began = self._clock.monotonic()
            listed = client.containers(all=True)
            ended = self._clock.monotonic()
            if not isinstance(listed, list):
                raise ConnectionError("the list of containers is not a list")
            rows = [
                Row(facts=docker_facts.from_list(row), attachments=docker_facts.attachments(row))
                for row in listed
                if isinstance(row, dict)
            ]
            look = self._bounded_inspect(client, until=ended + self._within(host, INSPECT_BUDGET.total_seconds()))
            return self._memories[host].complete(rows, began=began, ended=ended, inspect=look)

    def inspect(self, host: HostName, container: str) -> ContainerFacts:
        """Return all facts of one container; state MISSING when the engine answers that it has none of that name."""
        with self._outside(host, f"cannot inspect container {container!r}"):
            try:
                return docker_facts.from_inspect(_found(self._client(host), container))
            except docker.errors.NotFound:
                return ContainerFacts(name=container, id="", state=ContainerState.MISSING, status="no such container")

    def logs(self, host: HostName, container: str, *, limit: int, since: datetime | None = None) -> bytes:
        """Return the last `limit` bytes of stdout and stderr since a moment, in `LOG_DEADLINE` whatever the size of the log.

        Raises OutsideError, not transient where the container's log driver keeps nothing to read.
        """
        with self._outside(host, f"cannot read the log of container {container!r}"):
            found = _found(self._client(host), container)
            terminal = "Config" in found and found["Config"].get("Tty") is True
            return self._tail(host, str(found["Id"]), limit=limit, since=since, terminal=terminal)

    def events(self, host: HostName, container: str, *, since: datetime) -> tuple[ContainerEvent, ...]:
        """Return the container's events from `since` until now that the engine still remembers (its last 256 of all), oldest first."""
        with self._outside(host, f"cannot read the events of container {container!r}"):
            said = self._events(host, {"container": (container,)}, since)
        # Docker's container filter takes prefixes: `web` brings `web2` along.
        return tuple(event for event in said if event.container == container)

    def project(self, host: HostName, name: str, *, since: datetime) -> ProjectSeen:
        """Return a Compose project by its label: its containers, and their events as `events` does."""
        label = f"{COMPOSE_PROJECT}={name}"
        with self._outside(host, f"cannot look at the Compose project {name!r}"):
            rows = self._client(host).containers(all=True, filters={"label": label})
            names = (docker_facts.from_list(row).name for row in rows)
            return ProjectSeen(
                name=name, events=self._events(host, {"label": (label,)}, since), containers=tuple(sorted(names))
            )

    def _events(self, host: HostName, of: Mapping[str, Sequence[str]], since: datetime) -> tuple[ContainerEvent, ...]:
        until = self._clock.monotonic() + self._within(host, self._timeout)
        span = {"since": _stamp(since), "until": _stamp(self._clock.now())}
        filters = {"type": ["container"], "event": list(EVENTS), **of}
        target = f"/events?{urlencode({**span, 'filters': json.dumps(filters)})}"
        with self._stream(host, target, until) as stream:
            said = docker_stream.first(stream.chunks(until), EVENTS_LIMIT)
        return tuple(event for line in said.splitlines() if (event := _event(line)) is not None)

    def follow(self, host: HostName, stop: Callable[[], bool]) -> Iterator[ContainerEvent]:
        """Yield events as they happen until `stop()`, heard within 0.2 s.

        Raises OutsideError when the connection ends, and when the engine has been silent and does not answer a ping either.
        """
        if host in self._late:
            raise OutsideError(
                f"cannot follow the events of host {host!r}: its answers come whole, once they have ended", transient=False
            )
        target = f"/events?{urlencode({'filters': json.dumps({'type': ['container'], 'event': list(EVENTS)})})}"
        with self._outside(host, f"cannot follow the events of host {host!r}"):
            try:
                with self._stream(host, target, self._clock.monotonic() + self._timeout, stop=stop) as stream:
                    for line in self._lines(host, stream, stop):
                        if (event := _event(line)) is not None:
                            yield event
            except docker_stream.StopAskedError:
                return

    def exec(
        self, host: HostName, container: str, argv: tuple[str, ...], *, timeout: timedelta, limit: int
    ) -> tuple[int, bytes]:
        """Run a program inside a running container; return its exit code and the first `limit` bytes of stdout and stderr.

        Past `timeout` it raises OutsideError, but Docker has no call that ends what an exec started: the program may
        remain inside. So run only what ends by itself (`nginx -T`), or bound it with a `timeout` that the container has.
        """
        until = self._clock.monotonic() + self._within(host, timeout.total_seconds())
        with self._outside(host, f"cannot run {' '.join(argv)!r} in container {container!r}"):
            client = self._client(host)
            made = client.exec_create(str(_found(client, container)["Id"]), [*argv], stdin=False)["Id"]
            with self._stream(host, f"/exec/{made}/start", until, body={"Detach": False, "Tty": False}) as stream:
                output = docker_stream.first(docker_stream.demultiplex(stream.chunks(until)), limit)
            while (code := client.exec_inspect(made)["ExitCode"]) is None:
                if self._clock.monotonic() >= until:
                    raise docker_stream.UnfinishedError("it did not end in time")
                self._clock.sleep(EXEC_POLL)
            return int(code), output

    def stop(self, host: HostName, container: str, grace: timedelta) -> None:
        """Send SIGTERM, and SIGKILL once `grace` is over, as `ports.Stopper` says. Raises OutsideError."""
        until = self._clock.monotonic() + (grace + STOP_MARGIN).total_seconds()
        with self._outside(host, f"cannot stop container {container!r}"):
            try:
                found = _found(self._client(host), container)
                target = f"/containers/{found['Id']}/stop?t={max(int(grace.total_seconds()), 1)}"
                self._stream(host, target, until, body={}).close()
            except docker.errors.NotFound:
                return
            except docker_stream.EngineRefusalError as exc:
                if exc.status != GONE:
                    raise

    def refuses(self, host: HostName) -> tuple[str, ...]:
        """Return what the engine, or a door before it, refuses; asked again each time, since a door may be opened."""
        with self._outside(host, f"cannot ask what Docker on host {host!r} allows"):
            until = self._clock.monotonic() + self._within(host, self._timeout)
            return docker_door.refused(self._dial(host), self._clock, until)

    def has_image(self, host: HostName, image: str) -> bool:
        """Say whether an image is there, without asking any registry. Raises OutsideError."""
        with self._outside(host, f"cannot look for image {image!r}"):
            try:
                self._client(host).inspect_image(image)  # type: ignore[no-untyped-call]  # the SDK leaves it untyped
            except docker.errors.ImageNotFound:
                return False
            return True

    def named(self, host: HostName, prefix: str) -> tuple[str, ...]:
        """Return every container, network and volume whose name begins with `prefix`, by kind and name. Raises OutsideError."""
        with self._outside(host, f"cannot look for what is named {prefix!r}"):
            client = self._client(host)
            found = [("container", name.lstrip("/")) for row in client.containers(all=True) for name in row["Names"]]
            found += [("network", str(row["Name"])) for row in client.networks()]
            found += [("volume", str(row["Name"])) for row in client.volumes()["Volumes"] or ()]
            return tuple(f"{kind} {name}" for kind, name in found if name.startswith(prefix))

    def _tail(self, host: HostName, id_: str, *, limit: int, since: datetime | None, terminal: bool) -> bytes:
        """Read backwards in steps: `tail` counts entries, not bytes, and reading a big log from its start takes too long."""
        until = self._clock.monotonic() + self._within(host, LOG_DEADLINE.total_seconds())
        entries, kept = LOG_ENTRIES, b""
        while True:
            query = urlencode({"stdout": 1, "stderr": 1, "tail": entries, **({"since": _stamp(since)} if since else {})})
            try:
                with self._stream(host, f"/containers/{quote(id_, safe='')}/logs?{query}", until) as stream:
                    chunks = stream.chunks(until)
                    found = docker_stream.last(chunks if terminal else docker_stream.demultiplex(chunks), limit)
            except (TimeoutError, OutsideError):  # too late, or too long for the way here
                if not kept:
                    raise
                return kept  # the shorter tail is a true tail, too
            if len(found) >= limit or len(found) <= len(kept):
                return found
            kept = found
            # Aim at the limit with the entry size just seen, and a little over it.
            entries *= 1 + limit // len(found)

    def _lines(self, host: HostName, stream: docker_stream.Stream, stop: Callable[[], bool]) -> Iterator[bytes]:
        """Yield whole lines of an endless answer, asking a silent engine whether it is still there."""
        rest = b""
        while True:
            chunk = stream.read(self._clock.monotonic() + self._silence)
            if chunk == b"":
                raise ConnectionError("the engine ended the event stream")
            if chunk is None:
                self._stream(host, "/_ping", self._clock.monotonic() + self._timeout, stop=stop).close()
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > EVENTS_LIMIT:
                raise ConnectionError("the engine sent an event without an end")
            yield from lines

    def _bounded_inspect(self, client: docker.APIClient, *, until: float) -> Callable[[str], ContainerFacts | None]:
        """Return an inspect that gives None for a vanished container, and for all of them once the budget is spent."""
        spent = False

        def inspect(id_: str) -> ContainerFacts | None:
            nonlocal spent
            if spent or self._clock.monotonic() >= until:
                return None
            try:
                return docker_facts.from_inspect(client.inspect_container(id_))
            except docker.errors.NotFound:
                return None
            except _VENDOR as exc:
                spent = True
                logger.debug("cannot inspect a listed container", extra={"container_id": id_, "cause": str(exc)})
                return None

        return inspect

    def _client(self, host: HostName) -> docker.APIClient:
        client = self._clients.get(host)
        if client is None:
            # The SDK would ask for the version itself, but leaks a socket for every engine that is not there (docker 7.2).
            version = self._api_version(host)
            within = self._within(host, self._timeout)
            made = docker.APIClient(self._url(host), version=version, timeout=within, num_pools=POOLS)  # type: ignore[arg-type]  # requests takes fractions
            if host in self._far:
                docker_dialled.go_over(made, self._far[host])
            made.trust_env = False  # no proxy and no .netrc stands between us and an engine; saves reading both for every call
            client = self._clients.setdefault(host, made)
            if client is not made:  # another thread was first
                made.close()
        return client

    def _api_version(self, host: HostName) -> str:
        until = self._clock.monotonic() + self._within(host, self._timeout)
        with self._stream(host, "/version", until) as stream:
            said = docker_stream.first(stream.chunks(until), VERSION_LIMIT)
        try:
            return str(json.loads(said)["ApiVersion"])
        except (ValueError, KeyError, TypeError) as exc:
            raise ConnectionError("it does not tell its API version") from exc

    def _stream(
        self,
        host: HostName,
        target: str,
        until: float,
        *,
        body: Mapping[str, object] | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> docker_stream.Stream:
        method = "GET" if body is None else "POST"
        return docker_stream.open_stream(self._dial(host), method, target, clock=self._clock, until=until, body=body, stop=stop)

    def _within(self, host: HostName, seconds: float) -> float:
        late = self._late.get(host)
        return seconds if late is None else seconds + late.total_seconds()

    def _dial(self, host: HostName) -> docker_stream.Dial:
        return self._far.get(host) or functools.partial(docker_stream.connect, self._url(host))

    def _url(self, host: HostName) -> str:
        try:
            url = self._urls[host]
        except KeyError:
            raise OutsideError(f"cannot reach host {host!r}: no such host is declared", transient=False) from None
        if url is None:
            raise OutsideError(f"cannot ask Docker on host {host!r}: it is declared without (docker: none)", transient=False)
        return url

    @contextmanager
    def _outside(self, host: HostName, doing: str) -> Iterator[None]:
        """Turn whatever the SDK, the socket or the engine raises into one OutsideError that says what is wrong."""
        try:
            yield
        except docker.errors.APIError as exc:
            raise docker_errors.refused(doing, exc.status_code or 404, exc.explanation or str(exc)) from exc
        except docker_stream.EngineRefusalError as exc:
            raise docker_errors.refused(doing, exc.status, str(exc)) from exc
        except _VENDOR as exc:
            # The next call starts afresh: the engine may come back with another API version.
            gone = self._clients.pop(host, None)
            if gone is not None:
                gone.close()
            place = f"{self._url(host)} of host {host!r}" if host in self._far else self._url(host)
            raise docker_errors.unreachable(doing, place, exc) from exc


def _found(client: docker.APIClient, container: str) -> dict[str, Any]:
    """Return what inspect says. Docker also takes a prefix of an id for a name: `cafe` must not find `cafe12...`."""
    found: Any = client.inspect_container(container)  # the SDK's type promises a shape that only the engine can keep
    if not isinstance(found, dict) or "Id" not in found or "Name" not in found:
        raise ConnectionError("what it tells of a container has no name and id")
    if container not in (str(found["Name"]).removeprefix("/"), found["Id"]):
        raise docker.errors.NotFound(f"no such container: {container}")
    return found


def _event(line: bytes) -> ContainerEvent | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return docker_facts.event(said) if isinstance(said, Mapping) else None


def _stamp(moment: datetime) -> str:
    """Return a time as the engine takes it: `seconds.nanoseconds` since 1970."""
    seconds, micros = divmod(round(moment.astimezone(UTC).timestamp() * 1_000_000), 1_000_000)
    return f"{seconds}.{micros:06d}000"
