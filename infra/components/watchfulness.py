"""What tells people: a topic, alarms on what the fleet and its events do, a dashboard, a log group, the budget and cost anomalies."""

import json

import pulumi
import pulumi_aws as aws

from infra.components.access import NAMESPACE
from infra.components.gpu_fleet import GpuFleet
from infra.components.spot_events import SpotEvents
from infra.settings import FleetSettings

LOG_DAYS = 30
FIGURES_SHOWN = ("GroupInServiceInstances", "GroupDesiredCapacity")
SHARES = (50, 80, 100)
"""Percent of the monthly budget, spent, that a notice is sent at; the forecast speaks at 100."""
SURPRISE_USD = 20
"""USD a day above what AWS expected, from which a cost anomaly is worth a mail."""


class Watchfulness(pulumi.ComponentResource):
    """log_group: where the agent's and the hosts' logs go."""

    def __init__(
        self, settings: FleetSettings, fleet: GpuFleet, events: SpotEvents, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("medic:infra:Watchfulness", settings.name, None, opts)
        self._settings = settings
        self._child = pulumi.ResourceOptions(parent=self)
        self.log_group = aws.cloudwatch.LogGroup(
            f"{settings.name}-logs", retention_in_days=LOG_DAYS, tags=settings.all_tags, opts=self._child
        )
        topic = aws.sns.Topic(f"{settings.name}-notices", tags=settings.all_tags, opts=self._child)
        if settings.notice_email:
            aws.sns.TopicSubscription(
                f"{settings.name}-notices", topic=topic.arn, protocol="email", endpoint=settings.notice_email, opts=self._child
            )
        self._alarm(
            "dead-events", topic, "Events of AWS could not be handled", "AWS/SQS", "ApproximateNumberOfMessagesVisible",
            {"QueueName": events.dead_letters.name}, above=0,
        )  # fmt: skip
        self._alarm(
            "blind-gpus", topic, "nvidia-smi fails or hangs on a host", NAMESPACE, "GpuUnreadable",
            {"Fleet": settings.name}, above=0,
        )  # fmt: skip
        if settings.on_demand_base:
            self._alarm(
                "too-few-hosts", topic, "Fewer warm hosts than the on-demand base for 15 minutes", "AWS/AutoScaling",
                "GroupInServiceInstances", {"AutoScalingGroupName": fleet.group.name}, below=settings.on_demand_base, periods=3,
            )  # fmt: skip
        self._dashboard(fleet, events)
        self._budget()
        self.register_outputs({"log_group": self.log_group.name})

    def _alarm(
        self,
        name: str,
        topic: aws.sns.Topic,
        about: str,
        namespace: str,
        metric: str,
        dimensions: dict[str, pulumi.Input[str]],
        *,
        above: float | None = None,
        below: float | None = None,
        periods: int = 1,
    ) -> None:
        aws.cloudwatch.MetricAlarm(
            f"{self._settings.name}-{name}",
            alarm_description=about,
            comparison_operator="GreaterThanThreshold" if above is not None else "LessThanThreshold",
            threshold=above if above is not None else below,
            evaluation_periods=periods,
            period=300,
            statistic="Maximum",
            namespace=namespace,
            metric_name=metric,
            dimensions=dimensions,
            treat_missing_data="notBreaching" if above is not None else "breaching",
            alarm_actions=[topic.arn],
            ok_actions=[topic.arn],
            opts=self._child,
        )

    def _dashboard(self, fleet: GpuFleet, events: SpotEvents) -> None:
        """One page of the fleet: hosts, what their GPUs do, work that waits, events that nobody handled."""
        name, region = self._settings.name, self._settings.region

        def body(known: list[str]) -> str:
            group, dead = known
            search = f'{{{NAMESPACE},Fleet,Instance}} Fleet="{name}" MetricName="GpuBusiest"'
            hottest = f'{{{NAMESPACE},Fleet,Gpu,Instance}} Fleet="{name}" MetricName="GpuTemperature"'
            pages: list[tuple[str, list[object]]] = [
                ("Hosts", [["AWS/AutoScaling", each, "AutoScalingGroupName", group] for each in FIGURES_SHOWN]),
                ("Busiest GPU of each host, %", [[{"expression": f"SEARCH('{search}', 'Maximum', 60)"}]]),
                ("GPU temperature, °C", [[{"expression": f"SEARCH('{hottest}', 'Maximum', 60)"}]]),
                ("GPUs that cannot be read", [[NAMESPACE, "GpuUnreadable", "Fleet", name]]),
                ("Backlog of each warm replica", [[NAMESPACE, "BacklogPerWarmReplica", "Fleet", name]]),
                ("Events that nobody handled", [["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", dead]]),
            ]
            widgets = [
                {
                    "type": "metric", "x": 12 * (number % 2), "y": 6 * (number // 2), "width": 12, "height": 6,
                    "properties": {"title": title, "metrics": metrics, "region": region, "stat": "Maximum", "period": 60},
                }
                for number, (title, metrics) in enumerate(pages)
            ]  # fmt: skip
            return json.dumps({"widgets": widgets})

        aws.cloudwatch.Dashboard(
            name,
            dashboard_name=name,
            dashboard_body=pulumi.Output.all(fleet.group.name, events.dead_letters.name).apply(body),
            opts=self._child,
        )

    def _budget(self) -> None:
        settings = self._settings
        told = [settings.notice_email] if settings.notice_email else []
        notices = [_notice("ACTUAL", share, told) for share in SHARES] + [_notice("FORECASTED", 100, told)]
        aws.budgets.Budget(
            f"{settings.name}-month",
            budget_type="COST",
            limit_amount=str(settings.monthly_budget_usd),
            limit_unit="USD",
            time_unit="MONTHLY",
            cost_filters=[aws.budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[f"user:medic:fleet${settings.name}"])],
            notifications=notices if told else None,
            opts=self._child,
        )
        if not told:
            return
        monitor = aws.costexplorer.AnomalyMonitor(
            f"{settings.name}-cost",
            monitor_type="CUSTOM",
            monitor_specification=json.dumps(
                {"Tags": {"Key": "medic:fleet", "Values": [settings.name], "MatchOptions": ["EQUALS"]}}
            ),
            opts=self._child,
        )
        aws.costexplorer.AnomalySubscription(
            f"{settings.name}-cost",
            frequency="DAILY",
            monitor_arn_lists=[monitor.arn],
            subscribers=[aws.costexplorer.AnomalySubscriptionSubscriberArgs(type="EMAIL", address=settings.notice_email)],
            threshold_expression=aws.costexplorer.AnomalySubscriptionThresholdExpressionArgs(
                dimension=aws.costexplorer.AnomalySubscriptionThresholdExpressionDimensionArgs(
                    key="ANOMALY_TOTAL_IMPACT_ABSOLUTE", values=[str(SURPRISE_USD)], match_options=["GREATER_THAN_OR_EQUAL"]
                )
            ),
            opts=self._child,
        )


def _notice(kind: str, share: int, told: list[str]) -> aws.budgets.BudgetNotificationArgs:
    return aws.budgets.BudgetNotificationArgs(
        notification_type=kind,
        comparison_operator="GREATER_THAN",
        threshold=share,
        threshold_type="PERCENTAGE",
        subscriber_email_addresses=told,
    )
