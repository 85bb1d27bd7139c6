"""The agent on a stack that stands: the inventory, the real AWS adapters and the real loop, over the stand-ins; in this order.

What stands for the hosts' Docker engines is the make-believe machine of the stories; everything of AWS goes through boto3.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from moto.autoscaling import models as groups
from moto.autoscaling.exceptions import AutoscalingClientError
from moto.ec2.models import ec2_backends
from typer.testing import CliRunner

from agent import config, departing, drain, drift, fleet, heal
from agent.adapters import aws_meter
from agent.adapters.aws_balancer import AwsBalancer
from agent.adapters.aws_bucket import AwsBucket
from agent.adapters.aws_clients import AwsClients
from agent.adapters.aws_events import AwsEvents
from agent.adapters.aws_fleet import AwsFleet
from agent.cli import main
from agent.departing import FleetWatch
from agent.errors import ConfigError, OutsideError
from agent.model import (
    Answer,
    Closing,
    Ending,
    FleetEventKind,
    GpuUse,
    Health,
    HostName,
    IncidentId,
    IncidentState,
    Mode,
    Outcome,
    RunbookId,
    RunEnd,
    Service,
    ServiceName,
    Streak,
)
from agent.policy import idleness
from agent.ports import Engine, Fleet
from agent.settings import Settings
from agent.sweep import Sweep
from agent.wiring import cloud, keeping, rehearsals
from infra import inventory
from infra import settings as fleet_settings
from tests.fakes import FakeClock
from tests.fakes_fleet import FakeCloud
from tests.infra.stack import IMAGE, WHEEL
from tests.infra.stand_in import moto_more
from tests.infra.stand_in.cloud import ACCOUNT, Cloud
from tests.infra.stand_in.engine import Project
from tests.stories.test_giving_up import LOST, SHIPPED, SOUND, model
from tests.stories.world import Ward, service

STACK = "/medic/medic-test/inventory"


@pytest.fixture(scope="module")
def stack(project: Project, aws: Cloud) -> inventory.Inventory:
    """A fleet of two that has just been made."""
    moto_more.install()
    run = project.up(image=IMAGE, balancer="internal", minSize=2, agentWheel=WHEEL)
    return inventory.parse(run.outputs["inventory"])


@pytest.fixture(autouse=True)
def here(aws: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 finds the stand-ins where it would find AWS."""
    for key, value in {"ENDPOINT_URL": aws.endpoint, "ACCESS_KEY_ID": "stand-in", "SECRET_ACCESS_KEY": "stand-in"}.items():
        monkeypatch.setenv(f"AWS_{key}", value)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    path = tmp_path / "medic.yaml"
    path.write_text(f"state_dir: {tmp_path / 'state'}\nfleet: {{ssm_parameter: {STACK}, region: us-east-1}}\n")
    return config.load(path, {})


def test_hosts_that_warm_up_are_members_and_no_hosts_yet(stack: inventory.Inventory, settings: Settings) -> None:
    snapshot = cloud.sync_inventory(settings)

    assert [each.state for each in snapshot.members] == ["Pending:Wait"] * 2
    assert fleet.reachable(snapshot) == ()


def test_the_inventory_and_the_live_group_make_hosts_services_and_pinned_keys(
    stack: inventory.Inventory, settings: Settings, aws: Cloud
) -> None:
    warm = aws.warm(stack.group, stack.host_keys)

    snapshot = cloud.sync_inventory(settings)

    assert snapshot.inventory == stack
    assert {each.instance for each in snapshot.members} == set(warm)
    assert sorted(each.spot for each in snapshot.members) == [False, True]
    read = config.load(settings.file, {})
    assert {each.name for each in read.hosts} == set(warm)
    assert len((settings.state_dir / "fleet/known_hosts").read_text().splitlines()) == 2
    assert cloud.kept_inventory(read) == snapshot


