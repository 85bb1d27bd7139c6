"""The shape of medic.yaml: which keys there are, their types, bounds and defaults. `config` makes nouns of it.

Strict: an unknown key, a wrong type, a number without its unit or a secret written in clear is an error of pydantic, which
`yaml_text.sentence` turns into one sentence.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal  # Any: what pydantic hands to a validator is not typed yet

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from agent import spans, words, yaml_text
from agent.model import BreakerRule, Budget, Limits, Permissions, RunbookRule
from agent.settings import LogFormat, Retention

SECRET_KEY = re.compile(r"(pass(word|wd|phrase)?|secret|token|api_?key|private_?key|credentials?)$", re.IGNORECASE)
"""Names of variables whose values are secret."""

_SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110, section 5.6.2: a field name is a token


def _span(low: str, high: str) -> BeforeValidator:
    """Return a validator for a span of time between two others."""

    def check(value: object) -> timedelta:
        span = spans.parse(str(value))
        if not spans.parse(low) <= span <= spans.parse(high):
            raise ValueError(f"must be from {low} to {high}, not {spans.text(span)}")
        return span

    return BeforeValidator(check)


def _wait(low: str, high: str) -> BeforeValidator:
    """Return a validator for a span of time between two others, or none at all (`0s`)."""

    def check(value: object) -> timedelta:
        span = spans.parse(str(value))
        if span != timedelta(0) and not spans.parse(low) <= span <= spans.parse(high):
            raise ValueError(f"must be 0s, or from {low} to {high}, not {spans.text(span)}")
        return span

    return BeforeValidator(check)


def _matching(check: Callable[[str], str]) -> BeforeValidator:
    """Return a validator for one text; another type is left to pydantic's own sentence."""
    return BeforeValidator(lambda value: check(value) if isinstance(value, str) else value)


def _empty(value: object) -> object:
    return {} if value is None else value


Name = Annotated[str, _matching(words.name)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(ge=1, le=1000)]
Every = Annotated[timedelta, _span("100ms", "1d")]
Timeout = Annotated[timedelta, _span("10ms", "9s")]  # under look.DEADLINE, which ends the whole batch
ProbePlane = Literal["direct", "host-port", "engine", "nginx", "public"]
ModeWord = Literal["observe", "suggest", "ask", "act"]


