"""The shape of medic.yaml: which keys there are, their types, bounds and defaults. `config` makes nouns of it.

Strict: an unknown key, a wrong type, a number without its unit or a secret written in clear is an error of pydantic, which
`yaml_text.sentence` turns into one sentence.
"""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from agent import words
from agent.check_shapes import CheckShape
from agent.model import (
    BreakerRule,
    Budget,
    IdleRule,
    Limits,
    MemoryRule,
    ModelLimits,
    Permissions,
    ReplacementLimits,
    RunbookRule,
)
from agent.settings import DAYS, Day, InventorySource, LogFormat, Retention
from agent.shapes import Count, Keys, Name, Text, Timing, empty, matching, span, wait

SECRET_KEY = re.compile(r"(pass(word|wd|phrase)?|secret|token|api_?key|private_?key|credentials?)$", re.IGNORECASE)
"""Names of variables whose values are secret."""


ModeWord = Literal["observe", "suggest", "ask", "act"]


class RunShape(Keys):
    """`run:`."""

    image: Text
    command: Annotated[list[str], BeforeValidator(words.command)] = []
    ports: list[Text] = []
    volumes: list[Text] = []
    networks: list[Text] = []
    env: Annotated[dict[str, str], BeforeValidator(empty)] = {}
    env_files: list[Text] = []
    labels: Annotated[dict[str, str], BeforeValidator(empty)] = {}
    memory: Annotated[str, matching(words.memory)] | None = None
    restart_policy: Annotated[str, matching(words.restart_policy)] = "no"
    user: Text | None = None
    network_of: Name | None = None
    gpus: Annotated[
        list[Annotated[str, Field(pattern=r"^(all|[0-9]{1,3}|(GPU|MIG)-[A-Za-z0-9-]{1,80})$")]],
        BeforeValidator(words.one_or_more),
    ] = []
    stop_timeout: Annotated[timedelta, span("1s", "10m")] = timedelta(seconds=10)

    @model_validator(mode="after")
    def _has_one_network(self) -> "RunShape":
        if self.network_of is not None and (self.networks or self.ports):
            raise ValueError("network_of gives it the networks and ports of another container: leave out networks and ports")
        return self

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "RunShape":
        for key, value in self.env.items():
            if SECRET_KEY.search(key) and value:
                raise ValueError(f"env.{key} is a secret: put it into a file and name that under env_files")
        return self


class ComposeShape(Keys):
    """`compose:`."""

    file: Text
    service: Text | None = None
    project: Text | None = None


class ConfigFileShape(Keys):
    """`config_file:`."""

    path: Text
    template: Text | None = None


