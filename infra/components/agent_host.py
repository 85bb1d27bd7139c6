"""The host that Medic runs on: small, on-demand, in the VPC, reached by nobody. Its state is on a volume that outlives it."""

import base64
import hashlib
from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra import cloud_init
from infra.components.access import ASSUMED_BY_EC2, groups, policy
from infra.components.balancer import Balancer
from infra.components.model_store import ModelStore
from infra.components.network import Network
from infra.components.spot_events import SpotEvents
from infra.prices import AGENT_ROOT_GIB
from infra.settings import FleetSettings, SettingsError

ROOT = Path(__file__).parents[2]
LOCKS = ("aws", "ssh")
"""Extras that Medic needs on this host; each has a lock with hashes."""
STATE_DEVICE = "/dev/sdf"
SESSIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
"""What Session Manager needs of an instance (its user guide, "Add Session Manager permissions to an existing IAM role").

AWS's managed policy would let the host read every parameter of the account besides.
"""


class AgentHost(pulumi.ComponentResource):
    """instance: it is replaced when Medic or its user data change; volume stays, and the next host takes it over."""

    def __init__(
        self,
        settings: FleetSettings,
        network: Network,
        store: ModelStore,
        events: SpotEvents,
        balancer: Balancer | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("medic:infra:AgentHost", settings.name, None, opts)
        self._settings = settings
        self._child = pulumi.ResourceOptions(parent=self)
        files = {"wheel": wheel(settings), **{f"lock-{each}": ROOT / f"requirements-{each}.lock" for each in LOCKS}}
        shipped = [self._ship(store, name, path) for name, path in files.items()]
        profile = self._profile(store, events, balancer)
        subnet = network.subnets[0]
        # The records of what Medic did and why cannot be made again.
        kept = pulumi.ResourceOptions(parent=self, protect=True)
        self.volume = aws.ebs.Volume(
            f"{settings.name}-agent-state",
            availability_zone=subnet.availability_zone,
            size=settings.agent_volume_gib,
            type="gp3",
            encrypted=True,
            tags={**settings.all_tags, "Name": f"{settings.name}-agent-state"},
            opts=kept,
        )
        self.instance = aws.ec2.Instance(
            f"{settings.name}-agent",
            ami=settings.agent_ami_id or self._image_of_the_day(),
            instance_type=settings.agent_type,
            subnet_id=subnet.id,
            vpc_security_group_ids=[network.agent.id],
            iam_instance_profile=profile.name,
            metadata_options=aws.ec2.InstanceMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            root_block_device=aws.ec2.InstanceRootBlockDeviceArgs(
                volume_size=AGENT_ROOT_GIB, volume_type="gp3", encrypted=True
            ),
            user_data_base64=self._user_data(store, shipped),
            user_data_replace_on_change=True,
            tags={**settings.all_tags, "Name": f"{settings.name}-agent"},
            # Two Medics must not stand over one volume; and an image that moved is no reason to replace the one there is.
            opts=pulumi.ResourceOptions(
                parent=self, delete_before_replace=True, ignore_changes=[] if settings.agent_ami_id else ["ami"]
            ),
        )
        aws.ec2.VolumeAttachment(
            f"{settings.name}-agent-state",
            device_name=STATE_DEVICE,
            instance_id=self.instance.id,
            volume_id=self.volume.id,
            # A Medic that still writes is told to end first.
            stop_instance_before_detaching=True,
            opts=pulumi.ResourceOptions(parent=self, delete_before_replace=True),
        )
        self.register_outputs({"instance": self.instance.id, "volume": self.volume.id})

    def _image_of_the_day(self) -> str:
        return aws.ssm.get_parameter(name=self._settings.agent_ami_parameter, opts=pulumi.InvokeOptions(parent=self)).value

    def _ship(self, store: ModelStore, name: str, path: Path) -> cloud_init.Shipped:
        """Put one file into the bucket under a key that names its content: another content is another user data."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        key = f"agent/{digest[:12]}/{path.name}"
        aws.s3.BucketObjectv2(
            f"{self._settings.name}-agent-{name}",
            bucket=store.bucket.id,
            key=key,
            source=pulumi.FileAsset(str(path)),
            tags=self._settings.all_tags,
            opts=self._child,
        )
        return cloud_init.Shipped(key=key, sha256=digest)

    def _user_data(self, store: ModelStore, shipped: list[cloud_init.Shipped]) -> pulumi.Output[str]:
        settings = self._settings

        def rendered(known: list[str]) -> str:
            bucket, volume = known
            config = cloud_init.AgentConfig(
                region=settings.region,
                bucket=bucket,
                files=tuple(shipped),
                volume=volume,
                agent_key=settings.agent_key,
                inventory=f"{settings.parameter_root}/inventory",
            )
            return base64.b64encode(cloud_init.render_agent(config).encode()).decode()

        return pulumi.Output.all(store.bucket.id, self.volume.id).apply(rendered)

    def _profile(self, store: ModelStore, events: SpotEvents, balancer: Balancer | None) -> aws.iam.InstanceProfile:
        settings = self._settings
        role = aws.iam.Role(
            f"{settings.name}-agent", assume_role_policy=ASSUMED_BY_EC2, tags=settings.all_tags, opts=self._child
        )
        account = aws.get_caller_identity(opts=pulumi.InvokeOptions(parent=self)).account_id
        concerns: dict[str, pulumi.Input[str]] = {
            "see-fleet": _sees(),
            "read-inventory": _reads_inventory(settings, account),
            "publish-agent-key": _publishes(settings, account),
            "take-events": events.queue.arn.apply(_takes_events),
            "replace-hosts": _replaces(settings, account),
            "fetch-itself": store.bucket.arn.apply(_fetches_itself),
            "keep-crash-bundles": store.bucket.arn.apply(_keeps_bundles),
            "compare-bucket": store.bucket.arn.apply(_compares),
            "sessions": policy({"Action": list(SESSIONS), "Resource": "*"}),
        }
        if balancer:
            concerns["leave-balancer"] = balancer.targets.arn.apply(_leaves)
        for concern, allowed in concerns.items():
            aws.iam.RolePolicy(f"{settings.name}-agent-{concern}", role=role.name, policy=allowed, opts=self._child)
        return aws.iam.InstanceProfile(f"{settings.name}-agent", role=role.name, opts=self._child)


def wheel(settings: FleetSettings) -> Path:
    """Return the file that `medic:agentWheel` names. Raises SettingsError where there is none."""
    path = ROOT / settings.agent_wheel
    if not path.is_file():
        raise SettingsError(
            f"cannot use setting medic:agentWheel: there is no file {settings.agent_wheel};"
            " build it with `python -m hatchling build -t wheel`"
        )
    return path


def _sees() -> str:
    looks = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLifecycleHooks",
        "cloudwatch:GetMetricData",
        "ec2:DescribeInstances",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeSecurityGroupRules",
        "ec2:DescribeSpotPriceHistory",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    return policy({"Action": list(looks), "Resource": "*"})


def _reads_inventory(settings: FleetSettings, account: str) -> str:
    root = f"arn:aws:ssm:{settings.region}:{account}:parameter{settings.parameter_root}"
    return policy(
        {"Action": "ssm:GetParameter", "Resource": f"{root}/inventory"},
        {"Action": "ssm:GetParametersByPath", "Resource": [f"{root}/host-keys", f"{root}/host-keys/*"]},
    )


def _publishes(settings: FleetSettings, account: str) -> str:
    key = f"arn:aws:ssm:{settings.region}:{account}:parameter{settings.agent_key}"
    return policy({"Action": "ssm:PutParameter", "Resource": key})


def _takes_events(queue: str) -> str:
    return policy({"Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"], "Resource": queue})


def _replaces(settings: FleetSettings, account: str) -> str:
    actions = (
        "autoscaling:CompleteLifecycleAction",
        "autoscaling:RecordLifecycleActionHeartbeat",
        "autoscaling:TerminateInstanceInAutoScalingGroup",
        "autoscaling:UpdateAutoScalingGroup",
    )
    return policy({"Action": list(actions), "Resource": groups(settings, account)})


def _fetches_itself(bucket: str) -> str:
    return policy({"Action": "s3:GetObject", "Resource": f"{bucket}/agent/*"})


def _keeps_bundles(bucket: str) -> str:
    return policy({"Action": "s3:PutObject", "Resource": f"{bucket}/crash/*"})


def _compares(bucket: str) -> str:
    looks = (
        "s3:GetBucketVersioning",
        "s3:GetBucketPublicAccessBlock",
        "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
    )
    return policy({"Action": list(looks), "Resource": bucket})


def _leaves(targets: str) -> str:
    return policy({"Action": "elasticloadbalancing:DeregisterTargets", "Resource": targets})
