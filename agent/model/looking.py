"""What is asked of the world, what is seen of it, and what that is judged to be."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from agent.model.gpu import GpuRequest, GpuSeen
from agent.model.health import ContainerState, Health, HostName, Plane, ServiceName

COMPOSE_PROJECT = "com.docker.compose.project"
"""The label that Compose gives to every container of a project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersRequest:
    """List all containers of one host: one call, whatever their number."""

    host: HostName


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpRequest:
    """Open one TCP connection."""

    address: str
    timeout: timedelta
    via: HostName | None = None
    """The host it is opened from, where each machine means another one by the address; None: from this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One bounded GET, or a POST where there is a payload, on a fresh connection."""

    url: str
    timeout: timedelta
    headers: tuple[tuple[str, str], ...] = ()
    body_limit: int = 65_536
    payload: str | None = None
    """JSON to send."""
    via: HostName | None = None
    """The host it is asked from, where each machine means another one by the address; None: from this one."""
    address: str | None = None
    """Connect to this address, whatever the name in the URL resolves to; the name is still asked for and verified."""
    ca_file: str | None = None
    """Trusted issuers (PEM) in place of the machine's own."""
    keep: tuple[str, ...] = ()
    """Headers of the answer to report, in lower case."""
    certificate: bool = False
    """Report how long the server's certificate is still good."""
    again: bool = False
    """Ask a second time on the same connection and report whether it was there for that."""
    timed: bool = False
    """Report when each part of the body came."""
    window: timedelta | None = None
    """Report the latencies of the answers to this very request within so long, too."""

    def __hash__(self) -> int:
        """Nearly always the URL tells two requests apart, and it remembers its hash: a request is looked up ten times a beat."""
        return hash(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxRequest:
    """`nginx -T`: its configuration as nginx itself reads it, and whether it is valid."""

    host: HostName
    container: str | None
    """None: on the host itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """Run one program inside a container. What may hang is ended by a `timeout` in `argv`, inside the container."""

    host: HostName
    container: str
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """The size of Docker's log file of one container, now and over `window`."""

    host: HostName
    path: str
    window: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRequest:
    """How full and how busy a machine is."""

    host: HostName
    disks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRequest:
    """A certificate file on a host, and the file of its key where that is another one."""

    host: HostName
    path: str
    key: str | None = None


HostRequest = NginxRequest | ExecRequest | LogRequest | MachineRequest | CertificateRequest | GpuRequest
"""Questions to one host that are answered one by one."""

ProbeRequest = ContainersRequest | TcpRequest | HttpRequest | HostRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Blind:
    """The probe could not look, and why. Judged UNKNOWN, always."""

    why: str
    security: bool = False
    """Whoever answered in the host's place has another key than the pinned one."""
    behind: HostName | None = None
    """The jump host whose trouble it is."""


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
    network_of: str | None = None
    """The container whose network this one lives in, by id or name (`network_mode: container:...`); None for its own."""
    volumes: tuple[str, ...] = ()
    """Volumes and folders of the host that it may write, by name or path; not the folders of the system itself."""
    exit_code: int | None = None
    oom_killed: bool | None = None
    network_mode: str | None = None
    """`bridge`, `host`, `none`, a network's name, or `container:<id>` for one that shares another's namespace."""
    restart_count: int | None = None
    restart_policy: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    log_path: str | None = None
    """Docker's log file on the host; None where the log driver keeps none."""
    environment: str | None = None
    """Four hex digits of a hash of its variables: enough to tell that they changed, too little to find a secret by trying."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainersSeen:
    """All containers of one host at one moment."""

    containers: tuple[ContainerFacts, ...]
    took: timedelta = field(default=timedelta(0), compare=False)
    """How long Docker took to answer."""


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
    """`connection-refused`, `timeout`, `reset`, `empty-reply`, `certificate-expired: ...`, `certificate-untrusted: ...`,
    `tls: ...`, `dns: ...`, `broken: ...`; None when a whole answer came."""
    retry_after: timedelta | None = None
    """What a `Retry-After` asked for; None without one."""
    headers: tuple[tuple[str, str], ...] = ()
    """Those that the request wants kept: name in lower case and value, at most 1 024 characters of it."""
    at: datetime | None = None
    """When the answer came, where headers were kept (for `Date`)."""
    certificate_left: timedelta | None = None
    """How long the server's certificate is still good; negative: it has expired. None: not asked, or no TLS."""
    reused: bool | None = None
    """Whether the second request came through on the connection of the first; None: not asked."""
    arrivals: tuple[tuple[int, timedelta], ...] = ()
    """(bytes of the body so far, time since the request) of its parts, where that was asked."""
    recent: tuple[timedelta, ...] = ()
    """Latencies of the right answers within the window, this one last, where that was asked."""


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
    default: bool = False
    """Its `server` block answers, on one of its sockets, for names that no other block has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxSeen:
    """What `nginx -T` said. With `valid` False, `routes` is empty and `message` is nginx's own sentence."""

    valid: bool
    message: str = ""
    routes: tuple[NginxRoute, ...] = ()
    running: bool = True
    """On a host: a master process is there. Of a container Docker says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecSeen:
    """The program ended, by itself or by the `timeout` around it (124 or 137)."""

    exit_code: int
    output: str
    """The head of what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSeen:
    """The size of a log file, and how much was written to it between the first look of the window and this one."""

    size: int
    """In bytes, with its rotated predecessors."""
    written: int = 0
    over: timedelta = timedelta(0)
    """Zero at the first look: nothing is known of the rate yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSeen:
    """One file system, in percent of what programs may use."""

    path: str
    used: float
    inodes_used: float | None
    """None where the file system counts none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSeen:
    """How full and how busy a machine is."""

    disks: tuple[DiskSeen, ...]
    memory_used: float
    """Percent; what the kernel could free counts as free."""
    load_per_cpu: float
    """Of the last five minutes."""
    ahead: timedelta = timedelta(0)
    """How far its clock is ahead of that of the machine Medic runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSeen:
    """What a certificate file holds."""

    left: timedelta | None
    """Until the first of its certificates expires; None: there is none that can be read."""
    key_mode: int | None
    """The permissions of the key's file; None: there is no key."""
    error: str | None = None
    """Why it holds no certificate, or that the file is not there."""


Observation = (
    Blind | ContainersSeen | TcpSeen | HttpSeen | NginxSeen | ExecSeen | LogSeen | MachineSeen | CertificateSeen | GpuSeen
)


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
    at: datetime | None = None
    """When the judgement came that last changed it; None where an older Medic wrote the streak."""


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
