"""What the agent needs from outside, as small protocols. Adapters and the store provide them; `wiring` joins the two.

Every implementation passes the contract suite of its port in `tests/contracts/`, the fake as well as the real one. Every
call that leaves the process has a deadline of its own and raises `OutsideError` (or returns `Blind`) when it cannot answer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol, TypeVar

from agent.audit import Entry
from agent.model import (
    Action,
    Answer,
    Approval,
    Asks,
    Attempt,
    AuditHead,
    AuditKind,
    AuditRow,
    Breaker,
    Closing,
    ContainerEvent,
    ContainerFacts,
    Delivery,
    Departure,
    Diagnosis,
    Escalation,
    Evidence,
    FleetLimits,
    FleetSize,
    ForeignRestart,
    GpuUse,
    Harm,
    Hold,
    HostName,
    IdleRule,
    Incident,
    IncidentId,
    Lead,
    Ledger,
    Member,
    Mode,
    ModelAnswer,
    Note,
    Notice,
    Observation,
    Outcome,
    Permissions,
    Plan,
    PlaybookRun,
    ProbeRequest,
    ProjectSeen,
    Question,
    Receipt,
    Received,
    Recorded,
    Refusal,
    ReplacementLimits,
    Request,
    RequestAnswer,
    Rule,
    Runbook,
    RunbookMark,
    Said,
    Service,
    ServiceName,
    ServiceRecord,
    Shadow,
    ShadowEnd,
    Silence,
    Spending,
    Start,
    Stay,
    StoryEvent,
    StoryKind,
    Streak,
    SweepReport,
    TaskResult,
    Tie,
    ToolSpec,
    Verdict,
)

T = TypeVar("T")

# ---------------------------------------------------------------------------------------------------- time and engine


class Clock(Protocol):
    """The only source of time, so that tests can move it."""

    def now(self) -> datetime:
        """Return the time of day, aware, UTC. Read it once per decision."""

    def monotonic(self) -> float:
        """Return seconds that never go back: for durations and deadlines."""

    def sleep(self, span: timedelta) -> None:
        """Wait. Not durable: inside one step only."""


class Engine(Protocol):
    """What the durable workflow needs. At-least-once: a step cut by a crash runs again, a finished one never does.

    Between two processes only ids and JSON made by `agent/codec.py` cross it.
    """

    def step(self, name: str, call: Callable[[], T]) -> T:
        """Run `call` once and remember its value, or return the remembered one. `name` is unique within the workflow."""

    def sleep(self, name: str, span: timedelta) -> None:
        """Wait durably: a restart waits for what is left. Nothing waits longer than a settle time here: a Hold ends the
        round instead, so no thread is held for it (docs/decisions/0003)."""


class Workflows(Protocol):
    """The other side of the engine: who starts heals."""

    def start(self, incident: IncidentId, round_: int) -> None:
        """Start `heal` for one incident in the background. The same (incident, round) twice starts once."""

    def running(self) -> tuple[IncidentId, ...]:
        """Return the incidents whose heal has not ended."""


# ------------------------------------------------------------------------------------------------------- the world


class Prober(Protocol):
    """Asks many questions at once and answers every one: an observation, or `Blind` with the reason."""

    def ask(self, requests: Sequence[ProbeRequest], deadline: timedelta) -> Mapping[ProbeRequest, Observation]:
        """Answer all `requests` within `deadline`; equal requests are asked once. Never raises for what is outside."""


class Containers(Protocol):
    """One Docker engine per host, read only."""

    def list(self, host: HostName) -> tuple[ContainerFacts, ...]:
        """List all containers in one call; those not plainly running are inspected too. Raises OutsideError."""

    def inspect(self, host: HostName, container: str) -> ContainerFacts:
        """Return all facts of one container (state MISSING when there is none). Raises OutsideError."""

    def logs(self, host: HostName, container: str, *, limit: int, since: datetime | None = None) -> bytes:
        """Return the last `limit` bytes of the container's log, stdout and stderr, written at or after `since`. Raises OutsideError."""

    def events(self, host: HostName, container: str, *, since: datetime) -> tuple[ContainerEvent, ...]:
        """Return the container's events that the engine still remembers. Raises OutsideError."""

    def project(self, host: HostName, name: str, *, since: datetime) -> ProjectSeen:
        """Return a Compose project: its containers, and their events that the engine still remembers. Raises OutsideError."""

    def refuses(self, host: HostName) -> tuple[str, ...]:
        """Return what the engine, or a door before it, refuses Medic, by the names of `agent.rights`. Raises OutsideError."""

    def follow(self, host: HostName, stop: Callable[[], bool]) -> Iterator[ContainerEvent]:
        """Yield events as they happen until `stop()` or the connection ends (OutsideError)."""


