"""Runbooks, people's wishes, and what `plan` decides: a Plan, a Hold or a Refusal."""

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.model.causes import Cause
from agent.model.fleet import Berth, Departure, FleetAct, ReplacementLimits
from agent.model.health import ContainerState, HostName, IncidentId, Mode, RunbookId, ServiceName
from agent.model.memory import MemoryRule, Remedy
from agent.model.services import Budget, Service


class Risk(enum.Enum):
    """What a runbook may do to others. Source: docs/flow.md."""

    SAFE = "safe"
    DISRUPTIVE = "disruptive"
    DESTRUCTIVE = "destructive"


class Rerun(enum.Enum):
    """What may happen after a crash in the middle of the playbook, when a look says still SICK."""

    SAFE = "safe"
    """Run it again inside the same attempt if the marker on the target says it did not finish."""
    NEVER = "never"


class ParameterSource(enum.Enum):
    """Where a parameter's value comes from. There is no source for log text, and none may be added."""

    CONTAINER = "container"
    """The service's container name."""
    NGINX = "nginx"
    """The nginx container of the service's nginx check."""
    SPEC = "spec"
    """The service's declared spec, as JSON."""
    CONFIG_PATH = "config-path"
    """The path of the service's declared configuration file."""
    CONFIG_GOOD_COPY = "config-good-copy"
    """The template or last good copy to put in its place."""
    NETWORKS = "networks"
    """The networks of the service's declared spec, as JSON."""
    NETWORK_OF = "network-of"
    """The container whose network namespace the declared spec shares."""
    CACHE_PATHS = "cache-paths"
    """The folders that the service marks as cache, as JSON."""
    ARTEFACTS = "artefacts"
    """The declared artefacts, as JSON: path, source, sha256 of each."""
    CERTIFICATE_PATH = "certificate-path"
    CERTIFICATE_HOOK = "certificate-hook"
    """The declared program that renews the certificate: its words, as JSON."""
    GOOD_IMAGE = "good-image"
    """The id of the image that ran when the service was last WELL."""
    OWN_IMAGES = "own-images"
    """Repositories of the images that the services of this host are made from, as JSON."""
    KEPT_IMAGES = "kept-images"
    """Images that are never removed: those declared and those that ran when their service was last WELL, as JSON."""
    PARENT = "parent"
    """The container of the one service that it depends on."""
    PARENT_STOP_TIMEOUT = "parent-stop-timeout"
    NGINX_CONFIG = "nginx-config"
    """The configuration file of the service whose container the nginx runs in."""
    NGINX_GOOD_COPY = "nginx-good-copy"
    """The template or last good copy of it."""
    UPSTREAM = "upstream"
    """The upstream block of the service, as JSON: name, file, port, members (the containers of its group)."""
    QUARANTINE_FILE = "quarantine-file"
    """The file that marks the host as one that gets no work."""
    STOP_TIMEOUT = "stop-timeout"
    """Seconds that the declared spec gives the container to stop; 10 without one."""
    PERSON = "person"
    """Given with `--set` on demand, or its declared default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One typed parameter of a runbook."""

    name: str
    kind: str
    """`string`, `integer`, `boolean`, `json`."""
    source: ParameterSource
    default: str | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """A declared remedy, as read from `runbooks/<id>/runbook.yaml`."""

    id: RunbookId
    title: str
    treats_causes: tuple[Cause, ...]
    treats_symptoms: tuple[str, ...]
    never_for: tuple[Cause, ...]
    """Causes for which this remedy would do harm or cannot help, even if a symptom matches, SUSPECTED being enough."""
    container_states: tuple[ContainerState, ...]
    """Pre-condition: the container is in one of these. Empty: any."""
    needs: tuple[str, ...]
    """Pre-conditions on the declaration: a closed list, `parameters.unmet`."""
    facts: tuple[tuple[str, str], ...] = ()
    """Pre-conditions on what was seen: structural facts (`diagnosis/facts.py`) that must all hold, as a rule names them."""
    rung: int
    """The ladder: lower is tried first."""
    risk: Risk
    parameters: tuple[Parameter, ...]
    playbook: str
    """File name under `ansible/playbooks/`."""
    timeout: timedelta
    settle: timedelta
    rerun: Rerun
    undo: RunbookId | None
    evidence_required: bool
    """False: may run although no evidence could be saved."""
    hash: str
    """sha256 over the runbook's folder and its playbook: what an approval and a receipt are bound to."""
    interrupts: bool = True
    """False: the service goes on serving while it runs, although it acts on its container."""
    tested: bool = False
    """`medic runbook test` passed on this very hash before it was shipped: it stands in `runbooks/TESTED`."""
    unrehearsed: str | None = None
    """Why it cannot be put to the test on a throw-away: then nobody has seen it work, and it always asks first."""
    whole_host: bool = False
    """It is done to a whole host, so it is put to the test on a throw-away host only, which people name."""
    fleet: FleetAct | None = None
    """What it does to its host as a member of a fleet: no playbook's work, so its playbook is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chosen runbook with its parameters filled in, for one incident."""

    runbook: RunbookId
    runbook_hash: str
    title: str
    risk: Risk
    playbook: str
    parameters: tuple[tuple[str, str], ...]
    """(name, value as JSON text)."""
    timeout: timedelta
    settle: timedelta
    rerun: Rerun
    undo: RunbookId | None
    why: str
    host: HostName | None = None
    """Where it runs; None in what an older Medic wrote: the first host that is declared."""
    fleet: FleetAct | None = None
    """As in `Runbook.fleet`."""
    proposed_by: str = ""
    """`model:<name>` where neither a fact nor a rule chose it but a model: such a plan never acts unasked. Else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What people choose among where a host of a fleet is in question: lines to read."""

    options: tuple[str, ...]
    """Every way with its price; the one that is asked for begins with `*`."""
    outlook: tuple[str, ...]
    """What would be done, step by step."""


