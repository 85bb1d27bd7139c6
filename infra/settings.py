"""The settings of one fleet: parsed once, checked here, passed down. No component reads configuration of its own.

In: a mapping of Pulumi's keys (`instanceTypes: [...]`), from `pulumi.Config` or a stack file. Out: FleetSettings, or a
SettingsError whose sentence names the key and what would be right. `warnings()` says what is allowed and unwise.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

PROJECT = "medic"
Balancer = Literal["none", "internal", "public"]
Endpoints = Literal["s3", "ssm"]

FEW_POOLS = 4
"""Pools (instance types x zones) under which spot is fragile. AWS advises ten types; GPUs offer fewer (docs/how-to/deploy.md)."""
SPOT_NOTICE = 120
"""Seconds between an interruption notice and the end of the host (EC2 User Guide, "Spot Instance interruption notices")."""
LONGEST_DRAIN = SPOT_NOTICE - 10
"""A terminate hook does not stop EC2 from taking a spot host: what is not done ten seconds before is lost."""
BALANCER_DELAY = 45
"""Seconds for which a host that is taken out of the balancer may finish its requests.

Longer than Medic waits before it ends the containers (`LONGEST_FINISH` of agent/policy/spot.py), which get as long again.
"""
HOOK_SECONDS = range(30, 7201)
"""What EC2 Auto Scaling accepts as heartbeat of a lifecycle hook."""
LONGEST_NAME = 24
"""Characters of `<project>-<stack>`: a balancer's name has 32, and we add up to eight."""

_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9]+")
_ARM = re.compile(r"[a-z]+\d+g[a-z]*\.")
_NAME = re.compile(r"[a-z][a-z0-9-]*[a-z0-9]")
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_CRON = re.compile(r"[\d*/,\-A-Z]+( [\d*/,\-A-Z]+){4}")
_KEY = re.compile(r"[A-Za-z0-9._/-]*")


class SettingsError(ValueError):
    """A setting that the user can put right; the text is the whole message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """What one stack is made from. Field `warm_up_seconds` is Pulumi's key `medic:warmUpSeconds`.

    endpoints: what hosts reach inside the VPC: s3 (free), or ssm as well, which costs by the hour.
    Raises SettingsError. Sizes are hosts; the spot group's hosts run one replica each, unweighted (weights would count units
    and forbid a warm pool).
    """

    name: str
    region: str
    image: str
    command: tuple[str, ...] = ()
    port: int = 8000
    ready_path: str = "/health"
    model_manifest: str = ""
    model_name: str = ""
    instance_types: tuple[str, ...] = ("g5.xlarge", "g6.xlarge", "g6e.xlarge", "g5.2xlarge", "g6.2xlarge", "g4dn.xlarge")
    zones: int = 3
    cidr: str = "10.40.0.0/16"
    endpoints: Endpoints = "s3"
    on_demand_base: int = 1
    on_demand_percent_above_base: int = 0
    min_size: int = 1
    max_size: int = 4
    burst_max_size: int = 0
    volume_gib: int = 100
    ami_id: str = ""
    ami_parameter: str = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
    warm_up_seconds: int = 900
    drain_seconds: int = 100
    balancer: Balancer = "none"
    certificate_arn: str = ""
    backlog_per_replica: float = 4.0
    sleep_cron: str = ""
    wake_cron: str = ""
    time_zone: str = "Etc/UTC"
    monthly_budget_usd: int = 500
    notice_email: str = ""
    agent_wheel: str = ""
    agent_type: str = "t3.small"
    agent_volume_gib: int = 20
    agent_ami_id: str = ""
    agent_ami_parameter: str = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"

    def __post_init__(self) -> None:
        _check_names(self)
        _check_pools(self)
        _check_sizes(self)
        _check_spans(self)
        _check_reach(self)
        _check_agent(self)

    @property
    def pools(self) -> int:
        """Capacity pools that spot can draw from: instance types x zones."""
        return len(self.instance_types) * self.zones

    @property
    def spot_at_most(self) -> int:
        """Hosts of the full fleet that may be spot."""
        above = self.max_size - self.on_demand_base
        return above - above * self.on_demand_percent_above_base // 100

    @property
    def all_tags(self) -> dict[str, str]:
        """Tags of everything that can bear them."""
        return {"medic:fleet": self.name, "managed-by": "pulumi"}

    @property
    def group_name(self) -> str:
        """The spot group's fixed name: roles name it before it exists."""
        return f"{self.name}-gpu"

    @property
    def parameter_root(self) -> str:
        """Where this fleet's SSM parameters live."""
        return f"/medic/{self.name}"

    @property
    def agent_key(self) -> str:
        """The SSM parameter in which the agent publishes the public key that it comes with."""
        return f"{self.parameter_root}/agent-key"

    def warnings(self) -> tuple[str, ...]:
        """Return what is allowed and unwise, one sentence each."""
        said = []
        if self.pools < FEW_POOLS:
            pools = f"{', '.join(self.instance_types)} in {_count(self.zones, 'zone')}"
            said.append(f"only {_count(self.pools, 'spot pool')} ({pools}): add instance types or zones, or expect droughts")
        if not self.ami_id:
            said.append(
                "the AMI is whatever amiParameter names on the day: set medic:amiId so that a later `up` replaces no host"
            )
        if self.on_demand_base == 0:
            said.append("onDemandBase is 0: a spot drought leaves no host at all")
        if not self.agent_wheel:
            said.append(
                "agentWheel is empty: no host runs Medic; build one with `python -m hatchling build -t wheel` and name it"
            )
        if self.balancer == "public" and not self.certificate_arn:
            said.append("the public balancer speaks plain HTTP: set medic:certificateArn")
        if not self.notice_email:
            said.append("noticeEmail is empty: nobody hears of the budget or of an alarm")
        return tuple(said)


