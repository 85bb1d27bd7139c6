"""How many hosts there are: by the backlog of each warm replica, up from zero when work comes, and down to zero by the clock."""

import pulumi
import pulumi_aws as aws

from infra.components.access import NAMESPACE
from infra.components.gpu_fleet import AFTER_WARM, GpuFleet
from infra.settings import FleetSettings

BACKLOG, BACKLOG_PER_REPLICA = "Backlog", "BacklogPerWarmReplica"
"""Metrics that whoever takes requests publishes, with the dimension Fleet (docs/how-to/deploy.md)."""


class Autoscaling(pulumi.ComponentResource):
    """Policies and schedules of the spot group."""

    def __init__(self, settings: FleetSettings, fleet: GpuFleet, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("medic:infra:Autoscaling", settings.name, None, opts)
        self._settings, self._group = settings, fleet.group
        self._child = pulumi.ResourceOptions(parent=self)
        self._by_backlog()
        if settings.min_size == 0:
            self._from_zero()
        if settings.sleep_cron:
            self._schedule("sleep", settings.sleep_cron, 0, 0)
            self._schedule("wake", settings.wake_cron, settings.min_size, max(settings.min_size, settings.on_demand_base))
        self.register_outputs({})

    def _by_backlog(self) -> None:
        aws.autoscaling.Policy(
            f"{self._settings.name}-backlog",
            autoscaling_group_name=self._group.name,
            policy_type="TargetTrackingScaling",
            estimated_instance_warmup=AFTER_WARM,
            target_tracking_configuration=aws.autoscaling.PolicyTargetTrackingConfigurationArgs(
                target_value=self._settings.backlog_per_replica,
                customized_metric_specification=aws.autoscaling.PolicyTargetTrackingConfigurationCustomizedMetricSpecificationArgs(
                    namespace=NAMESPACE,
                    metric_name=BACKLOG_PER_REPLICA,
                    statistic="Average",
                    metric_dimensions=[
                        aws.autoscaling.PolicyTargetTrackingConfigurationCustomizedMetricSpecificationMetricDimensionArgs(
                            name="Fleet", value=self._settings.name
                        )
                    ],
                ),
            ),
            opts=self._child,
        )

    def _from_zero(self) -> None:
        # Target tracking cannot leave zero: with no replica its metric has no value.
        name = f"{self._settings.name}-from-zero"
        policy = aws.autoscaling.Policy(
            name,
            autoscaling_group_name=self._group.name,
            policy_type="StepScaling",
            adjustment_type="ExactCapacity",
            step_adjustments=[aws.autoscaling.PolicyStepAdjustmentArgs(metric_interval_lower_bound="0", scaling_adjustment=1)],
            opts=self._child,
        )
        aws.cloudwatch.MetricAlarm(
            name,
            alarm_description="Work waits and no host is there",
            comparison_operator="GreaterThanThreshold",
            threshold=0,
            evaluation_periods=1,
            period=60,
            statistic="Maximum",
            namespace=NAMESPACE,
            metric_name=BACKLOG,
            dimensions={"Fleet": self._settings.name},
            treat_missing_data="notBreaching",
            alarm_actions=[policy.arn],
            opts=self._child,
        )

    def _schedule(self, name: str, cron: str, smallest: int, wanted: int) -> None:
        aws.autoscaling.Schedule(
            f"{self._settings.name}-{name}",
            scheduled_action_name=name,
            autoscaling_group_name=self._group.name,
            recurrence=cron,
            time_zone=self._settings.time_zone,
            min_size=smallest,
            max_size=self._settings.max_size,
            desired_capacity=wanted,
            opts=self._child,
        )
