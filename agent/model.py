"""The nouns of Medic: frozen values that every layer may hold. No I/O, no clock, no vendor.

Vocabulary: docs/glossary.md. Times are aware UTC `datetime`; spans are `timedelta`; sequences are tuples.
Every dataclass here can cross the engine and the store through `agent/codec.py`, so fields hold only: str, int, float, bool,
None, datetime, timedelta, enums, other dataclasses of this module, and tuples of those (a mapping is a tuple of pairs).
"""

import enum
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NewType

ServiceName = NewType("ServiceName", str)
HostName = NewType("HostName", str)
IncidentId = NewType("IncidentId", str)
RunbookId = NewType("RunbookId", str)

MEDIC = ServiceName("medic")
"""Incidents about Medic's own network are kept under this name; no service may have it."""

# --------------------------------------------------------------------------------------------------------------- health


class Health(enum.Enum):
    """Three values. UNKNOWN means "could not look": it never starts a remedy."""

    WELL = "well"
    SICK = "sick"
    UNKNOWN = "unknown"


class Plane(enum.Enum):
    """Where a check looks from. The planes that disagree name what is broken before a log line is read."""

    CONTAINER = "container"
    """What Docker says of the container: state, exit code, its own HEALTHCHECK."""
    DIRECT = "direct"
    """The container's own address, past published ports and proxies."""
    HOST_PORT = "host-port"
    """The published port on the host."""
    ENGINE = "engine"
    """Inside an inference engine: a real request that must return tokens."""
    NGINX = "nginx"
    """Through the reverse proxy, or what the proxy's configuration routes."""
    PUBLIC = "public"
    """The URL that users have."""


class ContainerState(enum.Enum):
    """Docker's own words for a container, plus MISSING for "the engine answered and has no such container"."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"
    MISSING = "missing"


class Mode(enum.Enum):
    """How far Medic may go by itself, from the most careful on. Where several are set, the most careful one holds."""

    OBSERVE = "observe"
    """Look, explain, write down what would be done."""
    SUGGEST = "suggest"
    """That, and tell people what would be done."""
    ASK = "ask"
    """That, and do it once a person has approved it."""
    ACT = "act"
    """Do it."""


class Recorded(enum.Enum):
    """The desired state of a service, kept in the store."""

    RUNNING = "running"
    """It should run. Dead while recorded so: it is started again."""
    STOPPED = "stopped"
    """A person stopped it on purpose. It is watched and left alone until a person starts it."""
    ERROR = "error"
    """It should run and Medic could not make it so. Its diagnostic says why; people own it now."""


# --------------------------------------------------------------------------------------------- hosts, services, checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine with a Docker engine. Only local engines are driven so far."""

    name: HostName
    docker: str = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """How many equal observations in a row (a streak) a check needs before its judgement counts."""

    sick_after: int = 2
    well_after: int = 2
    unknown_after: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerCheck:
    """The container runs, its own HEALTHCHECK (if any) is not red, and its image is the one expected (if given)."""

    name: str
    every: timedelta
    thresholds: Thresholds
    image_digest: str | None = None

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.CONTAINER


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpCheck:
    """A TCP connection opens. `address` is `host:port`; the host `container` stands for the container's own address."""

    name: str
    every: timedelta
    thresholds: Thresholds
    plane: Plane
    address: str
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """`GET url` answers one of `status` in time, with `body` (a plain substring) in it if given.

    The host name `container` in `url` stands for the container's own address. Redirects are not followed off the host.
    """

    name: str
    every: timedelta
    thresholds: Thresholds
    plane: Plane
    url: str
    timeout: timedelta
    status: tuple[tuple[int, int], ...] = ((200, 399),)
    """Inclusive ranges of accepted status codes."""
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with the request, for example ("Host", "shop.example")."""
    slower_than: timedelta | None = None
    """A right answer that took longer than this is SICK (`http-slow`)."""
    body_limit: int = 65_536
    """Bytes read at most. An endless body is cut here and judged on what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxCheck:
    """What nginx routes is what really runs: every route that should lead to this service does, to an address it has."""

    name: str
    every: timedelta
    thresholds: Thresholds
    nginx: str
    """Name of the container that nginx runs in."""
    port: int
    """The port this service listens on inside its container: upstream targets must use it."""
    server_name: str | None = None
    location: str = "/"

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.NGINX


