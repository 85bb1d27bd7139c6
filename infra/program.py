"""START HERE: the whole stack, from its settings to what it exports. Run by `pulumi up` through `__main__.py`."""

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi import _types  # no public name turns typed arguments into what the provider is asked for (pulumi 3.272)

from infra import cloud_init, inventory, policies
from infra import settings as fleet_settings
from infra.components import agent_host
from infra.components.access import NAMESPACE, HostAccess
from infra.components.autoscaling import Autoscaling
from infra.components.balancer import Balancer
from infra.components.gpu_fleet import CONTAINER, DRAIN_HOOK, LAUNCH_HOOK, GpuFleet
from infra.components.model_store import ModelStore
from infra.components.network import AGENT_GROUP, Network
from infra.components.spot_events import SpotEvents
from infra.components.watchfulness import Watchfulness
from infra.settings import FleetSettings


class PolicyError(Exception):
    """A resource that no settings should lead to; `pulumi preview` stops at it."""


def main() -> dict[str, pulumi.Output[Any]]:
    """Make the stack; return what it exports: `inventory`, `address`, `bucket`. Raises SettingsError."""
    settings = settings_of_stack()
    if settings.agent_wheel:
        agent_host.wheel(settings)  # asked before anything is made
    for warning in settings.warnings():
        pulumi.log.warn(warning)
    pulumi.runtime.register_stack_transformation(_HeldToPolicies(f"{settings.name}-{AGENT_GROUP}"))

    network = Network(settings)
    store = ModelStore(settings)
    events = SpotEvents(settings)
    access = HostAccess(settings, store, events)
    balancer = Balancer(settings, network) if settings.balancer != "none" else None
    fleet = GpuFleet(settings, network, store, events, access, [balancer.targets.arn] if balancer else [])
    Autoscaling(settings, fleet)
    watchfulness = Watchfulness(settings, fleet, events)

    if settings.agent_wheel:
        agent_host.AgentHost(settings, network, store, events, balancer)

    document = _document(settings, network, store, events, fleet, balancer, watchfulness)
    aws.ssm.Parameter(
        f"{settings.name}-inventory",
        name=f"{settings.parameter_root}/inventory",
        type="String",
        value=document,
        tags=settings.all_tags,
    )
    outputs: dict[str, pulumi.Output[Any]] = {"inventory": document, "bucket": store.bucket.id}
    if balancer:
        outputs["address"] = balancer.address
    for key, value in outputs.items():
        pulumi.export(key, value)
    return outputs


def settings_of_stack() -> FleetSettings:
    """Return the settings that this stack's configuration spells. Raises SettingsError."""
    config = pulumi.Config(fleet_settings.PROJECT)
    lists = {key for key, default in fleet_settings.defaults().items() if isinstance(default, list)}
    known = fleet_settings.keys()
    found = {key: config.get_object(key) if key in lists else config.get(key) for key in known}
    return fleet_settings.from_mapping(
        {key: value for key, value in found.items() if value is not None},
        stack=pulumi.get_stack(),
        region=aws.config.region or "us-east-1",
    )


class _HeldToPolicies:
    """Refuses any resource that violates a policy, once its inputs are known: at preview, for all that a preview knows.

    agent_group: the name of the one security group that may reach port 22. It is made before any rule that names it.
    """

    def __init__(self, agent_group: str) -> None:
        self._agent_group = agent_group
        self._agent: aws.ec2.SecurityGroup | None = None

    def __call__(self, given: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if given.name == self._agent_group and isinstance(given.resource, aws.ec2.SecurityGroup):
            self._agent = given.resource

        def refuse(known: Mapping[str, Any]) -> None:
            if found := policies.violations(given.type_, _camel(known["inputs"]), known["agent"]):
                raise PolicyError(f"cannot make {given.name} ({given.type_}): it {'; it '.join(found)}")

        # Only a rule that names a group waits for the agent's: what is open to addresses is refused at preview already.
        names_group = given.type_ == policies.INGRESS and given.props.get("referenced_security_group_id") is not None
        agent = self._agent.id if names_group and self._agent is not None else ""
        pulumi.Output.all(inputs=dict(given.props), agent=agent).apply(refuse)
        return None


def _camel(value: Any) -> Any:
    """Return inputs under the names that the provider gives them."""
    if _types.is_input_type(type(value)):
        return _camel(_types.input_type_to_dict(value))
    if isinstance(value, Mapping):
        return {fleet_settings.key_of(key) if isinstance(key, str) else key: _camel(each) for key, each in value.items()}
    return [_camel(each) for each in value] if isinstance(value, list) else value


def _document(
    settings: FleetSettings,
    network: Network,
    store: ModelStore,
    events: SpotEvents,
    fleet: GpuFleet,
    balancer: Balancer | None,
    watchfulness: Watchfulness,
) -> pulumi.Output[str]:
    """Return the inventory as text, known once everything that it names is."""

    def written(known: Mapping[str, Any]) -> str:
        return inventory.render(
            inventory.Inventory(
                stack=settings.name,
                region=settings.region,
                launch_hook=LAUNCH_HOOK,
                drain_hook=DRAIN_HOOK,
                metric_namespace=NAMESPACE,
                host_keys=f"{settings.parameter_root}/host-keys",
                ssh_user=cloud_init.SSH_USER,
                warm_up_seconds=settings.warm_up_seconds,
                drain_seconds=settings.drain_seconds,
                on_demand_base=settings.on_demand_base,
                max_size=settings.max_size,
                on_demand_percent=settings.on_demand_percent_above_base,
                min_size=settings.min_size,
                burst_max_size=settings.burst_max_size,
                volume_gib=settings.volume_gib,
                instance_types=settings.instance_types,
                ami_id=settings.ami_id,
                sleep_cron=settings.sleep_cron,
                model=inventory.Model(
                    container=CONTAINER,
                    image=settings.image,
                    port=settings.port,
                    ready_path=settings.ready_path,
                    name=settings.model_name,
                ),
                **known,
            )
        )

    return pulumi.Output.all(
        group=fleet.group.name,
        burst_group=fleet.burst.name if fleet.burst else "",
        queue_url=events.queue.url,
        dead_letter_url=events.dead_letters.url,
        bucket=store.bucket.id,
        log_group=watchfulness.log_group.name,
        target_group_arn=balancer.targets.arn if balancer else "",
        hosts_security_group=network.hosts.id,
        agent_security_group=network.agent.id,
        balancer_security_group=network.balancer.id if network.balancer else "",
    ).apply(written)