def test_a_dry_run_of_a_replacement_says_what_would_be_done_and_what_it_costs_or_why_not(
    stack: inventory.Inventory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for instance in [each.instance for each in cloud.sync_inventory(settings).members]:
        (card,) = ec2_backends[ACCOUNT]["us-east-1"].get_instance(instance).nics.values()
        monkeypatch.setattr(card, "private_ip_address", "127.0.0.9")  # nobody is there, and no test leaves this machine
    cloud.sync_inventory(settings)
    read = config.load(settings.file, {})
    one, other = read.services

    refused = rehearsals.dry_run(read, one.name, RunbookId("replace-host"), {})
    with keeping.open_store(read) as store:
        well = [Streak(check=check.name, health=Health.WELL, length=2, settled=Health.WELL) for check in other.checks]
        store.services.keep_streaks(other.name, well)
    shown = rehearsals.dry_run(read, one.name, RunbookId("replace-host"), {})

    assert (refused.end, refused.diff) == (RunEnd.NOT_RUN, "")
    assert f"it would be refused: {one.host} is the last host of {stack.group} that serves" in refused.message
    assert (shown.end, shown.message) == (RunEnd.COMPLETED, "nothing was changed")
    assert f"tells {stack.group} to end it and start another" in shown.diff
    assert "* replace-host: up to " in shown.diff
    assert [each.state for each in cloud.sync_inventory(settings).members] == ["InService"] * 2


def test_a_stack_that_was_just_made_has_no_drift(stack: inventory.Inventory, settings: Settings) -> None:
    wanted = fleet_settings.from_mapping(
        {"image": IMAGE, "balancer": "internal", "minSize": 2, "agentWheel": WHEEL}, stack="test", region="us-east-1"
    )

    lines = cloud.stack_drift(None, settings)

    assert [each for each in lines if each.state is not drift.State.SAME] == []
    assert [each for each in cloud.stack_drift(wanted) if each.state is not drift.State.SAME] == []
    assert {"medic:image", "medic:onDemandBase", "volumes of hosts", f"bucket {stack.bucket}: versioning"} <= {
        each.what for each in lines
    }


def test_a_newer_inventory_and_one_that_is_not_there_are_one_sentence(
    stack: inventory.Inventory, settings: Settings, aws: Cloud
) -> None:
    assert settings.inventory is not None
    newer = json.dumps({**json.loads(inventory.render(stack)), "version": 2})
    aws.client("ssm").put_parameter(Name="/newer", Value=newer, Type="String")

    with pytest.raises(ConfigError, match=r"^cannot read inventory: it is version 2 and this Medic knows 1; update Medic"):
        cloud.sync_inventory(replace(settings, inventory=replace(settings.inventory, ssm_parameter="/newer")))
    with pytest.raises(
        OutsideError, match=r"^cannot read parameter '/none': there is none in us-east-1; `pulumi up` writes it$"
    ):
        cloud.sync_inventory(replace(settings, inventory=replace(settings.inventory, ssm_parameter="/none")))


def test_a_cloud_that_does_not_answer_is_one_sentence_in_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(OutsideError, match=r"^cannot read parameter '/medic/medic-test/inventory': Could not connect"):
        cloud.sync_inventory(settings)


def test_only_the_host_itself_is_believed_about_its_end(stack: inventory.Inventory, aws: Cloud) -> None:
    detail = {"instance-id": "i-0aa1", "instance-action": "terminate", "deadline": "2026-11-20T12:26:30Z"}
    body = {
        "source": "medic.host", "detail-type": "EC2 Spot Instance Interruption Warning", "time": "2026-11-20T12:24:32Z", "detail": detail
    }  # fmt: skip

    def send() -> None:
        aws.client("sqs").send_message(QueueUrl=stack.queue_url, MessageBody=json.dumps(body))

    events = AwsEvents(AwsClients("us-east-1"), stack.queue_url)
    _emptied(events)
    moto_more.signed_by("i-0aa1", send)
    moto_more.signed_by("i-0bb2", send)

    received = events.receive(timedelta(0))

    assert sorted(len(each.events) for each in received) == [0, 1]
    _emptied(events)
    for each in received:
        events.delete(each.receipt)


def _emptied(events: AwsEvents) -> list[FleetEventKind]:
    kinds = []
    while received := events.receive(timedelta(0)):
        for each in received:
            kinds += [event.kind for event in each.events]
            events.delete(each.receipt)
    return kinds


class OnStack(Ward):
    """A ward on the stack: real adapters, a clock that stands at now."""

    fleet: Fleet

    def _body(self, incident: IncidentId, steps: Engine) -> Ending:
        if drain.is_due(incident, self.store):
            return drain.drain(incident, steps, self.world, self.fleet)
        return heal.heal(incident, steps, self.world)

    def reach(self, stack: inventory.Inventory, price: Callable[[str], Decimal | None], priced_on: str = "") -> FakeCloud:
        """Reach the stack's own groups, queue, balancer and bucket. Returns what plays the host that is told to stop."""
        clients, stopper = AwsClients(stack.region), FakeCloud(self.clock)
        self.fleet = Fleet(
            groups=AwsFleet(clients, [stack.group]),
            events=AwsEvents(clients, stack.queue_url),
            balancer=AwsBalancer(clients, stack.target_group_arn),
            last_words=AwsBucket(clients, stack.bucket),
            stopper=stopper,
            drain_hook=stack.drain_hook,
            warm_up=timedelta(seconds=stack.warm_up_seconds),
            on_drought=Mode.ASK,
            daily_usd=Decimal(25),
            price=price,
            priced_on=priced_on,
        )
        return stopper


def test_from_the_notice_to_a_verified_warm_host(
    stack: inventory.Inventory, settings: Settings, aws: Cloud, tmp_path: Path
) -> None:
    doomed = next(each for each in cloud.sync_inventory(settings).members if each.spot)
    ward = OnStack(
        folder=tmp_path,
        services=(replace(service("model"), host=HostName(doomed.instance)),),
        clock=FakeClock(datetime.now(UTC)),
    )
    stopped = ward.reach(stack, lambda _kind: None)

    def sync() -> tuple[object, bool]:
        return cloud.sync_inventory(settings).members, False

    watch = FleetWatch(ward.fleet, ward.world, ward.engine, sync)  # type: ignore[arg-type]
    detail = {"instance-id": doomed.instance, "instance-action": "terminate"}
    notice = {"Source": "aws.ec2", "DetailType": "EC2 Spot Instance Interruption Warning", "Detail": json.dumps(detail)}
    aws.client("events").put_events(Entries=[notice, notice])

    watch.attend()

    incident = ward.incident(f"spot:{doomed.instance}")
    story = "\n".join(event.text for event in ward.store.story.since(0, incident=incident.id))
    assert incident.state is IncidentState.HELD, story
    assert [what.split(" within")[0] for _, what in stopped.done] == ["stop model"]
    assert aws.waiting(stack.group, "Terminating:Wait") == []
    (key,) = (each["Key"] for each in aws.client("s3").list_objects_v2(Bucket=stack.bucket, Prefix="crash/")["Contents"])
    assert key == f"crash/{doomed.instance}/{incident.id}.json"
    assert "its replacement is starting" in story
    assert "told the group that it is drained" in story
    (coming,) = aws.warm(stack.group, stack.host_keys)
    ward.clock.move(timedelta(seconds=30))
    watch.attend()
    assert ward.incident(f"spot:{doomed.instance}").closing is Closing.HEALED
    assert coming in {each.name for each in config.load(settings.file, {}).hosts}
    assert set(_emptied(AwsEvents(AwsClients("us-east-1"), stack.queue_url))) <= {
        FleetEventKind.LAUNCH_HOOK,
        FleetEventKind.TERMINATE_HOOK,
    }


def test_from_a_broken_gpu_through_a_persons_word_to_a_host_that_medic_sees_well(
    stack: inventory.Inventory, settings: Settings, aws: Cloud, tmp_path: Path
) -> None:
    broken, other = (each.instance for each in cloud.sync_inventory(settings).members if each.in_service)
    ward = OnStack(
        folder=tmp_path,
        services=(on_gpu(broken), on_gpu(other)),
        runbooks=(SHIPPED[RunbookId("replace-host")],),
        clock=FakeClock(datetime.now(UTC)),
    )
    ward.reach(stack, lambda _kind: Decimal("1.006"), "2026-11-01")
    ward.world = replace(ward.world, fleet=ward.fleet)
    ward.sweep = Sweep(ward.world, ward.engine, [HostName(broken), HostName(other)], discover=False)
    ward.machine.gpus = {broken: SOUND, other: SOUND}
    ward.beat(3)
    ward.machine.gpus[broken] = LOST

    def sync() -> tuple[object, bool]:
        return cloud.sync_inventory(settings).members, False

    watch = FleetWatch(ward.fleet, ward.world, ward.engine, sync)  # type: ignore[arg-type]
    ward.beat_until(lambda: bool(ward.store.approvals.waiting(ward.clock.now())))
    (asked,) = ward.store.approvals.waiting(ward.clock.now())
    assert f"tells {stack.group} to end it and start another" in asked.diff
    assert aws.waiting(stack.group, "Terminating:Wait") == []
    ward.store.approvals.answer(asked.id, Answer.APPROVED, by="ada", why="", now=ward.clock.now())
    ward.beat()

    watch.attend()

    incident = ward.incident(f"model-{broken}")
    story = "\n".join(event.text for event in ward.store.story.since(0, incident=incident.id))
    assert incident.state is IncidentState.HELD, story
    assert "its replacement is starting" in story
    assert "told the group that it is drained" in story
    assert ward.fleet.balancer is not None
    assert not ward.fleet.balancer.serves(broken)
    assert ward.fleet.balancer.serves(other)
    (came,) = aws.warm(stack.group, stack.host_keys)
    watch.attend()
    assert ward.incident(f"model-{broken}").state is IncidentState.HELD, "in service by the group's word alone"
    ward.machine.gpus[came] = SOUND
    ward.store.services.forget(ServiceName(f"model-{broken}"))
    ward.store.services.enrol(on_gpu(came), now=ward.clock.now())
    ward.clock.move(timedelta(seconds=30))
    watch.attend()
    healed = ward.incident(f"model-{broken}")
    assert healed.closing is Closing.HEALED
    assert healed.attempts[0].outcome is Outcome.HEALED
    members = {each.instance: each.state for each in cloud.sync_inventory(settings).members}
    assert members == {other: "InService", came: "InService"}
    _emptied(AwsEvents(AwsClients("us-east-1"), stack.queue_url))


def on_gpu(instance: str) -> Service:
    return replace(model(instance), name=ServiceName(f"model-{instance}"))


def test_what_spot_saved_is_reckoned_from_ec2s_own_prices_and_the_hosts_that_were_seen(
    stack: inventory.Inventory, settings: Settings, aws: Cloud
) -> None:
    members = cloud.sync_inventory(settings).members
    now = datetime.now(UTC)
    ours = [replace(each, launched_at=now - timedelta(hours=10)) for each in members]
    assert all(each.launched_at for each in members), "EC2 says when a host was started"
    spot = replace(ours[0], spot=True, kind="g5.xlarge", zone="us-east-1a")
    with keeping.open_store(settings) as store:
        store.stays.note(departing.stays([spot, replace(ours[1], spot=False)], now))
    moto_more.PRICES[:] = [
        ("g5.xlarge", "us-east-1a", now - timedelta(days=40), "0.400000"),
        ("g5.xlarge", "us-east-1a", now - timedelta(days=50), "9.000000"),
        ("g5.xlarge", "us-east-1b", now - timedelta(hours=9), "0.010000"),
        ("g5.xlarge", "us-east-1a", now - timedelta(hours=5), "0.500000"),
    ]

    said = medic("--config", str(settings.file), "infra", "savings")

    assert "1 spot hosts within 30 days: paid 4.50 USD, 10.06 on demand, saved 5.56 (55%)" in said
    assert spot.instance in said
    assert json.loads(medic("--config", str(settings.file), "infra", "savings", "--json"))[0]["paid"] == "4.5000"


def test_which_hosts_are_idle_is_told_by_the_figures_that_they_send(
    stack: inventory.Inventory, settings: Settings, aws: Cloud
) -> None:
    quiet, busy, *_ = (each.instance for each in cloud.sync_inventory(settings).members if each.in_service)
    now = datetime.now(UTC)
    for minute in range(60):
        for instance, percent in ((quiet, 1.0), (busy, 90.0 if minute == 30 else 0.0)):
            aws.client("cloudwatch").put_metric_data(
                Namespace=stack.metric_namespace,
                MetricData=[
                    {
                        "MetricName": aws_meter.METRIC,
                        "Dimensions": [{"Name": "Fleet", "Value": stack.stack}, {"Name": "Instance", "Value": instance}],
                        "Timestamp": now - timedelta(minutes=minute, seconds=20),
                        "Value": percent,
                    }
                ],
            )

    loads = {each.instance: each for each in cloud.host_loads(settings)}

    assert (loads[quiet].load, loads[busy].load) == (idleness.Load.IDLE, idleness.Load.BUSY)
    assert "up to 90 % within 60 min" in loads[busy].because
    assert loads[quiet].usd_per_hour is not None
    said = medic("--config", str(settings.file), "infra", "idle")
    assert "retire-host model-INSTANCE" in said
    assert quiet in said


def test_a_host_that_sends_no_figures_is_unknown(stack: inventory.Inventory, settings: Settings) -> None:
    assert settings.inventory is not None
    other = AwsClients("us-east-1")

    use = aws_meter.AwsGpuMeter(other, stack.metric_namespace, "another-fleet").use(
        ["i-0123456789abcdef0"], datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)
    )

    assert use == {"i-0123456789abcdef0": GpuUse(busiest=None, minutes=0)}


