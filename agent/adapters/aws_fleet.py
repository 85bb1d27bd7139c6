"""Auto Scaling groups: which hosts there are, and the four things that are done to them.

Seen of AWS: an ended hook is a ValidationError, "No active Lifecycle Action"; a host that is gone is one too, "not found".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from agent.adapters.aws_clients import AwsClients, code_of, outside
from agent.model import FleetSize, Member

OVER = ("No active Lifecycle Action", "Unknown Lifecycle Action")
GONE = ("not found", "does not exist", "not part of")
NO_INSTANCE = ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")


class AwsFleet:
    """`ports.Fleet` over EC2 Auto Scaling. groups: names, the spot group first."""

    def __init__(self, clients: AwsClients, groups: Sequence[str]) -> None:
        self._clients = clients
        self._groups = tuple(groups)

    def members(self) -> tuple[Member, ...]:
        """Return every host of the groups, by instance id. Raises OutsideError."""
        rows = [(row["AutoScalingGroupName"], each) for row in self._described() for each in row["Instances"]]
        known = self._instances([each["InstanceId"] for _, each in rows])
        members = (_member(group, each, known.get(each["InstanceId"], {})) for group, each in rows)
        return tuple(sorted(members, key=lambda it: it.instance))

    def size(self, group: str = "") -> FleetSize:
        """Return how large a group is to be; without a name, the spot group. Raises OutsideError."""
        name = group if group in self._groups else self._groups[0]
        (row,) = (each for each in self._described() if each["AutoScalingGroupName"] == name)
        spread = (row.get("MixedInstancesPolicy") or {}).get("InstancesDistribution") or {}
        return FleetSize(
            wanted=int(row["DesiredCapacity"]),
            largest=int(row["MaxSize"]),
            smallest=int(row["MinSize"]),
            on_demand_base=int(spread.get("OnDemandBaseCapacity", 0)),
            on_demand_percent=int(spread.get("OnDemandPercentageAboveBaseCapacity", 100)),
        )

    def replace(self, instance: str) -> None:
        """Let the group end one host and start another. One that is on its way out already is as good. Raises OutsideError."""
        with outside(f"replace {instance}"), _as_good(GONE):
            self._client().terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=False)

    def retire(self, instance: str) -> None:
        """Let the group end one host and become one smaller. Raises OutsideError."""
        with outside(f"retire {instance}"), _as_good(GONE):
            self._client().terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)

    def complete(self, group: str, hook: str, instance: str) -> bool:
        """Let a host that waits in a lifecycle hook go on; False where it does not wait there any more. Raises OutsideError."""
        with outside(f"complete hook {hook!r} of {instance}"):
            try:
                self._client().complete_lifecycle_action(
                    AutoScalingGroupName=group, LifecycleHookName=hook, InstanceId=instance, LifecycleActionResult="CONTINUE"
                )
            except ClientError as exc:
                if not _says(exc, OVER):
                    raise
                return False
        return True

    def raise_on_demand_base(self, to: int) -> None:
        """Let so many hosts of the spot group be on-demand before any is spot. Raises OutsideError."""
        (row,) = (each for each in self._described() if each["AutoScalingGroupName"] == self._groups[0])
        with outside(f"raise the on-demand base of {self._groups[0]} to {to}"):
            # The whole policy goes back as it came, but for this one number; a template is named by its id alone.
            policy = row["MixedInstancesPolicy"]
            template = dict(policy["LaunchTemplate"]["LaunchTemplateSpecification"])
            template.pop("LaunchTemplateName", None)
            self._client().update_auto_scaling_group(
                AutoScalingGroupName=self._groups[0],
                MixedInstancesPolicy={
                    "LaunchTemplate": {**policy["LaunchTemplate"], "LaunchTemplateSpecification": template},
                    "InstancesDistribution": {**policy["InstancesDistribution"], "OnDemandBaseCapacity": to},
                },
            )

    def _client(self) -> Any:
        return self._clients.client("autoscaling")

    def _described(self) -> Sequence[Mapping[str, Any]]:
        with outside(f"look at the groups {', '.join(self._groups)}"):
            found = self._client().describe_auto_scaling_groups(AutoScalingGroupNames=list(self._groups))["AutoScalingGroups"]
        names = {each["AutoScalingGroupName"] for each in found}
        with outside(f"look at the groups {', '.join(self._groups)}"):
            if missing := [each for each in self._groups if each not in names]:
                raise ValueError(f"there is no group {', '.join(missing)}")
        rows: Sequence[Mapping[str, Any]] = found
        return rows

    def _instances(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Return what EC2 knows of these; one that it has forgotten is left out."""
        if not ids:
            return {}
        with outside("look at the hosts of the fleet"):
            # A filter, because by id one that is gone would make the whole question an error.
            pages = self._clients.client("ec2").get_paginator("describe_instances")
            asked = pages.paginate(Filters=[{"Name": "instance-id", "Values": list(ids)}])
            return {each["InstanceId"]: each for page in asked for row in page["Reservations"] for each in row["Instances"]}


def _member(group: str, row: Mapping[str, Any], known: Mapping[str, Any]) -> Member:
    return Member(
        instance=row["InstanceId"],
        group=group,
        address=str(known.get("PrivateIpAddress", "")),
        kind=str(row.get("InstanceType") or known.get("InstanceType", "")),
        zone=str(row.get("AvailabilityZone", "")),
        spot=known.get("InstanceLifecycle") == "spot",
        state=str(row["LifecycleState"]),
        healthy=row.get("HealthStatus", "Healthy").lower() == "healthy",
        launched_at=known.get("LaunchTime"),
    )


class _as_good:  # noqa: N801  (reads as a word of the `with` it stands in)
    """Swallows the errors that say what was asked for is so already."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, exc: BaseException | None, _trace: object) -> bool:
        return isinstance(exc, ClientError) and (_says(exc, self._texts) or code_of(exc) in NO_INSTANCE)


def _says(exc: ClientError, texts: Sequence[str]) -> bool:
    said = str(exc.response.get("Error", {}).get("Message", ""))
    return any(text in said for text in texts)