class Answer(enum.Enum):
    """What a person said to a request for approval."""

    APPROVED = "approved"
    DENIED = "denied"
    EDITED = "edited"
    """Replaced by another request with other parameters, which the same person approved by that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A request for a person's word on one plan, and the answer. Key: (incident, number, digest of the plan)."""

    id: str
    """`A1`, `A2`, ..."""
    incident: IncidentId
    service: ServiceName
    number: int
    """The attempt it is for."""
    digest: str
    """sha256 over runbook, runbook hash and parameters (`policy/permission.py`): anything else is not what was approved."""
    plan: Plan
    impact: str
    """What it touches and how far that goes, as a sentence."""
    diff: str
    """What Ansible's check mode says that it would change, or why that is not known. Redacted, bounded."""
    asked_at: datetime
    expires_at: datetime
    """No answer by then is a no, and an approval not used by then is void."""
    edit_of: str | None = None
    """The digest of the plan that a person edited into this one."""
    answer: Answer | None = None
    answered_by: str | None = None
    answered_at: datetime | None = None
    why: str = ""
    """What the person gave as the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What people allow everywhere, as medic.yaml says it beside the services."""

    mode: Mode = Mode.ACT
    """How far Medic may go at most, with any service and runbook."""
    runbook_modes: tuple[tuple[RunbookId, Mode], ...] = ()
    dry_run: bool = False
    approval_expires: timedelta = timedelta(hours=1)
    """How long a request for approval waits for its answer, and the answer for its use."""
    look_only: tuple[HostName, ...] = ()
    """Hosts that are reached in a way over which nothing can be carried out."""

    @property
    def only_watches(self) -> bool:
        """True where the mode of all lets nothing be done, not even when a person is asked."""
        return self.mode in (Mode.OBSERVE, Mode.SUGGEST)