class HostFiles(Protocol):
    """Configuration files of services on a host."""

    def digest(self, host: HostName, path: str) -> str | None:
        """Return the sha256 of a file, None when there is none. Raises OutsideError."""

    def read(self, host: HostName, path: str, *, limit: int) -> bytes | None:
        """Return at most `limit` bytes of a file, None when there is none. Raises OutsideError."""

    def size(self, host: HostName, path: str) -> int | None:
        """Return the bytes of a file, None when there is none. Raises OutsideError."""

    def usage(self, host: HostName, path: str) -> tuple[float, float] | None:
        """Return which share (0 to 1) of the space and of the inodes is used on the disk that a folder or file lies on.

        As those see it who are not root. None when the path is not there. Raises OutsideError.
        """

    def modified(self, host: HostName, path: str) -> datetime | None:
        """Return when a file was last written, None when there is none. Raises OutsideError."""


class Playbooks(Protocol):
    """Runs one playbook in its guarded process. Whatever happens, nothing of it is left running."""

    def run(
        self,
        plan: Plan,
        *,
        run_id: str,
        check: bool,
        on_task: Callable[[TaskResult], None],
        should_stop: Callable[[], str | None],
    ) -> PlaybookRun:
        """Run `plan.playbook` with `plan.parameters` and return how it ended.

        run_id: names the run folder and the marker on the target, for example `I12-1`.
        check: Ansible's check mode with diff; changes nothing.
        on_task: called as each task ends.
        should_stop: asked every 100 ms; a word (`halt`, `stopping`, `lease`) ends the run with CANCELLED or INTERRUPTED.
        """

    def finished(self, plan: Plan, *, run_id: str) -> bool | None:
        """Read the marker on the target: True it finished, False it started and did not, None it never started.

        Raises OutsideError when the target cannot be asked.
        """


class FleetGroups(Protocol):
    """The groups that hosts of a fleet belong to, and what is done to them."""

    def members(self) -> tuple[Member, ...]:
        """Return every host of the groups, by instance id. Raises OutsideError."""

    def size(self, group: str = "") -> FleetSize:
        """Return how large a group is to be; without a name, the spot group. Raises OutsideError."""

    def replace(self, instance: str) -> None:
        """Let the group end one host and start another. One that is on its way out already is as good. Raises OutsideError."""

    def retire(self, instance: str) -> None:
        """Let the group end one host and become one smaller. Not safe to repeat: asked only of one in service. Raises OutsideError."""

    def complete(self, group: str, hook: str, instance: str) -> bool:
        """Let a host that waits in a hook go on; False where it does not wait there any more. Raises OutsideError."""

    def raise_on_demand_base(self, to: int) -> None:
        """Let so many hosts of the spot group be on-demand before any is spot. Raises OutsideError."""


class FleetEvents(Protocol):
    """What the cloud says of hosts: at least once, in any order, of other fleets' hosts as well."""

    def receive(self, wait: timedelta) -> tuple[Received, ...]:
        """Return some messages, waiting up to `wait` for the first. Raises OutsideError."""

    def delete(self, receipt: str) -> None:
        """Take one message off the queue. Raises OutsideError."""


class Balancer(Protocol):
    """What sends requests to hosts."""

    def leave(self, instance: str) -> None:
        """Send it no new request. One that is out already is as good. Raises OutsideError."""

    def serves(self, instance: str) -> bool:
        """Say whether it may still have requests, new ones or old; True for all of its delay. Raises OutsideError."""


