"""The GPU hosts: a spot-first Auto Scaling group whose hosts enter service warm, and an optional on-demand burst group."""

import base64

import pulumi
import pulumi_aws as aws

from infra import cloud_init
from infra.components.access import NAMESPACE, HostAccess
from infra.components.model_store import ModelStore
from infra.components.network import Network
from infra.components.spot_events import SpotEvents
from infra.prices import VOLUME_IOPS, VOLUME_MIBPS
from infra.settings import FleetSettings

LAUNCH_HOOK, DRAIN_HOOK = "warm-up", "drain"
CONTAINER = "model"
"""Name of the inference server's container on every host."""
AFTER_WARM = 60
"""Seconds. The launch hook already held the host until its model was warm, so nothing is left to wait for but a metric."""
ROOT = "/dev/sda1"
"""Root device of Ubuntu's and the Deep Learning images."""
FIGURES = [
    aws.autoscaling.Metric.GROUP_IN_SERVICE_INSTANCES,
    aws.autoscaling.Metric.GROUP_DESIRED_CAPACITY,
    aws.autoscaling.Metric.GROUP_TOTAL_INSTANCES,
]


class GpuFleet(pulumi.ComponentResource):
    """group: the spot group. burst: the on-demand group with a warm pool, or None (a group that asks for spot cannot have one)."""

    def __init__(
        self,
        settings: FleetSettings,
        network: Network,
        store: ModelStore,
        events: SpotEvents,
        access: HostAccess,
        target_group_arns: list[pulumi.Output[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("medic:infra:GpuFleet", settings.name, None, opts)
        self._settings, self._network, self._targets = settings, network, target_group_arns
        self.template = self._template(store, events, access)
        self.group = self._spot_group()
        self.burst = self._burst_group() if settings.burst_max_size else None
        self.register_outputs({"group": self.group.name})

    def _template(self, store: ModelStore, events: SpotEvents, access: HostAccess) -> aws.ec2.LaunchTemplate:
        settings = self._settings
        image = settings.ami_id or self._image_of_the_day()
        tags = settings.all_tags
        return aws.ec2.LaunchTemplate(
            f"{settings.name}-host",
            image_id=image,
            instance_type=settings.instance_types[0],
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=access.profile.arn),
            vpc_security_group_ids=[self._network.hosts.id],
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint="enabled",
                http_tokens="required",
                http_put_response_hop_limit=1,
                instance_metadata_tags="enabled",
            ),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=ROOT,
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        volume_size=settings.volume_gib,
                        volume_type="gp3",
                        iops=VOLUME_IOPS,
                        throughput=VOLUME_MIBPS,
                        encrypted="true",
                        delete_on_termination="true",
                    ),
                )
            ],
            user_data=pulumi.Output.all(store.bucket.id, events.queue.url).apply(
                lambda known: _user_data(settings, bucket=known[0], queue_url=known[1])
            ),
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=tags) for kind in ("instance", "volume")
            ],
            tags=tags,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _image_of_the_day(self) -> str:
        found = aws.ssm.get_parameter(name=self._settings.ami_parameter, opts=pulumi.InvokeOptions(parent=self)).value
        pulumi.log.info(f"AMI today: {found} (set medic:amiId to it, and no later `up` replaces a host)", self)
        return found

    def _spot_group(self) -> aws.autoscaling.Group:
        settings = self._settings
        mixed = aws.autoscaling.GroupMixedInstancesPolicyArgs(
            launch_template=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateArgs(
                launch_template_specification=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateLaunchTemplateSpecificationArgs(
                    launch_template_id=self.template.id, version=self.template.latest_version.apply(str)
                ),
                overrides=[
                    aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateOverrideArgs(instance_type=each)
                    for each in settings.instance_types
                ],
            ),
            instances_distribution=aws.autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
                on_demand_base_capacity=settings.on_demand_base,
                on_demand_percentage_above_base_capacity=settings.on_demand_percent_above_base,
                on_demand_allocation_strategy="lowest-price",
                spot_allocation_strategy="price-capacity-optimized",
            ),
        )
        return self._group(
            "gpu",
            settings.group_name,
            (settings.min_size, max(settings.min_size, settings.on_demand_base), settings.max_size),
            mixed_instances_policy=mixed,
            capacity_rebalance=True,
        )

    def _burst_group(self) -> aws.autoscaling.Group:
        template = aws.autoscaling.GroupLaunchTemplateArgs(id=self.template.id, version=self.template.latest_version.apply(str))
        pool = aws.autoscaling.GroupWarmPoolArgs(
            pool_state="Stopped", min_size=1, max_group_prepared_capacity=self._settings.burst_max_size
        )
        name = f"{self._settings.group_name}-burst"
        return self._group("burst", name, (0, 0, self._settings.burst_max_size), launch_template=template, warm_pool=pool)

    def _group(
        self,
        name: str,
        physical: str,
        sizes: tuple[int, int, int],
        *,
        mixed_instances_policy: aws.autoscaling.GroupMixedInstancesPolicyArgs | None = None,
        capacity_rebalance: bool | None = None,
        launch_template: aws.autoscaling.GroupLaunchTemplateArgs | None = None,
        warm_pool: aws.autoscaling.GroupWarmPoolArgs | None = None,
    ) -> aws.autoscaling.Group:
        settings = self._settings
        smallest, wanted, largest = sizes
        # A host learns from its tag `Name` which group's hook it has to finish (host/warm_up.py).
        tags = {**settings.all_tags, "Name": physical}
        arguments = aws.autoscaling.GroupArgs(
            name=physical,
            min_size=smallest,
            desired_capacity=wanted,
            max_size=largest,
            vpc_zone_identifiers=self._network.subnet_ids,
            mixed_instances_policy=mixed_instances_policy,
            capacity_rebalance=capacity_rebalance,
            launch_template=launch_template,
            warm_pool=warm_pool,
            initial_lifecycle_hooks=self._hooks(),
            default_instance_warmup=AFTER_WARM,
            health_check_type="ELB" if self._targets else "EC2",
            health_check_grace_period=AFTER_WARM,
            target_group_arns=self._targets,
            enabled_metrics=FIGURES,
            instance_refresh=aws.autoscaling.GroupInstanceRefreshArgs(
                strategy="Rolling",
                preferences=aws.autoscaling.GroupInstanceRefreshPreferencesArgs(min_healthy_percentage=100, auto_rollback=True),
            ),
            # A spot drought must not make `pulumi up` wait ten minutes and fail.
            wait_for_capacity_timeout="0",
            tags=[aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True) for key, value in tags.items()],
        )
        # The autoscaler owns the wanted size; an `up` must not take it back. What the hooks are later, the hooks below say.
        opts = pulumi.ResourceOptions(parent=self, ignore_changes=["desiredCapacity", "initialLifecycleHooks"])
        group = aws.autoscaling.Group(f"{settings.name}-{name}", arguments, opts)
        self._keep_hooks(name, group)
        return group

    def _keep_hooks(self, name: str, group: aws.autoscaling.Group) -> None:
        """Let a later `up` change the hooks: the provider reads a group's initial ones only when it makes the group.

        Putting a hook whose name is there changes that one (EC2 Auto Scaling API, PutLifecycleHook).
        """
        for each in self._hooks():
            aws.autoscaling.LifecycleHook(
                f"{self._settings.name}-{name}-{each.name}",
                name=each.name,
                autoscaling_group_name=group.name,
                lifecycle_transition=each.lifecycle_transition,
                heartbeat_timeout=each.heartbeat_timeout,
                default_result=each.default_result,
                opts=pulumi.ResourceOptions(parent=self),
            )

    def _hooks(self) -> list[aws.autoscaling.GroupInitialLifecycleHookArgs]:
        # On the group itself: hooks of their own come after its first hosts, which would enter service cold.
        return [
            aws.autoscaling.GroupInitialLifecycleHookArgs(
                name=LAUNCH_HOOK,
                lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
                heartbeat_timeout=self._settings.warm_up_seconds,
                default_result="ABANDON",
            ),
            aws.autoscaling.GroupInitialLifecycleHookArgs(
                name=DRAIN_HOOK,
                lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
                heartbeat_timeout=self._settings.drain_seconds,
                default_result="CONTINUE",
            ),
        ]


def _user_data(settings: FleetSettings, bucket: str, queue_url: str) -> str:
    config = cloud_init.HostConfig(
        fleet=settings.name,
        region=settings.region,
        launch_hook=LAUNCH_HOOK,
        bucket=bucket,
        manifest=settings.model_manifest,
        host_keys=f"{settings.parameter_root}/host-keys",
        agent_key=settings.agent_key,
        queue_url=queue_url,
        namespace=NAMESPACE,
        container=CONTAINER,
        image=settings.image,
        command=settings.command,
        port=settings.port,
        ready_path=settings.ready_path,
        model_name=settings.model_name,
    )
    return base64.b64encode(cloud_init.render(config).encode()).decode()