class RestartedBy(enum.Enum):
    """Who restarted a container, where it was not Medic."""

    RESTART_POLICY = "restart-policy"
    """Docker itself, since the container's restart policy says so."""
    DOCKER_API = "docker-api"
    """Somebody through Docker's API: another healer, or a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignRestart:
    """One restart of a container that was not Medic's."""

    container: str
    at: datetime
    by: RestartedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One attempt of the ledger that spends a budget: its intent is written and it was not stood down."""

    incident: IncidentId
    number: int
    service: ServiceName
    host: HostName
    runbook: RunbookId
    at: datetime
    """Of the intent."""
    until: datetime | None
    """When its last playbook ended, the undo included; None while one may still run."""
    failed: bool
    """It ended as ineffective, permanent or ambiguous."""
    by_person: bool
    """Asked for by a person: outside every automatic budget."""
    under_way: bool = False
    """Its intent is written, its playbook has not ended, and its incident is being healed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """One scope in which healing stopped: `fleet`, `fleet:<host>`, `group:<name>`, `runbook:<id>`. Only a person resets it."""

    scope: str
    opened_at: datetime
    because: str
    services: tuple[ServiceName, ...]
    """Those that failed together."""
    incident: IncidentId | None = None
    """The correlated incident that names them and what they have in common."""
    reset_at: datetime | None = None
    reset_by: str | None = None
    reset_why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another member of a service's group."""

    service: ServiceName
    well: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Services that look bad at this moment, are not judged yet, and would open a breaker over a service were they SICK."""

    doubtful: tuple[ServiceName, ...] = ()
    judged_within: timedelta = timedelta(0)
    """How long after this service turned SICK it is known at the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What parameters are filled from beside a service's own declaration: the inventory around it, and how it looked when WELL."""

    good_image: str | None = None
    """The id of the image that ran when the service was last WELL."""
    parent: Service | None = None
    """The one service that it depends on; None where it has none, or several."""
    members: tuple[str, ...] = ()
    """The containers of its group on its host, its own among them; its own alone without a group."""
    proxy: Service | None = None
    """The service whose container the nginx of its nginx check runs in."""
    proxy_good_copy: str | None = None
    """The template or kept copy of that service's configuration: a path."""
    own_images: tuple[str, ...] = ()
    """Repositories of the images that the services of its host are made from."""
    kept_images: tuple[str, ...] = ()
    """Names and ids of images that those services are declared with, or were last WELL with."""
    berth: Berth | None = None
    """Where its host stands in a fleet; None where it is no member of one, or the cloud does not say."""
    refused: tuple[str, ...] = ()
    """What Docker on its host refuses Medic, by the names of `agent.rights`; empty also where it could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """People work on a service, or on all of them: it is watched and left alone until the time is up."""

    id: int
    service: ServiceName | None
    """None: every service."""
    why: str
    by: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a service's container that Medic saw from its beginning to the first WELL."""

    image_id: str
    started_at: datetime
    took: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What plan needs to know of the past and of people's wishes, read at one moment by `agent/standing.py`."""

    now: datetime
    halted: str | None = None
    """Who said stop, and why."""
    good_copy: str | None = None
    """The template or kept copy that the service's configuration can be restored from: a path."""
    around: Surroundings = field(default_factory=Surroundings)
    heals_in_window: int = 0
    """Incidents of this service that closed as healed inside `limits.window`."""
    silence: Silence | None = None
    """The silence in force that ends last."""
    maintenance: tuple[datetime, str] | None = None
    """When the window of medic.yaml that is in force ends, and why it is."""
    starts: tuple[Start, ...] = ()
    """The service's latest starts."""
    flips: tuple[datetime, ...] = ()
    """When its settled verdict last changed between WELL and SICK, oldest first."""
    own_changes: tuple[tuple[datetime, datetime | None], ...] = ()
    """Begin and end of the attempts of its latest incidents; an end of None means "not over"."""
    parents_down: tuple[str, ...] = ()
    """Services it depends on, directly or not, that are not well: each with why."""
    monitor_blind: str | None = None
    """Why Medic cannot trust its own network at this moment."""
    same_before: int = 0
    """Earlier incidents with this incident's fingerprint, inside `limits.window`, that were acted on or handed over."""
    same_ended_at: datetime | None = None
    """When the last of them closed."""
    actions: tuple[Action, ...] = ()
    """Attempts in the whole fleet that began inside the longest window in force, oldest first."""
    restarts: tuple[ForeignRestart, ...] = ()
    """Restarts of this service's container by others inside `limits.window`, oldest first."""
    breaker: Breaker | None = None
    """An open breaker whose scope holds this service."""
    others: Others = field(default_factory=Others)
    out_of_service: tuple[RunbookId, ...] = ()
    """Runbooks that failed on several services and wait for a person."""
    peers: tuple[Peer, ...] = ()
    """The other members of this service's group."""
    budget: Budget = field(default_factory=Budget)
    permissions: Permissions = field(default_factory=Permissions)
    departures: tuple[Departure, ...] = ()
    """Hosts on their way out."""
    replacement_limits: ReplacementLimits = field(default_factory=ReplacementLimits)
    approvals: tuple[Approval, ...] = ()
    """Every request for approval of this incident, oldest first."""
    remedies: tuple[Remedy, ...] = ()
    """What runbooks as they are now came to against this very trouble."""
    memory: MemoryRule = field(default_factory=MemoryRule)
    demoted: tuple[RunbookId, ...] = ()
    """Runbooks that are ask-first for this service: never tested as they are, harmful, or ineffective too often."""


