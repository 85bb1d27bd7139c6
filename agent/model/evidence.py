"""What is gathered about a sick service, and the diagnosis made of it."""

import enum
from dataclasses import dataclass
from datetime import datetime

from agent.model.advice import Consultation
from agent.model.causes import Cause
from agent.model.health import IncidentId, Plane
from agent.model.looking import ContainerFacts, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One log line with the id that a diagnosis cites (`L1`, `L2`, ... in the order of the bundle)."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEvent:
    """One Docker event of a container: `die`, `oom`, `kill`, `stop`, `start`, `destroy`, `health_status` ..."""

    container: str
    action: str
    at: datetime
    exit_code: int | None = None
    signal: str | None = None
    project: str | None = None
    """The Compose project that the container is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectSeen:
    """The Compose project of a service's container: what Docker told of all its containers of late, and which there are."""

    name: str
    events: tuple[ContainerEvent, ...]
    containers: tuple[str, ...]
    """Names of the containers that exist now, in whatever state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that is not as it was when the service was last WELL: `image`, `container` (another has its name), `environment`
    (its variables) or `config`; or that its host went through of late: `reboot`, `packages`."""

    what: str
    before: str
    after: str
    at: datetime | None = None
    """When: of an image, the start of the container that runs it; of a file, when it was written. None where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFact:
    """One structural fact about what a service declares on its host: a name of `diagnosis/facts.py`, its value, and the figures."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything gathered for one diagnosis, saved before any change is made."""

    incident: IncidentId
    at: datetime
    verdict: Verdict
    container: ContainerFacts | None
    log: tuple[LogLine, ...]
    log_note: str
    """How the log was cut: `whole`, or what was left out, or why there is none."""
    events: tuple[ContainerEvent, ...]
    changes: tuple[Change, ...]
    on_host: tuple[HostFact, ...] = ()
    """What was seen of the files, disks and namespaces that the service declares."""
    deploying: str | None = None
    """What is known of the service's declared deploy lock: that it stands, or that nobody can say; None without one."""
    project: ProjectSeen | None = None
    """None where the container is of no Compose project, or Docker could not say."""
    files: tuple[str, ...] = ()
    """Files of the saved bundle, relative to the incident's folder."""
    gaps: tuple[str, ...] = ()
    """What could not be gathered, one sentence each."""


class Sureness(enum.Enum):
    """How much a diagnosis may carry: a runbook may rest on its cause only when it is CONFIRMED."""

    CONFIRMED = "confirmed"
    """At least one structural fact (exit code, OOMKilled, plane, port, disk) agrees."""
    SUSPECTED = "suspected"
    """Log text alone says so: shown to people, never a ground to act on."""
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The likely cause, how sure we are, the evidence it rests on, and who said so."""

    cause: Cause
    sureness: Sureness
    said_by: str
    """`rule:<id>`, `model:<name>`, or `none` when nobody had anything to say."""
    summary: str
    plane: Plane | None
    facts: tuple[tuple[str, str], ...] = ()
    """The structural facts that agreed, as (name, value)."""
    lines: tuple[LogLine, ...] = ()
    """The log lines that were matched, verbatim."""
    advice: str = ""
    """What a person should do about this cause."""
    consultation: Consultation | None = None
    """What asking a model brought, where one was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One diagnosis rule, as read from `agent/rules/*.yaml`. It speaks when all of what it names holds.

    Rules are tried in `order`; structural ones come before textual ones, the specific before the general.
    """

    id: str
    cause: Cause
    order: int
    summary: str
    advice: str
    facts: tuple[tuple[str, str], ...] = ()
    """(fact name, accepted value) pairs that must all agree; several accepted values are joined with `|`. Fact names
    are the closed list of `diagnosis/facts.py`."""
    log: tuple[str, ...] = ()
    """Regular expressions (case-insensitive), any of which must match a log line."""
    not_log: tuple[str, ...] = ()
    """Regular expressions, any of which silences the rule (on the same line)."""
    agree: tuple[tuple[str, str], ...] = ()
    """Structural facts, any of which turns a textual diagnosis from SUSPECTED into CONFIRMED."""
    cleared_by: tuple[str, ...] = ()
    """Regular expressions that say "it is over": lines of `log` before the last such line do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What diagnose hands to plan: the evidence (its log lines stay in the saved bundle) and the diagnosis."""

    evidence: Evidence
    diagnosis: Diagnosis
    saved: bool
    """The bundle is durably on disk. False: no change may be made."""
    why_not_saved: str = ""
