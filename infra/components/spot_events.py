"""What AWS tells the agent: interruptions, rebalance hints, lifecycle and health events, in one queue that only our rules fill."""

import json

import pulumi
import pulumi_aws as aws

from infra.settings import FleetSettings

RETENTION = 300
"""Seconds. An older notice is worth nothing: the host it is about is gone (the practice of AWS's node termination handler)."""
VISIBILITY = 180
"""Seconds for which a message that the agent drains by stays hidden: longer than a whole drain (infra.settings.SPOT_NOTICE)."""
TRIES = 5
"""Times that a message may be taken before it goes to the dead-letter queue."""


class SpotEvents(pulumi.ComponentResource):
    """queue, dead_letters: SQS queues. EC2's spot events cannot be filtered by tag, so the agent drops other fleets' ids."""

    def __init__(self, settings: FleetSettings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("medic:infra:SpotEvents", settings.name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        name, tags = settings.name, settings.all_tags
        self.dead_letters = aws.sqs.Queue(
            f"{name}-dead", message_retention_seconds=14 * 86_400, sqs_managed_sse_enabled=True, tags=tags, opts=child
        )
        self.queue = aws.sqs.Queue(
            f"{name}-events",
            message_retention_seconds=RETENTION,
            visibility_timeout_seconds=VISIBILITY,
            receive_wait_time_seconds=20,
            sqs_managed_sse_enabled=True,
            redrive_policy=self.dead_letters.arn.apply(
                lambda arn: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": TRIES})
            ),
            tags=tags,
            opts=child,
        )
        rules = []
        for key, pattern in _patterns(settings.group_name).items():
            rule = aws.cloudwatch.EventRule(f"{name}-{key}", event_pattern=json.dumps(pattern), tags=tags, opts=child)
            aws.cloudwatch.EventTarget(f"{name}-{key}", rule=rule.name, arn=self.queue.arn, opts=child)
            rules.append(rule.arn)
        aws.sqs.QueuePolicy(
            f"{name}-events",
            queue_url=self.queue.url,
            policy=pulumi.Output.all(self.queue.arn, *rules).apply(lambda arns: _only_rules(arns[0], arns[1:])),
            opts=child,
        )
        self.register_outputs({"queue_url": self.queue.url})


def _patterns(group: str) -> dict[str, object]:
    return {
        "interruption": {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]},
        "rebalance": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance Rebalance Recommendation"]},
        "state": {
            "source": ["aws.ec2"],
            "detail-type": ["EC2 Instance State-change Notification"],
            "detail": {"state": ["shutting-down", "stopping", "terminated"]},
        },
        # Lifecycle events name their group, so this rule lets other fleets' pass by.
        "lifecycle": {
            "source": ["aws.autoscaling"],
            "detail-type": ["EC2 Instance-launch Lifecycle Action", "EC2 Instance-terminate Lifecycle Action"],
            "detail": {"AutoScalingGroupName": [{"prefix": group}]},
        },
        "health": {"source": ["aws.health"], "detail-type": ["AWS Health Event"], "detail": {"service": ["EC2"]}},
    }


def _only_rules(queue: str, rules: list[str]) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": rules}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
