"""Hosts, services and their limits: what a person declares. Their checks are in `checks`."""

from dataclasses import dataclass, field
from datetime import timedelta

from agent.model.checks import Check
from agent.model.health import HostName, Mode, RunbookId, ServiceName
from agent.model.memory import MemoryRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The host is this very machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAccess:
    """The host is reached over SSH. Its key is pinned in `known_hosts`; one that is not there is never accepted."""

    address: str
    """Name or address."""
    user: str
    known_hosts: str
    """Absolute path of the file."""
    key_file: str | None = None
    """Absolute path of the private key; None: the keys that the ssh-agent of Medic's environment offers."""
    port: int = 22
    jump: HostName | None = None
    """Another declared host of this kind, through which this one is reached."""
    sudo: bool = False
    """Whether playbooks, and the programs that look, become root by `sudo`, which must not ask for a password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SsmAccess:
    """The host is an EC2 instance reached through AWS Systems Manager: no port is open on it."""

    instance: str
    region: str


Access = Here | SshAccess | SsmAccess


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine with a Docker engine; or a jump host without one, of which nothing is asked but that it answers."""

    name: HostName
    docker: str | None = "unix:///var/run/docker.sock"
    """Where its engine listens, on that host; None where it has none."""
    access: Access = field(default_factory=Here)
    origin: str = "medic.yaml"
    """Who declared it: the config file, or the inventory it was read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One answer about a machine: what was asked, whether it is well, what was found, and how to get it if it is not.

    needed: Medic cannot do its work there without it.
    """

    what: str
    well: bool
    found: str
    how: str = ""
    needed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsibleSource:
    """An Ansible inventory: a file or a folder in ini or YAML."""

    path: str
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Source:
    """The running instances of a region that carry tags."""

    region: str
    tags: tuple[tuple[str, str], ...]
    public: bool
    """Whether they are reached at their public address."""
    ssm: bool
    """Whether they are reached through Systems Manager; else over SSH."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Where hosts and services are declared beside medic.yaml, and how those are reached that do not say."""

    name: str
    source: AnsibleSource | Ec2Source
    user: str | None = None
    known_hosts: str | None = None
    key_file: str | None = None
    sudo: bool = False
    jump: str | None = None
    """The host of medic.yaml through which they are reached."""

    def jump_to(self, name: str) -> str | None:
        """Return the host through which one of them is reached; None for the jump host itself, which may be among them."""
        return self.jump if self.jump != name else None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSeen:
    """One host in a list of them, and whether its engine answers now."""

    name: HostName
    reached: str
    """In words: `here`, `medic@10.0.3.7:22`, `i-0123456789abcdef0 in eu-west-1`."""
    answers: bool
    trouble: str
    """Why it does not answer; empty where it does."""
    containers: int | None
    origin: str
    """Who declared it."""


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
    network_of: str | None = None
    """A container whose network namespace it shares (`--network container:NAME`); then `networks` and `ports` are empty."""
    gpus: tuple[str, ...] = ()
    """GPUs it gets, by index or UUID; `all`: every one; none: none, or those that the image's own variables ask for."""
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
class Artefact:
    """One file that a service reads and never writes (weights, a bundle), and where the very same content can be had again."""

    path: str
    source: str
    sha256: str
    """In hex; what is not this is not put in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate file on the host, and the program that renews it."""

    path: str
    renew: tuple[str, ...]
    """Its words: no shell reads them."""


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
    host_at_once: int = 8
    """So many playbooks may be under way on one host at one moment: one starts in about a second, and eight load two cores."""


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
    """So many ineffective results on one service inside `window` demote a runbook to ask-first there; on so many different
    services, everywhere."""
    window: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of the week in which people work on services by plan: these are watched and left alone.

    days: of the week it begins on, 0 is Monday. begin, end: minutes of the wall clock in `timezone` (an IANA name); an end
    that is not after the begin is on the next day.
    """

    days: tuple[int, ...]
    begin: int
    end: int
    timezone: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLimits:
    """What bounds the whole fleet and is not one service's own."""

    budget: Budget = field(default_factory=Budget)
    breaker: BreakerRule = field(default_factory=BreakerRule)
    runbooks: RunbookRule = field(default_factory=RunbookRule)
    memory: MemoryRule = field(default_factory=MemoryRule)
    maintenance: tuple[Window, ...] = ()
    """Windows of every service."""


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
    maintenance: tuple[Window, ...] = ()
    """Windows of this service alone."""
    origin: str = "medic.yaml"
    """Who declared it: the config file's path, or `label`."""
    group: str | None = None
    """Replicas of one thing carry one group: the last that serves is not disrupted."""
    upstream_file: str | None = None
    """A file on the host that holds one nginx `upstream` block, named after the group (or the service), and nothing else."""
    cache_paths: tuple[str, ...] = ()
    """Folders on the host whose content can be made again, and may be deleted."""
    artefacts: tuple[Artefact, ...] = ()
    certificate: Certificate | None = None
    quarantine_file: str | None = None
    """A path on the host: while a file stands there, the host is quarantined, and nothing is done to its services."""
    log_most_bytes: int = 1_000_000_000
    """A Docker log larger than this is oversized. Docker rotates none by default (json-file, `max-size` -1)."""
