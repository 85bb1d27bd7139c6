"""The queue of the stack: EventBridge's messages in, `FleetEvent` out. The only place that knows their shape.

Shapes: EventBridge reference, "Spot Instance interruption events", "rebalance recommendation", "Auto Scaling lifecycle events".
The ARN of an interruption carries the zone where others carry the region, so ids are never read out of `resources`.
A host's own word (`infra/host/watch_spot.py`) comes in the same envelope with the source `medic.host`.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from agent.adapters.aws_clients import AwsClients, outside
from agent.errors import OutsideError
from agent.model import FleetEvent, FleetEventKind, Received

WAIT = timedelta(seconds=20)
"""The longest poll that SQS has."""
FROM_HOST = "medic.host"
_KINDS: Mapping[tuple[str, str], FleetEventKind] = {
    ("aws.ec2", "EC2 Spot Instance Interruption Warning"): FleetEventKind.INTERRUPTION,
    (FROM_HOST, "EC2 Spot Instance Interruption Warning"): FleetEventKind.INTERRUPTION,
    ("aws.ec2", "EC2 Instance Rebalance Recommendation"): FleetEventKind.REBALANCE,
    (FROM_HOST, "EC2 Instance Rebalance Recommendation"): FleetEventKind.REBALANCE,
    ("aws.ec2", "EC2 Instance State-change Notification"): FleetEventKind.STATE,
    ("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action"): FleetEventKind.TERMINATE_HOOK,
    ("aws.autoscaling", "EC2 Instance-launch Lifecycle Action"): FleetEventKind.LAUNCH_HOOK,
    ("aws.health", "AWS Health Event"): FleetEventKind.HEALTH,
}


class AwsEvents:
    """`ports.FleetEvents` over one SQS queue."""

    def __init__(self, clients: AwsClients, queue_url: str) -> None:
        self._clients = clients
        self._url = queue_url

    def receive(self, wait: timedelta) -> tuple[Received, ...]:
        """Return up to ten messages, waiting for the first up to `wait` (WAIT at most). Raises OutsideError."""
        with outside("read the events of the fleet"):
            answer = self._client().receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=min(int(wait.total_seconds()), int(WAIT.total_seconds())),
                MessageSystemAttributeNames=["SenderId"],
            )
        return tuple(
            read(each["ReceiptHandle"], each["Body"], each.get("Attributes", {}).get("SenderId", ""))
            for each in answer.get("Messages", ())
        )

    def delete(self, receipt: str) -> None:
        """Take one message off the queue. Raises OutsideError."""
        with outside("delete an event of the fleet"):
            self._client().delete_message(QueueUrl=self._url, ReceiptHandle=receipt)

    def _client(self) -> Any:
        return self._clients.client("sqs", read=WAIT + timedelta(seconds=5))


def read(receipt: str, body: str, sender: str = "") -> Received:
    """Return what one message says. One that makes no sense comes back with why, and without events.

    sender: who SQS says has sent it. EC2 signs a host's role with the instance's own id, so that a host can speak of itself only.
    """
    try:
        envelope = json.loads(body)
        events = _events(envelope, sender)
    except (ValueError, LookupError, TypeError, AttributeError, OutsideError) as exc:
        return Received(receipt=receipt, why=f"{type(exc).__name__}: {exc}"[:200])
    return Received(receipt=receipt, events=events)


def _events(envelope: Mapping[str, Any], sender: str) -> tuple[FleetEvent, ...]:
    if envelope.get("Event") == "autoscaling:TEST_NOTIFICATION":
        return ()
    kind = _KINDS[envelope["source"], envelope["detail-type"]]
    at, detail = moment(envelope["time"]), envelope["detail"]
    if kind is FleetEventKind.HEALTH:
        what = str(detail.get("eventTypeCode", "scheduled work"))
        return tuple(
            FleetEvent(kind=kind, instance=_instance(each["entityValue"]), at=at, action=what)
            for each in detail.get("affectedEntities", ())
        )
    instance = _instance(detail.get("instance-id") or detail["EC2InstanceId"])
    if envelope["source"] == FROM_HOST and not sender.endswith(f":{instance}"):
        raise ValueError(f"{sender or 'nobody'} speaks of {instance}")
    return (
        FleetEvent(
            kind=kind,
            instance=instance,
            at=at,
            action=str(detail.get("instance-action") or detail.get("state") or ""),
            # Only a host knows the moment itself, from its metadata; the event does not carry it.
            deadline=moment(detail["deadline"]) if "deadline" in detail else None,
            group=str(detail.get("AutoScalingGroupName", "")),
            hook=str(detail.get("LifecycleHookName", "")),
        ),
    )


def _instance(text: object) -> str:
    if not (isinstance(text, str) and text.startswith("i-") and text[2:].isalnum() and len(text) <= 32):
        raise ValueError(f"{str(text)[:40]!r} is no instance")
    return text


def moment(text: str) -> datetime:
    """Return an ISO time of AWS. Raises ValueError where it has no zone."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no zone")
    return found