class _Keys(BaseModel):
    """Refuses unknown keys with the key that was meant; `key:` with nothing behind it stands for all defaults."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _are_known(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                wrong = yaml_text.unknown_key(key, cls.model_fields)
                raise PydanticCustomError("unknown_key", "{wrong}", {"key": key, "wrong": wrong})
        return _empty(given)


class Timing(_Keys):
    """How often a check looks, and its streaks. Written on a service, they are the defaults of its checks."""

    every: Every | None = None
    sick_after: Count | None = None
    well_after: Count | None = None
    unknown_after: Count | None = None


class ContainerShape(Timing):
    """`kind: container`."""

    kind: Literal["container"]
    name: Name | None = None
    image_digest: Annotated[str, _matching(words.digest)] | None = None


class TcpShape(Timing):
    """`kind: tcp`."""

    kind: Literal["tcp"]
    name: Name | None = None
    plane: ProbePlane | None = None
    address: Annotated[str, _matching(words.address)]
    timeout: Timeout = timedelta(seconds=2)


class HttpShape(Timing):
    """`kind: http`."""

    kind: Literal["http"]
    name: Name | None = None
    plane: ProbePlane | None = None
    url: Annotated[str, _matching(words.url)]
    timeout: Timeout = timedelta(seconds=2)
    status: list[Annotated[tuple[int, int], BeforeValidator(words.status)]] = Field(default=[(200, 399)], min_length=1)
    body: Text | None = None
    headers: Annotated[dict[str, str], BeforeValidator(_empty)] = {}
    slower_than: Timeout | None = None
    body_limit: Annotated[int, Field(ge=1, le=1_048_576)] = 65_536

    @model_validator(mode="after")
    def _agrees(self) -> "HttpShape":
        for header, value in self.headers.items():
            if not _HEADER.fullmatch(header) or not value.isprintable():
                raise ValueError(
                    f"the header {header[:40]!r} is no header: a name of letters, digits and `-`, a value on one line"
                )
            if header.lower() in _SECRET_HEADERS:
                raise ValueError(f"the header {header!r} is a secret: what is written here is shown and stored")
        if self.slower_than is not None and self.slower_than >= self.timeout:
            raise ValueError(f"slower_than must be shorter than the timeout ({spans.text(self.timeout)})")
        return self


class NginxShape(Timing):
    """`kind: nginx`."""

    kind: Literal["nginx"]
    name: Name | None = None
    nginx: Name
    port: Annotated[int, Field(ge=1, le=65535)]
    server_name: Text | None = None
    location: Text = "/"


CheckShape = ContainerShape | TcpShape | HttpShape | NginxShape


class RunShape(_Keys):
    """`run:`."""

    image: Text
    command: Annotated[list[str], BeforeValidator(words.command)] = []
    ports: list[Text] = []
    volumes: list[Text] = []
    networks: list[Text] = []
    env: Annotated[dict[str, str], BeforeValidator(_empty)] = {}
    env_files: list[Text] = []
    labels: Annotated[dict[str, str], BeforeValidator(_empty)] = {}
    memory: Annotated[str, _matching(words.memory)] | None = None
    restart_policy: Annotated[str, _matching(words.restart_policy)] = "no"
    user: Text | None = None
    stop_timeout: Annotated[timedelta, _span("1s", "10m")] = timedelta(seconds=10)

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "RunShape":
        for key, value in self.env.items():
            if SECRET_KEY.search(key) and value:
                raise ValueError(f"env.{key} is a secret: put it into a file and name that under env_files")
        return self


class ComposeShape(_Keys):
    """`compose:`."""

    file: Text
    service: Text | None = None
    project: Text | None = None


class ConfigFileShape(_Keys):
    """`config_file:`."""

    path: Text
    template: Text | None = None


class LimitsShape(_Keys):
    """`limits:`."""

    attempts: Annotated[int, Field(ge=1, le=5)] = Limits().attempts
    start_grace: Annotated[timedelta, _span("0s", "2h")] = Limits().start_grace
    longest_start: Annotated[timedelta, _span("1s", "12h")] = Limits().longest_start
    steady_for: Annotated[timedelta, _span("0s", "10m")] = Limits().steady_for
    verify_within: Annotated[timedelta, _span("1s", "2h")] = Limits().verify_within
    heals_in_window: Count = Limits().heals_in_window
    window: Annotated[timedelta, _span("1m", "30d")] = Limits().window
    same_signature: Count = Limits().same_signature
    actions_per_service: Count = Limits().actions_per_service
    first_wait: Annotated[timedelta, _wait("1s", "1d")] = Limits().first_wait
    longest_wait: Annotated[timedelta, _wait("1s", "7d")] = Limits().longest_wait


class BudgetShape(_Keys):
    """`budget:`."""

    host_actions: Count = Budget().host_actions
    host_at_once: Count = Budget().host_at_once
    fleet_actions: Count = Budget().fleet_actions
    window: Annotated[timedelta, _span("1m", "7d")] = Budget().window


class BreakerShape(_Keys):
    """`breaker:`."""

    share: Annotated[float, Field(gt=0, le=1)] = BreakerRule().share
    least: Annotated[int, Field(ge=2, le=1000)] = BreakerRule().least
    window: Annotated[timedelta, _span("1s", "1h")] = BreakerRule().window


class RunbookLimitsShape(_Keys):
    """`runbook_limits:`."""

    failures_on_services: Annotated[int, Field(ge=2, le=1000)] = RunbookRule().failures_on_services
    ineffective_results: Count = RunbookRule().ineffective_results
    window: Annotated[timedelta, _span("1m", "30d")] = RunbookRule().window


class RunbookModeShape(_Keys):
    """One entry of `runbooks:`, for all services or for one."""

    mode: ModeWord


class ApprovalShape(_Keys):
    """`approval:`."""

    expires: Annotated[timedelta, _span("1m", "7d")] = Permissions().approval_expires


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
    limits: LimitsShape = LimitsShape()
    mode: ModeWord = "act"
    runbooks: Annotated[dict[Name, RunbookModeShape], BeforeValidator(_empty)] = {}
    dry_run: bool = False
    group: Name | None = None

    @model_validator(mode="after")
    def _has_one_spec(self) -> "ServiceShape":
        if self.run is not None and self.compose is not None:
            raise ValueError("has both `run:` and `compose:`: keep the one that the container is really made from")
        return self


class AppriseShape(_Keys):
    """`kind: apprise`."""

    kind: Literal["apprise"]
    url_file: Text


class WebhookShape(_Keys):
    """`kind: webhook`."""

    kind: Literal["webhook"]
    url: Annotated[str, _matching(words.url)]
    secret_file: Text | None = None


class FileChannelShape(_Keys):
    """`kind: file`."""

    kind: Literal["file"]
    path: Text


class HostShape(_Keys):
    """One entry of `hosts:`."""

    docker: Annotated[str, _matching(words.docker_socket)] = "unix:///var/run/docker.sock"


class StoreShape(_Keys):
    """`store:`."""

    url: Text | None = None
    engine_url: Text | None = None
    password_file: Text | None = None


class RetentionShape(_Keys):
    """`retention:`."""

    sweeps: Annotated[timedelta, _span("1h", "365d")] = Retention().sweeps
    bundles: Annotated[timedelta, _span("1d", "3650d")] = Retention().bundles
    most_bytes: Annotated[int, Field(ge=1_000_000, le=10**15)] = Retention().most_bytes


ChannelShape = Annotated[AppriseShape | WebhookShape | FileChannelShape, Field(discriminator="kind")]


class MedicFile(_Keys):
    """The whole of medic.yaml."""

    interval: Annotated[timedelta, _span("500ms", "1h")] = timedelta(seconds=5)
    state_dir: Text | None = None
    store: StoreShape = StoreShape()
    log: LogFormat = "text"
    discover_labels: bool = True
    control: list[Annotated[str, _matching(words.control)]] = []
    retention: RetentionShape = RetentionShape()
    budget: BudgetShape = BudgetShape()
    breaker: BreakerShape = BreakerShape()
    runbook_limits: RunbookLimitsShape = RunbookLimitsShape()
    dry_run: bool = False
    approval: ApprovalShape = ApprovalShape()
    runbooks: Annotated[dict[Name, RunbookModeShape], BeforeValidator(_empty)] = {}
    hosts: Annotated[dict[Name, HostShape], BeforeValidator(_empty), Field(min_length=1)] = {"local": HostShape()}
    channels: Annotated[dict[Name, ChannelShape], BeforeValidator(_empty)] = {}
    services: Annotated[dict[Name, ServiceShape], BeforeValidator(_empty)] = {}
