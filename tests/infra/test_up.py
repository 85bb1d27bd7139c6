"""The unmodified program on a stand-in engine over moto: preview, up, up again, a change, a refusal, destroy; in this order."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra import inventory
from tests.infra.stack import IMAGE, WHEEL
from tests.infra.stand_in.cloud import Cloud
from tests.infra.stand_in.engine import EngineError, Project

CONFIG: dict[str, Any] = {
    "image": IMAGE, "balancer": "public", "burstMaxSize": 1, "minSize": 0, "sleepCron": "0 20 * * *", "wakeCron": "0 6 * * *",
    "noticeEmail": "ops@example.com", "agentWheel": WHEEL,
}  # fmt: skip


FLEET = [{"Name": "tag:medic:fleet", "Values": ["medic-test"]}]


def agents(aws: Cloud) -> list[dict[str, Any]]:
    """The instances on which Medic runs or ran to the end of the last operation."""
    wanted = [{"Name": "tag:Name", "Values": ["medic-test-agent"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    found = aws.client("ec2").describe_instances(Filters=wanted)["Reservations"]
    return [each for reservation in found for each in reservation["Instances"]]


def ours(aws: Cloud) -> dict[str, list[str]]:
    """What of ours the account holds, by what AWS itself lists."""
    ec2 = aws.client("ec2")
    groups = aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return {
        "networks": [each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]],
        "groups": [each["AutoScalingGroupName"] for each in groups],
        "buckets": [each["Name"] for each in aws.client("s3").list_buckets()["Buckets"]],
        "queues": list(aws.client("sqs").list_queues().get("QueueUrls", [])),
        "rules": [each["Name"] for each in aws.client("events").list_rules()["Rules"]],
        "roles": [each["RoleName"] for each in aws.client("iam").list_roles()["Roles"]],
        "alarms": [each["AlarmName"] for each in aws.client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "balancers": [each["LoadBalancerName"] for each in aws.client("elbv2").describe_load_balancers()["LoadBalancers"]],
        "parameters": [each["Name"] for each in aws.client("ssm").describe_parameters()["Parameters"]],
        "hosts of the agent": [each["InstanceId"] for each in agents(aws)],
        "volumes": [each["VolumeId"] for each in ec2.describe_volumes(Filters=FLEET)["Volumes"]],
        "topics": [each["TopicArn"] for each in aws.client("sns").list_topics()["Topics"]],
        "kept": list(aws.kept),
    }


def test_preview_says_what_it_would_make_and_touches_nothing(project: Project, aws: Cloud) -> None:
    run = project.preview(**CONFIG)

    assert run.actions() == {"create": len(run.steps)}
    assert len(run.steps) > 60
    assert not any(ours(aws).values())


def test_up_makes_it_and_the_inventory_names_what_is_there(project: Project, aws: Cloud) -> None:
    run = project.up(**CONFIG)

    assert set(run.actions()) == {"create"}
    fleet = inventory.parse(run.outputs["inventory"])
    kept = aws.client("ssm").get_parameter(Name="/medic/medic-test/inventory")["Parameter"]["Value"]
    assert inventory.parse(kept) == fleet
    there = ours(aws)
    assert {fleet.group, fleet.burst_group} == set(there["groups"])
    assert fleet.bucket in there["buckets"]
    assert {fleet.queue_url, fleet.dead_letter_url} == set(there["queues"])


def test_aws_holds_what_was_asked_for(project: Project, aws: Cloud) -> None:
    groups = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["medic-test-gpu"])[
        "AutoScalingGroups"
    ]
    (group,) = groups
    spread = group["MixedInstancesPolicy"]["InstancesDistribution"]
    hooks = aws.client("autoscaling").describe_lifecycle_hooks(AutoScalingGroupName="medic-test-gpu")["LifecycleHooks"]

    assert group["CapacityRebalance"] is True
    assert (spread["OnDemandBaseCapacity"], spread["OnDemandPercentageAboveBaseCapacity"]) == (1, 0)
    assert {each["LifecycleHookName"]: each["DefaultResult"] for each in hooks} == {"warm-up": "ABANDON", "drain": "CONTINUE"}
    template = aws.client("ec2").describe_launch_template_versions(
        LaunchTemplateId=group["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]["LaunchTemplateId"]
    )["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert template["MetadataOptions"]["HttpTokens"] == "required"
    assert template["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True


def test_up_again_changes_nothing_and_an_interruption_reaches_the_queue_that_it_exports(project: Project, aws: Cloud) -> None:
    run = project.up(**CONFIG)

    assert run.actions() == {"same": len(run.steps)}
    detail = {"instance-id": "i-0123456789abcdef0", "instance-action": "terminate"}
    notice = {"Source": "aws.ec2", "DetailType": "EC2 Spot Instance Interruption Warning", "Detail": json.dumps(detail)}
    aws.client("events").put_events(Entries=[notice])
    queue = inventory.parse(run.outputs["inventory"]).queue_url
    (message,) = aws.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=1)["Messages"]
    assert json.loads(message["Body"])["detail"] == detail


def test_a_larger_fleet_with_another_image_is_the_same_group_at_the_size_that_its_autoscaler_chose(
    project: Project, aws: Cloud
) -> None:
    aws.client("autoscaling").set_desired_capacity(AutoScalingGroupName="medic-test-gpu", DesiredCapacity=3)

    new = {"maxSize": 8, "onDemandBase": 2, "warmUpSeconds": 1200, "image": "registry.example/vllm@sha256:" + "b" * 64}
    run = project.up(**{**CONFIG, **new})

    assert {"medic-test-gpu", "medic-test-host", "medic-test-gpu-warm-up"} <= set(run.of("update"))
    hooks = aws.client("autoscaling").describe_lifecycle_hooks(AutoScalingGroupName="medic-test-gpu")["LifecycleHooks"]
    assert {each["LifecycleHookName"]: each["HeartbeatTimeout"] for each in hooks} == {"warm-up": 1200, "drain": 100}
    assert set(run.of("replace")) <= {"medic-test-sleep", "medic-test-wake", "medic-test-too-few-hosts"}
    (group,) = aws.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["medic-test-gpu"])[
        "AutoScalingGroups"
    ]
    assert (group["MaxSize"], group["DesiredCapacity"]) == (8, 3)


def test_a_new_medic_replaces_its_host_and_keeps_its_state(project: Project, aws: Cloud, tmp_path: Path) -> None:
    (before,), volumes = agents(aws), ours(aws)["volumes"]
    newer = tmp_path / "medic_agent-0.2.0-py3-none-any.whl"
    newer.write_bytes(b"newer")

    run = project.up(**{**CONFIG, "agentWheel": str(newer)})

    (after,) = agents(aws)
    assert {"medic-test-agent", "medic-test-agent-state"} <= set(run.of("replace"))
    assert after["InstanceId"] != before["InstanceId"]
    assert ours(aws)["volumes"] == volumes
    (volume,) = aws.client("ec2").describe_volumes(VolumeIds=volumes)["Volumes"]
    assert volume["Encrypted"] is True
    assert [each["InstanceId"] for each in volume["Attachments"]] == [after["InstanceId"]]


def test_a_bad_setting_stops_before_anything_changes(project: Project, aws: Cloud) -> None:
    before = ours(aws)

    with pytest.raises(EngineError, match="cannot use setting medic:drainSeconds: 500 is not 30 to 110"):
        project.up(**{**CONFIG, "drainSeconds": 500})

    assert ours(aws) == before


def test_destroy_refuses_while_the_models_are_protected_and_deletes_nothing(project: Project, aws: Cloud) -> None:
    before = ours(aws)

    with pytest.raises(EngineError, match="cannot delete protected resource medic-test-models"):
        project.destroy()

    assert ours(aws) == before


def test_destroy_leaves_nothing_behind(project: Project, aws: Cloud) -> None:
    project.unprotect()
    project.destroy()

    assert not any(ours(aws).values())
