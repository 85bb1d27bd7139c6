"""What a GPU host may do in the account: read models, publish its own SSH key, read the agent's, finish its own launch hook, send figures."""

import json

import pulumi
import pulumi_aws as aws

from infra.components.model_store import ModelStore
from infra.components.spot_events import SpotEvents
from infra.settings import FleetSettings

NAMESPACE = "Medic"
"""CloudWatch namespace of everything we measure."""
ASSUMED_BY_EC2 = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


class HostAccess(pulumi.ComponentResource):
    """profile: the instance profile of GPU hosts. One policy a concern, so that each can be read, and taken away, by itself."""

    def __init__(
        self,
        settings: FleetSettings,
        store: ModelStore,
        events: SpotEvents,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("medic:infra:HostAccess", settings.name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self)
        self._name = settings.name
        self.role = aws.iam.Role(
            f"{settings.name}-host", assume_role_policy=ASSUMED_BY_EC2, tags=settings.all_tags, opts=self._child
        )
        account = aws.get_caller_identity(opts=pulumi.InvokeOptions(parent=self)).account_id
        self._allow("read-models", store.bucket.arn.apply(_reads))
        self._allow("publish-key", _publishes(settings, account))
        self._allow("tell-agent", events.queue.arn.apply(_tells))
        self._allow("know-agent", _knows_agent(settings, account))
        self._allow("finish-warm-up", _finishes(settings, account))
        self._allow("send-figures", _sends())
        self.profile = aws.iam.InstanceProfile(f"{settings.name}-host", role=self.role.name, opts=self._child)
        self.register_outputs({"role": self.role.name})

    def _allow(self, concern: str, allowed: pulumi.Input[str]) -> None:
        aws.iam.RolePolicy(f"{self._name}-{concern}", role=self.role.name, policy=allowed, opts=self._child)


def policy(*statements: dict[str, object]) -> str:
    """Return a policy that allows these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]})


def _reads(bucket: str) -> str:
    return policy({"Action": ["s3:GetObject", "s3:GetObjectVersion"], "Resource": f"{bucket}/models/*"})


def _publishes(settings: FleetSettings, account: str) -> str:
    path = f"arn:aws:ssm:{settings.region}:{account}:parameter{settings.parameter_root}/host-keys/*"
    return policy({"Action": "ssm:PutParameter", "Resource": path})


def _tells(queue: str) -> str:
    # SQS signs what a host says with that host's own id, and the agent believes it of itself only (agent/adapters/aws_events.py).
    return policy({"Action": "sqs:SendMessage", "Resource": queue})


def _knows_agent(settings: FleetSettings, account: str) -> str:
    key = f"arn:aws:ssm:{settings.region}:{account}:parameter{settings.agent_key}"
    return policy({"Action": "ssm:GetParameter", "Resource": key})


def groups(settings: FleetSettings, account: str) -> str:
    """Return the ARN of this fleet's groups. Their own id is in it and unknown before they exist; their name is ours."""
    return f"arn:aws:autoscaling:{settings.region}:{account}:autoScalingGroup:*:autoScalingGroupName/{settings.group_name}*"


def _finishes(settings: FleetSettings, account: str) -> str:
    return policy(
        {
            "Action": ["autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat"],
            "Resource": groups(settings, account),
        }
    )


def _sends() -> str:
    return policy(
        {
            "Action": "cloudwatch:PutMetricData",
            "Resource": "*",
            "Condition": {"StringEquals": {"cloudwatch:namespace": NAMESPACE}},
        }
    )
