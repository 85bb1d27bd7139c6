"""What medic.yaml and the environment amount to: frozen values, every default filled in, and their text as YAML.

`config.load` makes a `Settings`, `wiring` builds the world of it. Secrets are here as values (for the adapters and the
redactor) and never in a repr or in `as_yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import ClassVar, Literal, get_args

import yaml

from agent import codec, fleet, spans, words
from agent.fleet import Snapshot
from agent.model import (
    Asks,
    BreakerRule,
    Budget,
    CertificateCheck,
    Check,
    CommandCheck,
    CompletionCheck,
    ComposeSpec,
    ContainerCheck,
    DnsCheck,
    FleetLimits,
    GpuCheck,
    Here,
    Host,
    HostCheck,
    HttpCheck,
    IdleRule,
    Limits,
    LogCheck,
    MemoryRule,
    Mode,
    ModelLimits,
    NginxCheck,
    Permissions,
    Price,
    ReplacementLimits,
    RunbookId,
    RunbookRule,
    RunSpec,
    Service,
    Spec,
    SshAccess,
    SsmAccess,
    TcpCheck,
    Thresholds,
    Window,
)

LogFormat = Literal["text", "json"]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS = get_args(Day)
"""How medic.yaml calls the days of a week, in the order that `Window.days` counts."""

KINDS: Mapping[type[Check], str] = {
    ContainerCheck: "container",
    TcpCheck: "tcp",
    HttpCheck: "http",
    CompletionCheck: "completion",
    CommandCheck: "command",
    DnsCheck: "dns",
    LogCheck: "log",
    HostCheck: "host",
    GpuCheck: "gpu",
    CertificateCheck: "certificate",
    NginxCheck: "nginx",
}
"""How medic.yaml calls each kind of check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseChannel:
    """Notices go to one apprise URL, which holds its own credentials and is therefore read from a file."""

    name: str
    url_file: Path
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookChannel:
    """Notices go to one URL as a JSON POST, signed where there is a secret."""

    name: str
    url: str
    secret_file: Path | None = None
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChannel:
    """Notices are appended to a file, one JSON object per line."""

    name: str
    path: Path


Channel = AppriseChannel | WebhookChannel | FileChannel


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProvider:
    """Where a language model is asked."""

    model: str
    """As litellm names it: who gives the verdict."""
    investigate: str
    """Who looks around before; a cheaper one may do."""
    url: str | None = None
    """Of an OpenAI-compatible endpoint, or of a proxy; None: the provider's own."""
    key_file: Path | None = None
    key: str | None = field(default=None, repr=False)
    prices: tuple[tuple[str, Price], ...] = ()
    """(model, price) where a person says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """The second opinion: whom to ask, when, and within which limits."""

    providers: tuple[ModelProvider, ...]
    asks: Asks = Asks.STUCK
    limits: ModelLimits = field(default_factory=ModelLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long records are kept. What belongs to an unclosed incident is kept whatever its age."""

    sweeps: timedelta = timedelta(days=7)
    """Sweep reports."""
    heals: timedelta = timedelta(days=7)
    """Finished heals in the engine's database. What they did is kept in the store, for good."""
    bundles: timedelta = timedelta(days=90)
    """Evidence, reports and run folders of closed incidents."""
    most_bytes: int = 2_000_000_000
    """What all of those may take; above it the oldest go first, before their time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InventorySource:
    """Where the inventory of a stack is, and what may be done in its fleet."""

    MONEY_PER_DAY: ClassVar[Decimal] = Decimal(25)

    ssm_parameter: str
    region: str
    key_file: str | None = None
    """The private key that opens its hosts; None: the one that is made in the state folder, or what the ssh-agent offers."""
    on_drought: Mode = Mode.ASK
    """Whether Medic raises the on-demand base by itself (ACT) where spot brings no replacement."""
    money_per_day: Decimal = MONEY_PER_DAY
    """US dollars within 24 hours, for hosts that Medic adds and for models together."""
    gpus: bool = True
    """Whether the cards of its hosts are looked at."""
    idle: IdleRule = field(default_factory=IdleRule)
    """From when on a host counts as idle, and people are asked whether it may be retired."""
    replacements: ReplacementLimits = field(default_factory=ReplacementLimits)
    """From how many replacements by Medic on it stops, and hands over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """What systemd tells a service of type `notify` in its environment."""

    socket: str | None = None
    """NOTIFY_SOCKET: where it listens."""
    silence: timedelta | None = None
    """WATCHDOG_USEC: how long it hears nothing before it starts the service afresh."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a person has decided, with the defaults for the rest."""

    file: Path | None
    """The medic.yaml that was read; None when there is none and Docker labels alone declare services."""
    state_dir: Path
    store_url: str = field(repr=False)
    """SQLAlchemy URL, with the password where there is one."""
    engine_url: str = field(repr=False)
    store_password_file: Path | None = None
    lease: timedelta = timedelta(seconds=30)
    """How long the Medic that leads may be silent before another on the same store takes over."""
    interval: timedelta = timedelta(seconds=5)
    """Between two beats."""
    hosts: tuple[Host, ...] = ()
    services: tuple[Service, ...] = ()
    channels: tuple[Channel, ...] = ()
    fleet_limits: FleetLimits = field(default_factory=FleetLimits)
    """The budgets that are not one service's own."""
    permissions: Permissions = field(default_factory=Permissions)
    """How far Medic may go by itself, beside what each service says."""
    model: ModelSettings | None = None
    """None: rules alone. Nothing is asked, and nothing of litellm is loaded."""
    inventory: InventorySource | None = None
    fleet: Snapshot | None = None
    """What was last read of it: its hosts and services are among `hosts` and `services`."""
    discover_labels: bool = True
    control: tuple[str, ...] = ()
    """URLs and `host:port` that should always answer: when none does, the network is Medic's own trouble."""
    retention: Retention = field(default_factory=Retention)
    log: LogFormat = "text"
    metrics_port: int | None = None
    """Where Prometheus may ask, on this machine's loopback; None: nowhere."""
    halted_by_env: str | None = None
    traces_to: str | None = None
    """The OTLP endpoint that the spans of asking models go to; None: nowhere."""
    """The value of MEDIC_HALT: nothing is changed while it is set."""
    supervision: Supervision = field(default_factory=Supervision)
    ssh_agent: str | None = None
    """SSH_AUTH_SOCK: the ssh-agent, for hosts that name no key file."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Literal values that the redactor removes from every text that leaves."""


