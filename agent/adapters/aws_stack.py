"""A stack as it is now, read from AWS: its groups, hooks, launch template, security groups and bucket. Reads only.

Each look stands by itself: one that is refused, or that AWS does not answer, is `Unseen` with the sentence why.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from agent.adapters.aws_clients import AwsClients, code_of, outside
from agent.errors import OutsideError
from agent.model import Door, GroupFacts, HookFacts, LiveStack, Look, TemplateFacts, Unseen
from infra import cloud_init
from infra.inventory import Inventory

GONE = frozenset(
    {
        "InvalidGroup.NotFound", "InvalidLaunchTemplateId.NotFound", "InvalidLaunchTemplateId.VersionNotFound", "NoSuchBucket",
        "NoSuchLifecycleConfiguration", "NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError",
    }
)  # fmt: skip
"""Codes that say "there is none", which is an answer."""
OLD_VERSIONS = "old-versions"
"""Id of the bucket's rule (infra/components/model_store.py)."""

T = TypeVar("T")


def look(clients: AwsClients, stack: Inventory) -> LiveStack:
    """Return what is there of a stack. Raises nothing that AWS may answer."""
    reading = _Reading(clients)
    group = _seen(f"look at group {stack.group}", lambda: reading.group(stack.group))
    return LiveStack(
        group=_facts(group),
        burst=_facts(_seen(f"look at group {stack.burst_group}", lambda: reading.group(stack.burst_group)))
        if stack.burst_group
        else None,
        hooks=_seen(f"look at the hooks of {stack.group}", lambda: reading.hooks(stack.group)),
        template=group
        if isinstance(group, Unseen) or group is None
        else _seen(f"look at the launch template of {stack.group}", lambda: reading.template(*_template_of(group))),
        host_doors=_doors(reading, stack.hosts_security_group),
        agent_doors=_doors(reading, stack.agent_security_group),
        versioning=_seen(f"look at the versioning of bucket {stack.bucket}", lambda: reading.versioning(stack.bucket)),
        encryption=_seen(f"look at the encryption of bucket {stack.bucket}", lambda: reading.encryption(stack.bucket)),
        closed_to_public=_seen(f"look at who may read bucket {stack.bucket}", lambda: reading.closed(stack.bucket)),
        old_versions_end=_seen(f"look at the rules of bucket {stack.bucket}", lambda: reading.old_versions_end(stack.bucket)),
    )


def _seen(doing: str, ask: Callable[[], T | None]) -> Look[T]:
    try:
        with outside(doing):
            try:
                return ask()
            except ClientError as exc:
                if code_of(exc) in GONE:
                    return None
                raise
            except (KeyError, TypeError, AttributeError) as exc:
                raise ValueError(f"AWS's answer has another shape: {type(exc).__name__}: {exc}") from exc
    except OutsideError as exc:
        return Unseen(why=str(exc))


def _doors(reading: "_Reading", group: str) -> Look[tuple[Door, ...]]:
    if not group:
        return Unseen(why="the inventory does not name the security group: `pulumi up` writes it")
    return _seen(f"look at security group {group}", lambda: reading.doors(group))