def medic(*words: str) -> str:
    """Run the command line here; what it said."""
    done = CliRunner().invoke(main.app, list(words))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_late_completion_is_as_good_and_so_is_a_host_that_is_gone(stack: inventory.Inventory) -> None:
    groups = AwsFleet(AwsClients("us-east-1"), [stack.group])

    assert groups.complete(stack.group, "drain", "i-0123456789abcdef0") is False
    groups.replace("i-0123456789abcdef0")


def test_the_on_demand_base_is_raised_and_nothing_else_changes(stack: inventory.Inventory, aws: Cloud) -> None:
    groups = AwsFleet(AwsClients("us-east-1"), [stack.group])
    asked = {"AutoScalingGroupNames": [stack.group]}
    before = aws.client("autoscaling").describe_auto_scaling_groups(**asked)["AutoScalingGroups"][0]["MixedInstancesPolicy"]

    groups.raise_on_demand_base(2)

    after = aws.client("autoscaling").describe_auto_scaling_groups(**asked)["AutoScalingGroups"][0]["MixedInstancesPolicy"]
    assert groups.size().on_demand_base == 2
    assert after["LaunchTemplate"]["Overrides"] == before["LaunchTemplate"]["Overrides"]
    assert {**after["InstancesDistribution"], "OnDemandBaseCapacity": 1} == before["InstancesDistribution"]