class GpuMeter(Protocol):
    """What the cards of hosts do, by figures that the hosts themselves send."""

    def use(self, instances: Sequence[str], since: datetime, until: datetime) -> Mapping[str, GpuUse]:
        """Return what the cards of each host did between two moments. Raises OutsideError."""


class LastWords(Protocol):
    """Where a host's last words outlive it."""

    def keep(self, name: str, content: bytes) -> str:
        """Write one file; return where it is. Raises OutsideError."""


class Stopper(Protocol):
    """Ends containers, on a host that ends itself."""

    def stop(self, host: HostName, container: str, grace: timedelta) -> None:
        """Send SIGTERM, and SIGKILL once `grace` is over. One that does not run is as good. Raises OutsideError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet in a cloud, and what people allow there.

    balancer: None where none sends requests. warm_up: within which a replacement has to be warm. on_drought: whether the
    on-demand base is raised (ACT) or people are asked. daily_usd: for hosts and models together. price: USD an hour, on demand.
    priced_on: the day the price file was written. stack: the full name of the stack that made it, such as medic-prod.
    meter: None where nobody tells what the cards do. idle: from when on a host counts as idle.
    """

    groups: FleetGroups
    events: FleetEvents
    balancer: Balancer | None
    last_words: LastWords
    stopper: Stopper
    drain_hook: str
    warm_up: timedelta
    on_drought: Mode
    daily_usd: Decimal
    price: Callable[[str], Decimal | None]
    priced_on: str = ""
    stack: str = ""
    meter: GpuMeter | None = None
    idle: IdleRule = field(default_factory=IdleRule)
    replacements: ReplacementLimits = field(default_factory=ReplacementLimits)


class Notifier(Protocol):
    """One channel."""

    def send(self, notice: Notice) -> None:
        """Deliver one notice within the channel's deadline. Raises OutsideError."""


class KillSwitch(Protocol):
    """Whether people have said stop."""

    def halted(self) -> str | None:
        """Return who halted and why, or None. Cheap: asked before every change and every 100 ms during one."""


class Lease(Protocol):
    """The right of this Medic to change things. Where several share a store, one has it at a time."""

    @property
    def place(self) -> str:
        """Return the name of the state folder that this Medic works from (`Lead.place`)."""

    def held(self) -> bool:
        """Say whether it certainly is ours. Cheap: asked every 100 ms during a change."""

    def until(self) -> float | None:
        """Return up to when it certainly is ours, as CLOCK_BOOTTIME of this machine; None for ever."""

    def confirm(self) -> None:
        """Ask the store, right before a change. Raises LeaseLost when another leads, StoreError when it does not answer."""


class Model(Protocol):
    """A language model behind some provider. It is transport only: no retry, no fallback, no budget, no memory."""

    def complete(
        self,
        said: Sequence[Said],
        tools: Sequence[ToolSpec],
        *,
        model: str,
        deadline: timedelta,
        most_output: int,
        schema: str | None,
    ) -> ModelAnswer:
        """Ask once and return the answer. Raises ModelFault.

        said: valid by the rules of `llm/history.py`. model: a name the transport knows (`openai/gpt-5-mini`).
        deadline: over the whole call. most_output: tokens. schema: JSON schema that the text has to fit, as text.
        """


class Advisor(Protocol):
    """A second opinion where the rules are in doubt."""

    @property
    def asks(self) -> Asks:
        """Return when it wants to be asked."""

    def advise(self, question: Question) -> Diagnosis:
        """Return the diagnosis of the rules with what a model adds to it, and what came of asking. Raises StoreError while Medic stops.

        Ends within its own deadline and its budgets. Asked again in an unchanged world it says the same, and costs nothing.
        """


# ----------------------------------------------------------------------------------------------------------- the store


class LeadStore(Protocol):
    """Who leads. Every time in here is the database's own: the clocks of two hosts need not agree."""

    def take(self, holder: str, place: str, span: timedelta) -> Lead | None:
        """Lead for `span` from now if nobody does any more, or if the one that did worked from `place`. None if another does."""

    def renew(self, term: int, span: timedelta) -> bool:
        """Lead for `span` from now. False if another has taken it: then this term never leads again."""

    def release(self, term: int) -> None:
        """Let the next one take it at once. Nothing happens if another has taken it already."""

    def standing(self) -> tuple[Lead, bool] | None:
        """Return the last lead and whether it still stands; None where nobody ever led."""