class _Reading:
    def __init__(self, clients: AwsClients) -> None:
        self._clients = clients

    def group(self, name: str) -> Mapping[str, Any] | None:
        client = self._clients.client("autoscaling")
        found: Sequence[Mapping[str, Any]] = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])[
            "AutoScalingGroups"
        ]
        return found[0] if found else None

    def hooks(self, group: str) -> tuple[HookFacts, ...]:
        rows = self._clients.client("autoscaling").describe_lifecycle_hooks(AutoScalingGroupName=group)["LifecycleHooks"]
        return tuple(
            HookFacts(
                name=each["LifecycleHookName"],
                transition=each["LifecycleTransition"],
                seconds=int(each["HeartbeatTimeout"]),
                otherwise=each["DefaultResult"],
            )
            for each in rows
        )

    def template(self, id_: str, version: str) -> TemplateFacts | None:
        client = self._clients.client("ec2")
        asked = {"LaunchTemplateId": id_, "Versions": [version, "$Latest"]}
        rows = client.describe_launch_template_versions(**asked)["LaunchTemplateVersions"]
        used = next((each for each in rows if version in (str(each["VersionNumber"]), "$Latest")), None)
        if used is None:
            return None
        made, newest = used["LaunchTemplateData"], max(int(each["VersionNumber"]) for each in rows)
        metadata = made.get("MetadataOptions", {})
        volumes = [each["Ebs"] for each in made.get("BlockDeviceMappings", ()) if "Ebs" in each]
        return TemplateFacts(
            newest=str(newest),
            ami_id=str(made.get("ImageId", "")),
            tokens=str(metadata.get("HttpTokens", "optional")),
            hops=int(metadata.get("HttpPutResponseHopLimit", 1)),
            encrypted=bool(volumes) and all(each.get("Encrypted") is True for each in volumes),
            volume_gib=int(volumes[0].get("VolumeSize", 0)) if volumes else 0,
            doors=tuple(sorted(made.get("SecurityGroupIds", ()))),
            image=_image(str(made.get("UserData", ""))),
        )

    def doors(self, group: str) -> tuple[Door, ...] | None:
        client = self._clients.client("ec2")
        pages = client.get_paginator("describe_security_group_rules").paginate(
            Filters=[{"Name": "group-id", "Values": [group]}]
        )
        return tuple(_door(each) for page in pages for each in page["SecurityGroupRules"])

    def versioning(self, bucket: str) -> str | None:
        found = self._clients.client("s3").get_bucket_versioning(Bucket=bucket).get("Status")
        return None if found is None else str(found)

    def encryption(self, bucket: str) -> str | None:
        answer = self._clients.client("s3").get_bucket_encryption(Bucket=bucket)
        (rule,) = answer["ServerSideEncryptionConfiguration"]["Rules"]
        return str(rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"])

    def closed(self, bucket: str) -> bool:
        answer = self._clients.client("s3").get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        words = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        return all(answer.get(each) is True for each in words)

    def old_versions_end(self, bucket: str) -> bool:
        rules = self._clients.client("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        return any(each.get("ID") == OLD_VERSIONS and each["Status"] == "Enabled" for each in rules)


def _facts(row: Look[Mapping[str, Any]]) -> Look[GroupFacts]:
    if row is None or isinstance(row, Unseen):
        return row
    return _seen("read a group", lambda: _group(row))


def _group(row: Mapping[str, Any]) -> GroupFacts:
    mixed = row.get("MixedInstancesPolicy") or {}
    spread = mixed.get("InstancesDistribution") or {}
    _, version = _template_of(row)
    hosts = row["Instances"]
    # A version that AWS does not name is not known to be another.
    started_from = {each["InstanceId"]: str((each.get("LaunchTemplate") or {}).get("Version", version)) for each in hosts}
    return GroupFacts(
        smallest=int(row["MinSize"]),
        largest=int(row["MaxSize"]),
        wanted=int(row["DesiredCapacity"]),
        kinds=tuple(each["InstanceType"] for each in mixed.get("LaunchTemplate", {}).get("Overrides", ())),
        on_demand_base=int(spread.get("OnDemandBaseCapacity", 0)),
        # AWS's own default, where nothing was said.
        on_demand_percent=int(spread.get("OnDemandPercentageAboveBaseCapacity", 100)),
        spot_strategy=str(spread.get("SpotAllocationStrategy", "")),
        spot_price_cap=str(spread.get("SpotMaxPrice") or ""),
        rebalances=row.get("CapacityRebalance") is True,
        suspended=tuple(sorted(each["ProcessName"] for each in row.get("SuspendedProcesses", ()))),
        version=version,
        set_aside=tuple(sorted(each["InstanceId"] for each in hosts if "Standby" in each["LifecycleState"])),
        other_version=tuple(sorted(name for name, its in started_from.items() if its != version)),
    )


def _template_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the id and the version of the template that a group starts hosts from."""
    mixed = row.get("MixedInstancesPolicy")
    named = mixed["LaunchTemplate"]["LaunchTemplateSpecification"] if mixed else row["LaunchTemplate"]
    return str(named["LaunchTemplateId"]), str(named.get("Version", "$Default"))


def _door(row: Mapping[str, Any]) -> Door:
    peers = (
        row.get("ReferencedGroupInfo", {}).get("GroupId"),
        row.get("CidrIpv4"),
        row.get("CidrIpv6"),
        row.get("PrefixListId"),
    )
    ports = (int(row.get("FromPort", -1)), int(row.get("ToPort", -1)))
    return Door(
        id=row["SecurityGroupRuleId"],
        inwards=not row["IsEgress"],
        protocol=str(row["IpProtocol"]),
        ports=None if ports == (-1, -1) or str(row["IpProtocol"]) == "-1" else ports,
        peer=next((str(each) for each in peers if each), "nobody"),
    )


def _image(user_data: str) -> str | None:
    """Return the image that our own user data start; None where they are none of ours."""
    try:
        document = json.loads(base64.b64decode(user_data).decode().removeprefix("#cloud-config\n"))
        (config,) = (each["content"] for each in document["write_files"] if each["path"] == cloud_init.CONFIG)
        return str(json.loads(config)["image"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
