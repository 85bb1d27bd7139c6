"""A Docker engine in memory: `ports.Containers` over containers that a test makes, breaks and removes by hand."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from agent.errors import OutsideError
from agent.model import COMPOSE_PROJECT, ContainerEvent, ContainerFacts, ContainerState, HostName, ProjectSeen
from agent.ports import Clock

LOCAL = HostName("local")


class FakeContainers:
    """One engine per host name. `unreachable` makes every call fail as a refused socket does; `refused` is what a door forbids."""

    def __init__(self, clock: Clock, hosts: tuple[HostName, ...] = (LOCAL,)) -> None:
        self._clock = clock
        self._held: dict[HostName, dict[str, ContainerFacts]] = {host: {} for host in hosts}
        self._logs: dict[str, list[tuple[datetime, bytes]]] = {}
        self._events: list[tuple[HostName, ContainerEvent]] = []
        self._projects: dict[str, str | None] = {}
        self._ids = itertools.count(1)
        self.unreachable = False
        self.refused: tuple[str, ...] = ()

    # What a test does to it

    def start(self, name: str, host: HostName = LOCAL, **facts: object) -> ContainerFacts:
        """Start a container of that name, new or known; `facts` replace any field of `ContainerFacts`."""
        id_ = hashlib.sha256(f"{name} {next(self._ids)}".encode()).hexdigest()
        now = self._clock.now()
        fresh = ContainerFacts(
            name=name, id=id_, state=ContainerState.RUNNING, image_id="sha256:" + "0" * 64, status="Up 1 second"
        )
        known = self._held[host].get(name, fresh)
        self._held[host][name] = replace(
            known, **{"state": ContainerState.RUNNING, "exit_code": None, "started_at": now, "finished_at": None, **facts}
        )
        self._projects[name] = dict(self._held[host][name].labels).get(COMPOSE_PROJECT)
        self._tell(host, name, "start")
        return self._held[host][name]

    def crash(self, name: str, exit_code: int, host: HostName = LOCAL, *, oom: bool = False) -> None:
        """Let its first process end."""
        self._change(
            host, name, state=ContainerState.EXITED, exit_code=exit_code, oom_killed=oom, finished_at=self._clock.now(),
            status=f"Exited ({exit_code}) 1 second ago",
        )  # fmt: skip
        if oom:
            self._tell(host, name, "oom")
        self._tell(host, name, "die", exit_code=exit_code)

    def pause(self, name: str, host: HostName = LOCAL) -> None:
        self._change(host, name, state=ContainerState.PAUSED)
        self._tell(host, name, "pause")

    def remove(self, name: str, host: HostName = LOCAL) -> None:
        del self._held[host][name]
        self._logs.pop(name, None)
        self._tell(host, name, "destroy")

    def say(self, name: str, text: bytes) -> None:
        """Append to a container's log."""
        self._logs.setdefault(name, []).append((self._clock.now(), text))

    # ports.Containers

    def list(self, host: HostName) -> tuple[ContainerFacts, ...]:
        return tuple(self._on(host).values())

    def inspect(self, host: HostName, container: str) -> ContainerFacts:
        missing = ContainerFacts(name=container, id="", state=ContainerState.MISSING, status="no such container")
        return self._on(host).get(container, missing)

    def logs(self, host: HostName, container: str, *, limit: int, since: datetime | None = None) -> bytes:
        if container not in self._on(host):
            raise OutsideError(f"cannot read the log of container {container!r}: no such container", transient=False)
        return b"".join(text for at, text in self._logs.get(container, []) if since is None or at >= since)[-limit:]

    def events(self, host: HostName, container: str, *, since: datetime) -> tuple[ContainerEvent, ...]:
        self._on(host)
        return tuple(
            event for where, event in self._events if where == host and event.container == container and event.at >= since
        )

    def project(self, host: HostName, name: str, *, since: datetime) -> ProjectSeen:
        its = [facts.name for facts in self._on(host).values() if dict(facts.labels).get(COMPOSE_PROJECT) == name]
        events = tuple(e for where, e in self._events if where == host and e.project == name and e.at >= since)
        return ProjectSeen(name=name, events=events, containers=tuple(sorted(its)))

    def refuses(self, host: HostName) -> tuple[str, ...]:
        self._on(host)
        return self.refused

    def follow(self, host: HostName, stop: Callable[[], bool]) -> Iterator[ContainerEvent]:
        told = len(self._events)
        while not stop():
            self._on(host)
            for where, event in self._events[told:]:
                if where == host:
                    yield event
            told = len(self._events)
            self._clock.sleep(timedelta(milliseconds=10))

    def _on(self, host: HostName) -> dict[str, ContainerFacts]:
        if host not in self._held:
            raise OutsideError(f"cannot reach host {host!r}: no such host is declared", transient=False)
        if self.unreachable:
            raise OutsideError(f"cannot reach host {host!r}: nothing listens at its socket", transient=True)
        return self._held[host]

    def _change(self, host: HostName, name: str, **facts: object) -> None:
        self._held[host][name] = replace(self._held[host][name], **facts)

    def _tell(self, host: HostName, name: str, action: str, exit_code: int | None = None) -> None:
        event = ContainerEvent(container=name, action=action, at=self._clock.now(), exit_code=exit_code)
        self._events.append((host, replace(event, project=self._projects.get(name))))
