"""Reads medic.yaml and the environment, once, into a frozen `Settings`. The only reader of either.

Nothing is guessed: an unknown key or variable, a wrong type, a number without its unit or a secret written into the file is a
`ConfigError` of one sentence that names file, key and what would be right. Relative paths are relative to the file. Secrets
come from files (`*_file`) that not everybody may read.
"""

import os
import pwd
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar  # Any: the fields of a shape have the types that the noun asks for; pydantic has checked them
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, ValidationError

from agent import check_shapes, config_shape, fleet, redact, spans, words, yaml_text
from agent.errors import ConfigError
from agent.model import (
    MEDIC,
    Access,
    AnsibleSource,
    Artefact,
    Asks,
    BreakerRule,
    Budget,
    Certificate,
    CertificateCheck,
    Check,
    CommandCheck,
    CompletionCheck,
    ComposeSpec,
    ConfigFile,
    ContainerCheck,
    DnsCheck,
    Ec2Source,
    FleetLimits,
    GpuCheck,
    HeaderRule,
    Here,
    Host,
    HostCheck,
    HostName,
    HttpCheck,
    Identity,
    IdleRule,
    Inventory,
    Limits,
    LogCheck,
    MemoryRule,
    Mode,
    ModelLimits,
    NginxCheck,
    Permissions,
    Plane,
    Price,
    ReplacementLimits,
    RunbookId,
    RunbookRule,
    RunSpec,
    Service,
    ServiceName,
    Spec,
    SshAccess,
    SsmAccess,
    TcpCheck,
    Thresholds,
    Window,
)
from agent.policy import dependencies
from agent.settings import (
    DAYS,
    AppriseChannel,
    Channel,
    FileChannel,
    InventorySource,
    ModelProvider,
    ModelSettings,
    Retention,
    Settings,
    Supervision,
    WebhookChannel,
)

VARIABLES = ("MEDIC_CONFIG", "MEDIC_STATE_DIR", "MEDIC_STORE_URL", "MEDIC_HALT")
HOME = "XDG_STATE_HOME"
"""Where programs of a user keep their state. Source: XDG Base Directory Specification 0.8."""
SUPERVISION = ("NOTIFY_SOCKET", "WATCHDOG_USEC")
"""What systemd sets. Source: sd_notify(3), sd_watchdog_enabled(3)."""
SSH_AGENT = "SSH_AUTH_SOCK"
"""Where an ssh-agent listens, for hosts without a key file. Source: ssh-agent(1)."""
TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""Where traces go, as OpenTelemetry names it (specification 1.50, OTLP exporter)."""
_THRESHOLDS: Mapping[type[check_shapes.CheckShape], Thresholds] = {
    # What Docker says of a container is structural and does not flicker; a probe may lose one packet.
    check_shapes.ContainerShape: Thresholds(sick_after=1),
    # An engine under load may be late with one tiny completion.
    check_shapes.CompletionShape: Thresholds(sick_after=3),
}
_NOUNS: Mapping[type[check_shapes.CheckShape], type[Any]] = {
    check_shapes.ContainerShape: ContainerCheck,
    check_shapes.TcpShape: TcpCheck,
    check_shapes.HttpShape: HttpCheck,
    check_shapes.CompletionShape: CompletionCheck,
    check_shapes.CommandShape: CommandCheck,
    check_shapes.DnsShape: DnsCheck,
    check_shapes.LogShape: LogCheck,
    check_shapes.HostCheckShape: HostCheck,
    check_shapes.GpuShape: GpuCheck,
    check_shapes.CertificateShape: CertificateCheck,
    check_shapes.NginxShape: NginxCheck,
}
PLACES = (Path("medic.yaml"), Path("/etc/medic/medic.yaml"))
"""Where the file is looked for when neither `--config` nor MEDIC_CONFIG names one."""

_SHORTEST_SECRET = 6
"""Shorter values of env files are not redacted: "true" or "3306" would black out half of every log."""


ReadInventory = Callable[[Inventory], Mapping[str, Any]]
"""Reads what an inventory declares: `hosts` and `services`, in the shape of medic.yaml, with absolute paths."""
Shape = TypeVar("Shape", bound=BaseModel)


def _no_inventory(inventory: Inventory) -> Mapping[str, Any]:
    raise ConfigError(f"cannot read inventory {inventory.name!r} here: only commands that look or act do")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: for the sentence of an error, and for the paths beside it."""

    file: str
    base: Path
    keys: tuple[object, ...] = ()

    def at(self, *keys: object) -> "_Place":
        return replace(self, keys=(*self.keys, *keys))

    def wrong(self, cause: str) -> ConfigError:
        location = yaml_text.where(self.keys)
        return ConfigError(f"cannot read {self.file}: {location + ': ' if location else ''}{cause}")

    def path(self, text: str) -> Path:
        return Path(os.path.normpath(self.base / Path(text).expanduser()))

    def existing(self, text: str) -> Path:
        path = self.path(text)
        if not _is_file(path):
            raise self.wrong(f"there is no file {path}")
        return path

    def secret(self, text: str) -> str:
        """Return the content of a file that holds one secret. Raises ConfigError if everybody may read it, or nobody can."""
        path = self.existing(text)
        try:
            if path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
                raise self.wrong(f"everybody may read {path}: chmod 600 {path}")
            content = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            raise self.wrong(f"cannot read {path}: {_cause(exc)}") from exc
        if not content:
            raise self.wrong(f"{path} is empty")
        return content