class ServiceStore(Protocol):
    """Desired state."""

    def record(self, service: ServiceName) -> ServiceRecord | None:
        """Return what is kept of one service."""

    def records(self) -> tuple[ServiceRecord, ...]:
        """Return all, ordered by service."""

    def service(self, service: ServiceName) -> Service | None:
        """Return the declaration that was enrolled: what every step works from, also when the container is gone."""

    def services(self) -> tuple[Service, ...]:
        """Return every enrolled declaration, ordered by name."""

    def enrol(self, service: Service, *, now: datetime) -> None:
        """Keep a declaration: as RUNNING if the service is new, leaving its status alone if it is not."""

    def set_status(self, service: ServiceName, status: Recorded, *, by: str, diagnostic: str, now: datetime) -> None:
        """Change the desired state."""

    def seen_well(
        self,
        service: ServiceName,
        *,
        image_id: str | None,
        config_hash: str | None,
        container_id: str | None,
        environment: str | None = None,
        now: datetime,
    ) -> None:
        """Remember how the service looked when WELL: the base of "what changed"."""

    def forget(self, service: ServiceName) -> None:
        """Drop a service that a person no longer declares."""

    def streaks(self, service: ServiceName) -> tuple[Streak, ...]:
        """Return the current streak of each of its checks."""

    def all_streaks(self) -> Mapping[ServiceName, tuple[Streak, ...]]:
        """Return those of every service that has some, in one look."""

    def keep_streaks(self, service: ServiceName, streaks: Sequence[Streak]) -> None:
        """Replace the streaks."""


class IncidentStore(Protocol):
    """Incidents and their attempts. State moves by compare-and-set; every method is safe to repeat."""

    def open(self, service: Service, verdict: Verdict, *, fingerprint: str, now: datetime) -> tuple[Incident, bool]:
        """Return the service's unclosed incident of origin HEARTBEAT and False, or open one and return it and True."""

    def get(self, incident: IncidentId) -> Incident | None:
        """Return one with its attempts in order."""

    def unclosed(self, service: ServiceName | None = None) -> tuple[Incident, ...]:
        """Return incidents that are not CLOSED, oldest first."""

    def recent(self, *, service: ServiceName | None = None, limit: int = 50) -> tuple[Incident, ...]:
        """Return incidents, newest first."""

    def heals_since(self, service: ServiceName, since: datetime) -> int:
        """Count incidents of the service that closed as HEALED since then."""

    def healed_since(self, since: datetime) -> tuple[ServiceName, ...]:
        """Return the services of the incidents that closed as HEALED since then, in the order they closed."""

    def opened_since(self, since: datetime, *, fingerprint: str | None = None) -> tuple[Incident, ...]:
        """Return incidents of origin HEARTBEAT that were opened since then, oldest first; with `fingerprint`, only those."""

    def next_round(self, incident: IncidentId, *, expected: int) -> bool:
        """HELD or OPEN -> OPEN with round expected + 1. False if someone was first."""

    def keep_diagnosis(self, incident: IncidentId, diagnosis: Diagnosis) -> None:
        """Keep the latest diagnosis."""

    def hold(self, incident: IncidentId, hold: Hold, *, until: datetime) -> bool:
        """OPEN -> HELD."""

    def escalate(self, incident: IncidentId, refusal: Refusal) -> bool:
        """OPEN or HELD -> ESCALATED. False if it already was."""

    def close(self, incident: IncidentId, closing: Closing, *, by: str, now: datetime) -> bool:
        """Anything unclosed -> CLOSED. False if it already was."""

    def request(self, service: Service, verdict: Verdict, plan: Plan, *, by: str, now: datetime) -> Incident:
        """Open an incident of origin PERSON that carries out `plan` once. It stands beside the heartbeat's own incidents."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What an intent has to fit into: the budgets, asked inside the transaction that writes it."""

    since: datetime
    """Actions from then on count."""
    none_left: Callable[[Sequence[Action]], Hold | None]
    """Return why one more does not fit beside these. Pure, and may be asked more than once."""