class HoldCode(enum.Enum):
    """Why nothing is done now."""

    STOPPED_ON_PURPOSE = "stopped-on-purpose"
    WARMING = "warming"
    MONITOR_BLIND = "monitor-blind"
    MAINTENANCE = "maintenance"
    DEPLOY_IN_PROGRESS = "deploy-in-progress"
    PARENT_DOWN = "parent-down"
    OVERLOAD = "overload"
    FLAPPING = "flapping"
    WRONG_PROBE = "wrong-probe"
    COOLDOWN = "cooldown"
    BUDGET_SPENT = "budget-spent"
    BREAKER_OPEN = "breaker-open"
    OTHERS_FAILING = "others-failing"
    HALTED = "halted"
    RUNBOOK_EDITED = "runbook-edited"
    HOST_DOOMED = "host-doomed"
    """Its host is being taken away: the replacement is the remedy."""
    AWAITING_APPROVAL = "awaiting-approval"
    SUGGESTED = "suggested"
    OBSERVING = "observing"
    DRY_RUN = "dry-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The decision "do nothing now, because". It spends no attempt."""

    code: HoldCode
    because: str
    until: str
    """What would change its mind, for a person."""
    look_again: timedelta
    """When the incident is decided afresh if it is still SICK."""
    would: Plan | None = None
    """The plan that people are shown, where permission alone keeps it from being carried out."""


class RefusalCode(enum.Enum):
    """Why no plan may run at all. Each escalates."""

    ATTEMPTS_SPENT = "attempts-spent"
    NOTHING_KNOWN_HELPS = "nothing-known-helps"
    CANNOT_SEE = "cannot-see"
    NO_TARGET = "no-target"
    NO_EVIDENCE = "no-evidence"
    NO_REPLACEMENT = "no-replacement"
    """A host that was taken away left a gap that nothing fills."""
    REPLACEMENT_LOOP = "replacement-loop"
    """The same pool or fleet was replaced so often of late that one more host would only meet the same end."""
    LAST_HOST = "last-host"
    """It is the last host of its fleet that serves."""
    NO_MONEY = "no-money"
    """It does not fit into the day's money, or nobody knows its price."""
    IN_USE = "in-use"
    """A host that was to be retired has work now, or nobody knows."""
    HARMED = "harmed"
    """An attempt did harm that no declared undo could take back."""
    CHRONIC = "chronic"
    SAME_SIGNATURE = "same-signature"
    ACTIONS_SPENT = "actions-spent"
    OTHER_HEALER = "other-healer"
    LAST_REPLICA = "last-replica"
    FAILED_TOGETHER = "failed-together"
    QUARANTINED = "quarantined"
    RUNBOOK_CHANGED = "runbook-changed"
    DENIED = "denied"
    APPROVAL_EXPIRED = "approval-expired"
    UNEXPECTED = "unexpected"
    """Medic itself met a bug: the incident is handed over instead of going silent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why no plan may run at all. A value, not an error; it escalates."""

    code: RefusalCode
    because: str


Decision = Plan | Hold | Refusal
