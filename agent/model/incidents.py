"""Attempts with their outcomes, and the incidents that hold them."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.decisions import Hold, Plan, Refusal
from agent.model.evidence import Diagnosis
from agent.model.health import HostName, IncidentId, RunbookId, ServiceName
from agent.model.looking import Verdict


class RunEnd(enum.Enum):
    """How the playbook itself ended. Says nothing about health: only verify does."""

    COMPLETED = "completed"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed-out"
    INTERRUPTED = "interrupted"
    """Medic was told to stop (SIGTERM) and swept the playbook."""
    CANCELLED = "cancelled"
    """`medic halt` stopped it."""
    LOST = "lost"
    """Medic died, or the connection to the host ended, in the middle; nobody saw how it ended."""
    NOT_RUN = "not-run"
    """The look before the first change ended it."""


class Outcome(enum.Enum):
    """How an attempt ended. The first six count, the last two do not."""

    HEALED = "healed"
    INEFFECTIVE = "ineffective"
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    AMBIGUOUS = "ambiguous"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"

    @property
    def counts(self) -> bool:
        """True where the attempt is spent."""
        return self not in (Outcome.SUPERSEDED, Outcome.CANCELLED)

    @property
    def failed(self) -> bool:
        """True where the runbook itself did not help: not for a target out of reach, nor for an attempt that was cut."""
        return self in (Outcome.INEFFECTIVE, Outcome.PERMANENT, Outcome.AMBIGUOUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """One Ansible task as it ended on one host."""

    name: str
    status: str
    """`ok`, `changed`, `failed`, `skipped`, `unreachable`."""
    message: str = ""
    """What the task said, bounded, redacted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookRun:
    """What came of running a playbook: how it ended and what each task said."""

    end: RunEnd
    message: str
    tasks: tuple[TaskResult, ...] = ()
    diff: str = ""
    """What check mode would change; empty outside a dry run."""
    swept: int = 0
    """Processes of this run that had to be killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tie:
    """What links a neighbour to the containers that an attempt changes, as it was before the first change."""

    service: ServiceName
    """The neighbour."""
    strong: bool
    """It hangs on what is changed. False: it only shares a network or a proxy with it."""
    why: str
    proxy: str | None = None
    """The container of the nginx that both stand behind."""
    names: tuple[str, ...] = ()
    """What others call what is changed: names, addresses, and ports of the host as `:<port>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What an attempt made worse: checks of the patient, or neighbours that were WELL before it and are steadily SICK."""

    at: datetime
    patient: tuple[str, ...] = ()
    """Checks of the patient that were WELL before and are SICK, as `<check>: <what was seen>`."""
    neighbours: tuple[Verdict, ...] = ()
    """What was seen of each harmed neighbour."""
    ties: tuple[Tie, ...] = ()
    """Why that is laid at the attempt's door, one for each harmed neighbour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One carrying-out of a plan: intent, result, times. Unfinished until `outcome` is written. Key: (incident, number)."""

    incident: IncidentId
    number: int
    plan: Plan
    intent_at: datetime
    run: PlaybookRun | None = None
    ran_until: datetime | None = None
    runs: int = 0
    """How often the playbook was started inside this attempt: more than once only after a crash with `rerun: safe`."""
    started_at_place: str | None = None
    """The place (`Lead.place`) of the Medic that started it last: the run folder and the marker lie there."""
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    """What verify saw."""
    ended_at: datetime | None = None
    around: tuple[Verdict, ...] = ()
    """What was seen of the neighbours before the first change."""
    ties: tuple[Tie, ...] = ()
    """How each of them hangs together with what is changed."""
    harm: Harm | None = None
    """What it made worse."""
    undo: PlaybookRun | None = None
    """How its undo ended, where one ran because things got worse."""
    undo_seen: tuple[Verdict, ...] = ()
    """What was seen after the undo: the patient, then each neighbour that had been harmed."""


class IncidentState(enum.Enum):
    """Where an incident stands."""

    OPEN = "open"
    HELD = "held"
    ESCALATED = "escalated"
    """Handed to people: watched, unhealed, until steadily WELL or closed by a person."""
    CLOSED = "closed"


class Closing(enum.Enum):
    """Why an incident closed."""

    HEALED = "healed"
    RECOVERED = "recovered"
    """Well again without a counted attempt of ours making it so."""
    BY_PERSON = "by-person"
    CARRIED_OUT = "carried-out"
    """Origin PERSON: what the person asked for was done; its attempt says whether the service is well."""


class RunbookMarkKind(enum.Enum):
    """What a runbook has shown, in a rehearsal or in the field."""

    PASSED = "passed"
    """`medic runbook test` passed."""
    INEFFECTIVE = "ineffective"
    HARMFUL = "harmful"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunbookMark:
    """One result that a runbook's standing rests on. It speaks of one hash: a changed runbook starts anew."""

    runbook: RunbookId
    hash: str
    kind: RunbookMarkKind
    at: datetime
    service: ServiceName | None = None
    """HARMFUL: the only service it demotes the runbook for; None for all. INEFFECTIVE: where it was."""
    because: str = ""
    key: str
    """What happened, as a name: the same key twice is one mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalStep:
    """One step of `medic runbook test`: inject, detect, diagnose, choose, heal, verify, revert, nothing left."""

    name: str
    passed: bool
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """One runbook put to the test on a throw-away container."""

    runbook: RunbookId
    hash: str
    passed: bool
    took: timedelta
    steps: tuple[RehearsalStep, ...]


class Origin(enum.Enum):
    """Who opened an incident."""

    HEARTBEAT = "heartbeat"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """From the first SICK verdict to WELL or hand-over."""

    id: IncidentId
    service: ServiceName
    host: HostName
    origin: Origin
    state: IncidentState
    opened_at: datetime
    first: Verdict
    """The verdict that opened it: the checks that verify must see well again."""
    fingerprint: str
    """Made of facts (service, symptoms), never of log or model text, so that equal troubles read equal."""
    round: int = 1
    """How often a heal was started for it; a Hold that ran out starts the next round."""
    attempts: tuple[Attempt, ...] = ()
    diagnosis: Diagnosis | None = None
    """The latest."""
    hold: Hold | None = None
    hold_until: datetime | None = None
    refusal: Refusal | None = None
    requested: Plan | None = None
    """Origin PERSON: the plan that a person asked for, carried out once."""
    closing: Closing | None = None
    closed_at: datetime | None = None
    closed_by: str | None = None

    @property
    def cut(self) -> Attempt | None:
        """The last attempt while it has no outcome: a heal is at work on it, or one ended in the middle of it."""
        last = self.attempts[-1] if self.attempts else None
        return last if last is not None and last.outcome is None else None


class Ending(enum.Enum):
    """How one round of `heal` ended."""

    HEALED = "healed"
    RECOVERED = "recovered"
    HELD = "held"
    ESCALATED = "escalated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """Handing an incident to people: where the report is and what they should do first."""

    incident: IncidentId
    at: datetime
    because: str
    next_step: str
    report: str
    """Path of the Markdown report; the JSON, HTML and re-check script stand beside it."""
