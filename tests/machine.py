"""A make-believe machine for whole-heal stories: containers that can break, and playbooks that do what the story says.

One object stands for everything outside (`ports.Prober`, `Containers`, `HostFiles`, `Playbooks`), so that what a playbook
changes is what the next look sees. Time moves only when the code under test waits.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from agent.model import (
    COMPOSE_PROJECT,
    Blind,
    ContainerEvent,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    GpuRequest,
    GpuSeen,
    HostName,
    HttpRequest,
    HttpSeen,
    Network,
    Observation,
    Plan,
    PlaybookRun,
    ProbeRequest,
    ProjectSeen,
    RunEnd,
    TaskResult,
    TcpRequest,
    TcpSeen,
)
from tests.fakes import FakeClock


@dataclass
class Box:
    """One container of the machine."""

    facts: ContainerFacts
    answers: bool = True
    """Whether its HTTP endpoint answers 200 while it runs."""
    says: HttpSeen | None = None
    """What its endpoint answers instead of 200."""
    log: bytes = b"ready\n"
    answers_on: set[int] | None = None
    """The only ports that answer; None for all."""


@dataclass
class Machine:
    """Containers by name, plus what each playbook does to them."""

    clock: FakeClock
    boxes: dict[str, Box] = field(default_factory=dict)
    effects: dict[str, Callable[[], RunEnd | None]] = field(default_factory=dict)
    """Runbook id -> what its playbook does to the machine. Returns how it ended; None for COMPLETED."""
    played: list[str] = field(default_factory=list)
    """`<runbook> <run id>` of every playbook that was really started, in order: the ground truth of the ledger."""
    target: str | None = None
    """The container that the playbook under way was given."""
    markers: dict[str, bool] = field(default_factory=dict)
    said: list[ContainerEvent] = field(default_factory=list)
    files: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    """Path -> content and when it was written."""
    dies_at: dict[str, datetime] = field(default_factory=dict)
    """Container -> when it dies by itself; looked up at every question."""
    blind: str | None = None
    wrong_key: bool = False
    """With `blind`: it is blind because another key than the pinned one was shown."""
    """Set: the Docker engine cannot be asked, and why."""
    no_network: bool = False
    """Set: nothing answers over the network, the control targets neither."""
    gpus: dict[str, GpuSeen] = field(default_factory=dict)
    """Host -> what a look at its GPUs gives."""
    refused: tuple[str, ...] = ()
    """What Docker, or a door before it, refuses Medic."""
    project_of: dict[str, str] = field(default_factory=dict)
    """Container -> the Compose project it is of, also after it is gone."""
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # ------------------------------------------------------------------------------------------------------ story words

    def add(self, name: str) -> Box:
        """Start a healthy container that has been up for an hour."""
        up = self.clock.now() - timedelta(hours=1)
        facts = ContainerFacts(
            name=name,
            id=f"{next(self._ids):064x}",
            state=ContainerState.RUNNING,
            image="app:1",
            image_id="sha256:" + "a" * 64,
            status="Up 1 hour",
            networks=(Network(name="net", address=f"10.0.0.{len(self.boxes) + 2}"),),
            started_at=up,
        )
        self.boxes[name] = Box(facts=facts)
        return self.boxes[name]

    def crash(self, name: str, *, exit_code: int = 1, oom: bool = False, log: bytes = b"") -> None:
        """The main process ends by itself."""
        box = self.boxes[name]
        box.log += log
        box.facts = replace(
            box.facts,
            state=ContainerState.EXITED,
            status=f"Exited ({exit_code}) 1 second ago",
            exit_code=exit_code,
            oom_killed=oom,
            finished_at=self.clock.now(),
        )
        self._say(name, "die", exit_code=exit_code)

    def stop_by_hand(self, name: str) -> None:
        """`docker stop`, by a person."""
        self._say(name, "kill", signal="15")
        self.crash(name, exit_code=143)
        self._say(name, "stop")

    def start(self, name: str) -> None:
        """The container runs again, from now on."""
        box = self.boxes[name]
        box.facts = replace(
            box.facts,
            state=ContainerState.RUNNING,
            status="Up 1 second",
            exit_code=None,
            oom_killed=None,
            started_at=self.clock.now(),
        )
        self._say(name, "start")

    def remove(self, name: str) -> None:
        """`docker rm -f`, without a `stop` before it."""
        self._say(name, "kill", signal="9")
        self._say(name, "die", exit_code=137)
        self._say(name, "destroy")
        del self.boxes[name]

    def compose(self, *names: str, project: str) -> None:
        """Let containers be of a Compose project, as their labels say."""
        for name in names:
            self.project_of[name] = project
            self.boxes[name].facts = replace(self.boxes[name].facts, labels=((COMPOSE_PROJECT, project),))

    def compose_up(self, name: str) -> None:
        """Compose replaces one container of a project: another id, the same name."""
        self.stop_by_hand(name)
        project = self.project_of[name]
        del self.boxes[name]
        self._say(name, "destroy")
        self.add(name)
        self.compose(name, project=project)
        self._say(name, "create")
        self.start(name)

    def restart_by_others(self, name: str) -> None:
        """`docker restart`, by a person or another healer."""
        self.stop_by_hand(name)
        self.start(name)
        self.boxes[name].facts = replace(self.boxes[name].facts, restart_count=0)
        self._say(name, "restart")

    def restart_by_policy(self, name: str, count: int) -> None:
        """It dies and Docker starts it again, for the `count`-th time since somebody started it."""
        self.crash(name)
        self.start(name)
        self.boxes[name].facts = replace(self.boxes[name].facts, restart_count=count, restart_policy="always")

    def _say(self, name: str, action: str, *, exit_code: int | None = None, signal: str | None = None) -> None:
        project, at = self.project_of.get(name), self.clock.now()
        self.said.append(
            ContainerEvent(container=name, action=action, at=at, exit_code=exit_code, signal=signal, project=project)
        )

    # ------------------------------------------------------------------------------------------------------ ports.Prober

    def ask(self, requests: Sequence[ProbeRequest], deadline: timedelta) -> Mapping[ProbeRequest, Observation]:
        self.clock.move(timedelta(milliseconds=20))
        for name in [name for name, moment in self.dies_at.items() if moment <= self.clock.now()]:
            del self.dies_at[name]
            self.crash(name, exit_code=3)
        return {request: self._answer(request) for request in requests}

    def _answer(self, request: ProbeRequest) -> Observation:
        match request:
            case ContainersRequest():
                if self.blind:
                    return Blind(why=self.blind, security=self.wrong_key)
                return ContainersSeen(containers=tuple(box.facts for box in self.boxes.values()))
            case HttpRequest() if self.no_network:
                return HttpSeen(status=None, latency=request.timeout, error="timeout")
            case TcpRequest():
                return TcpSeen(connected=not self.no_network, latency=timedelta(milliseconds=1))
            case HttpRequest():
                box = next((b for b in self.boxes.values() if f"//{b.facts.networks[0].address}:" in request.url), None)
                if box is None or box.facts.state is not ContainerState.RUNNING:
                    return HttpSeen(status=None, latency=timedelta(milliseconds=1), error="connection-refused")
                deaf = box.answers_on is not None and not any(f":{port}/" in request.url for port in box.answers_on)
                if not box.answers or deaf:
                    return HttpSeen(status=None, latency=request.timeout, error="timeout")
                return box.says or HttpSeen(status=200, latency=timedelta(milliseconds=3), body="ok")
            case GpuRequest() if request.host in self.gpus:
                return self.gpus[request.host]
            case _:
                return Blind(why="the make-believe machine does not answer this")

    # -------------------------------------------------------------------------------------------------- ports.Containers

    def list(self, host: HostName) -> tuple[ContainerFacts, ...]:
        return tuple(box.facts for box in self.boxes.values())

    def inspect(self, host: HostName, container: str) -> ContainerFacts:
        box = self.boxes.get(container)
        return box.facts if box else ContainerFacts(name=container, id="", state=ContainerState.MISSING)

    def logs(self, host: HostName, container: str, *, limit: int, since: datetime | None = None) -> bytes:
        return self.boxes[container].log[-limit:] if container in self.boxes else b""

    def events(self, host: HostName, container: str, *, since: datetime) -> tuple[ContainerEvent, ...]:
        return tuple(event for event in self.said if event.container == container and event.at >= since)

    def project(self, host: HostName, name: str, *, since: datetime) -> ProjectSeen:
        events = tuple(event for event in self.said if event.project == name and event.at >= since)
        return ProjectSeen(name=name, events=events, containers=tuple(b for b in self.boxes if self.project_of.get(b) == name))

    def refuses(self, host: HostName) -> tuple[str, ...]:
        return self.refused

    def follow(self, host: HostName, stop: Callable[[], bool]) -> Iterator[ContainerEvent]:
        yield from ()

    # --------------------------------------------------------------------------------------------------- ports.HostFiles

    def digest(self, host: HostName, path: str) -> str | None:
        return hashlib.sha256(self.files[path][0]).hexdigest() if path in self.files else None

    def read(self, host: HostName, path: str, *, limit: int) -> bytes | None:
        return self.files[path][0][:limit] if path in self.files else None

    def size(self, host: HostName, path: str) -> int | None:
        return len(self.files[path][0]) if path in self.files else None

    def usage(self, host: HostName, path: str) -> tuple[float, float] | None:
        return None

    def modified(self, host: HostName, path: str) -> datetime | None:
        return self.files[path][1] if path in self.files else None

    # --------------------------------------------------------------------------------------------------- ports.Playbooks

    def run(
        self,
        plan: Plan,
        *,
        run_id: str,
        check: bool,
        on_task: Callable[[TaskResult], None],
        should_stop: Callable[[], str | None],
    ) -> PlaybookRun:
        if check:
            return PlaybookRun(end=RunEnd.COMPLETED, message="", diff=f"would run {plan.playbook}")
        self.played.append(f"{plan.runbook} {run_id}")
        self.target = json.loads(dict(plan.parameters).get("container", "null"))
        self.markers[run_id] = False
        self.clock.move(timedelta(seconds=1))
        effect = self.effects.get(plan.runbook)
        end = (effect() if effect else None) or RunEnd.COMPLETED
        on_task(TaskResult(name=plan.title, status="changed"))
        self.markers[run_id] = end is RunEnd.COMPLETED
        return PlaybookRun(end=end, message="")

    def finished(self, plan: Plan, *, run_id: str) -> bool | None:
        return self.markers.get(run_id)