def load(path: Path | None, environment: Mapping[str, str] | None = None, inventory: ReadInventory = _no_inventory) -> Settings:
    """Return the settings from medic.yaml and the environment (by default the process's own).

    path: the file to read; None looks at MEDIC_CONFIG, then at PLACES, and is content with no file at all.
    inventory: reads one that the file names, into the shape of medic.yaml. Raises ConfigError, and what `inventory` raises.
    """
    variables = _variables(os.environ if environment is None else environment)
    found = _find(path, variables)
    document = {} if found is None else yaml_text.parse(_text(found), str(found))
    place = _Place(file=str(found or "the environment"), base=found.absolute().parent if found else Path.cwd())
    origins: dict[str, str] = {}
    if isinstance(document, dict) and document.get("inventories"):
        document = _with_inventories(document, place, inventory, origins)
    settings = _settings(_shape(config_shape.MedicFile, document, place.file), place, found, variables)
    hosts = tuple(replace(host, origin=origins.get(host.name, host.origin)) for host in settings.hosts)
    declared = (
        replace(service, origin=origins.get(f"service {service.name}", service.origin)) for service in settings.services
    )
    return replace(settings, hosts=hosts, services=tuple(declared))


def _shape(kind: type[Shape], document: object, file: str) -> Shape:
    try:
        return kind.model_validate(document)
    except ValidationError as exc:
        raise ConfigError(yaml_text.sentence(file, document, exc.errors(include_url=False))) from exc


def _with_inventories(document: dict[str, Any], place: _Place, read: ReadInventory, origins: dict[str, str]) -> dict[str, Any]:
    """Return the document with what its inventories declare put in. origins: filled in, who declared what.

    Nothing takes the place of anything: what two sources declare is an error that names both.
    """
    whole = {**document}
    for key, shape in _shape(config_shape.InventoriesShape, document, place.file).inventories.items():
        at = place.at("inventories", key)
        origin = f"inventory {key}"
        found = read(_inventory(key, shape, at))
        _shape(config_shape.MedicFile, {**found}, f"{place.file}: inventories.{key}")
        for kind, prefix in (("hosts", ""), ("services", "service ")):
            there = whole.get(kind) or {}
            for name in found.get(kind, {}):
                if name in there:
                    other = origins.get(f"{prefix}{name}", place.file)
                    raise at.wrong(f"{kind.removesuffix('s')} {name!r} is declared by {other} as well: leave it out of one")
                origins[f"{prefix}{name}"] = origin
            whole[kind] = {**there, **found.get(kind, {})}
    return {key: value for key, value in whole.items() if value}


def _inventory(key: str, shape: config_shape.InventoryShape, place: _Place) -> Inventory:
    source: AnsibleSource | Ec2Source
    if shape.ec2 is not None:
        tags = tuple(shape.ec2.tags.items())
        public, ssm = shape.ec2.address == "public", shape.ec2.reached == "ssm"
        source = Ec2Source(region=shape.ec2.region, tags=tags, public=public, ssm=ssm)
    else:
        path = place.at("ansible").path(shape.ansible or "")
        if not path.exists():
            raise place.at("ansible").wrong(f"there is no file or folder {path}")
        source = AnsibleSource(path=str(path), group=shape.group)
    return Inventory(
        name=key,
        source=source,
        user=shape.user,
        known_hosts=None if shape.known_hosts is None else str(place.at("known_hosts").existing(shape.known_hosts)),
        key_file=None if shape.key_file is None else str(place.at("key_file").existing(shape.key_file)),
        sudo=shape.sudo,
        jump=shape.jump,
    )


