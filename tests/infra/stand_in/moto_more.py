"""What moto 5.2 leaves out and a spot fleet lives by, put into it: hooks that hold, spot, types and zones that differ, quotas.

`install` patches moto in this process, once. Nothing here speaks to AWS; where AWS acts by a rule that we know, the rule is named:

- a host waits in `Pending:Wait` or `Terminating:Wait` until its hook is completed (EC2 Auto Scaling User Guide, "Lifecycle hooks");
- hosts above the on-demand base are spot; types and subnets take turns (the real choice is by price and capacity);
- a group that ends a host starts its replacement at once;
- only a host in service stands in the target group: not one that warms up, and not one that is ended (same guide, "Elastic Load
  Balancing and Amazon EC2 Auto Scaling");
- a spot price stands until the next one of its pool;
- EC2 signs the messages of a host's role with the instance's id (`SenderId` of SQS).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.autoscaling import models as groups
from moto.autoscaling import responses as group_answers
from moto.autoscaling.exceptions import ValidationError
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.responses import spot_instances as spot_answers
from moto.events.models import events_backends
from moto.servicequotas import models as quotas

LAUNCHING, TERMINATING = "autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"
QUOTAS = {"L-3819A6DF": 16.0, "L-DB2E81BA": 8.0, "L-7212CCBC": 0.0, "L-417A185B": 0.0}
"""vCPUs that the account may have; tests change them. moto knows no quota of EC2."""


@dataclass
class Waiting:
    """One host that waits in one hook."""

    group: Any
    state: Any
    hook: str
    transition: str


waiting: list[Waiting] = []
PRICES: list[tuple[str, str, datetime, str]] = []
"""The history of spot prices: type, zone, since when, USD. moto knows one price, of 2006."""
_installed = False


def install() -> None:
    """Patch moto, once a process."""
    global _installed
    if _installed:
        return
    _installed = True
    _launch = groups.FakeAutoScalingGroup.replace_autoscaling_group_instances
    _end = groups.AutoScalingBackend.terminate_instance

    def launch(self: Any, count_needed: int, tags: Any) -> None:
        before = len(self.instance_states)
        _launch(self, count_needed, tags)
        _spread(self, before)
        for state in self.instance_states[before:]:
            _wait(self, state, LAUNCHING, "Pending:Wait")

    def end(self: Any, instance_id: str, should_decrement: bool) -> Any:
        group, state = _of(self, instance_id)
        if not _wait(group, state, TERMINATING, "Terminating:Wait"):
            return _end(self, instance_id, should_decrement)
        wanted = group.desired_capacity - (1 if should_decrement else 0)
        group.set_desired_capacity(wanted)
        return groups.TerminateInstanceActivity(state.instance, wanted)

    groups.FakeAutoScalingGroup.replace_autoscaling_group_instances = launch
    groups.FakeAutoScalingGroup.active_instances = lambda self: [
        each for each in self.instance_states if each.lifecycle_state in ("InService", "Pending:Wait")
    ]
    groups.AutoScalingBackend.terminate_instance = end
    groups.AutoScalingBackend.update_attached_target_groups = _register
    group_answers.AutoScalingResponse.complete_lifecycle_action = _complete
    group_answers.AutoScalingResponse.record_lifecycle_action_heartbeat = lambda self: (_found(self), EmptyResult())[1]
    quotas.ServiceQuotasBackend.get_service_quota = _quota
    spot_answers.SpotInstances.describe_spot_price_history = _price_history


def _spread(group: Any, before: int) -> None:
    """Give new hosts the types and zones of the group in turn, and make those above the on-demand base spot."""
    policy = group.mixed_instances_policy or {}
    kinds = [each["InstanceType"] for each in policy.get("LaunchTemplate", {}).get("Overrides", [])]
    spread = policy.get("InstancesDistribution", {})
    base, percent = int(spread.get("OnDemandBaseCapacity", 0)), int(spread.get("OnDemandPercentageAboveBaseCapacity", 100))
    subnets = [each for each in (group.vpc_zone_identifier or "").split(",") if each]
    on_demand = sum(1 for each in group.instance_states[:before] if getattr(each.instance, "lifecycle", None) != "spot")
    for number, state in enumerate(group.instance_states[before:], before):
        if on_demand >= base and percent == 0:
            state.instance.lifecycle = "spot"
        else:
            on_demand += 1
        if kinds:
            state.instance.instance_type = state.instance_type = kinds[number % len(kinds)]
        if subnets:
            subnet = group.autoscaling_backend.ec2_backend.get_subnet(subnets[number % len(subnets)])
            state.instance._placement.zone = state.availability_zone = subnet.availability_zone


def _register(backend: Any, group_name: str) -> None:
    """Let the balancer send requests to the hosts of a group that are in service."""
    group = backend.autoscaling_groups[group_name]
    serving = [each.instance.id for each in group.instance_states if each.lifecycle_state == "InService"]
    arns = group.target_group_arns
    for target in (
        backend.elbv2_backend.describe_target_groups(target_group_arns=arns, load_balancer_arn=None, names=None) if arns else ()
    ):
        backend.elbv2_backend.register_targets(target.arn, [{"Id": each, "Port": target.port} for each in serving])


def _of(backend: Any, instance: str) -> tuple[Any, Any]:
    for group in backend.autoscaling_groups.values():
        for state in group.instance_states:
            if state.instance.id == instance:
                return group, state
    raise ValidationError(f"Instance Id not found - {instance}")


def _wait(group: Any, state: Any, transition: str, word: str) -> bool:
    """Let a host wait in every hook of a transition, and say so on the event bus; False where there is none."""
    if state.lifecycle_state == word:
        return True
    hooks = [
        each
        for each in group.autoscaling_backend.lifecycle_hooks.values()
        if (each.auto_scaling_group_name, each.lifecycle_transition) == (group.name, transition)
    ]
    for hook in hooks:
        state.lifecycle_state = word
        waiting.append(Waiting(group, state, hook.name, transition))
        launching = transition == LAUNCHING
        detail = {
            "LifecycleActionToken": f"token-{state.instance.id}",
            "AutoScalingGroupName": group.name,
            "LifecycleHookName": hook.name,
            "EC2InstanceId": state.instance.id,
            "LifecycleTransition": transition,
            "Origin": "EC2" if launching else "AutoScalingGroup",
            "Destination": "AutoScalingGroup" if launching else "EC2",
        }
        event = {
            "Source": "aws.autoscaling",
            "DetailType": f"EC2 Instance-{'launch' if launching else 'terminate'} Lifecycle Action",
            "Detail": json.dumps(detail),
        }
        backend = group.autoscaling_backend
        events_backends[backend.account_id][backend.region_name].put_events([event])
    return bool(hooks)


def _found(answer: Any) -> Waiting:
    instance, hook = answer._get_param("InstanceId"), answer._get_param("LifecycleHookName")
    for each in waiting:
        if (each.state.instance.id, each.hook) == (instance, hook):
            return each
    raise ValidationError(f"No active Lifecycle Action found with instance ID {instance}")


def _complete(answer: Any) -> Any:
    this = _found(answer)
    waiting.remove(this)
    group, state = this.group, this.state
    if this.transition == LAUNCHING and answer._get_param("LifecycleActionResult") == "CONTINUE":
        state.lifecycle_state = "InService"
        group.autoscaling_backend.update_attached_target_groups(group.name)
        return EmptyResult()
    group.instance_states = [each for each in group.instance_states if each is not state]
    group.autoscaling_backend.ec2_backend.terminate_instances([state.instance.id])
    if this.transition == LAUNCHING:
        group.set_desired_capacity(group.desired_capacity)
    return EmptyResult()


def _quota(_backend: Any, service_code: str, quota_code: str) -> Any:
    return {"ServiceCode": service_code, "QuotaCode": quota_code, "QuotaName": quota_code, "Value": QUOTAS[quota_code]}


def _price_history(answer: Any) -> Any:
    """Answer as EC2 does: newest first, with the last change before StartTime (EC2 API, DescribeSpotPriceHistory)."""
    kinds = answer._get_param("InstanceTypes", [])
    start, end = (_utc(answer._get_param(name)) for name in ("StartTime", "EndTime"))
    rows = []
    for kind, zone in {(kind, zone) for kind, zone, _, _ in PRICES if kind in kinds}:
        pool = sorted((at, usd) for kind_, zone_, at, usd in PRICES if (kind_, zone_) == (kind, zone) and at <= end)
        rows += [(at, kind, zone, usd) for at, usd in pool if at > start] + [
            (at, kind, zone, usd) for at, usd in pool if at <= start
        ][-1:]
    history = [
        {
            "InstanceType": kind,
            "ProductDescription": "Linux/UNIX",
            "SpotPrice": usd,
            "AvailabilityZone": zone,
            "Timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        }
        for at, kind, zone, usd in sorted(rows, reverse=True)
    ]
    return ActionResult({"SpotPriceHistory": history})


def _utc(asked: str | datetime) -> datetime:
    at = datetime.fromisoformat(asked) if isinstance(asked, str) else asked
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def signed_by(instance: str, put: Callable[[], object]) -> None:
    """Run `put`, which sends a message, as the role of one host would."""
    from moto.sqs import models as queues

    made = queues.Message.__init__

    def init(self: Any, *words: Any, **more: Any) -> None:
        made(self, *words, **more)
        self.sender_id = f"AROASTANDIN:{instance}"

    queues.Message.__init__ = init  # type: ignore[method-assign]
    try:
        put()
    finally:
        queues.Message.__init__ = made  # type: ignore[method-assign]