def key_of(name: str) -> str:
    """Return Pulumi's key of a field: `warm_up_seconds` -> `warmUpSeconds`."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def keys() -> dict[str, str]:
    """Return Pulumi's key -> field, for everything a user sets under `medic:`."""
    return {key_of(each.name): each.name for each in fields(FleetSettings) if each.name not in ("name", "region")}


def defaults() -> dict[str, Any]:
    """Return Pulumi's key -> default, for every setting that has one."""
    return {
        key_of(each.name): list(each.default) if isinstance(each.default, tuple) else each.default
        for each in fields(FleetSettings)
        if each.name in keys().values() and each.default is not MISSING
    }


def from_mapping(values: Mapping[str, Any], *, stack: str, region: str) -> FleetSettings:
    """Return the settings that `values` (Pulumi's keys, without `medic:`) spell; what is left out keeps its default.

    Raises SettingsError, also for a key that is none.
    """
    known = keys()
    if strange := sorted(set(values) - set(known)):
        raise SettingsError(f"cannot use setting medic:{strange[0]}: there is none; known are {', '.join(sorted(known))}")
    if not values.get("image"):
        raise SettingsError("cannot use setting medic:image: it is missing; name the inference server as NAME@sha256:DIGEST")
    typed = {known[key]: _typed(key, value) for key, value in values.items()}
    return FleetSettings(name=f"{PROJECT}-{stack}", region=region, **typed)


def from_stack_file(path: Path) -> FleetSettings:
    """Return the settings of a stack file (`Pulumi.<stack>.yaml`), as `pulumi up` would read them. Raises SettingsError."""
    stack = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
    return from_mapping(ours(path), stack=stack, region=str(_config_of(path).get("aws:region", "us-east-1")))


def ours(path: Path) -> dict[str, Any]:
    """Return the keys under `medic:` of a stack file, as they are written. Raises SettingsError."""
    return {key.removeprefix(f"{PROJECT}:"): each for key, each in _config_of(path).items() if key.startswith(f"{PROJECT}:")}