Check = ContainerCheck | TcpCheck | HttpCheck | NginxCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """A `run:` block: how this container is made. The truth that "recreate" uses. Secrets stay in `env_files`."""

    image: str
    command: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    env_files: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    memory: str | None = None
    restart_policy: str = "no"
    user: str | None = None
    stop_timeout: int = 10
    """Seconds Docker waits after SIGTERM before SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeSpec:
    """A compose file and the service in it: the truth that "recreate" uses."""

    file: str
    service: str
    project: str | None = None


Spec = RunSpec | ComposeSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """One configuration file of a service on its host, and where a good copy comes from.

    template: a file to copy over `path`; None means the last copy seen while the service was WELL.
    """

    path: str
    template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The budgets of one service. Every number is a default that `medic.yaml` shows and may change."""

    attempts: int = 2
    """Counted attempts per incident before people take over (the mission: two)."""
    start_grace: timedelta = timedelta(seconds=10)
    """A container younger than this may be warming: a red probe is a Hold, not a remedy."""
    longest_start: timedelta = timedelta(minutes=30)
    """However slow its own starts were: a container older than this is not warming any more."""
    steady_for: timedelta = timedelta(seconds=3)
    """WELL must last this long before verify believes it: a container that dies again at once was never healed."""
    verify_within: timedelta = timedelta(seconds=60)
    """How long verify waits for a steady WELL before it calls the attempt ineffective."""
    heals_in_window: int = 5
    """A service healed this often inside `window` is a chronic patient: refused and escalated."""
    window: timedelta = timedelta(hours=24)
    same_signature: int = 3
    """The incident that is the n-th with one fingerprint inside `window` goes to people: n includes the first."""
    actions_per_service: int = 20
    """Playbooks of ours and restarts by others inside `window`, together, after which people take over."""
    first_wait: timedelta = timedelta(seconds=30)
    """From the end of the last incident with this fingerprint to the first attempt of the next; doubles with each."""
    longest_wait: timedelta = timedelta(minutes=30)
    """Where the doubling ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many playbooks may start on one host, and in the whole fleet, inside `window`. The limit includes the first."""

    host_actions: int = 20
    fleet_actions: int = 60
    window: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRule:
    """When so much fails together that healing one by one is the wrong answer.

    share: 0 to 1, of the services of a group, a host or the fleet. least: so many of them at least.
    window: they all turned SICK within this. Source: docs/how-to/limits.md.
    """

    share: float = 0.5
    least: int = 3
    window: timedelta = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunbookRule:
    """A runbook that failed on so many different services inside `window` is taken out of service."""

    failures_on_services: int = 3
    ineffective_results: int = 3
    """So many ineffective results in the field inside `window` demote a runbook to ask-first."""
    window: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLimits:
    """The budgets that are not one service's own."""

    budget: Budget = field(default_factory=Budget)
    breaker: BreakerRule = field(default_factory=BreakerRule)
    runbooks: RunbookRule = field(default_factory=RunbookRule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One thing we keep well: its container, its checks, the spec it can be recreated from, and its limits."""

    name: ServiceName
    host: HostName
    container: str
    checks: tuple[Check, ...]
    limits: Limits = field(default_factory=Limits)
    spec: Spec | None = None
    config_file: ConfigFile | None = None
    mode: Mode = Mode.ACT
    """How far Medic may go with this service at most."""
    runbook_modes: tuple[tuple[RunbookId, Mode], ...] = ()
    """How far it may go with single runbooks on this service."""
    dry_run: bool = False
    """Everything up to the change happens, the change does not."""
    depends_on: tuple[ServiceName, ...] = ()
    """Its parents: while one of them is not well, this one is not healed."""
    deploy_lock: str | None = None
    """A path on the host: while a file stands there, somebody deploys."""
    origin: str = "medic.yaml"
    """Who declared it: the config file's path, or `label`."""
    group: str | None = None
    """Replicas of one thing carry one group: the last that serves is not disrupted."""


# ------------------------------------------------------------------------------------- probe requests and observations


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersRequest:
    """List all containers of one host: one call, whatever their number."""

    host: HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpRequest:
    """Open one TCP connection."""

    address: str
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One bounded GET on a fresh connection."""

    url: str
    timeout: timedelta
    headers: tuple[tuple[str, str], ...] = ()
    body_limit: int = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxRequest:
    """`nginx -T` inside one container: its configuration as nginx itself reads it, and whether it is valid."""

    host: HostName
    container: str


ProbeRequest = ContainersRequest | TcpRequest | HttpRequest | NginxRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """The probe could not look, and why. Judged UNKNOWN, always."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network a container is attached to."""

    name: str
    address: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """What Docker says of one container. Fields that only `inspect` tells are None where the list call was enough."""

    name: str
    id: str
    state: ContainerState
    image: str = ""
    image_id: str = ""
    """The image's content digest (`sha256:...`): what really runs, whatever the tag says today."""
    status: str = ""
    """Docker's own sentence, for example `Exited (137) 3 seconds ago`."""
    health: str | None = None
    """Docker's HEALTHCHECK word: `starting`, `healthy`, `unhealthy`; None without a HEALTHCHECK."""
    labels: tuple[tuple[str, str], ...] = ()
    networks: tuple[Network, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    """(port in the container, port on the host) pairs that are published."""
    exit_code: int | None = None
    oom_killed: bool | None = None
    restart_count: int | None = None
    restart_policy: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersSeen:
    """All containers of one host at one moment."""

    containers: tuple[ContainerFacts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSeen:
    """The connection opened, or the target itself refused or did not answer (`error` says which)."""

    connected: bool
    latency: timedelta
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSeen:
    """What came back: a status and the head of the body, or what the target did instead of answering."""

    status: int | None
    latency: timedelta
    body: str = ""
    """At most `body_limit` bytes, decoded with replacement."""
    location: str | None = None
    cut: bool = False
    """The body went on past the limit."""
    error: str | None = None
    """`connection-refused`, `timeout`, `reset`, `empty-reply`, `tls: ...`, `dns: ...`; None when a status came."""
    retry_after: timedelta | None = None
    """What a `Retry-After` asked for; None without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxTarget:
    """One place an nginx route sends to, as written: a name or an address, and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxRoute:
    """One `location` with a `proxy_pass`, and every target behind it."""

    listen: tuple[str, ...]
    server_names: tuple[str, ...]
    location: str
    targets: tuple[NginxTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxSeen:
    """What `nginx -T` said. With `valid` False, `routes` is empty and `message` is nginx's own sentence."""

    valid: bool
    message: str = ""
    routes: tuple[NginxRoute, ...] = ()


Observation = Blind | ContainersSeen | TcpSeen | HttpSeen | NginxSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """One named sign of sickness: `word` is from the closed list in docs/glossary.md, `detail` says what was seen."""

    word: str
    plane: Plane
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one check makes of what was seen this once, before thresholds."""

    check: str
    plane: Plane
    health: Health
    detail: str
    """One sentence for a person: what was seen."""
    symptoms: tuple[Symptom, ...] = ()
    retry_after: timedelta | None = None
    """The target answered 429 or 503 and asked to be left alone for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Equal judgements of one check in a row, and what that amounts to after its thresholds."""

    check: str
    health: Health
    """The latest judgement's health."""
    length: int
    settled: Health
    """The health after thresholds: what the check counts as now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement on one service after thresholds, with the judgements it rests on."""

    service: ServiceName
    health: Health
    at: datetime
    judgements: tuple[Judgement, ...]

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        """Every symptom of every judgement, in the order of the checks."""
        return tuple(symptom for judgement in self.judgements for symptom in judgement.symptoms)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences of the judgements that are not WELL."""
        return tuple(f"{j.check}: {j.detail}" for j in self.judgements if j.health is not Health.WELL)


# ------------------------------------------------------------------------------------------------ evidence, diagnosis


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that is not as it was when the service was last WELL: `image` or `config`."""

    what: str
    before: str
    after: str


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
    deploying: str | None = None
    """What is known of the service's declared deploy lock: that it stands, or that nobody can say; None without one."""
    files: tuple[str, ...] = ()
    """Files of the saved bundle, relative to the incident's folder."""
    gaps: tuple[str, ...] = ()
    """What could not be gathered, one sentence each."""


class Cause(enum.Enum):
    """The classes of cause an operator would act on, plus INCONCLUSIVE. Source: docs/causes.md."""

    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    GPU_RUNTIME_UNAVAILABLE = "gpu_runtime_unavailable"
    GPU_HARDWARE_FAULT = "gpu_hardware_fault"
    DISTRIBUTED_COMM_FAILURE = "distributed_comm_failure"
    DISK_FULL = "disk_full"
    PERMISSION_DENIED = "permission_denied"
    MISSING_FILE_OR_MOUNT = "missing_file_or_mount"
    BAD_CONFIGURATION = "bad_configuration"
    AUTH_FAILURE = "auth_failure"
    PORT_CONFLICT = "port_conflict"
    DEPENDENCY_UNREACHABLE = "dependency_unreachable"
    DNS_RESOLUTION_FAILURE = "dns_resolution_failure"
    TLS_CERTIFICATE_ERROR = "tls_certificate_error"
    IMAGE_PLATFORM_MISMATCH = "image_platform_mismatch"
    MODEL_ARTIFACT_INVALID = "model_artifact_invalid"
    VERSION_INCOMPATIBILITY = "version_incompatibility"
    RESOURCE_LIMIT = "resource_limit"
    HANG_OR_TIMEOUT = "hang_or_timeout"
    APPLICATION_BUG = "application_bug"
    ROUTING_MISCONFIGURATION = "routing_misconfiguration"
    DATA_CORRUPTION = "data_corruption"
    RATE_LIMIT_OR_QUOTA = "rate_limit_or_quota"
    BENIGN_NOISE = "benign_noise"
    INCONCLUSIVE = "inconclusive"


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
    """`rule:<id>`, or `none` when no rule spoke."""
    summary: str
    plane: Plane | None
    facts: tuple[tuple[str, str], ...] = ()
    """The structural facts that agreed, as (name, value)."""
    lines: tuple[LogLine, ...] = ()
    """The log lines that were matched, verbatim."""
    advice: str = ""
    """What a person should do about this cause."""


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


# ------------------------------------------------------------------------------------------------ runbooks and decisions


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
    """Pre-conditions on the declaration: `spec`, `config-file`, `nginx-check`."""
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
    tested: bool = False
    """`medic runbook test` passed on this very hash before it was shipped: it stands in `runbooks/TESTED`."""


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

    runbook_modes: tuple[tuple[RunbookId, Mode], ...] = ()
    dry_run: bool = False
    approval_expires: timedelta = timedelta(hours=1)
    """How long a request for approval waits for its answer, and the answer for its use."""


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
    heals_in_window: int = 0
    """Incidents of this service that closed as healed inside `limits.window`."""
    silence: Silence | None = None
    """The silence in force that ends last."""
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
    out_of_service: tuple[RunbookId, ...] = ()
    """Runbooks that failed on several services and wait for a person."""
    peers: tuple[Peer, ...] = ()
    """The other members of this service's group."""
    budget: Budget = field(default_factory=Budget)
    permissions: Permissions = field(default_factory=Permissions)
    approvals: tuple[Approval, ...] = ()
    """Every request for approval of this incident, oldest first."""
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
    HALTED = "halted"
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
    HARMED = "harmed"
    """An attempt did harm that no declared undo could take back."""
    CHRONIC = "chronic"
    SAME_SIGNATURE = "same-signature"
    ACTIONS_SPENT = "actions-spent"
    OTHER_HEALER = "other-healer"
    LAST_REPLICA = "last-replica"
    FAILED_TOGETHER = "failed-together"
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

# ------------------------------------------------------------------------------------------------- attempts and incidents


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
    """Medic died in the middle; nobody saw how it ended."""
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
class Harm:
    """What an attempt made worse: checks of the patient, or neighbours that were WELL before it and are steadily SICK."""

    at: datetime
    patient: tuple[str, ...] = ()
    """Checks of the patient that were WELL before and are SICK, as `<check>: <what was seen>`."""
    neighbours: tuple[Verdict, ...] = ()
    """What was seen of each harmed neighbour."""


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
    outcome: Outcome | None = None
    verdict: Verdict | None = None
    """What verify saw."""
    ended_at: datetime | None = None
    around: tuple[Verdict, ...] = ()
    """What was seen of the neighbours before the first change."""
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


# --------------------------------------------------------------------------------------- records: sweeps, story, notices


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
    well_at: datetime | None = None


# ------------------------------------------------------------------------------------------------------- audit, receipts


class AuditKind(enum.Enum):
    """What the audit keeps: every change, decision, answer and word of a person. The words are for good: rows are never edited."""

    OPENED = "opened"
    NEXT_ROUND = "next-round"
    HELD = "held"
    REFUSED = "refused"
    CLOSED = "closed"
    INTENT = "intent"
    """An attempt's plan, before its first change."""
    STARTED = "started"
    RAN = "ran"
    ENDED = "ended"
    RECEIPT = "receipt"
    HARMED = "harmed"
    UNDONE = "undone"
    STATUS = "status"
    """The desired state of a service."""
    ASKED = "asked"
    ANSWERED = "answered"
    APPROVAL_ASKED = "approval-asked"
    APPROVAL_ANSWERED = "approval-answered"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"
    BREAKER = "breaker"
    RUNBOOK_TRUST = "runbook-trust"
    HALTED = "halted"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One link of the audit's chain, as texts: `hash` is over exactly what is read here, also where somebody edited it."""

    id: int
    """1, 2, 3 ... without a gap."""
    at: str
    actor: str
    """`medic`, or the person."""
    kind: str
    key: str
    """With `kind`: what this row is about, so that a repeated step appends once."""
    incident: str
    """Empty where it is about none."""
    payload: str
    """Canonical JSON, redacted."""
    previous: str
    """The hash of the row before; 64 zeros for the first."""
    hash: str
    """sha256, hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The last row of a chain: whoever holds it can tell whether the chain was cut or rewritten since."""

    id: int
    hash: str
    """The first 16 hex digits, or all 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Why Medic says "healed": the failing looks before, the same checks after, and the settle window between."""

    incident: IncidentId
    attempt: int
    runbook: RunbookId
    runbook_hash: str
    opened_by: Verdict
    """The verdict that opened the incident."""
    before: Verdict
    """The look of the evidence, just before the plan was chosen."""
    ran_until: datetime | None
    settle: timedelta
    looks_needed: int
    """So many WELL looks in a row count as steady."""
    looks_made: int
    looks: tuple[Verdict, ...]
    """The last looks of verify, oldest first, each with its raw judgements; not more than `steps.verify.LOOKS_KEPT`."""