class AttemptStore(Protocol):
    """The ledger. Intent is durable before the first change; the natural key is (incident, number)."""

    def begin(self, incident: IncidentId, number: int, plan: Plan, *, now: datetime) -> Attempt:
        """Write the intent row, or return the row that stands under this key already."""

    def reserve(self, incident: IncidentId, number: int, plan: Plan, room: "Room", *, now: datetime) -> Attempt | Hold:
        """Do as `begin` where `room` allows it, else write nothing and return its Hold. One transaction counts and writes."""

    def started(self, incident: IncidentId, number: int, *, place: str) -> int:
        """Count one more start of the playbook, and from where; return how many there are now."""

    def ran(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        """Write how the playbook ended. The first writer wins."""

    def end(
        self,
        incident: IncidentId,
        number: int,
        outcome: Outcome,
        verdict: Verdict | None,
        *,
        now: datetime,
        receipt: Receipt | None = None,
    ) -> None:
        """Write the outcome, and into the audit the receipt of one that healed. The first writer wins."""

    def looked_around(self, incident: IncidentId, number: int, around: Sequence[Verdict], ties: Sequence[Tie]) -> None:
        """Write what was seen of the neighbours before the first change, and how each is tied to it. The first writer wins."""

    def harmed(self, incident: IncidentId, number: int, harm: Harm) -> None:
        """Write what it made worse. The first writer wins."""

    def undo_started(self, incident: IncidentId, number: int, *, place: str) -> int:
        """Count one more start of the undo's playbook, and from where; return how many there are now."""

    def undone(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        """Write how the undo of this attempt ended. The first writer wins."""

    def undo_seen(self, incident: IncidentId, number: int, seen: Sequence[Verdict]) -> None:
        """Write what was seen after the undo. The first writer wins."""

    def actions_since(self, since: datetime) -> tuple[Action, ...]:
        """Return every attempt whose intent was written since then, oldest first, but those that ended before any change."""


class ApprovalStore(Protocol):
    """Requests for a person's word. The natural key is (incident, number, digest); an answer is written once."""

    def ask(
        self,
        incident: IncidentId,
        number: int,
        digest: str,
        plan: Plan,
        *,
        impact: str,
        diff: str,
        now: datetime,
        expires_at: datetime,
    ) -> Approval:
        """Write the request, or return the row that stands under this key already."""

    def get(self, id_: str) -> Approval | None:
        """Return one."""

    def of(self, incident: IncidentId) -> tuple[Approval, ...]:
        """Return those of one incident, oldest first."""

    def waiting(self, now: datetime) -> tuple[Approval, ...]:
        """Return the unanswered, unexpired ones of incidents that are OPEN or HELD, oldest first."""

    def answer(self, id_: str, answer: Answer, *, by: str, why: str, now: datetime) -> bool:
        """Write the answer to one that is `waiting`. False if it is not."""

    def edit(self, id_: str, digest: str, plan: Plan, *, by: str, why: str, now: datetime) -> Approval | None:
        """Answer one that is `waiting` as EDITED and write an approved one with `plan`, both or neither. None if it is not."""


class BreakerStore(Protocol):
    """Scopes in which healing stopped. At most one open breaker per scope; nothing but `reset` ends one."""

    def open(self, scope: str, *, because: str, services: Sequence[ServiceName], now: datetime) -> tuple[Breaker, bool]:
        """Return the breaker that is open in this scope and False, or open one and return it and True."""

    def names(self, scope: str, incident: IncidentId) -> None:
        """Keep the correlated incident of the open breaker of this scope."""

    def standing(self) -> tuple[Breaker, ...]:
        """Return every open breaker, oldest first."""

    def reset(self, scope: str, *, by: str, why: str, now: datetime) -> Breaker | None:
        """Close the open breaker of this scope and return it; None where none is open."""

    def last_reset(self, scope: str) -> datetime | None:
        """Return when a person last reset this scope: what came before it is not counted again."""


class ForeignRestartStore(Protocol):
    """Restarts of containers that were not Medic's. The natural key is (host, container, at)."""

    def keep(self, host: HostName, restarts: Sequence[ForeignRestart]) -> None:
        """Write those that are not known yet. The first writer wins."""

    def since(self, host: HostName, container: str, since: datetime) -> tuple[ForeignRestart, ...]:
        """Return those of one container since then, oldest first."""

    def prune(self, *, before: datetime) -> int:
        """Delete those older than that; return how many."""


class RunbookStandingStore(Protocol):
    """What each runbook has shown. The natural key is `mark.key`."""

    def note(self, mark: RunbookMark) -> None:
        """Write one mark, once."""

    def marks(self, hashes: Sequence[str]) -> tuple[RunbookMark, ...]:
        """Return every mark of these hashes, in the order they were written."""


class SilenceStore(Protocol):
    """When people want services left alone."""

    def begin(self, service: ServiceName | None, *, why: str, by: str, now: datetime, until: datetime) -> Silence:
        """Silence one service, or all with None."""

    def active(self, now: datetime) -> tuple[Silence, ...]:
        """Return the silences in force, oldest first."""

    def end(self, silence: int, *, by: str, now: datetime) -> bool:
        """End one before its time. False if it was over already, or never was."""


class StartStore(Protocol):
    """What is learned of how services start and how steady they are."""

    def learn(self, service: ServiceName, start: Start) -> None:
        """Keep one start; the latest 50 of a service stay. The same `started_at` twice is kept once."""

    def of(self, service: ServiceName) -> tuple[Start, ...]:
        """Return what is kept of one service, oldest first."""

    def flip(self, service: ServiceName, *, now: datetime) -> None:
        """Keep that the settled verdict of a service changed; the latest 20 of a service stay."""

    def flips(self, service: ServiceName) -> tuple[datetime, ...]:
        """Return when it did, oldest first."""


class SweepStore(Protocol):
    """One report per beat."""

    def keep(self, report: SweepReport) -> None:
        """Write one report."""

    def latest(self, limit: int = 20) -> tuple[SweepReport, ...]:
        """Return the newest first."""

    def prune(self, *, before: datetime, most_bytes: int) -> int:
        """Delete reports older than that, then the oldest until about `most_bytes` are left; return how many."""

    def size(self) -> int:
        """Return the bytes of all reports."""


class StoryStore(Protocol):
    """The timeline of incidents."""

    def tell(
        self, incident: IncidentId, service: ServiceName, kind: StoryKind, text: str, *, now: datetime, key: str | None = None
    ) -> None:
        """Write one line. The same (incident, key) twice writes once, so a repeated step does not tell twice."""

    def since(self, id_: int, *, incident: IncidentId | None = None, limit: int = 500) -> tuple[StoryEvent, ...]:
        """Return events with a larger id, in order."""


class DepartureStore(Protocol):
    """Hosts on their way out. The natural key is the instance."""

    def change(self, instance: str, to: Callable[[Departure | None], Departure | None]) -> tuple[Departure | None, bool]:
        """Put `to`'s answer in place of what stands; return what stands now, and whether it changed. One transaction.

        to: pure, and may be asked more than once; an answer of None, or of what stands, changes nothing.
        """

    def of(self, incident: IncidentId) -> Departure | None:
        """Return the departure that an incident tells of."""

    def standing(self) -> tuple[Departure, ...]:
        """Return those that are not over, oldest first."""

    def latest(self, limit: int = 500) -> tuple[Departure, ...]:
        """Return those that were heard of last, over or not, oldest first."""

    def give_up(
        self, going: Departure, why_not: Callable[[Sequence[Departure]], Refusal | None]
    ) -> tuple[Departure, Refusal | None]:
        """Write `going` in place of what stands of its instance, unless `why_not` objects; return what stands, and the objection.

        why_not: is handed `latest()`. Pure, and may be asked more than once. One transaction asks and writes, so that of two
        hosts given up at once the second sees the first. One that stands as ending already is not asked about and not changed.
        """


class OutboxStore(Protocol):
    """Notices on their way: at least once, one dedup key per edge."""

    def post(self, notice: Notice, channels: Sequence[str]) -> None:
        """Queue a notice for each channel; the same (dedup key, channel) twice queues once."""

    def due(self, now: datetime, limit: int = 20) -> tuple[Delivery, ...]:
        """Return undelivered rows, oldest first; none of a channel while one of its rows must wait, so that edges stay in order."""

    def delivered(self, id_: int, *, now: datetime) -> None:
        """Mark one as delivered."""

    def put_off(self, id_: int, *, error: str, next_try: datetime) -> None:
        """Keep one for later, counting the try."""

    def undelivered(self) -> int:
        """Count what is still on its way."""


class RequestStore(Protocol):
    """The request inbox of the one daemon."""

    def ask(self, request: Request) -> None:
        """Write a request."""

    def claim(self, now: datetime) -> Request | None:
        """Take the oldest unclaimed request, once."""

    def answer(self, answer: RequestAnswer) -> None:
        """Write what came of it."""

    def answered(self, request: str) -> RequestAnswer | None:
        """Return the answer, or None while there is none."""


class AuditStore(Protocol):
    """The chain. Every other query group appends to it inside its own transactions; this is what has no other row, and reading."""

    def append(self, entry: Entry) -> None:
        """Append one row on its own. The same (kind, key) appends once."""

    def rows(self, after: int = 0, limit: int = 500) -> tuple[AuditRow, ...]:
        """Return rows with a larger id, in order."""

    def head(self) -> AuditHead | None:
        """Return the newest row's id and short hash, None while there is none."""

    def receipts(self, incident: IncidentId) -> tuple[AuditRow, ...]:
        """Return the receipt rows of one incident, in order."""

    def latest(self, *kinds: AuditKind) -> AuditRow | None:
        """Return the newest row of these kinds."""


class ShadowStore(Protocol):
    """Decisions that were made, kept and not carried out. The natural key is the incident."""

    def decided(self, shadow: Shadow) -> None:
        """Write one decision; the first of its incident stands."""

    def ended(self, incident: IncidentId, end: ShadowEnd) -> None:
        """Write what became of it. The first writer wins."""

    def of(self, incident: IncidentId) -> Shadow | None:
        """Return the decision on one incident."""

    def since(self, since: datetime) -> tuple[Shadow, ...]:
        """Return the decisions that were made from then on, oldest first."""


class MemoryStore(Protocol):
    """What people add to memory and take from it. What happened is in the ledger, and stays there."""

    def note(self, fingerprint: str, service: ServiceName, text: str, *, by: str, now: datetime, until: datetime) -> Note:
        """Keep one note on a trouble until then."""

    def notes(self, now: datetime) -> tuple[Note, ...]:
        """Return those in force, oldest first."""

    def withdraw(self, note: int, *, by: str, now: datetime) -> bool:
        """Delete one that is in force, its text with it. False if there is none."""

    def forget(self, fingerprint: str, *, by: str, why: str, now: datetime) -> int:
        """Let what came up to now count for nothing, and delete the notes on it; return how many there were."""

    def forgotten(self) -> Mapping[str, datetime]:
        """Return fingerprints, each with the moment up to which it is forgotten."""

    def prune(self, now: datetime) -> int:
        """Delete notes that are over; return how many."""


class SpendingStore(Protocol):
    """What Medic spends, in US dollars. The natural key is `Spending.key`; what was reserved and not billed counts as spent."""

    def reserve(self, spending: Spending, since: datetime, no_room: Callable[[Sequence[Spending]], str | None]) -> str | None:
        """Write it before anything is bought, unless `no_room` objects; return the objection, or None where it stands now.

        no_room: is handed everything reserved at or after `since`, oldest first. Pure, and may be asked more than once. One
        transaction counts and writes. A key that stands already is not asked about and not written again.
        """

    def bill(self, spending: Spending) -> bool:
        """Replace what was reserved under this key by what it came to. False if it is billed already, or never was reserved."""

    def since(self, since: datetime) -> tuple[Spending, ...]:
        """Return what was reserved from then on, oldest first."""

    def of(self, incident: IncidentId) -> tuple[Spending, ...]:
        """Return what one incident cost, oldest first."""


class StayStore(Protocol):
    """Which hosts of the fleet there were, and from when to when. The natural key is the instance."""

    def note(self, stays: Sequence[Stay]) -> None:
        """Write who was there; a host that is known is only lengthened (`Stay.with_`). One transaction."""

    def since(self, at: datetime) -> tuple[Stay, ...]:
        """Return those that were still seen at that time or later, by when they began."""


class LedgerStore(Protocol):
    """Counts over everything that ever happened."""

    def read(self) -> Ledger:
        """Return every count as of one moment."""


class ChangeStore(Protocol):
    """Whether anything was written: what makes looking at a quiet store cheap."""

    def stamp(self) -> int | None:
        """Return a number that differs from the last one if anything changed since; None where one has to look. Never raises."""


class EvidenceFiles(Protocol):
    """The bundle of one incident on disk: evidence, reports, Ansible output. Written with fsync before any change."""

    def keep(self, incident: IncidentId, name: str, content: bytes) -> str:
        """Write one file durably (fsync, rename); return its path relative to the incident's folder. Raises StoreError."""

    def read(self, incident: IncidentId, name: str) -> bytes | None:
        """Return one file, None when there is none."""

    def folder(self, incident: IncidentId) -> Path:
        """Return the incident's folder."""


class GoodCopies(Protocol):
    """Configuration files as they were when their service was WELL."""

    def keep(self, service: ServiceName, digest: str, content: bytes) -> None:
        """Keep one copy, replacing the older one."""

    def latest(self, service: ServiceName) -> tuple[str, Path] | None:
        """Return the digest and path of the kept copy."""

    def forget(self, service: ServiceName) -> None:
        """Keep none any more: the service is well with a file that may not be kept."""


class Reports(Protocol):
    """Makes the escalation report of one incident."""

    def render(
        self,
        incident: Incident,
        service: Service | None,
        evidence: Sequence[Evidence],
        story: Sequence[StoryEvent],
        escalation: Escalation,
    ) -> Mapping[str, bytes]:
        """Return the report's files by name: `report.md`, `report.json`, `report.html`, `recheck.sh`. Redacted, bounded.

        evidence: oldest first; empty when none could be read. service: None when it is no longer declared.
        """


class Catalogue(Protocol):
    """The remedies, as people wrote them: they may be edited while the daemon runs."""

    def runbooks(self) -> tuple[Runbook, ...]:
        """Return the last good ones, read afresh where a file has changed since."""

    def changed(self, plan: Plan) -> str | None:
        """Return why what would run now is not what the plan was made of; None where it is."""


# ----------------------------------------------------------------------------------------------------------- the world


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Every query group over one database."""

    services: ServiceStore
    incidents: IncidentStore
    attempts: AttemptStore
    approvals: ApprovalStore
    silences: SilenceStore
    starts: StartStore
    sweeps: SweepStore
    story: StoryStore
    outbox: OutboxStore
    requests: RequestStore
    breakers: BreakerStore
    foreign_restarts: ForeignRestartStore
    runbook_standing: RunbookStandingStore
    audit: AuditStore
    leads: LeadStore
    spending: SpendingStore
    departures: DepartureStore
    stays: StayStore
    memory: MemoryStore
    shadows: ShadowStore
    ledger: LedgerStore
    changes: ChangeStore


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside, built once by `wiring`. `heal` hands each step the two or three parts it uses, never all."""

    clock: Clock
    prober: Prober
    containers: Containers
    files: HostFiles
    playbooks: Playbooks
    kill_switch: KillSwitch
    lease: Lease
    store: Store
    bundles: EvidenceFiles
    good_copies: GoodCopies
    catalogue: Catalogue
    rules: tuple[Rule, ...]
    reports: "Reports"
    redact: Callable[[str], str]
    channels: tuple[str, ...]
    """Names of the channels that notices go to."""
    permissions: Permissions
    """What people allow everywhere."""
    fleet_limits: FleetLimits
    """The budgets that are not one service's own."""
    stopping: Callable[[], bool]
    """True once the daemon has been told to stop."""
    advisor: Advisor | None = None
    """A language model under its control layer; None: rules alone, which is the default."""
    fleet: Fleet | None = None
    """The fleet that hosts come from; None where none does, or in a process that only looks."""

    @property
    def runbooks(self) -> tuple[Runbook, ...]:
        """The catalogue at this moment: a decision takes it once."""
        return self.catalogue.runbooks()
