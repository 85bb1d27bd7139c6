"""The whole program on Pulumi's mocks: what it would ask AWS for."""

import base64
import hashlib
import json
from typing import Any

import pytest

from infra import cloud_init, inventory, policies, prices
from tests.infra import stack
from tests.infra.stack import Stack


@pytest.fixture(scope="module")
def plain() -> Stack:
    return stack.described()


@pytest.fixture(scope="module")
def full() -> Stack:
    return stack.described(
        balancer="public",
        minSize=0,
        sleepCron="0 20 * * *",
        wakeCron="0 6 * * *",
        noticeEmail="ops@example.com",
        burstMaxSize=2,
        agentWheel=stack.WHEEL,
        endpoints="ssm",
    )


def test_the_group_is_spot_first_and_enters_service_warm(plain: Stack) -> None:
    group = plain.one("autoscaling/group:Group")

    spread = group["mixedInstancesPolicy"]["instancesDistribution"]
    assert spread["onDemandBaseCapacity"] == 1
    assert spread["onDemandPercentageAboveBaseCapacity"] == 0
    assert spread["spotAllocationStrategy"] == "price-capacity-optimized"
    assert group["capacityRebalance"] is True
    hooks = {each["name"]: (each["defaultResult"], each["heartbeatTimeout"]) for each in group["initialLifecycleHooks"]}
    assert hooks == {"warm-up": ("ABANDON", 900), "drain": ("CONTINUE", 100)}
    assert len(group["vpcZoneIdentifiers"]) == 3


def test_a_refresh_can_go_back_because_the_template_version_is_literal(plain: Stack) -> None:
    specification = plain.one("autoscaling/group:Group")["mixedInstancesPolicy"]["launchTemplate"][
        "launchTemplateSpecification"
    ]

    assert specification["version"] == "1"


def test_only_the_agent_reaches_port_22(full: Stack) -> None:
    rules = [
        each["inputs"]
        for each in full.of(":SecurityGroupIngressRule")
        if each["inputs"]["fromPort"] <= 22 <= each["inputs"]["toPort"]
    ]

    assert [(each["securityGroupId"], each["referencedSecurityGroupId"]) for each in rules] == [
        ("medic-test-hosts", "medic-test-agent")
    ]


def test_the_agents_group_admits_nobody(full: Stack) -> None:
    assert not [
        each for each in full.of(":SecurityGroupIngressRule") if each["inputs"]["securityGroupId"] == "medic-test-agent"
    ]


def test_the_default_stack_has_nothing_that_costs_by_itself(plain: Stack) -> None:
    costly = ("natGateway:NatGateway", "loadBalancer:LoadBalancer", "eip:Eip")

    assert [each["type"] for each in plain.resources if each["type"].endswith(costly)] == []
    assert [each["inputs"]["vpcEndpointType"] for each in plain.of(":VpcEndpoint")] == ["Gateway"]


def test_systems_manager_is_reached_inside_the_vpc_where_that_is_asked_for_by_our_hosts_alone(full: Stack) -> None:
    private = [each["inputs"] for each in full.of(":VpcEndpoint") if each["inputs"]["vpcEndpointType"] == "Interface"]
    rules = [each["inputs"] for each in full.of(":SecurityGroupIngressRule")]

    assert {each["serviceName"].rsplit(".", 1)[1] for each in private} == {"ssm", "ssmmessages"}
    assert all(each["privateDnsEnabled"] and len(each["subnetIds"]) == 3 for each in private)
    assert {each["referencedSecurityGroupId"] for each in rules if each["securityGroupId"] == "medic-test-endpoints"} == {
        "medic-test-hosts", "medic-test-agent"
    }  # fmt: skip


def test_every_alarm_and_the_dashboard_watch_figures_that_somebody_sends(full: Stack) -> None:
    alarms = {each["name"].removeprefix("medic-test-"): each["inputs"] for each in full.of(":MetricAlarm")}
    shown = json.loads(full.one(":Dashboard")["dashboardBody"])["widgets"]

    assert set(alarms) == {"dead-events", "blind-gpus", "too-few-hosts", "from-zero"}
    assert len(alarms) == prices.ALARMS
    # As infra/host/report_gpus.py sends it: CloudWatch adds nothing up over dimensions.
    assert alarms["blind-gpus"]["dimensions"] == {"Fleet": "medic-test"}
    assert alarms["blind-gpus"]["treatMissingData"] == "notBreaching"
    assert [each["properties"]["title"] for each in shown][:2] == ["Hosts", "Busiest GPU of each host, %"]
    assert all(each["properties"]["region"] == "us-east-1" for each in shown)