def test_what_was_changed_behind_pulumis_back_is_drift_with_what_to_do(
    stack: inventory.Inventory, settings: Settings, aws: Cloud
) -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    made = aws.client("ec2").authorize_security_group_ingress(GroupId=stack.hosts_security_group, IpPermissions=[rule])
    opened = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    aws.client("s3").put_bucket_versioning(Bucket=stack.bucket, VersioningConfiguration={"Status": "Suspended"})
    aws.client("s3").delete_public_access_block(Bucket=stack.bucket)
    aws.client("autoscaling").suspend_processes(AutoScalingGroupName=stack.group, ScalingProcesses=["Launch"])

    found = {each.what: each for each in cloud.stack_drift(None, settings) if each.state is not drift.State.SAME}

    assert {what: each.live for what, each in found.items()} == {
        "medic:onDemandBase": "2",  # the test above raised it, as Medic does in a drought
        "suspended processes": "Launch",
        f"who may reach GPU hosts: {opened}": "tcp 22 0.0.0.0/0",
        f"bucket {stack.bucket}: versioning": "Suspended",
        f"bucket {stack.bucket}: public access": "there is none",
    }
    assert found["medic:onDemandBase"].do == (
        "`pulumi config set --stack test medic:onDemandBase 2` to keep it; `pulumi up --refresh --stack test` puts it back"
    )


