"""What is kept and told: sweeps, the timeline, notices, requests, the desired state."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.decisions import HoldCode
from agent.model.health import HostName, IncidentId, Recorded, RunbookId, ServiceName


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """Which of several Medics on one store sweeps and heals. The others stand by."""

    holder: str
    """Host and process, for people."""
    place: str
    """The state folder that it works from, by a name that no other has: who owns that folder now knows that it is dead."""
    term: int
    """Each lead has the next number; what an earlier one still writes is refused."""
    expires_at: datetime
    """When another may take it, by the clock of the database; renewed while its holder lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """One beat on record: which services were checked, which had issues, what was healed, what does not match the store."""

    slot: int
    """Beat number: seconds since the epoch divided by the interval; 0 for a sweep by hand."""
    at: datetime
    took: timedelta
    checked: tuple[ServiceName, ...]
    sick: tuple[ServiceName, ...]
    unknown: tuple[ServiceName, ...]
    opened: tuple[IncidentId, ...]
    healed: tuple[ServiceName, ...]
    """Services whose incident closed as healed since the beat before."""
    missing: tuple[str, ...]
    """In the store as running, not on the host."""
    unrecorded: tuple[str, ...]
    """Labelled `medic.enable` on the host, not in the store."""
    held: tuple[tuple[ServiceName, HoldCode], ...] = ()
    """Services with a held incident, and why nothing is done."""


class StoryKind(enum.Enum):
    """The events of an incident's timeline, in the order they can happen."""

    SEEN = "seen"
    RECALLED = "recalled"
    EXPLAINED = "explained"
    HELD = "held"
    PROPOSED = "proposed"
    ASKED = "asked"
    ANSWERED = "answered"
    TRYING = "trying"
    TASK = "task"
    TRIED = "tried"
    SEEN_AGAIN = "seen-again"
    HARMED = "harmed"
    UNDONE = "undone"
    DEMOTED = "demoted"
    HEALED = "healed"
    RECOVERED = "recovered"
    ESCALATED = "escalated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryEvent:
    """One line of an incident's timeline."""

    incident: IncidentId
    service: ServiceName
    at: datetime
    kind: StoryKind
    text: str
    id: int = 0
    """Set by the store: strictly rising."""


class NoticeKind(enum.Enum):
    """Notices are edge-triggered: one per change of an incident's state."""

    OPENED = "opened"
    SUGGESTED = "suggested"
    """What Medic would do, for people to do."""
    ASKED = "asked"
    """A request for approval waits."""
    ACTED = "acted"
    """A remedy that is not merely safe was carried out."""
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    SPENT = "spent"
    """A share of a day's money for models is spent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One message to people. `dedup_key` is the same for every delivery of the same edge."""

    dedup_key: str
    kind: NoticeKind
    incident: IncidentId
    service: ServiceName
    at: datetime
    title: str
    body: str


LONGEST_WAIT = timedelta(minutes=5)
"""No notice is put off for longer. One whose next try is further away was put off before the clock was set back: it is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One notice to one channel, as the outbox keeps it."""

    id: int
    channel: str
    notice: Notice
    tries: int
    next_try: datetime
    delivered_at: datetime | None = None
    last_error: str | None = None


class RequestKind(enum.Enum):
    """What another command may ask of the running watch."""

    HEAL = "heal"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One row of the request inbox: a command asks, watch claims and answers with the incident it opened."""

    id: str
    kind: RequestKind
    service: ServiceName
    by: str
    """Who asked: the login name."""
    at: datetime
    runbook: RunbookId | None = None
    settings: tuple[tuple[str, str], ...] = ()
    """`--set` values, as typed by the person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestAnswer:
    """What watch made of a request."""

    request: str
    accepted: bool
    incident: IncidentId | None
    sentence: str
    mistaken: bool = False
    """The request itself was wrong (no such service, a bad `--set`): the person can put it right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord:
    """What the store keeps of one service: the desired state, and how it looked when last WELL."""

    service: ServiceName
    host: HostName
    container: str
    status: Recorded
    since: datetime
    by: str
    """Who set the status: `medic`, `person` (with how we know), a login name."""
    diagnostic: str = ""
    """For ERROR: why, in a sentence."""
    image_id: str | None = None
    config_hash: str | None = None
    container_id: str | None = None
    environment: str | None = None
    """Of the container that was WELL; see `ContainerFacts`."""
    well_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Counts over all incidents, attempts and requests that the store holds, by the words of their enums."""

    opened: tuple[tuple[str, int], ...] = ()
    """Incidents by origin."""
    closed: tuple[tuple[str, int], ...] = ()
    """Incidents that are over, by closing."""
    attempts: tuple[tuple[str, int], ...] = ()
    """Attempts by outcome."""
    under_way: int = 0
    """Attempts without an outcome."""
    repairs: tuple[timedelta, ...] = ()
    """How long each incident that closed as HEALED was open."""
    requests: int = 0
    """Requests that nobody has claimed."""
