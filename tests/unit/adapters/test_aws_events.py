"""What the messages of the queue say: bodies as AWS documents them, and those that make no sense."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.adapters import aws_events
from agent.model import FleetEventKind

AT = "2026-11-20T12:24:32Z"
MOMENT = datetime(2026, 11, 20, 12, 24, 32, tzinfo=UTC)


def body(source: str, what: str, detail: Any, **more: Any) -> str:
    return json.dumps({"version": "0", "source": source, "detail-type": what, "time": AT, "detail": detail, **more})


INTERRUPTION = body(
    "aws.ec2",
    "EC2 Spot Instance Interruption Warning",
    {"instance-id": "i-0aa1", "instance-action": "terminate"},
    resources=["arn:aws:ec2:us-east-2a:instance/i-0aa1"],  # the zone stands where others have the region
)
HOST = body(
    "medic.host",
    "EC2 Spot Instance Interruption Warning",
    {"instance-id": "i-0aa1", "instance-action": "terminate", "deadline": "2026-11-20T12:26:30Z"},
)
HOOK = body(
    "aws.autoscaling",
    "EC2 Instance-terminate Lifecycle Action",
    {
        "LifecycleActionToken": "t",
        "AutoScalingGroupName": "g",
        "LifecycleHookName": "drain",
        "EC2InstanceId": "i-0aa1",
        "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
    },
)
HEALTH = body(
    "aws.health",
    "AWS Health Event",
    {"service": "EC2", "eventTypeCode": "AWS_EC2_INSTANCE_RETIREMENT", "affectedEntities": [{"entityValue": "i-0aa1"}]},
)


@pytest.mark.parametrize(
    ("text", "kind", "action"),
    [
        (INTERRUPTION, FleetEventKind.INTERRUPTION, "terminate"),
        (body("aws.ec2", "EC2 Instance Rebalance Recommendation", {"instance-id": "i-0aa1"}), FleetEventKind.REBALANCE, ""),
        (
            body("aws.ec2", "EC2 Instance State-change Notification", {"instance-id": "i-0aa1", "state": "shutting-down"}),
            FleetEventKind.STATE,
            "shutting-down",
        ),
        (HOOK, FleetEventKind.TERMINATE_HOOK, ""),
        (HEALTH, FleetEventKind.HEALTH, "AWS_EC2_INSTANCE_RETIREMENT"),
    ],
)
def test_reads_what_aws_says(text: str, kind: FleetEventKind, action: str) -> None:
    (event,) = aws_events.read("r", text).events

    assert (event.kind, event.instance, event.action, event.at) == (kind, "i-0aa1", action, MOMENT)


def test_only_a_host_knows_its_end_and_only_its_own() -> None:
    (event,) = aws_events.read("r", HOST, "AROAEXAMPLE:i-0aa1").events
    other = aws_events.read("r", HOST, "AROAEXAMPLE:i-0bb2")
    nobody = aws_events.read("r", HOST)

    assert event.deadline == datetime(2026, 11, 20, 12, 26, 30, tzinfo=UTC)
    assert (other.events, nobody.events) == ((), ())
    assert "AROAEXAMPLE:i-0bb2 speaks of i-0aa1" in other.why


def test_a_hook_names_its_group() -> None:
    (event,) = aws_events.read("r", HOOK).events

    assert (event.group, event.hook) == ("g", "drain")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        INTERRUPTION.replace("aws.ec2", "aws.s3"),
        INTERRUPTION.replace(AT, "yesterday"),
        INTERRUPTION.replace(AT, AT[:-1]),
        INTERRUPTION.replace("i-0aa1", "../../etc"),
        INTERRUPTION.replace('"i-0aa1"', "7"),
        body("aws.ec2", "EC2 Spot Instance Interruption Warning", None),
        HEALTH.replace("i-0aa1", "vol-1"),
    ],
)
def test_what_makes_no_sense_comes_back_with_why_and_without_events(text: str) -> None:
    received = aws_events.read("r", text)

    assert received.events == ()
    assert received.why


def test_the_test_message_of_a_hook_says_nothing() -> None:
    assert aws_events.read("r", json.dumps({"Event": "autoscaling:TEST_NOTIFICATION"})).events == ()
    assert aws_events.read("r", json.dumps({"Event": "autoscaling:TEST_NOTIFICATION"})).why == ""
