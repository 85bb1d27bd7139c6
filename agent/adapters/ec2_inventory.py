"""Hosts from EC2: the running instances of a region that carry the named tags, in the shape of medic.yaml.

In: region and tags. Out: `hosts`, named by their tag `Name`, or by their id where they have none or share it. Their services come
from Docker labels. boto3 is imported when it is used, and comes with the extra `aws`.
"""

from collections import Counter
from typing import Any  # boto3 ships no types

from agent.errors import ConfigError, OutsideError
from agent.model import Ec2Source, Inventory

MOST = 1_000
"""Instances. More is a wrong tag, and refused: a part of a fleet is not the fleet."""


def read(inventory: Inventory, source: Ec2Source) -> dict[str, dict[str, Any]]:
    """Return the hosts. Raises ConfigError for what a person must change, OutsideError when AWS does not answer."""
    instances = _instances(inventory, source)
    if not instances:
        tags = ", ".join(f"{key}={value}" for key, value in source.tags)
        raise _wrong(inventory, f"no running instance in {source.region} has the tags {tags}")
    shared = Counter(_name(each) for each in instances)
    hosts = {}
    for each in sorted(instances, key=lambda each: str(each["InstanceId"])):
        name = _name(each)
        called = str(each["InstanceId"]) if shared[name] > 1 else name
        hosts[called] = _host(inventory, source, each, called)
    return {"hosts": hosts}


def _host(inventory: Inventory, source: Ec2Source, instance: dict[str, Any], name: str) -> dict[str, Any]:
    id_ = str(instance["InstanceId"])
    if source.ssm:
        return {"ssm": {"instance": id_, "region": source.region}}
    kind = "PublicIpAddress" if source.public else "PrivateIpAddress"
    address = instance.get(kind)
    if not address:
        raise _wrong(inventory, f"instance {id_} has no {'public' if source.public else 'private'} address")
    ssh = {"address": str(address), "user": inventory.user, "known_hosts": inventory.known_hosts, "sudo": inventory.sudo}
    more = {"key_file": inventory.key_file, "jump": inventory.jump_to(name)}
    return {"ssh": {**ssh, **{key: value for key, value in more.items() if value is not None}}}


def _name(instance: dict[str, Any]) -> str:
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in instance.get("Tags", ())}
    return tags.get("Name") or str(instance["InstanceId"])


def _instances(inventory: Inventory, source: Ec2Source) -> list[dict[str, Any]]:
    try:
        import boto3  # noqa: PLC0415  0.3 s, and an extra: only who declares such an inventory pays for it
        from botocore import config, exceptions  # noqa: PLC0415  as above
    except ImportError as exc:
        raise _wrong(inventory, "it needs the extra `aws`: pip install 'medic-agent[aws]'") from exc
    bounds = config.Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2})
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in source.tags]
    filters.append({"Name": "instance-state-name", "Values": ["running"]})
    try:
        client = boto3.client("ec2", region_name=source.region, config=bounds)
        pages = client.get_paginator("describe_instances").paginate(
            Filters=filters, PaginationConfig={"MaxItems": MOST + 1, "PageSize": 500}
        )
        found = [each for page in pages for held in page["Reservations"] for each in held["Instances"]]
    except exceptions.NoCredentialsError as exc:
        raise _wrong(inventory, "there are no AWS credentials: give Medic's machine a role, or set AWS_PROFILE") from exc
    except exceptions.ClientError as exc:
        code = exc.response.get("Error", {}).get("Code", "")
        raise _wrong(inventory, f"AWS refuses ec2:DescribeInstances in {source.region}: {code}") from exc
    except exceptions.BotoCoreError as exc:
        raise OutsideError(f"cannot read inventory {inventory.name!r}: {exc}", transient=True) from exc
    if len(found) > MOST:
        raise _wrong(inventory, f"more than {MOST} running instances have its tags: name tags that fewer have")
    return found


def _wrong(inventory: Inventory, why: str) -> ConfigError:
    return ConfigError(f"cannot read inventory {inventory.name!r}: {why}")