def as_yaml(settings: Settings) -> str:
    """Return `settings` as a medic.yaml with every default written out; reading it back gives the same settings."""
    return yaml.dump(as_document(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


class _Dumper(yaml.SafeDumper):
    """SafeDumper that writes a value out where it comes twice: `yaml_text` reads no aliases."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def as_document(settings: Settings) -> dict[str, object]:
    """Return `settings` in the shape of medic.yaml. Passwords are left out; the files that hold them are named."""
    members = {each.instance for each in settings.fleet.members} if settings.fleet else set()
    declared = [host for host in settings.hosts if host.name not in members]
    return {
        "interval": spans.text(settings.interval),
        "state_dir": str(settings.state_dir),
        "store": _present(
            url=_without_password(settings.store_url),
            engine_url=_without_password(settings.engine_url),
            password_file=settings.store_password_file and str(settings.store_password_file),
            lease=spans.text(settings.lease),
        ),
        "log": settings.log,
        **_present(metrics=settings.metrics_port and {"port": settings.metrics_port}),
        "discover_labels": settings.discover_labels,
        "control": list(settings.control),
        "retention": {
            "sweeps": spans.text(settings.retention.sweeps),
            "heals": spans.text(settings.retention.heals),
            "bundles": spans.text(settings.retention.bundles),
            "most_bytes": settings.retention.most_bytes,
        },
        "budget": _plain(settings.fleet_limits.budget),
        "breaker": _plain(settings.fleet_limits.breaker),
        "runbook_limits": _plain(settings.fleet_limits.runbooks),
        "memory": _plain(settings.fleet_limits.memory),
        "maintenance": _windows(settings.fleet_limits.maintenance),
        "mode": settings.permissions.mode.value,
        "dry_run": settings.permissions.dry_run,
        "approval": {"expires": spans.text(settings.permissions.approval_expires)},
        "runbooks": _modes(settings.permissions.runbook_modes),
        **_present(fleet=settings.inventory and _inventory(settings.inventory)),
        **({"hosts": {str(host.name): _host(host) for host in declared}} if declared or not settings.inventory else {}),
        "channels": {channel.name: _channel(channel) for channel in settings.channels},
        **({} if settings.model is None else {"model": _model(settings.model)}),
        "services": {str(each.name): _service(each) for each in settings.services if each.origin != fleet.ORIGIN},
    }


def _inventory(source: InventorySource) -> dict[str, object]:
    return _present(
        ssm_parameter=source.ssm_parameter,
        region=source.region,
        key_file=source.key_file,
        on_drought=source.on_drought.value,
        money_per_day=float(source.money_per_day),
        gpus=source.gpus,
        idle={"under": source.idle.under, "within": spans.text(source.idle.within)},
        replacements={
            "of_fleet": source.replacements.of_fleet,
            "of_pool": source.replacements.of_pool,
            "within": spans.text(source.replacements.within),
        },
    )


def _host(host: Host) -> dict[str, object]:
    match host.access:
        case Here():
            access: dict[str, object] = {}
        case SshAccess() as ssh:
            access = {
                "ssh": _present(
                    address=ssh.address,
                    user=ssh.user,
                    known_hosts=ssh.known_hosts,
                    key_file=ssh.key_file,
                    port=ssh.port,
                    jump=None if ssh.jump is None else str(ssh.jump),
                    sudo=ssh.sudo,
                )
            }
        case SsmAccess() as ssm:
            access = {"ssm": {"instance": ssm.instance, "region": ssm.region}}
    return {"docker": host.docker or words.NO_DOCKER, **access}


def _present(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _without_password(url: str) -> str:
    """Return a database URL with its password left out."""
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{place}"


def _channel(channel: Channel) -> dict[str, object]:
    match channel:
        case AppriseChannel():
            return {"kind": "apprise", "url_file": str(channel.url_file)}
        case WebhookChannel():
            secret_file = channel.secret_file and str(channel.secret_file)
            return _present(kind="webhook", url=channel.url, secret_file=secret_file)
        case FileChannel():
            return {"kind": "file", "path": str(channel.path)}


def _model(model: ModelSettings) -> dict[str, object]:
    return {
        "providers": [
            _present(
                model=each.model,
                investigate=each.investigate,
                url=each.url,
                key_file=each.key_file and str(each.key_file),
                prices={name: {"input": float(price.input), "output": float(price.output)} for name, price in each.prices}
                or None,
            )
            for each in model.providers
        ],
        "ask": model.asks.value,
        "limits": _plain(model.limits),
    }


def _service(service: Service) -> dict[str, object]:
    return _present(
        host=str(service.host),
        container=service.container,
        checks=[_check(check) for check in service.checks],
        **({} if service.spec is None else _spec(service.spec)),
        config_file=service.config_file and _present(path=service.config_file.path, template=service.config_file.template),
        depends_on=list(service.depends_on) or None,
        deploy_lock=service.deploy_lock,
        maintenance=_windows(service.maintenance) or None,
        limits=_plain(service.limits),
        mode=service.mode.value,
        runbooks=_modes(service.runbook_modes),
        dry_run=service.dry_run,
        group=service.group,
        upstream_file=service.upstream_file,
        cache_paths=list(service.cache_paths) or None,
        artefacts=[codec.as_dict(each) for each in service.artefacts] or None,
        certificate=service.certificate and {"path": service.certificate.path, "renew": list(service.certificate.renew)},
        quarantine_file=service.quarantine_file,
        log_most_bytes=service.log_most_bytes,
    )


def _windows(windows: tuple[Window, ...]) -> list[dict[str, object]]:
    return [
        {
            "days": [DAYS[day] for day in window.days],
            "begin": f"{window.begin // 60:02}:{window.begin % 60:02}",
            "end": f"{window.end // 60:02}:{window.end % 60:02}",
            "timezone": window.timezone,
            "why": window.why,
        }
        for window in windows
    ]


def _modes(modes: tuple[tuple[RunbookId, Mode], ...]) -> dict[str, object]:
    return {str(id_): {"mode": mode.value} for id_, mode in modes}


def _check(check: Check) -> dict[str, object]:
    given = {each.name: _text(getattr(check, each.name)) for each in fields(check)}
    tail = {key: given.pop(key) for key in ("every",)}
    given.pop("thresholds")
    match check:
        case HttpCheck():
            given["status"] = [f"{low}-{high}" for low, high in check.status]
            given["headers"] = dict(check.headers)
            given["response_headers"] = {rule.name: rule.value for rule in check.response_headers}
            given["identity"] = check.identity and _present(text=check.identity.text, header=check.identity.header)
        case CompletionCheck():
            given["headers"] = dict(check.headers)
        case NginxCheck(nginx=None):
            given["on_host"] = True
        case _:
            pass
    return _present(kind=KINDS[type(check)], **given, **tail, **_thresholds(check.thresholds))


def _text(value: object) -> object:
    match value:
        case timedelta():
            return spans.text(value)
        case Enum():
            return value.value
        case tuple():
            return list(value)
        case _:
            return value


def _thresholds(thresholds: Thresholds) -> dict[str, object]:
    return {"sick_after": thresholds.sick_after, "well_after": thresholds.well_after, "unknown_after": thresholds.unknown_after}


def _spec(spec: Spec) -> dict[str, object]:
    match spec:
        case ComposeSpec():
            return {"compose": _present(file=spec.file, service=spec.service, project=spec.project)}
        case RunSpec():
            plain = codec.as_dict(spec)
            shape = dict(plain) if isinstance(plain, dict) else {}
            pairs = {"env": dict(spec.env), "labels": dict(spec.labels), "stop_timeout": f"{spec.stop_timeout}s"}
            return {"run": _present(**{**shape, **pairs})}


def _plain(limits: Limits | Budget | BreakerRule | RunbookRule | MemoryRule | ModelLimits) -> dict[str, object]:
    """Return the fields by name, spans as text, money as a number."""
    values = {each.name: getattr(limits, each.name) for each in fields(limits)}
    return {name: _written(value) for name, value in values.items()}


def _written(value: object) -> object:
    match value:
        case timedelta():
            return spans.text(value)
        case Decimal():
            return float(value)
        case _:
            return value
