"""What no stack of ours may hold, whatever its settings: pure claims about one resource's type and inputs.

In: a resource's type token and its inputs in camelCase, as the provider gets them. Out: sentences, one for each violation.
`program.py` asks them about every resource before it is made; tests ask them about everything. Imports no Pulumi.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Inputs = Mapping[str, Any]

INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"

RESOURCELESS = frozenset(
    {
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeAutoScalingInstances",
        "autoscaling:DescribeLifecycleHooks",
        "cloudwatch:GetMetricData",
        "cloudwatch:PutMetricData",
        "ec2:DescribeInstances",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeLaunchTemplateVersions",
        "ec2:DescribeSecurityGroupRules",
        "ec2:DescribeSpotPriceHistory",
        "elasticloadbalancing:DescribeTargetHealth",
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }
)
"""Actions that take no resource (AWS Service Authorization Reference), so that `Resource: *` says nothing more."""


def violations(kind: str, inputs: Inputs, agent: str = "") -> tuple[str, ...]:
    """Return what is wrong with one resource; nothing for a type no policy speaks of.

    agent: the id of the security group of Medic's own host, the only one that may reach port 22; empty while nobody may.
    """
    if kind == INGRESS:
        return tuple(_ingress(inputs, agent))
    return tuple(_POLICIES[kind](inputs)) if kind in _POLICIES else ()


def _group(inputs: Inputs) -> Iterator[str]:
    mixed = inputs.get("mixedInstancesPolicy")
    if not mixed:
        return
    spread = mixed.get("instancesDistribution") or {}
    overrides = mixed["launchTemplate"].get("overrides") or []
    percent = spread.get("onDemandPercentageAboveBaseCapacity")
    if percent is None:
        yield (
            "says nothing of onDemandPercentageAboveBaseCapacity (medic:onDemandPercentAboveBase), whose default of 100 makes"
            " every host on-demand"
        )
    is_spot = percent is not None and percent < 100
    if is_spot and inputs.get("warmPool"):
        yield "has a warm pool, which a group that asks for spot cannot have; only the burst group may (medic:burstMaxSize)"
    weighted = [str(each.get("instanceType")) for each in overrides if each.get("weightedCapacity")]
    if weighted and inputs.get("warmPool"):
        yield f"weights its types ({', '.join(weighted)}), which a group with a warm pool cannot do"
    zones = len(inputs.get("vpcZoneIdentifiers") or [])
    pools = len(overrides) * zones
    if is_spot and pools < 2:
        kinds = ", ".join(str(each.get("instanceType")) for each in overrides) or "no type"
        yield f"draws from {pools} spot pool ({kinds} in {zones} zone); name more medic:instanceTypes or medic:zones"
    if spread.get("spotMaxPrice"):
        yield "caps the spot price, which only raises interruptions; cap sizes and the budget instead"
    version = mixed["launchTemplate"]["launchTemplateSpecification"].get("version")
    if inputs.get("instanceRefresh") and version in (None, "$Latest", "$Default"):
        yield "refreshes from a moving template version, which cannot be rolled back; name a version"


def _template(inputs: Inputs) -> Iterator[str]:
    if inputs.get("instanceMarketOptions"):
        yield "asks for spot by itself, behind the group's back; ask in the group's instancesDistribution"
    metadata = inputs.get("metadataOptions") or {}
    if metadata.get("httpTokens") != "required":
        yield "answers IMDSv1; set httpTokens to required"
    if metadata.get("httpPutResponseHopLimit", 1) != 1:
        yield "lets containers reach the host's credentials; set httpPutResponseHopLimit to 1"
    for each in inputs.get("blockDeviceMappings") or []:
        if str((each.get("ebs") or {}).get("encrypted", "")).lower() != "true":
            yield f"leaves volume {each.get('deviceName')} unencrypted"


def _instance(inputs: Inputs) -> Iterator[str]:
    yield from _template({"metadataOptions": inputs.get("metadataOptions")})
    if not (inputs.get("rootBlockDevice") or {}).get("encrypted"):
        yield "leaves its root volume unencrypted"


def _volume(inputs: Inputs) -> Iterator[str]:
    if not inputs.get("encrypted"):
        yield "is not encrypted"


def _ingress(inputs: Inputs, agent: str) -> Iterator[str]:
    opens_ssh = inputs.get("ipProtocol") == "-1" or inputs.get("fromPort", 0) <= 22 <= inputs.get("toPort", 0)
    peer = inputs.get("referencedSecurityGroupId")
    if opens_ssh and (not peer or peer != agent):
        source = peer or inputs.get("cidrIpv4") or inputs.get("cidrIpv6") or inputs.get("prefixListId")
        yield f"opens port 22 to {source}; only the agent's security group may reach it"


def _security_group(inputs: Inputs) -> Iterator[str]:
    if inputs.get("ingress"):
        yield "lists its ingress inline, where the rules' own check cannot see it; use SecurityGroupIngressRule"


def _policy_document(key: str) -> Callable[[Inputs], Iterator[str]]:
    def claims(inputs: Inputs) -> Iterator[str]:
        for statement in json.loads(inputs[key])["Statement"]:
            if statement["Effect"] != "Allow":
                continue
            if left_out := {"NotAction", "NotResource", "NotPrincipal"} & set(statement):
                yield f"allows all but what {', '.join(sorted(left_out))} names; name what it allows"
                continue
            actions, resources = _listed(statement["Action"]), _listed(statement.get("Resource", []))
            for action in actions:
                if "*" in action:
                    yield f"allows {action}; name the actions"
            if "*" in resources and (wide := sorted(set(actions) - RESOURCELESS)):
                yield f"allows {', '.join(wide)} on every resource; name the resources"
            if statement.get("Principal") in ("*", {"AWS": "*"}) and not statement.get("Condition"):
                yield "lets anybody in; name a principal or a condition"

    return claims


def _attached(inputs: Inputs) -> Iterator[str]:
    arn = str(inputs.get("policyArn"))
    if arn.endswith(("/AdministratorAccess", "/PowerUserAccess", "FullAccess")):
        yield f"attaches {arn}; allow the actions that are used, in a policy of its own"


def _role(inputs: Inputs) -> Iterator[str]:
    yield from _policy_document("assumeRolePolicy")(inputs)
    for arn in inputs.get("managedPolicyArns") or []:
        yield from _attached({"policyArn": arn})


def _bucket_block(inputs: Inputs) -> Iterator[str]:
    for each in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
        if not inputs.get(each):
            yield f"leaves {each} off"


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


_POLICIES: Mapping[str, Callable[[Inputs], Iterator[str]]] = {
    "aws:autoscaling/group:Group": _group,
    "aws:ec2/launchTemplate:LaunchTemplate": _template,
    "aws:ec2/instance:Instance": _instance,
    "aws:ebs/volume:Volume": _volume,
    "aws:ec2/securityGroup:SecurityGroup": _security_group,
    "aws:iam/role:Role": _role,
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _attached,
    "aws:iam/rolePolicy:RolePolicy": _policy_document("policy"),
    "aws:sqs/queuePolicy:QueuePolicy": _policy_document("policy"),
    "aws:s3/bucketPolicy:BucketPolicy": _policy_document("policy"),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _bucket_block,
}
