"""What the AWS provider does, as far as our program needs it: resources and inputs -> boto3 calls on a moto server.

An unknown type raises: a new resource in the program needs a line here, or the test says so. What moto 5.2 has no code for
(cost anomalies) or would get wrong (a bucket policy whose condition it ignores) is kept in `Cloud.kept` and goes nowhere.
"""

import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config

Inputs = Mapping[str, Any]
Made = tuple[str, dict[str, Any]]

ACCOUNT = "123456789012"
IMAGE = "ami-12c6146b"
"""An image that moto knows; its own Deep Learning parameters are missing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How one type is made, changed and deleted. updatable: inputs that can change in place; others mean a new one."""

    create: Callable[["Cloud", str, Inputs], Made]
    delete: Callable[["Cloud", str, Inputs], object]
    update: Callable[["Cloud", str, Inputs], dict[str, Any] | None] | None = None
    updatable: frozenset[str] = frozenset()


class Cloud:
    """boto3 clients on one moto server. Safe in several threads, which is how a program registers its resources."""

    def __init__(self, endpoint: str, region: str = "us-east-1") -> None:
        self.endpoint, self.region = endpoint, region
        self.kept: dict[str, Inputs] = {}
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str) -> Any:
        """Return the client of one AWS service."""
        with self._lock:  # clients may be shared by threads, making them may not
            if service not in self._clients:
                self._clients[service] = boto3.session.Session().client(
                    service, region_name=self.region, endpoint_url=self.endpoint,
                    aws_access_key_id="stand-in", aws_secret_access_key="stand-in",
                    config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
                )  # fmt: skip
            return self._clients[service]

    def warm(self, group: str, host_keys: str) -> list[str]:
        """Do what every host of a group does that waits in its launch hook: publish its key, go in service. Return them."""
        done = []
        for each in self.waiting(group, "Pending:Wait"):
            key = "ssh-ed25519 " + "A" * 68
            self.client("ssm").put_parameter(Name=f"{host_keys}/{each}", Value=key, Type="String", Overwrite=True)
            self.client("autoscaling").complete_lifecycle_action(
                AutoScalingGroupName=group, LifecycleHookName="warm-up", InstanceId=each, LifecycleActionResult="CONTINUE"
            )
            done.append(each)
        return done

    def waiting(self, group: str, state: str) -> list[str]:
        """Return the hosts of a group that are in a state."""
        groups = self.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return [each["InstanceId"] for each in groups[0]["Instances"] if each["LifecycleState"] == state]

    def create(self, kind: str, name: str, inputs: Inputs) -> Made:
        """Make one resource; return its id and outputs."""
        made, outputs = _kind(kind).create(self, name, inputs)
        return made, {**inputs, **outputs}

    def can_update(self, kind: str, changed: Iterable[str]) -> bool:
        """Can these inputs of a type change in place?"""
        return set(changed) <= _kind(kind).updatable

    def update(self, kind: str, made: str, outputs: Inputs, wanted: Inputs) -> dict[str, Any]:
        """Change one resource in place; return its outputs."""
        change = _kind(kind).update
        assert change is not None
        return {**outputs, **wanted, **(change(self, made, wanted) or {})}

    def delete(self, kind: str, made: str, outputs: Inputs) -> None:
        """Delete one resource."""
        _kind(kind).delete(self, made, outputs)

    def invoke(self, token: str, given: Inputs) -> dict[str, Any]:
        """Answer one function of the provider."""
        if token == "aws:index/getAvailabilityZones:getAvailabilityZones":
            zones = self.client("ec2").describe_availability_zones()["AvailabilityZones"]
            return {"id": self.region, "names": [each["ZoneName"] for each in zones]}
        if token == "aws:index/getCallerIdentity:getCallerIdentity":
            return {"id": ACCOUNT, "accountId": self.client("sts").get_caller_identity()["Account"]}
        if token == "aws:ssm/getParameter:getParameter":
            return {"id": given["name"], "name": given["name"], "value": IMAGE, "type": "String"}
        raise NotImplementedError(f"no stand-in for {token}")

    def arn(self, service: str, rest: str) -> str:
        """Return an ARN of this account and region."""
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{rest}"


def named(inputs: Inputs, name: str, key: str = "name") -> str:
    """Return the physical name: the one asked for, or the logical one and seven digits, as the provider makes it."""
    return str(inputs.get(key) or f"{name}-{secrets.token_hex(4)[:7]}")


def tags(inputs: Inputs) -> list[dict[str, str]]:
    """Return tags as most of AWS wants them."""
    return [{"Key": key, "Value": value} for key, value in (inputs.get("tags") or {}).items()]


def tagged(kind: str, inputs: Inputs) -> list[dict[str, Any]]:
    """Return tags as EC2 wants them at creation."""
    return [{"ResourceType": kind, "Tags": tags(inputs)}] if inputs.get("tags") else []


def pascal(value: Any) -> Any:
    """camelCase keys -> the PascalCase of boto3."""
    if isinstance(value, Mapping):
        return {key[0].upper() + key[1:]: pascal(each) for key, each in value.items()}
    return [pascal(each) for each in value] if isinstance(value, list) else value


def nothing(*_: Any) -> None:
    """Nothing to do: it goes with its owner."""


def _kind(token: str) -> Kind:
    from tests.infra.stand_in import kinds

    if token not in kinds.KINDS:
        raise NotImplementedError(f"no stand-in for {token}")
    return kinds.KINDS[token]