@pytest.mark.filterwarnings("ignore:Exception.AutoscalingClientError. with code AccessDenied")  # moto knows no refusal
def test_a_look_that_is_refused_is_unknown_and_never_the_same(
    stack: inventory.Inventory, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AutoscalingClientError("AccessDenied", "you may not")

    monkeypatch.setattr(groups.AutoScalingBackend, "describe_lifecycle_hooks", refused)

    found = [each for each in cloud.stack_drift(None, settings) if each.state is drift.State.UNKNOWN]

    assert {each.what for each in found} == {
        "medic:warmUpSeconds", "medic:drainSeconds", "hook warm-up, when nobody speaks", "hook drain, when nobody speaks"
    }  # fmt: skip
    assert {each.do for each in found} == {f"cannot look at the hooks of {stack.group}: AccessDenied: you may not"}


def test_preflight_reads_quotas_and_what_the_region_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto_more.install()
    wanted = fleet_settings.from_mapping(
        {"image": IMAGE, "instanceTypes": ["g5.xlarge", "g99.xlarge"]}, stack="test", region="us-east-1"
    )
    monkeypatch.setitem(moto_more.QUOTAS, "L-3819A6DF", 12.0)

    needs, lacking = cloud.preflight(wanted)

    assert [(each.code, each.needs, each.allowed, each.enough) for each in needs] == [
        ("L-3819A6DF", 12, 12.0, True),
        ("L-DB2E81BA", 4, 8.0, True),
    ]
    assert lacking == ("g99.xlarge",)


def test_a_host_that_is_retired_leaves_a_group_that_is_one_smaller(stack: inventory.Inventory) -> None:
    groups = AwsFleet(AwsClients("us-east-1"), [stack.group])
    before = groups.size()
    going, *staying = (member.instance for member in groups.members())

    groups.retire(going)

    assert groups.size().wanted == before.wanted - 1
    assert {member.instance for member in groups.members() if member.instance != going} == set(staying)  # nobody came for it