def services(document: object, file: str) -> tuple[Service, ...]:
    """Return the services of a document in the shape of medic.yaml, in its order. Raises ConfigError.

    file: what an error calls it; paths must be absolute.
    """
    place = _Place(file=file, base=Path("/"))
    try:
        shape = config_shape.MedicFile.model_validate(document)
    except ValidationError as exc:
        raise ConfigError(yaml_text.sentence(file, document, exc.errors(include_url=False))) from exc
    return tuple(_service(key, service, shape, place.at("services", key)) for key, service in shape.services.items())


def load_state_dir(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return settings whose `state_dir` alone is right, whatever else is wrong: enough to halt and resume.

    Raises ConfigError when the file is no YAML at all, for it may name a state folder that cannot be read; MEDIC_STATE_DIR
    does without the file.
    """
    given = os.environ if environment is None else environment
    variables = {key: given[key] for key in (*VARIABLES, HOME) if given.get(key)}
    if "MEDIC_STATE_DIR" in variables:
        return _settings(config_shape.MedicFile(), _Place(file="the environment", base=Path.cwd()), None, variables)
    found = _find(path, variables)
    document = {} if found is None else yaml_text.parse(_text(found), str(found))
    named = document.get("state_dir") if isinstance(document, dict) else None
    place = _Place(file=str(found or "the environment"), base=found.absolute().parent if found else Path.cwd())
    return _settings(
        config_shape.MedicFile(state_dir=named if isinstance(named, str) and named else None), place, found, variables
    )


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return our variables that are set. Raises ConfigError for one that there is not."""
    for key in environment:
        if key.startswith("MEDIC_") and key not in VARIABLES:
            raise ConfigError(f"cannot read the environment: {key}: there is no such variable{yaml_text.mean(key, VARIABLES)}")
    return {key: environment[key] for key in (*VARIABLES, *SUPERVISION, SSH_AGENT, TRACES, HOME) if environment.get(key)}


def _find(path: Path | None, variables: Mapping[str, str]) -> Path | None:
    named = path or (Path(variables["MEDIC_CONFIG"]) if "MEDIC_CONFIG" in variables else None)
    if named is not None:
        if not _is_file(named):
            raise ConfigError(f"cannot read {named}: there is no such file (`medic init` proposes one)")
        return named
    return next((place for place in PLACES if _is_file(place)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return False  # a folder on the way that we may not enter


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {path}: {_cause(exc)}") from exc


def _cause(exc: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8 text" if isinstance(exc, UnicodeDecodeError) else (exc.strerror or str(exc)).lower()


# ---------------------------------------------------------------------------------------------------- from file to nouns


def _settings(file: config_shape.MedicFile, place: _Place, found: Path | None, variables: Mapping[str, str]) -> Settings:
    state_dir = _state_dir(file, place, variables)
    store_url, engine_url, password_file, password = _store(file.store, place.at("store"), state_dir, variables)
    source = _stack(file.fleet, place.at("fleet"))
    if source is not None and "hosts" not in file.model_fields_set:
        file = file.model_copy(update={"hosts": {}})  # the machine that Medic runs on is none of the fleet's
    hosts = tuple(_host(key, host, file, place.at("hosts", key)) for key, host in file.hosts.items())
    channels = tuple(_channel(key, channel, place.at("channels", key)) for key, channel in file.channels.items())
    services = tuple(_service(key, service, file, place.at("services", key)) for key, service in file.services.items())
    _refuse_shared_containers(services, place)
    _refuse_secrets(services, place)
    _refuse_impossible_parents(services, place)
    model = None if file.model is None else _model(file.model, place.at("model"))
    secrets = [*([password] if password else []), *(secret for channel in channels for secret in _secrets_of(channel))]
    # What an env file on another machine holds is not known here: what is secret by its looks is redacted all the same.
    near = {host.name for host in hosts if isinstance(host.access, Here)}
    secrets += [secret for service in services if service.host in near for secret in _env_file_secrets(service, place)]
    secrets += [provider.key for provider in (model.providers if model else ()) if provider.key]
    read = Settings(
        file=found,
        state_dir=state_dir,
        inventory=source,
        store_url=store_url,
        engine_url=engine_url,
        store_password_file=password_file,
        lease=file.store.lease,
        interval=file.interval,
        hosts=hosts,
        services=services,
        channels=channels,
        fleet_limits=FleetLimits(
            budget=Budget(**_fields(file.budget)),
            breaker=BreakerRule(**_fields(file.breaker)),
            runbooks=RunbookRule(**_fields(file.runbook_limits)),
            memory=MemoryRule(**_fields(file.memory)),
            maintenance=_windows(file.maintenance),
        ),
        permissions=Permissions(
            mode=Mode(file.mode),
            runbook_modes=_modes(file.runbooks),
            dry_run=file.dry_run,
            approval_expires=file.approval.expires,
            look_only=tuple(host.name for host in hosts if isinstance(host.access, SsmAccess)),
        ),
        model=model,
        discover_labels=file.discover_labels,
        control=tuple(file.control),
        metrics_port=None if file.metrics is None else file.metrics.port,
        retention=Retention(**_fields(file.retention)),
        log=file.log,
        halted_by_env=_halted(variables),
        supervision=_supervision(variables),
        ssh_agent=variables.get(SSH_AGENT),
        traces_to=variables.get(TRACES),
        secrets=tuple(dict.fromkeys(secrets)),
    )
    kept = None if source is None else _kept_fleet(state_dir)
    return read if kept is None else with_fleet(read, kept)


def with_fleet(settings: Settings, snapshot: fleet.Snapshot) -> Settings:
    """Return settings whose fleet is this one. What people declare under the same name stays theirs."""
    before = {each.instance for each in settings.fleet.members} if settings.fleet else set()
    hosts = tuple(each for each in settings.hosts if each.name not in before)
    services = tuple(each for each in settings.services if each.origin != fleet.ORIGIN)
    taken = {*(str(each.name) for each in hosts), *(str(each.name) for each in services)}
    folder = settings.state_dir / fleet.FOLDER
    key = settings.inventory and settings.inventory.key_file
    made = settings.state_dir / fleet.KEY
    key = key or (str(made) if made.is_file() else None)
    found = fleet.hosts(snapshot, str(folder / fleet.KNOWN_HOSTS), key)
    models = fleet.services(snapshot, settings.interval, gpus=settings.inventory is not None and settings.inventory.gpus)
    return replace(
        settings,
        fleet=snapshot,
        hosts=(*hosts, *(each for each in found if each.name not in taken)),
        services=(*services, *(each for each in models if each.name not in taken)),
    )


def _kept_fleet(state_dir: Path) -> fleet.Snapshot | None:
    """Return the fleet as it was last read; None before that."""
    path = state_dir / fleet.FOLDER / fleet.FILE
    try:
        return fleet.read(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}; delete it, and `medic inventory sync` reads it anew") from exc


def _stack(shape: config_shape.StackShape | None, place: _Place) -> InventorySource | None:
    if shape is None:
        return None
    return InventorySource(
        ssm_parameter=shape.ssm_parameter,
        region=shape.region,
        key_file=None if shape.key_file is None else str(place.at("key_file").path(shape.key_file)),
        on_drought=Mode(shape.on_drought),
        money_per_day=Decimal(str(shape.money_per_day)),
        gpus=shape.gpus,
        idle=IdleRule(under=shape.idle.under, within=shape.idle.within),
        replacements=ReplacementLimits(
            of_fleet=shape.replacements.of_fleet, of_pool=shape.replacements.of_pool, within=shape.replacements.within
        ),
    )


def _supervision(variables: Mapping[str, str]) -> Supervision:
    micros = variables.get("WATCHDOG_USEC", "")
    silence = timedelta(microseconds=int(micros)) if micros.isascii() and micros.isdigit() and int(micros) else None
    return Supervision(socket=variables.get("NOTIFY_SOCKET"), silence=silence)


def _halted(variables: Mapping[str, str]) -> str | None:
    word = variables.get("MEDIC_HALT", "")
    return None if word.lower() in ("", "0", "false", "no") else word


def _state_dir(file: config_shape.MedicFile, place: _Place, variables: Mapping[str, str]) -> Path:
    """Return the one folder that state lives under; the environment wins over the file, the file over the default."""
    if "MEDIC_STATE_DIR" in variables:
        return Path(variables["MEDIC_STATE_DIR"]).expanduser().absolute()
    if file.state_dir is not None:
        return place.at("state_dir").path(file.state_dir)
    if os.geteuid() == 0:
        return Path("/var/lib/medic")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    return Path(variables.get(HOME, home / ".local/state")) / "medic"


def _store(
    store: config_shape.StoreShape, place: _Place, state_dir: Path, variables: Mapping[str, str]
) -> tuple[str, str, Path | None, str | None]:
    """Return the store's URL, the engine's URL, the password's file and the password.

    A database server holds both; on SQLite each has a file of its own, for one process writes to an engine's file.
    """
    for key, given in (("url", store.url), ("engine_url", store.engine_url)):
        if given and urlsplit(given).password:
            raise place.at(key).wrong("must not hold a password: put it into a file and name that under store.password_file")
    chosen = variables.get("MEDIC_STORE_URL") or store.url
    password_file = place.at("password_file").path(store.password_file) if store.password_file else None
    password = place.at("password_file").secret(store.password_file) if store.password_file else None
    if chosen is None or chosen.startswith("sqlite"):
        chosen = _from_file(chosen, place) or f"sqlite:///{state_dir / 'medic.db'}"
        return chosen, _from_file(store.engine_url, place) or f"sqlite:///{state_dir / 'engine.db'}", password_file, password
    url = _with_password(chosen, password)
    return (
        url,
        _with_password(store.engine_url, password) if store.engine_url else url,
        password_file,
        password or unquote(urlsplit(url).password or "") or None,
    )


def _from_file(url: str | None, place: _Place) -> str | None:
    """Return a SQLite URL with a path that is relative to the file made absolute."""
    scheme, separator, path = (url or "").partition(":///")
    return f"{scheme}{separator}{place.path(path)}" if path and scheme.startswith("sqlite") else url


def _with_password(url: str, password: str | None) -> str:
    parts = urlsplit(url)
    if password is None or parts.password or not parts.hostname:
        return url
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:{quote(password, safe='')}@{place}").geturl()


def _channel(key: str, channel: config_shape.ChannelShape, place: _Place) -> Channel:
    match channel:
        case config_shape.AppriseShape():
            at = place.at("url_file")
            return AppriseChannel(name=key, url_file=at.path(channel.url_file), url=at.secret(channel.url_file))
        case config_shape.WebhookShape(secret_file=None):
            return WebhookChannel(name=key, url=channel.url)
        case config_shape.WebhookShape(secret_file=str(file)):
            at = place.at("secret_file")
            return WebhookChannel(name=key, url=channel.url, secret_file=at.path(file), secret=at.secret(file))
        case config_shape.FileChannelShape():
            return FileChannel(name=key, path=place.path(channel.path))
        case _:
            raise AssertionError(channel)


def _model(model: config_shape.ModelShape, place: _Place) -> ModelSettings:
    limits = _fields(model.limits)
    return ModelSettings(
        providers=tuple(_provider(each, place.at("providers", at)) for at, each in enumerate(model.providers)),
        asks=Asks(model.ask),
        limits=ModelLimits(**{name: _money(value) for name, value in limits.items()}),
    )


def _provider(provider: config_shape.ProviderShape, place: _Place) -> ModelProvider:
    at, file = place.at("key_file"), provider.key_file
    return ModelProvider(
        model=provider.model,
        investigate=provider.investigate or provider.model,
        url=provider.url,
        key_file=at.path(file) if file else None,
        key=at.secret(file) if file else None,
        prices=tuple(
            (name, Price(input=_money(price.input), output=_money(price.output))) for name, price in provider.prices.items()
        ),
    )


def _money(value: Any) -> Any:
    """Return a number with a fraction as it is written: money is not binary."""
    return Decimal(str(value)) if isinstance(value, float) else value


def _secrets_of(channel: Channel) -> tuple[str, ...]:
    match channel:
        case AppriseChannel():
            return (channel.url,)
        case WebhookChannel(secret=str(secret)):
            return (secret,)
        case _:
            return ()


def _env_file_secrets(service: Service, place: _Place) -> list[str]:
    """Return the values in a service's env files whose names say that they are secret."""
    found = []
    for index, file in enumerate(service.spec.env_files if isinstance(service.spec, RunSpec) else ()):
        try:
            lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as exc:
            raise place.at("services", service.name, "run", "env_files", index).wrong(
                f"cannot read {file}: {_cause(exc)}"
            ) from exc
        pairs = (line.partition("=") for line in lines if not line.lstrip().startswith("#"))
        found += [value.strip(" '\"") for key, _, value in pairs if config_shape.SECRET_KEY.search(key.strip())]
    return [value for value in found if len(value) >= _SHORTEST_SECRET]


def _host(key: str, host: config_shape.HostShape, file: config_shape.MedicFile, place: _Place) -> Host:
    access: Access = Here()
    if host.ssh is not None:
        access = _ssh_access(key, host.ssh, file, place.at("ssh"))
    elif host.ssm is not None:
        access = SsmAccess(instance=host.ssm.instance, region=host.ssm.region)
    return Host(name=HostName(key), docker=None if host.docker == words.NO_DOCKER else host.docker, access=access)


def _ssh_access(key: str, ssh: config_shape.SshShape, file: config_shape.MedicFile, place: _Place) -> SshAccess:
    over = [key]
    while (jump := file.hosts[over[-1]].ssh) is not None and jump.jump is not None:
        if jump.jump not in file.hosts or file.hosts[jump.jump].ssh is None:
            raise place.at("jump").wrong(f"there is no host {jump.jump!r} that is reached over SSH")
        if jump.jump in over:
            raise place.at("jump").wrong(f"it leads back to itself: {' -> '.join([*over, jump.jump])}")
        over.append(jump.jump)
    return SshAccess(
        address=ssh.address,
        user=ssh.user,
        known_hosts=str(place.at("known_hosts").existing(ssh.known_hosts)),
        key_file=None if ssh.key_file is None else str(place.at("key_file").existing(ssh.key_file)),
        port=ssh.port,
        jump=None if ssh.jump is None else HostName(ssh.jump),
        sudo=ssh.sudo,
    )


def _service(key: str, service: config_shape.ServiceShape, file: config_shape.MedicFile, place: _Place) -> Service:
    if key == MEDIC:
        raise place.wrong(f"{key!r} is the name of incidents about Medic itself: call the service otherwise")
    if service.host not in file.hosts:
        raise place.at("host").wrong(f"there is no host {service.host!r}{yaml_text.mean(service.host, file.hosts)}")
    host = file.hosts[service.host]
    if host.docker == words.NO_DOCKER:
        raise place.at("host").wrong(
            f"{service.host!r} has no Docker (docker: {words.NO_DOCKER}), and a service is a container"
        )
    far = host.ssh is not None or host.ssm is not None
    given = list(service.checks)
    if not any(isinstance(check, check_shapes.ContainerShape) for check in given):
        # Whatever else is asked, a container that is gone must be seen as gone, or nothing would start it again.
        given.append(check_shapes.ContainerShape(kind="container"))
    names = _check_names(given, place)
    checks = tuple(_check(check, names[i], service, file.interval, place.at("checks", i)) for i, check in enumerate(given))
    return Service(
        name=ServiceName(key),
        host=HostName(service.host),
        container=service.container or key,
        checks=checks,
        limits=Limits(**_fields(service.limits)),
        spec=_spec(key, service, place, far=far),
        config_file=_config_file(service.config_file, place.at("config_file")),
        upstream_file=service.upstream_file,
        cache_paths=tuple(service.cache_paths),
        artefacts=tuple(Artefact(**_fields(each)) for each in service.artefacts),
        certificate=None
        if service.certificate is None
        else Certificate(path=service.certificate.path, renew=tuple(service.certificate.renew)),
        quarantine_file=service.quarantine_file,
        log_most_bytes=service.log_most_bytes,
        depends_on=tuple(ServiceName(parent) for parent in service.depends_on),
        deploy_lock=None if service.deploy_lock is None else str(place.at("deploy_lock").path(service.deploy_lock)),
        maintenance=_windows(service.maintenance),
        mode=_mode(service, host, place),
        runbook_modes=_modes(service.runbooks),
        dry_run=service.dry_run,
        group=service.group,
        origin=place.file,
    )


def _mode(service: config_shape.ServiceShape, host: config_shape.HostShape, place: _Place) -> Mode:
    """Return how far Medic may go. Through SSM it cannot act, and whoever writes that it may is told."""
    if host.ssm is None:
        return Mode(service.mode)
    acting = (Mode.ASK.value, Mode.ACT.value)
    named = [(("runbooks", id_, "mode"), each.mode) for id_, each in service.runbooks.items()]
    written = [(("mode",), service.mode)] if "mode" in service.model_fields_set else []
    for keys, mode in (*written, *named):
        if mode in acting:
            raise place.at(*keys).wrong(
                f"host {service.host!r} is reached through SSM, over which Medic looks and does not act:"
                " write suggest or observe, or declare `ssh:` for the host"
            )
    return Mode(service.mode) if written else Mode.SUGGEST


def _fields(shape: BaseModel) -> dict[str, Any]:
    """Return what a shape holds, for the noun of the model that has the same fields."""
    return {field: getattr(shape, field) for field in type(shape).model_fields}


def _windows(windows: Sequence[config_shape.WindowShape]) -> tuple[Window, ...]:
    return tuple(
        Window(
            days=tuple(sorted({DAYS.index(day) for day in window.days})),
            begin=_minutes(window.begin),
            end=_minutes(window.end),
            timezone=window.timezone,
            why=window.why,
        )
        for window in windows
    )


def _minutes(of_clock: str) -> int:
    hours, minutes = of_clock.split(":")
    return 60 * int(hours) + int(minutes)


def _modes(runbooks: Mapping[str, config_shape.RunbookModeShape]) -> tuple[tuple[RunbookId, Mode], ...]:
    return tuple((RunbookId(id_), Mode(runbook.mode)) for id_, runbook in runbooks.items())


def _refuse_secrets(services: tuple[Service, ...], place: _Place) -> None:
    """Refuse a declaration that a secret is written into: it is stored to the letter, and shown."""
    for service in services:
        if redact.holds_secret(redact.texts_of(service)):
            raise place.at("services", service.name).wrong(
                "a secret is written in here, and what is written here is shown and stored: put it into a file under env_files"
            )


def _refuse_shared_containers(services: tuple[Service, ...], place: _Place) -> None:
    """Refuse two services on one container: each would heal it behind the other's back."""
    owners: dict[tuple[str, str], str] = {}
    for service in services:
        owner = owners.setdefault((service.host, service.container), service.name)
        if owner != service.name:
            at = place.at("services", service.name, "container")
            raise at.wrong(
                f"{service.container!r} is the container of service {owner!r} already: give one service all its checks"
            )


def _refuse_impossible_parents(services: tuple[Service, ...], place: _Place) -> None:
    """Refuse a parent that is no service of this file, and a circle: each would wait for the other."""
    graph = {service.name: service.depends_on for service in services}
    for service in services:
        for index, parent in enumerate(service.depends_on):
            if parent not in graph:
                at = place.at("services", service.name, "depends_on", index)
                raise at.wrong(f"there is no service {parent!r}{yaml_text.mean(parent, list(graph))}")
    circle = dependencies.circle(graph)
    if circle:
        at = place.at("services", circle[0], "depends_on")
        raise at.wrong(f"{' -> '.join(circle)} is a circle: each would wait for the other")


def _check_names(given: list[check_shapes.CheckShape], place: _Place) -> list[str]:
    """Return each check's name: its own, or its kind, its plane and a number when that is there twice."""
    taken: set[str] = set()
    for index, check in enumerate(given):
        if check.name is not None and check.name in taken:
            raise place.at("checks", index, "name").wrong(f"there is a check {check.name!r} already")
        taken |= {check.name} if check.name else set()
    names = []
    for check in given:
        plain = (
            f"{check.kind}-{_plane(check).value}"
            if isinstance(check, check_shapes.TcpShape | check_shapes.HttpShape)
            else check.kind
        )
        free = (word for word in (plain, *(f"{plain}-{number}" for number in range(2, len(given) + 2))) if word not in taken)
        names.append(check.name or next(free))
        taken.add(names[-1])
    return names


def _plane(check: check_shapes.TcpShape | check_shapes.HttpShape) -> Plane:
    """Return where a probe looks from: as written, or as its host tells."""
    if check.plane is not None:
        return Plane(check.plane)
    host = urlsplit(check.url).hostname if isinstance(check, check_shapes.HttpShape) else check.address.rpartition(":")[0]
    return {"container": Plane.DIRECT, "127.0.0.1": Plane.HOST_PORT, "localhost": Plane.HOST_PORT}.get(host or "", Plane.PUBLIC)


def _check(
    check: check_shapes.CheckShape, name: str, service: config_shape.ServiceShape, interval: timedelta, place: _Place
) -> Check:
    every = check.every or service.every or interval
    if every < interval:
        raise place.at("every").wrong(f"{spans.text(every)} is shorter than the interval of the beat ({spans.text(interval)})")
    default = _THRESHOLDS.get(type(check), Thresholds())
    thresholds = Thresholds(
        sick_after=check.sick_after or service.sick_after or default.sick_after,
        well_after=check.well_after or service.well_after or default.well_after,
        unknown_after=check.unknown_after or service.unknown_after or default.unknown_after,
    )
    given = {"name": name, "every": every, "thresholds": thresholds, **_special(check, place)}
    noun = _NOUNS[type(check)]
    plain = [field.name for field in fields(noun) if field.name not in given and field.name in type(check).model_fields]
    made: Check = noun(**given, **{key: _frozen(getattr(check, key)) for key in plain})
    return made


def _special(check: check_shapes.CheckShape, place: _Place) -> dict[str, object]:
    """Return the fields of a check that are more than what its shape holds."""
    match check:
        case check_shapes.TcpShape():
            return {"plane": _plane(check)}
        case check_shapes.HttpShape():
            rules = (HeaderRule(name=header.lower(), value=value) for header, value in check.response_headers.items())
            shown, plane = check.identity, _plane(check)
            if shown is not None and plane not in (Plane.NGINX, Plane.PUBLIC):
                raise place.at("identity").wrong("is asked of what a proxy routes: give the check plane: nginx or public")
            return {
                "plane": plane,
                "response_headers": tuple(rules),
                "identity": shown and Identity(text=shown.text, header=shown.header and shown.header.lower()),
                "ca_file": check.ca_file and str(place.at("ca_file").existing(check.ca_file)),
            }
        case check_shapes.CommandShape():
            return {"plane": Plane(check.plane)}
        case check_shapes.CertificateShape():
            # A certificate that is not there is what the check is to find out.
            key = check.key and str(place.at("key").path(check.key))
            return {"path": str(place.at("path").path(check.path)), "key": key}
        case _:
            return {}


def _frozen(value: object) -> object:
    match value:
        case list():
            return tuple(value)
        case dict():
            return tuple(value.items())
        case _:
            return value


def _spec(key: str, service: config_shape.ServiceShape, place: _Place, *, far: bool) -> Spec | None:
    if service.compose is not None:
        file = _on_its_host(place.at("compose", "file"), service.compose.file, far=far)
        return ComposeSpec(file=file, service=service.compose.service or key, project=service.compose.project)
    return None if service.run is None else _run(service.run, place.at("run"), far=far)


def _on_its_host(place: _Place, text: str, *, far: bool) -> str:
    """Return the path of a file that a service's host reads. On another machine it cannot be looked for, so it is written whole."""
    if not far:
        return str(place.existing(text))
    if not text.startswith("/"):
        raise place.wrong(f"{text[:60]!r} is read on the service's host: write the path there, from / on")
    return text


def _run(run: config_shape.RunShape, place: _Place, *, far: bool) -> RunSpec:
    return RunSpec(
        image=run.image,
        command=tuple(run.command),
        ports=tuple(run.ports),
        volumes=tuple(_volume(volume, place) for volume in run.volumes),
        networks=tuple(run.networks),
        env=tuple(run.env.items()),
        env_files=tuple(_on_its_host(place.at("env_files", i), file, far=far) for i, file in enumerate(run.env_files)),
        labels=tuple(run.labels.items()),
        memory=run.memory,
        restart_policy=run.restart_policy,
        user=run.user,
        gpus=tuple(run.gpus),
        network_of=run.network_of,
        stop_timeout=round(run.stop_timeout.total_seconds()),
    )


def _volume(volume: str, place: _Place) -> str:
    """Return a volume with a source that is written as a relative path made absolute; a named volume stays as it is."""
    source, separator, rest = volume.partition(":")
    return f"{place.path(source)}{separator}{rest}" if source.startswith((".", "~")) else volume


def _config_file(file: config_shape.ConfigFileShape | None, place: _Place) -> ConfigFile | None:
    if file is None:
        return None
    template = None if file.template is None else str(place.at("template").existing(file.template))
    return ConfigFile(path=str(place.at("path").path(file.path)), template=template)
