"""The checks that a person may declare on a service: one noun per kind, all of them settings and no behaviour.

What each asks and how the answers are judged is in `agent/checks/`, one file per kind.
"""

from dataclasses import dataclass
from datetime import timedelta

from agent.model.health import Plane


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
class HeaderRule:
    """What one header of an answer must be. An answer without it never keeps the rule."""

    name: str
    """In lower case."""
    value: str
    """`*`: any value. `~pattern`: a regular expression that is found in it. Anything else: exactly this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """By what a service is known: `text` is what `header` says, or without a header part of the body."""

    text: str
    header: str | None = None
    """In lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCheck:
    """`GET url` answers one of `status` in time, and keeps every further condition that is given.

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
    """A plain substring."""
    body_json: str | None = None
    """A JMESPath expression that must be true of the body."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with the request, for example ("Host", "shop.example")."""
    response_headers: tuple[HeaderRule, ...] = ()
    identity: Identity | None = None
    """Through a proxy: which service answers. Another one is `nginx-wrong-service`."""
    slower_than: timedelta | None = None
    """A right answer that took longer than this is SICK (`http-slow`)."""
    percentile: int | None = None
    """`slower_than` is asked of this percentile of the answers within `window`, not of each single one."""
    window: timedelta = timedelta(minutes=5)
    certificate_left: timedelta | None = None
    """A certificate that expires sooner than this is SICK. One that is not trusted is SICK anyway."""
    tls_name: str | None = None
    """Whom the certificate must name (and who is asked for by SNI and Host), where that is not the host of the URL."""
    ca_file: str | None = None
    """Trusted issuers (PEM) in place of the machine's own."""
    keep_alive: bool = False
    """A second request must be answered on the connection of the first."""
    body_limit: int = 65_536
    """Bytes read at most. An endless body is cut here and judged on what came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionCheck:
    """An OpenAI-style endpoint really generates: a tiny completion comes back with tokens, in time.

    `url` is the base that ends in `/v1`; its host may be `container`.
    """

    name: str
    every: timedelta
    thresholds: Thresholds
    url: str
    model: str
    timeout: timedelta
    api: str = "chat"
    """`chat` (`/chat/completions`) or `text` (`/completions`)."""
    stream: bool = True
    prompt: str = "Say yes."
    max_tokens: int = 4
    first_token_within: timedelta | None = None
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.ENGINE


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A program inside the container ends in time, with exit code `exit_code` and `output` in what it prints if given.

    `command` is a list of words and never passes a shell. The container must have `timeout`, which ends it for certain.
    """

    name: str
    every: timedelta
    thresholds: Thresholds
    command: tuple[str, ...]
    timeout: timedelta
    plane: Plane = Plane.CONTAINER
    exit_code: int = 0
    output: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsCheck:
    """The container can look up a name. The container must have `timeout` and `getent`."""

    name: str
    every: timedelta
    thresholds: Thresholds
    lookup: str
    timeout: timedelta

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.CONTAINER


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCheck:
    """Docker's log file of the container is not too large, and does not grow too fast over the window."""

    name: str
    every: timedelta
    thresholds: Thresholds
    most_bytes: int | None = None
    most_bytes_per_second: int | None = None
    window: timedelta = timedelta(minutes=5)

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCheck:
    """The machine under the service has room, and its Docker engine and its clock are sound. 100 % is never too much."""

    name: str
    every: timedelta
    thresholds: Thresholds
    disks: tuple[str, ...] = ("/",)
    disk_used: int = 90
    """Percent, of each of `disks`."""
    inodes_used: int = 90
    """Percent, of each of `disks`."""
    memory_used: int = 95
    """Percent; what the kernel could free counts as free."""
    load_per_cpu: float | None = None
    """Of the last five minutes."""
    docker_within: timedelta = timedelta(seconds=2)
    """How long Docker may take to list the host's containers."""
    clock_url: str | None = None
    """A server whose `Date` the clock is compared with."""
    clock_within: timedelta = timedelta(seconds=5)

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCheck:
    """The host's GPUs are all there and sound, and the container sees them."""

    name: str
    every: timedelta
    thresholds: Thresholds
    timeout: timedelta = timedelta(seconds=5)
    """Of everything that is asked of the host, and of the question to the container."""
    count: int | None = None
    """How many cards the host has; None: that is not asked."""
    in_container: bool = True
    """Whether the container must see GPUs: `container_count` of them, or at least one."""
    container_count: int | None = None
    temperature: int | None = None
    """Degrees Celsius that are allowed; None: not asked, since each model has its own limit and slows down by itself."""
    throttled: bool = True
    """Whether a card that is slowed down for heat or power is SICK."""
    ecc_uncorrected: int = 0
    """Uncorrected memory errors that are allowed, since the driver was loaded."""
    remap_pending: bool = False
    """Whether a broken memory row that waits for the next reset is SICK: the card works until then."""
    orphan_memory: int | None = 256
    """MiB that a process may hold which is gone, or whose container is; None: that is not asked."""
    xids: bool = True
    """Whether Xid lines of the kernel log count."""
    app_faults: int = 2
    """Faults of the application, since its container started, that are SICK."""
    fabric_manager: bool = False
    """Whether the NVLink fabric must be up: for machines with NVSwitch."""
    tool: str = "nvidia-smi"
    """On the host: a name, or an absolute path."""
    kernel_log: str | None = None
    """A file that the host's kernel log goes to; None: the kernel is asked."""
    dcgm_url: str | None = None
    """Metrics of a DCGM exporter, for where nvidia-smi cannot be asked."""

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateCheck:
    """A certificate file on the host is good for long enough, and its private key is not open to everybody."""

    name: str
    every: timedelta
    thresholds: Thresholds
    path: str
    left: timedelta = timedelta(days=14)
    key: str | None = None
    """The file of its private key; a key inside `path` itself counts too."""

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.HOST


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxCheck:
    """What nginx routes is what really runs: every route that should lead to this service does, to an address it has."""

    name: str
    every: timedelta
    thresholds: Thresholds
    nginx: str | None
    """Name of the container that nginx runs in; None: nginx runs on the host itself."""
    port: int | None = None
    """The port this service listens on inside its container: upstream targets must use it. None: it listens on `socket`."""
    socket: str | None = None
    """The Unix socket this service listens on, as nginx writes its path. Exactly one of `port` and `socket` is there."""
    server_name: str | None = None
    location: str = "/"

    @property
    def plane(self) -> Plane:
        """Every check says which plane it looks at; this kind has one only."""
        return Plane.NGINX


Check = (
    ContainerCheck
    | TcpCheck
    | HttpCheck
    | CompletionCheck
    | CommandCheck
    | DnsCheck
    | LogCheck
    | HostCheck
    | GpuCheck
    | CertificateCheck
    | NginxCheck
)