def _config_of(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise SettingsError(f"cannot read stack file {str(path)!r}: {' '.join(str(exc).split())}") from exc
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise SettingsError(f"cannot read stack file {str(path)!r}: it has no `config:` with keys such as medic:image")
    return {str(key): each for key, each in config.items()}


def _typed(key: str, value: Any) -> Any:
    """Return `value` as its field's type; Pulumi hands over numbers and lists as text or as themselves, as it likes."""
    default = defaults().get(key, "")
    wanted = {int: "a whole number", float: "a number", list: "a list of texts", str: "a text"}[type(default)]
    refused = SettingsError(f"cannot use setting medic:{key}: {value!r} is not {wanted}")
    if isinstance(value, bool):
        raise refused
    if isinstance(default, list):
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise refused
        return tuple(value)
    if isinstance(default, str):
        if not isinstance(value, str):
            raise refused
        return value
    try:
        return int(str(value)) if isinstance(default, int) else float(value)
    except (TypeError, ValueError) as exc:
        raise refused from exc


# ---------------------------------------------------------------------------------------------------------------- checks


def _need(claim: bool, key: str, cause: str) -> None:  # noqa: FBT001  (a claim, read as one)
    if not claim:
        raise SettingsError(f"cannot use setting medic:{key}: {cause}")


def _check_names(it: FleetSettings) -> None:
    if not _NAME.fullmatch(it.name) or len(it.name) > LONGEST_NAME:
        raise SettingsError(
            f"cannot use stack name in {it.name!r}: use lower-case letters, digits and dashes, {LONGEST_NAME} characters at most"
        )
    _need(bool(_DIGEST.fullmatch(it.image)), "image", f"{it.image!r} is not pinned; write NAME@sha256:DIGEST")
    _need(
        it.ready_path.startswith("/") and not re.search(r"\s", it.ready_path),
        "readyPath",
        "it must start with / and hold no space",
    )
    _need(bool(_KEY.fullmatch(it.model_manifest)), "modelManifest", "only letters, digits, and . _ / - may be in it")
    _need(it.balancer in get_args(Balancer), "balancer", f"{it.balancer!r} is none of {', '.join(get_args(Balancer))}")
    _need(it.endpoints in get_args(Endpoints), "endpoints", f"{it.endpoints!r} is none of {', '.join(get_args(Endpoints))}")
    _need(not it.notice_email or bool(_EMAIL.fullmatch(it.notice_email)), "noticeEmail", f"{it.notice_email!r} is no address")
    _need(
        bool(it.ami_id) or it.ami_parameter.startswith("/"), "amiParameter", "name an SSM parameter (/...), or set medic:amiId"
    )
    _need(not it.ami_id or it.ami_id.startswith("ami-"), "amiId", f"{it.ami_id!r} is no AMI id (ami-...)")


def _check_pools(it: FleetSettings) -> None:
    _need(bool(it.instance_types), "instanceTypes", "name at least one")
    for each in it.instance_types:
        _need(bool(_TYPE.fullmatch(each)), "instanceTypes", f"{each!r} is no instance type (such as g5.xlarge)")
    twice = _twice(it.instance_types)
    _need(not twice, "instanceTypes", f"{twice!r} is there twice")
    arm = [each for each in it.instance_types if _ARM.match(each)]
    _need(
        len(arm) in (0, len(it.instance_types)),
        "instanceTypes",
        f"{', '.join(arm)} are arm64 and the others x86_64: one AMI runs on one",
    )
    _need(1 <= it.zones <= 6, "zones", f"{it.zones} is not 1 to 6")
    _need(it.balancer == "none" or it.zones >= 2, "zones", "a balancer needs 2 or more")
    _need(it.pools >= 2, "instanceTypes", f"{it.instance_types[0]} in one zone is one spot pool; name more types or more zones")


def _check_sizes(it: FleetSettings) -> None:
    _need(it.max_size >= 1, "maxSize", f"{it.max_size} is under 1")
    _need(0 <= it.min_size <= it.max_size, "minSize", f"{it.min_size} is not 0 to maxSize ({it.max_size})")
    _need(0 <= it.on_demand_base <= it.max_size, "onDemandBase", f"{it.on_demand_base} is not 0 to maxSize ({it.max_size})")
    percent = it.on_demand_percent_above_base
    _need(0 <= percent <= 100, "onDemandPercentAboveBase", f"{percent} is not 0 to 100")
    # EC2 Auto Scaling's own default is 100: forget it and the "spot fleet" is on-demand to the last host.
    _need(
        it.spot_at_most >= 1,
        "onDemandPercentAboveBase",
        "not one host would be spot; lower it or onDemandBase, or raise maxSize",
    )
    _need(0 <= it.burst_max_size <= 20, "burstMaxSize", f"{it.burst_max_size} is not 0 to 20")
    _need(30 <= it.volume_gib <= 16_384, "volumeGib", f"{it.volume_gib} is not 30 to 16384")
    _need(it.monthly_budget_usd >= 1, "monthlyBudgetUsd", f"{it.monthly_budget_usd} is under 1")
    _need(0 < it.backlog_per_replica <= 10_000, "backlogPerReplica", f"{it.backlog_per_replica} is not over 0 and up to 10000")


def _check_spans(it: FleetSettings) -> None:
    _need(it.warm_up_seconds in HOOK_SECONDS, "warmUpSeconds", f"{it.warm_up_seconds} is not 30 to 7200")
    longest = LONGEST_DRAIN
    _need(
        30 <= it.drain_seconds <= longest,
        "drainSeconds",
        f"{it.drain_seconds} is not 30 to {longest}: spot hosts go after {SPOT_NOTICE} s",
    )
    for key, cron in (("sleepCron", it.sleep_cron), ("wakeCron", it.wake_cron)):
        _need(not cron or bool(_CRON.fullmatch(cron)), key, f"{cron!r} is not five cron fields (such as 0 20 * * 1-5)")
    _need(
        bool(it.wake_cron) or not it.sleep_cron, "wakeCron", "the fleet goes to sleep by sleepCron and nothing wakes it; set it"
    )
    try:
        ZoneInfo(it.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise SettingsError(f"cannot use setting medic:timeZone: {it.time_zone!r} is no zone (such as Europe/Berlin)") from exc


def _check_reach(it: FleetSettings) -> None:
    _need(1 <= it.port <= 65_535 and it.port != 22, "port", f"{it.port} is not a port the model can have (1 to 65535, not 22)")
    try:
        net = ipaddress.ip_network(it.cidr)
    except ValueError as exc:
        raise SettingsError(f"cannot use setting medic:cidr: {exc}") from exc
    _need(net.version == 4 and net.is_private, "cidr", f"{it.cidr} is no private IPv4 network")
    _need(16 <= net.prefixlen <= 24, "cidr", f"/{net.prefixlen} is not /16 to /24, which a VPC with subnets needs")
    _need(
        not it.certificate_arn or it.balancer != "none", "certificateArn", "there is no balancer to use it; set medic:balancer"
    )
    _need(
        not it.certificate_arn or it.certificate_arn.startswith("arn:aws"), "certificateArn", "it is no ARN (arn:aws:acm:...)"
    )


def _check_agent(it: FleetSettings) -> None:
    _need(
        not it.agent_wheel or it.agent_wheel.endswith(".whl"),
        "agentWheel",
        f"{it.agent_wheel!r} is no wheel (dist/medic_agent-*.whl)",
    )
    _need(bool(_TYPE.fullmatch(it.agent_type)), "agentType", f"{it.agent_type!r} is no instance type (such as t3.small)")
    _need(not _ARM.match(it.agent_type), "agentType", f"{it.agent_type} is arm64, and the agent's AMI is x86_64")
    _need(8 <= it.agent_volume_gib <= 1024, "agentVolumeGib", f"{it.agent_volume_gib} is not 8 to 1024")
    _need(
        not it.agent_ami_id or it.agent_ami_id.startswith("ami-"), "agentAmiId", f"{it.agent_ami_id!r} is no AMI id (ami-...)"
    )
    _need(
        bool(it.agent_ami_id) or it.agent_ami_parameter.startswith("/"),
        "agentAmiParameter",
        "name an SSM parameter (/...), or set medic:agentAmiId",
    )


def _twice(values: Sequence[str]) -> str:
    return next((each for each in values if values.count(each) > 1), "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
