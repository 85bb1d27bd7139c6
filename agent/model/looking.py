"""What is asked of the world, what is seen of it, and what that is judged to be."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.health import ContainerState, Health, HostName, Plane, ServiceName


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
    network_of: str | None = None
    """The container whose network this one lives in, by id or name (`network_mode: container:...`); None for its own."""
    volumes: tuple[str, ...] = ()
    """Volumes and folders of the host that it may write, by name or path; not the folders of the system itself."""
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