def test_people_hear_of_the_budget_and_of_costs_that_nobody_expected(full: Stack, plain: Stack) -> None:
    budget = full.one("budget:Budget")

    assert (budget["limitAmount"], budget["timeUnit"]) == ("500", "MONTHLY")
    assert [(each["notificationType"], each["threshold"]) for each in budget["notifications"]] == [
        ("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)
    ]  # fmt: skip
    assert full.one(":AnomalySubscription")["subscribers"] == [{"type": "EMAIL", "address": "ops@example.com"}]
    assert plain.of(":AnomalySubscription") == []
    assert "notifications" not in plain.one("budget:Budget")


def test_the_burst_group_alone_has_a_warm_pool_and_asks_for_no_spot(full: Stack) -> None:
    burst, spot = full.one("group:Group", "-burst"), full.one("group:Group", "-gpu")

    assert burst["warmPool"]["poolState"] == "Stopped"
    assert "mixedInstancesPolicy" not in burst
    assert "warmPool" not in spot


def test_only_our_rules_may_fill_the_queue(plain: Stack) -> None:
    (statement,) = json.loads(plain.one(":QueuePolicy")["policy"])["Statement"]

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert len(statement["Condition"]["ArnEquals"]["aws:SourceArn"]) == len(plain.of(":EventRule")) == 5


def test_a_host_can_do_nothing_in_the_account_but_its_own_part(plain: Stack) -> None:
    statements = [each for policy in plain.of(":RolePolicy") for each in json.loads(policy["inputs"]["policy"])["Statement"]]
    actions = {
        name for each in statements for name in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }

    assert actions == {
        "s3:GetObject", "s3:GetObjectVersion", "ssm:PutParameter", "ssm:GetParameter", "sqs:SendMessage", "cloudwatch:PutMetricData",
        "autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat",
    }  # fmt: skip


def test_the_agents_host_is_small_closed_and_not_spot(full: Stack) -> None:
    host, volume = full.one("ec2/instance:Instance"), full.one("ebs/volume:Volume")

    assert host["instanceType"] == "t3.small"
    assert "instanceMarketOptions" not in host
    assert host["vpcSecurityGroupIds"] == ["medic-test-agent"]
    assert "keyName" not in host
    assert volume["encrypted"] is True
    assert full.one(":VolumeAttachment")["stopInstanceBeforeDetaching"] is True


def test_the_agents_host_runs_medic_from_its_first_boot_by_the_inventory_alone(full: Stack) -> None:
    text = base64.b64decode(full.one("ec2/instance:Instance")["userDataBase64"]).decode()
    document = json.loads(text.removeprefix("#cloud-config\n"))
    files = {each["path"]: each["content"] for each in document["write_files"]}

    assert ["systemctl", "enable", "--now", "--no-block", "medic.service"] in document["runcmd"]
    assert json.loads(files["/etc/medic/medic.yaml"]) == {
        "fleet": {
            "ssm_parameter": "/medic/medic-test/inventory", "region": "us-east-1", "key_file": "/var/lib/medic/ssh/id_ed25519"
        }
    }  # fmt: skip
    config = json.loads(files["/etc/medic-agent.json"])
    assert [each["key"].rsplit("/", 1)[1] for each in config["files"]] == [
        "medic_agent-0.0.0-py3-none-any.whl", "requirements-aws.lock", "requirements-ssh.lock"
    ]  # fmt: skip
    assert config["files"][0]["sha256"] == hashlib.sha256((stack.ROOT / stack.WHEEL).read_bytes()).hexdigest()


AGENT_MAY = {
    "see-fleet", "read-inventory", "publish-agent-key", "take-events", "replace-hosts", "fetch-itself", "keep-crash-bundles",
    "compare-bucket", "sessions", "leave-balancer",
}  # fmt: skip


def test_the_agent_has_a_role_of_its_own_with_one_policy_a_concern(full: Stack) -> None:
    policies_ = [each["inputs"] for each in full.of(":RolePolicy") if each["inputs"]["role"] == "medic-test-agent"]
    named = {each["name"].removeprefix("medic-test-agent-") for each in full.of(":RolePolicy") if "-agent-" in each["name"]}

    assert named == AGENT_MAY
    assert len(policies_) == len(AGENT_MAY)


def test_without_a_wheel_there_is_no_host_for_the_agent(plain: Stack) -> None:
    assert plain.of("ec2/instance:Instance") == plain.of("ebs/volume:Volume") == []


def test_refuses_a_wheel_that_is_not_there_with_one_line() -> None:
    done = stack.ran(agentWheel="dist/none.whl")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == (
        "cannot use setting medic:agentWheel: there is no file dist/none.whl; build it with `python -m hatchling build -t wheel`"
    )


def test_the_user_data_is_the_rendered_cloud_init(plain: Stack) -> None:
    text = base64.b64decode(plain.one(":LaunchTemplate")["userData"]).decode()
    (config,) = (
        each["content"]
        for each in json.loads(text.removeprefix("#cloud-config\n"))["write_files"]
        if each["path"] == cloud_init.CONFIG
    )

    assert json.loads(config)["bucket"] == "medic-test-models"


def test_a_fleet_that_may_sleep_is_woken_by_work_and_by_the_clock(full: Stack) -> None:
    assert {each["inputs"]["policyType"] for each in full.of("autoscaling/policy:Policy")} == {
        "TargetTrackingScaling",
        "StepScaling",
    }
    assert {each["inputs"]["scheduledActionName"]: each["inputs"]["maxSize"] for each in full.of(":Schedule")} == {
        "sleep": 4,
        "wake": 4,
    }
    assert full.one(":MetricAlarm", "from-zero")["treatMissingData"] == "notBreaching"


def test_the_exported_inventory_is_the_parameter_and_can_be_read(full: Stack) -> None:
    parameter = full.one("ssm/parameter:Parameter")

    assert parameter["name"] == "/medic/medic-test/inventory"
    assert parameter["value"] == full.outputs["inventory"]
    read = inventory.parse(parameter["value"])
    assert (read.group, read.burst_group) == ("medic-test-gpu", "medic-test-gpu-burst")


def test_nothing_the_program_makes_violates_a_policy(full: Stack) -> None:
    agent = "medic-test-agent"

    found = [
        (each["name"], said) for each in full.resources for said in policies.violations(each["type"], each["inputs"], agent)
    ]

    assert found == []


def test_everything_that_can_bear_tags_names_its_fleet(full: Stack) -> None:
    untagged = [
        each["name"] for each in full.resources if "tags" in each["inputs"] and not _names_fleet(each["inputs"]["tags"])
    ]

    assert untagged == []


def _names_fleet(tags: Any) -> bool:
    if isinstance(tags, list):
        return any(each["key"] == "medic:fleet" and each["value"] == "medic-test" for each in tags)
    return bool(tags.get("medic:fleet") == "medic-test")


def test_refuses_a_setting_with_one_line_before_anything_is_asked_for() -> None:
    done = stack.ran(image="vllm:latest")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "cannot use setting medic:image: 'vllm:latest' is not pinned; write NAME@sha256:DIGEST\n"


OPEN_TO_ALL = """
import pulumi_aws as aws
from infra.components import network

def admit_everybody(self, name, into, source, port):
    aws.vpc.SecurityGroupIngressRule(
        f"x-{name}", security_group_id=into.id, cidr_ipv4="0.0.0.0/0", ip_protocol="tcp", from_port=port, to_port=port
    )

network.Network._admit = admit_everybody
"""


FROM_THE_BALANCER = """
from infra.components import network

admit = network.Network._admit

def admit_balancer_too(self, name, into, source, port):
    admit(self, name, into, source, port)
    if name == "balancer-model":
        admit(self, "balancer-ssh", into, source, 22)

network.Network._admit = admit_balancer_too
"""


def test_port_22_from_another_group_of_ours_is_refused_as_well() -> None:
    done = stack.ran(before=FROM_THE_BALANCER, balancer="internal")

    assert done.returncode == 2
    assert "it opens port 22 to medic-test-balancer; only the agent's security group may reach it" in done.stderr


def test_a_policy_stops_the_program_whatever_the_settings_say() -> None:
    done = stack.ran(before=OPEN_TO_ALL)

    assert done.returncode == 2
    assert "it opens port 22 to 0.0.0.0/0; only the agent's security group may reach it" in done.stderr
