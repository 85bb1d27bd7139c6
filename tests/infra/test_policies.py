"""Each policy refuses what it is about, and lets the right thing pass."""

import json
from typing import Any

import pytest

from infra import policies

GROUP, TEMPLATE = "aws:autoscaling/group:Group", "aws:ec2/launchTemplate:LaunchTemplate"
INGRESS, ROLE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", "aws:iam/rolePolicy:RolePolicy"


def group(
    *, spread: dict[str, Any] | None = None, types: int = 2, zones: int = 2, weight: str = "", **more: Any
) -> dict[str, Any]:
    override = {"instanceType": "g5.xlarge", **({"weightedCapacity": weight} if weight else {})}
    return {
        "vpcZoneIdentifiers": ["subnet"] * zones,
        "mixedInstancesPolicy": {
            "launchTemplate": {"launchTemplateSpecification": {"version": "3"}, "overrides": [override] * types},
            "instancesDistribution": {"onDemandPercentageAboveBaseCapacity": 0} if spread is None else spread,
        },
        **more,
    }


def template(volume: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1, **metadata},
        "blockDeviceMappings": [{"deviceName": "/dev/sda1", "ebs": {"encrypted": "true"} if volume is None else volume}],
    }


def role(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"policy": json.dumps({"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource, **more}]})}


AGENT = "sg-agent"
ON_DEMAND = {"onDemandPercentageAboveBaseCapacity": 100}


@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        (GROUP, group(spread={}), "default of 100 makes every host on-demand"),
        (GROUP, group(warmPool={"poolState": "Stopped"}), "has a warm pool, which a group that asks for spot cannot have"),
        (GROUP, group(types=1, zones=1), "draws from 1 spot pool"),
        (GROUP, group(spread=ON_DEMAND, weight="2", warmPool={"poolState": "Stopped"}), "weights its types"),
        (GROUP, group(spread={"onDemandPercentageAboveBaseCapacity": 0, "spotMaxPrice": "1"}), "caps the spot price"),
        (TEMPLATE, template(httpTokens="optional"), "answers IMDSv1"),
        (TEMPLATE, {**template(), "metadataOptions": {}}, "answers IMDSv1"),
        (TEMPLATE, template(httpPutResponseHopLimit=2), "lets containers reach the host's credentials"),
        (TEMPLATE, template(volume={}), "leaves volume /dev/sda1 unencrypted"),
        ("aws:ec2/instance:Instance", {"metadataOptions": {"httpTokens": "required"}}, "root volume unencrypted"),
        ("aws:ebs/volume:Volume", {"encrypted": False}, "is not encrypted"),
        (INGRESS, {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIpv4": "0.0.0.0/0"}, "opens port 22 to 0.0.0.0/0"),
        (INGRESS, {"ipProtocol": "tcp", "fromPort": 0, "toPort": 100, "cidrIpv4": "10.0.0.0/8"}, "opens port 22 to 10.0.0.0/8"),
        (INGRESS, {"ipProtocol": "-1", "cidrIpv6": "::/0"}, "opens port 22 to ::/0"),
        (
            INGRESS,
            {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "referencedSecurityGroupId": "sg-balancer"},
            "opens port 22 to sg-balancer",
        ),
        ("aws:ec2/securityGroup:SecurityGroup", {"ingress": [{"fromPort": 22}]}, "lists its ingress inline"),
        (ROLE, role("*"), "allows *; name the actions"),
        (ROLE, role(["s3:*"], "arn:aws:s3:::b"), "allows s3:*; name the actions"),
        (ROLE, role("s3:Get*", "arn:aws:s3:::b"), "allows s3:Get*; name the actions"),
        (
            ROLE,
            {"policy": json.dumps({"Statement": [{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}]})},
            "allows all but what NotAction names",
        ),
        (
            "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
            {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
            "attaches arn:aws:iam::aws:policy/AdministratorAccess",
        ),
        (
            "aws:iam/role:Role",
            {
                "assumeRolePolicy": json.dumps(
                    {"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
                )
            },
            "lets anybody in",
        ),
        (TEMPLATE, {**template(), "instanceMarketOptions": {"marketType": "spot"}}, "asks for spot by itself"),
        (ROLE, role("s3:GetObject"), "allows s3:GetObject on every resource"),
        ("aws:sqs/queuePolicy:QueuePolicy", role("sqs:SendMessage", "q", Principal="*"), "lets anybody in"),
        ("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", {"blockPublicAcls": True}, "leaves blockPublicPolicy off"),
    ],
)
def test_refuses(kind: str, inputs: dict[str, Any], said: str) -> None:
    assert said in "; ".join(policies.violations(kind, inputs, AGENT))


# The eight that the fleet stands on, each broken alone: one sentence, that one. Take its policy away, and its row fails.
@pytest.mark.parametrize(
    ("kind", "inputs", "said"),
    [
        pytest.param(
            GROUP,
            group(spread={}),
            "says nothing of onDemandPercentageAboveBaseCapacity (medic:onDemandPercentAboveBase), whose default of 100 makes every host on-demand",
            id="spot fleet that is all on-demand by default",
        ),
        pytest.param(
            GROUP,
            group(warmPool={"poolState": "Stopped"}),
            "has a warm pool, which a group that asks for spot cannot have; only the burst group may (medic:burstMaxSize)",
            id="warm pool on spot",
        ),
        pytest.param(
            GROUP,
            group(types=1, zones=1),
            "draws from 1 spot pool (g5.xlarge in 1 zone); name more medic:instanceTypes or medic:zones",
            id="fewer than two pools",
        ),
        pytest.param(
            GROUP,
            group(spread=ON_DEMAND, types=1, weight="2", warmPool={"poolState": "Stopped"}),
            "weights its types (g5.xlarge), which a group with a warm pool cannot do",
            id="weighted group with a pool",
        ),
        pytest.param(TEMPLATE, template(volume={}), "leaves volume /dev/sda1 unencrypted", id="unencrypted volume"),
        pytest.param(
            INGRESS,
            {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIpv4": "10.0.0.0/8"},
            "opens port 22 to 10.0.0.0/8; only the agent's security group may reach it",
            id="port 22 from anywhere else",
        ),
        pytest.param(TEMPLATE, template(httpTokens="optional"), "answers IMDSv1; set httpTokens to required", id="IMDSv1"),
        pytest.param(ROLE, role("s3:*", "arn:aws:s3:::b"), "allows s3:*; name the actions", id="wildcard role"),
    ],
)
def test_each_of_the_eight_refusals_stands_by_itself(kind: str, inputs: dict[str, Any], said: str) -> None:
    assert policies.violations(kind, inputs, AGENT) == (said,)


def test_refuses_a_refresh_from_a_moving_template_version() -> None:
    inputs = group(instanceRefresh={"strategy": "Rolling"})
    inputs["mixedInstancesPolicy"]["launchTemplate"]["launchTemplateSpecification"]["version"] = "$Latest"

    assert policies.violations(GROUP, inputs) == (
        "refreshes from a moving template version, which cannot be rolled back; name a version",
    )


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        (GROUP, group()),
        (GROUP, {"launchTemplate": {"id": "lt"}, "warmPool": {"poolState": "Stopped"}}),
        (GROUP, group(spread=ON_DEMAND, warmPool={"poolState": "Stopped"})),
        (TEMPLATE, template()),
        (INGRESS, {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "referencedSecurityGroupId": "sg-agent"}),
        (INGRESS, {"ipProtocol": "tcp", "fromPort": 80, "toPort": 80, "cidrIpv4": "0.0.0.0/0"}),
        (ROLE, role("cloudwatch:PutMetricData")),
        (ROLE, role("s3:GetObject", "arn:aws:s3:::b/models/*")),
        (
            "aws:s3/bucketPolicy:BucketPolicy",
            {"policy": json.dumps({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*"}]})},
        ),
        (
            "aws:iam/role:Role",
            {
                "assumeRolePolicy": json.dumps(
                    {
                        "Statement": [
                            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
                        ]
                    }
                )
            },
        ),
        ("aws:sns/topic:Topic", {}),
    ],
)
def test_lets_the_right_thing_pass(kind: str, inputs: dict[str, Any]) -> None:
    assert policies.violations(kind, inputs, AGENT) == ()
