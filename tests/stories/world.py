"""The world of a story: the make-believe machine, the memory store and engine, the shipped rules, two plain runbooks.

`Ward` plays the daemon: `beat()` is one sweep, and a heal that it starts runs to its end inside it, on the fake clock.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from agent import heal, rule_file
from agent.adapters.bundles import BundleFiles
from agent.adapters.good_copies import GoodCopyFiles
from agent.adapters.reports import ReportFiles
from agent.errors import LeaseLost
from agent.model import (
    ContainerCheck,
    ContainerState,
    FleetLimits,
    Health,
    HostName,
    HttpCheck,
    Incident,
    IncidentId,
    Limits,
    Parameter,
    ParameterSource,
    Permissions,
    Plan,
    Plane,
    ProbeRequest,
    Rerun,
    Risk,
    Runbook,
    RunbookId,
    RunSpec,
    Service,
    ServiceName,
    StoryKind,
    Thresholds,
)
from agent.ports import Advisor, Engine, Store, World
from agent.sweep import Sweep
from tests.fakes import FakeClock
from tests.machine import Machine
from tests.memory_engine import MemoryEngine
from tests.memory_store import memory_store

HOST = HostName("local")
EVERY = timedelta(seconds=5)
RULES = rule_file.load_rules(Path(heal.__file__).parent / "rules")
REPORTS = ReportFiles(str)


def container_check() -> ContainerCheck:
    return ContainerCheck(name="container", every=EVERY, thresholds=Thresholds(sick_after=1))


def http_check() -> HttpCheck:
    return HttpCheck(
        name="http",
        every=EVERY,
        thresholds=Thresholds(sick_after=2, well_after=2),
        plane=Plane.DIRECT,
        url="http://container:8000/health",
        timeout=timedelta(seconds=2),
    )


def service(name: str, *, limits: Limits | None = None) -> Service:
    return Service(
        name=ServiceName(name),
        host=HOST,
        container=name,
        checks=(container_check(), http_check()),
        limits=limits or Limits(),
        spec=RunSpec(image="app:1"),
    )


def runbook(
    id_: str,
    *,
    symptoms: tuple[str, ...],
    states: tuple[ContainerState, ...],
    rung: int,
    rerun: Rerun = Rerun.SAFE,
    undo: str | None = None,
) -> Runbook:
    return Runbook(
        id=RunbookId(id_),
        title=id_.replace("-", " "),
        treats_causes=(),
        treats_symptoms=symptoms,
        never_for=(),
        container_states=states,
        needs=(),
        rung=rung,
        risk=Risk.SAFE,
        parameters=(Parameter(name="container", kind="string", source=ParameterSource.CONTAINER),),
        playbook=f"{id_}.yml",
        timeout=timedelta(seconds=60),
        settle=timedelta(seconds=1),
        rerun=rerun,
        undo=RunbookId(undo) if undo else None,
        evidence_required=True,
        hash=id_.ljust(64, "0"),
        tested=True,
    )


START = runbook("start-container", symptoms=("container-exited",), states=(ContainerState.EXITED,), rung=10)
RESTART = runbook("restart-container", symptoms=("http-timeout",), states=(ContainerState.RUNNING,), rung=20)
RECREATE = runbook("recreate-container", symptoms=("container-exited", "container-missing", "http-timeout"), states=(), rung=40)


@dataclass
class HaltSwitch:
    """A `ports.KillSwitch` that a story flips."""

    why: str | None = None

    def halted(self) -> str | None:
        return self.why


@dataclass
class Shelf:
    """A `ports.Catalogue` over the runbooks of a ward, which a story may edit while the daemon runs."""

    ward: "Ward"

    def runbooks(self) -> tuple[Runbook, ...]:
        return self.ward.runbooks

    def changed(self, plan: Plan) -> str | None:
        on_disk = {runbook.id: runbook.hash for runbook in self.ward.runbooks} | self.ward.broken
        same = on_disk.get(plan.runbook) == plan.runbook_hash
        return None if same else f"{plan.runbook} is not what it was when it was chosen"


@dataclass
class Lent:
    """A `ports.Lease` that a story takes away, as another Medic does."""

    place: str = "here"
    taken: bool = False
    taken_after: int | None = None
    """How often it is still confirmed before it is taken away."""

    def held(self) -> bool:
        return not self.taken

    def until(self) -> float | None:
        return None

    def confirm(self) -> None:
        if self.taken_after is not None:
            self.taken, self.taken_after = self.taken_after == 0, self.taken_after - 1
        if self.taken:
            raise LeaseLost("change anything", "another Medic has taken over")


@dataclass
class Ward:
    """One daemon in a story. `reboot` is what a crash and a restart leave: the store, the engine's memory, the machine."""

    folder: Path
    services: tuple[Service, ...]
    runbooks: tuple[Runbook, ...] = (START, RESTART, RECREATE)
    clock: FakeClock = field(default_factory=FakeClock)
    halt: HaltSwitch = field(default_factory=HaltSwitch)
    lease: Lent = field(default_factory=Lent)
    fleet_limits: FleetLimits = field(default_factory=FleetLimits)
    permissions: Permissions = field(default_factory=Permissions)
    control: tuple[ProbeRequest, ...] = ()
    broken: dict[RunbookId, str] = field(default_factory=dict)
    """Runbooks whose files were edited into something that cannot be read: the catalogue still has what was before."""
    redact: Callable[[str], str] = str
    store: Store = field(default_factory=memory_store)
    advisor: Callable[["Ward"], Advisor | None] = lambda _ward: None
    """Makes the second opinion, anew with every start of the daemon."""

    def __post_init__(self) -> None:
        self.machine = Machine(self.clock)
        for each in self.services:
            self.machine.add(each.container)
        self.machine.effects = {
            "start-container": lambda: self.machine.start(self.services[0].container),
            "restart-container": lambda: self._answer_again(),
        }
        for each in self.services:
            self.store.services.enrol(each, now=self.clock.now())
        self.engine = MemoryEngine(self._body, self.clock)
        self.reboot()

    def _answer_again(self) -> None:
        self.machine.boxes[self.services[0].container].answers = True

    def reboot(self) -> None:
        """The daemon starts: nothing it held in memory is left, and the engine resumes what was cut."""
        self.world = self._world()
        self.sweep = Sweep(self.world, self.engine, (HOST,), discover=True, control=self.control)
        self.engine.launch()

    def _world(self) -> World:
        return World(
            clock=self.clock,
            prober=self.machine,
            containers=self.machine,
            files=self.machine,
            playbooks=self.machine,
            kill_switch=self.halt,
            lease=self.lease,
            store=self.store,
            bundles=BundleFiles(self.folder),
            good_copies=GoodCopyFiles(self.folder),
            catalogue=Shelf(self),
            rules=RULES,
            reports=REPORTS,
            redact=self.redact,
            channels=("ops",),
            permissions=self.permissions,
            fleet_limits=self.fleet_limits,
            stopping=lambda: False,
            advisor=self.advisor(self),
        )

    def _body(self, incident: IncidentId, steps: Engine) -> "heal.Ending":
        return heal.heal(incident, steps, self.world)

    # ---------------------------------------------------------------------------------------------------- story words

    def beat(self, times: int = 1) -> None:
        """Let `times` intervals pass, with a sweep at the end of each."""
        for _ in range(times):
            self.clock.move(EVERY)
            self.sweep.beat(int(self.clock.now().timestamp() // EVERY.total_seconds()))

    def beat_until(self, true: Callable[[], bool], *, at_most: int = 20) -> None:
        for _ in range(at_most):
            if true():
                return
            self.beat()
        assert true(), f"it did not happen within {at_most} beats"

    def incident(self, service_name: str) -> Incident:
        """Return the newest incident of a service."""
        recent = self.store.incidents.recent(service=ServiceName(service_name), limit=1)
        assert recent, f"{service_name} has no incident"
        return recent[0]

    def incidents(self) -> tuple[Incident, ...]:
        return self.store.incidents.recent()

    def told(self, incident: IncidentId) -> list[StoryKind]:
        return [event.kind for event in self.store.story.since(0, incident=incident)]

    def notices(self) -> list[str]:
        """The dedup keys of every notice that was posted, in order."""
        return [delivery.notice.dedup_key for delivery in self.store.outbox.due(self.clock.now(), limit=100)]

    def health(self, name: str) -> Health:
        verdict = self.sweep.nudge(ServiceName(name))
        assert verdict is not None
        return verdict.health