class ArtefactShape(Keys):
    """One entry of `artefacts:`."""

    path: Annotated[str, matching(words.own_path)]
    source: Annotated[str, matching(words.absolute_path)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class CertificateShape(Keys):
    """`certificate:`."""

    path: Annotated[str, matching(words.absolute_path)]
    renew: Annotated[list[Text], Field(min_length=1)]


class LimitsShape(Keys):
    """`limits:`."""

    attempts: Annotated[int, Field(ge=1, le=5)] = Limits().attempts
    start_grace: Annotated[timedelta, span("0s", "2h")] = Limits().start_grace
    longest_start: Annotated[timedelta, span("1s", "12h")] = Limits().longest_start
    steady_for: Annotated[timedelta, span("0s", "10m")] = Limits().steady_for
    verify_within: Annotated[timedelta, span("1s", "2h")] = Limits().verify_within
    heals_in_window: Count = Limits().heals_in_window
    window: Annotated[timedelta, span("1m", "30d")] = Limits().window
    same_signature: Count = Limits().same_signature
    actions_per_service: Count = Limits().actions_per_service
    first_wait: Annotated[timedelta, wait("1s", "1d")] = Limits().first_wait
    longest_wait: Annotated[timedelta, wait("1s", "7d")] = Limits().longest_wait


class BudgetShape(Keys):
    """`budget:`."""

    host_actions: Count = Budget().host_actions
    host_at_once: Count = Budget().host_at_once
    fleet_actions: Count = Budget().fleet_actions
    window: Annotated[timedelta, span("1m", "7d")] = Budget().window


class BreakerShape(Keys):
    """`breaker:`."""

    share: Annotated[float, Field(gt=0, le=1)] = BreakerRule().share
    least: Annotated[int, Field(ge=2, le=1000)] = BreakerRule().least
    window: Annotated[timedelta, span("1s", "1h")] = BreakerRule().window


class MemoryShape(Keys):
    """`memory:`."""

    keeps: Annotated[timedelta, span("0s", "3660d")] = MemoryRule().keeps
    half_life: Annotated[timedelta, span("1d", "3660d")] = MemoryRule().half_life
    let_down_after: Count = MemoryRule().let_down_after


class RunbookLimitsShape(Keys):
    """`runbook_limits:`."""

    failures_on_services: Annotated[int, Field(ge=2, le=1000)] = RunbookRule().failures_on_services
    ineffective_results: Count = RunbookRule().ineffective_results
    window: Annotated[timedelta, span("1m", "30d")] = RunbookRule().window


class WindowShape(Keys):
    """One entry of `maintenance:`, for all services or for one."""

    days: Annotated[list[Day], Field(min_length=1)] = list(DAYS)
    begin: Annotated[str, matching(words.of_clock)]
    end: Annotated[str, matching(words.of_clock)]
    timezone: Annotated[str, matching(words.timezone)] = "UTC"
    why: Text = "planned work"


class RunbookModeShape(Keys):
    """One entry of `runbooks:`, for all services or for one."""

    mode: ModeWord


class ApprovalShape(Keys):
    """`approval:`."""

    expires: Annotated[timedelta, span("1m", "7d")] = Permissions().approval_expires


class ServiceShape(Timing):
    """One entry of `services:`."""

    host: str = "local"
    container: Name | None = None
    checks: list[Annotated[CheckShape, Field(discriminator="kind")]] = []
    run: RunShape | None = None
    compose: ComposeShape | None = None
    config_file: ConfigFileShape | None = None
    depends_on: list[Name] = []
    deploy_lock: Text | None = None
    maintenance: list[WindowShape] = []
    limits: LimitsShape = LimitsShape()
    mode: ModeWord = "act"
    runbooks: Annotated[dict[Name, RunbookModeShape], BeforeValidator(empty)] = {}
    dry_run: bool = False
    group: Name | None = None
    upstream_file: Annotated[str, matching(words.own_path)] | None = None
    cache_paths: list[Annotated[str, matching(words.own_path)]] = []
    artefacts: list[ArtefactShape] = []
    certificate: CertificateShape | None = None
    quarantine_file: Annotated[str, matching(words.own_path)] | None = None
    log_most_bytes: Annotated[int, Field(ge=1_000_000, le=10**13)] = 1_000_000_000

    @model_validator(mode="after")
    def _has_one_spec(self) -> "ServiceShape":
        if self.run is not None and self.compose is not None:
            raise ValueError("has both `run:` and `compose:`: keep the one that the container is really made from")
        return self


class AppriseShape(Keys):
    """`kind: apprise`."""

    kind: Literal["apprise"]
    url_file: Text


class WebhookShape(Keys):
    """`kind: webhook`."""

    kind: Literal["webhook"]
    url: Annotated[str, matching(words.url)]
    secret_file: Text | None = None


class FileChannelShape(Keys):
    """`kind: file`."""

    kind: Literal["file"]
    path: Text


class SshShape(Keys):
    """`ssh:`."""

    address: Annotated[str, matching(words.machine_address)]
    user: Annotated[str, matching(words.account)]
    known_hosts: Text
    key_file: Text | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    jump: Name | None = None
    sudo: bool = False


class SsmShape(Keys):
    """`ssm:`."""

    instance: Annotated[str, matching(words.instance)]
    region: Annotated[str, matching(words.region)]


class HostShape(Keys):
    """One entry of `hosts:`."""

    docker: Annotated[str, matching(words.docker_socket)] = "unix:///var/run/docker.sock"
    ssh: SshShape | None = None
    ssm: SsmShape | None = None

    @model_validator(mode="after")
    def _is_reached_one_way(self) -> "HostShape":
        if self.ssh is not None and self.ssm is not None:
            raise ValueError("a host is reached one way: leave out ssh or ssm")
        if self.docker == words.NO_DOCKER and self.ssh is None:
            raise ValueError("only a host that is reached over ssh can be without Docker: others are reached through it")
        return self


class Ec2Shape(Keys):
    """`ec2:` of an inventory."""

    region: Annotated[str, matching(words.region)]
    tags: Annotated[dict[Text, Text], Field(min_length=1)]
    address: Literal["private", "public"] = "private"
    reached: Literal["ssh", "ssm"] = "ssh"


class InventoryShape(Keys):
    """One entry of `inventories:`."""

    ansible: Text | None = None
    group: Annotated[str, matching(words.name)] = "all"
    ec2: Ec2Shape | None = None
    user: Annotated[str, matching(words.account)] | None = None
    known_hosts: Text | None = None
    key_file: Text | None = None
    sudo: bool = False
    jump: Name | None = None

    @model_validator(mode="after")
    def _is_one_source(self) -> "InventoryShape":
        if (self.ansible is None) == (self.ec2 is None):
            raise ValueError("name one source: ansible, or ec2")
        if self.ec2 is not None and self.ec2.reached == "ssh" and (self.user is None or self.known_hosts is None):
            raise ValueError("hosts that are reached over SSH need user and known_hosts")
        return self


class InventoriesShape(BaseModel):
    """What is read of a file before its inventories are: nothing else."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    inventories: Annotated[dict[Name, InventoryShape], BeforeValidator(empty)] = {}


class StoreShape(Keys):
    """`store:`."""

    url: Text | None = None
    engine_url: Text | None = None
    password_file: Text | None = None
    lease: Annotated[timedelta, span("5s", "10m")] = timedelta(seconds=30)


class ReplacementsShape(Keys):
    """`fleet.replacements:`."""

    of_fleet: Annotated[int, Field(ge=0, le=1000)] = ReplacementLimits().of_fleet
    of_pool: Annotated[int, Field(ge=0, le=1000)] = ReplacementLimits().of_pool
    within: Annotated[timedelta, span("10m", "30d")] = ReplacementLimits().within


class IdleShape(Keys):
    """`fleet.idle:`."""

    under: Annotated[float, Field(gt=0, le=100)] = IdleRule().under
    within: Annotated[timedelta, span("10m", "7d")] = IdleRule().within


class StackShape(Keys):
    """`fleet:`."""

    ssm_parameter: Annotated[str, matching(words.parameter)]
    region: Annotated[str, matching(words.region)]
    key_file: Text | None = None
    on_drought: Literal["ask", "act"] = "ask"
    money_per_day: Annotated[float, Field(ge=0, le=100_000)] = float(InventorySource.MONEY_PER_DAY)
    gpus: bool = True
    replacements: ReplacementsShape = ReplacementsShape()
    idle: IdleShape = IdleShape()


class RetentionShape(Keys):
    """`retention:`."""

    sweeps: Annotated[timedelta, span("1h", "365d")] = Retention().sweeps
    heals: Annotated[timedelta, span("1h", "365d")] = Retention().heals
    bundles: Annotated[timedelta, span("1d", "3650d")] = Retention().bundles
    most_bytes: Annotated[int, Field(ge=1_000_000, le=10**15)] = Retention().most_bytes


ChannelShape = Annotated[AppriseShape | WebhookShape | FileChannelShape, Field(discriminator="kind")]


class MetricsShape(Keys):
    """`metrics:`."""

    port: Annotated[int, Field(ge=1, le=65535)] = 9464


class PriceShape(Keys):
    """One entry of `prices:`, US dollars for a million tokens."""

    input: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
    output: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]


class ProviderShape(Keys):
    """One entry of `model.providers:`."""

    model: Annotated[str, matching(words.model)]
    investigate: Annotated[str, matching(words.model)] | None = None
    url: Annotated[str, matching(words.url)] | None = None
    key_file: Text | None = None
    prices: Annotated[dict[str, PriceShape], BeforeValidator(empty)] = {}

    @model_validator(mode="after")
    def _prices_what_it_asks(self) -> "ProviderShape":
        for model in self.prices:
            if model not in (self.model, self.investigate):
                raise ValueError(f"prices names {model!r}, which this provider is not asked for")
        return self


class ModelLimitsShape(Keys):
    """`model.limits:`."""

    steps: Annotated[int, Field(ge=3, le=8)] = ModelLimits().steps
    tool_calls: Annotated[int, Field(ge=1, le=40)] = ModelLimits().tool_calls
    tool_calls_at_once: Annotated[int, Field(ge=1, le=10)] = ModelLimits().tool_calls_at_once
    tokens: Annotated[int, Field(ge=4_000, le=1_000_000)] = ModelLimits().tokens
    wall: Annotated[timedelta, span("5s", "10m")] = ModelLimits().wall
    money_per_incident: Annotated[float, Field(ge=0, le=1_000, allow_inf_nan=False)] = float(ModelLimits().money_per_incident)
    money_per_day: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] = float(ModelLimits().money_per_day)
    calls_per_incident: Count = ModelLimits().calls_per_incident
    calls_per_hour: Annotated[int, Field(ge=1, le=100_000)] = ModelLimits().calls_per_hour
    calls_per_day: Annotated[int, Field(ge=1, le=1_000_000)] = ModelLimits().calls_per_day
    at_once: Annotated[int, Field(ge=1, le=16)] = ModelLimits().at_once
    no_news: Annotated[int, Field(ge=1, le=20)] = ModelLimits().no_news
    tell_at: Annotated[float, Field(gt=0, le=1)] = float(ModelLimits().tell_at)


class ModelShape(Keys):
    """`model:`."""

    providers: Annotated[list[ProviderShape], Field(min_length=1, max_length=8)]
    ask: Literal["stuck", "doubt"] = "stuck"
    limits: ModelLimitsShape = ModelLimitsShape()


class MedicFile(Keys):
    """The whole of medic.yaml."""

    interval: Annotated[timedelta, span("500ms", "1h")] = timedelta(seconds=5)
    state_dir: Text | None = None
    store: StoreShape = StoreShape()
    log: LogFormat = "text"
    metrics: MetricsShape | None = None
    discover_labels: bool = True
    control: list[Annotated[str, matching(words.control)]] = []
    retention: RetentionShape = RetentionShape()
    budget: BudgetShape = BudgetShape()
    breaker: BreakerShape = BreakerShape()
    runbook_limits: RunbookLimitsShape = RunbookLimitsShape()
    memory: MemoryShape = MemoryShape()
    maintenance: list[WindowShape] = []
    mode: ModeWord = "act"
    dry_run: bool = False
    approval: ApprovalShape = ApprovalShape()
    runbooks: Annotated[dict[Name, RunbookModeShape], BeforeValidator(empty)] = {}
    fleet: StackShape | None = None
    hosts: Annotated[dict[Name, HostShape], BeforeValidator(empty), Field(min_length=1)] = {"local": HostShape()}
    inventories: Annotated[dict[Name, InventoryShape], BeforeValidator(empty)] = {}
    channels: Annotated[dict[Name, ChannelShape], BeforeValidator(empty)] = {}
    model: ModelShape | None = None
    services: Annotated[dict[Name, ServiceShape], BeforeValidator(empty)] = {}
