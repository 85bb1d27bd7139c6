"""What is called drift, what is called unknown, and what each line says to do."""

from dataclasses import replace
from typing import Any

import pytest

from agent import drift
from agent.drift import State
from agent.model import Door, GroupFacts, HookFacts, LiveStack, TemplateFacts, Unseen
from infra import inventory
from infra import settings as fleet_settings
from infra.settings import FleetSettings

IMAGE = "registry.example/vllm@sha256:" + "a" * 64
REFUSED = Unseen(why="cannot look at it: AccessDenied: no")


def settings(**config: Any) -> FleetSettings:
    return fleet_settings.from_mapping({"image": IMAGE, **config}, stack="prod", region="us-east-1")


def published(of: FleetSettings | None = None) -> inventory.Inventory:
    it = of or settings()
    model = inventory.Model(container="model", image=it.image, port=it.port, ready_path=it.ready_path, name=it.model_name)
    return inventory.Inventory(
        stack=it.name, region=it.region, group="g", burst_group="", launch_hook="warm-up", drain_hook="drain",
        queue_url="https://q", dead_letter_url="https://d", bucket="b", log_group="l", metric_namespace="Medic", target_group_arn="",
        host_keys="/keys", ssh_user="ubuntu", warm_up_seconds=it.warm_up_seconds, drain_seconds=it.drain_seconds,
        on_demand_base=it.on_demand_base, max_size=it.max_size, model=model, hosts_security_group="sg-h", agent_security_group="sg-a",
        on_demand_percent=it.on_demand_percent_above_base, min_size=it.min_size, burst_max_size=it.burst_max_size,
        volume_gib=it.volume_gib, instance_types=it.instance_types, ami_id=it.ami_id, sleep_cron=it.sleep_cron,
    )  # fmt: skip


GROUP = GroupFacts(
    smallest=1, largest=4, wanted=2, kinds=settings().instance_types[::-1], on_demand_base=1, on_demand_percent=0,
    spot_strategy="price-capacity-optimized", spot_price_cap="", rebalances=True, suspended=(), version="3", set_aside=(),
    other_version=(),
)  # fmt: skip
TEMPLATE = TemplateFacts(
    newest="3", ami_id="ami-1", tokens="required", hops=1, encrypted=True, volume_gib=100, doors=("sg-h",), image=IMAGE
)
HOOKS = (
    HookFacts(name="warm-up", transition=drift.LAUNCHING, seconds=900, otherwise="ABANDON"),
    HookFacts(name="drain", transition=drift.TERMINATING, seconds=100, otherwise="CONTINUE"),
)
OUT = Door(id="sgr-9", inwards=False, protocol="-1", ports=None, peer="0.0.0.0/0")
SSH = Door(id="sgr-1", inwards=True, protocol="tcp", ports=(22, 22), peer="sg-a")
MODEL = Door(id="sgr-2", inwards=True, protocol="tcp", ports=(8000, 8000), peer="sg-a")
LIVE = LiveStack(
    group=GROUP, burst=None, hooks=HOOKS, template=TEMPLATE, host_doors=(SSH, MODEL, OUT), agent_doors=(OUT,),
    versioning="Enabled", encryption="aws:kms", closed_to_public=True, old_versions_end=True,
)  # fmt: skip


def lines(
    live: LiveStack = LIVE, wanted: FleetSettings | None = None, of: inventory.Inventory | None = None
) -> list[drift.Line]:
    known = of or published()
    expected = drift.of_inventory(known) if wanted is None else drift.of_settings(wanted)
    return [each for each in drift.compare(expected, known, live) if each.state is not State.SAME]


def test_a_stack_as_it_was_made_has_no_drift() -> None:
    assert lines() == []
    assert lines(wanted=settings()) == []
    assert drift.worst(drift.compare(drift.of_settings(settings()), published(), LIVE)) is State.SAME


def test_how_many_hosts_there_are_is_the_autoscalers_own() -> None:
    assert lines(replace(LIVE, group=replace(GROUP, wanted=4))) == []


AGAIN = "`pulumi up --refresh --stack prod` puts it back"


@pytest.mark.parametrize(
    ("changed", "what", "live", "do"),
    [
        ({"group": replace(GROUP, on_demand_base=2)}, "medic:onDemandBase", "2", f"`pulumi config set --stack prod medic:onDemandBase 2` to keep it; {AGAIN}"),
        ({"group": replace(GROUP, largest=9)}, "medic:maxSize", "9", f"`pulumi config set --stack prod medic:maxSize 9` to keep it; {AGAIN}"),
        ({"group": replace(GROUP, smallest=0)}, "medic:minSize", "0", f"`pulumi config set --stack prod medic:minSize 0` to keep it; {AGAIN}"),
        ({"group": replace(GROUP, kinds=("g5.xlarge",))}, "medic:instanceTypes", "g5.xlarge", f"set `medic:instanceTypes: [g5.xlarge]` in `Pulumi.prod.yaml` to keep it; {AGAIN}"),
        ({"group": replace(GROUP, on_demand_percent=100)}, "medic:onDemandPercentAboveBase", "100", f"`pulumi config set --stack prod medic:onDemandPercentAboveBase 100` to keep it; {AGAIN}"),
        ({"hooks": (replace(HOOKS[0], seconds=60), HOOKS[1])}, "medic:warmUpSeconds", "60", f"`pulumi config set --stack prod medic:warmUpSeconds 60` to keep it; {AGAIN}"),
        ({"template": replace(TEMPLATE, image="other@sha256:0")}, "medic:image", "other@sha256:0", f"`pulumi config set --stack prod medic:image other@sha256:0` to keep it; {AGAIN}"),
        ({"group": replace(GROUP, rebalances=False)}, "capacity rebalancing", "off", AGAIN),
        ({"group": replace(GROUP, spot_price_cap="0.40")}, "cap on the spot price", "0.40", AGAIN),
        ({"group": replace(GROUP, spot_strategy="lowest-price")}, "spot strategy", "lowest-price", AGAIN),
        ({"group": replace(GROUP, suspended=("Launch",))}, "suspended processes", "Launch", "`aws autoscaling resume-processes --auto-scaling-group-name g`; no setting speaks of them"),
        ({"group": replace(GROUP, set_aside=("i-1", "i-2"))}, "hosts on standby", "i-1, i-2", "`aws autoscaling exit-standby --auto-scaling-group-name g --instance-ids i-1 i-2`, or end them; no setting speaks of single hosts"),
        ({"group": replace(GROUP, other_version=("i-1",))}, "hosts of another template version", "i-1", "`aws autoscaling start-instance-refresh --auto-scaling-group-name g`"),
        ({"group": replace(GROUP, version="2")}, "launch template version", "2", AGAIN),
        ({"template": replace(TEMPLATE, tokens="optional")}, "instance metadata", "IMDSv1, 1 hop", AGAIN),
        ({"template": replace(TEMPLATE, hops=2)}, "instance metadata", "IMDSv2, 2 hop", AGAIN),
        ({"template": replace(TEMPLATE, encrypted=False)}, "volumes of hosts", "not encrypted", AGAIN),
        ({"template": replace(TEMPLATE, doors=("sg-h", "sg-x"))}, "security groups of hosts", "sg-h, sg-x", AGAIN),
        ({"host_doors": (SSH, MODEL, OUT, replace(SSH, id="sgr-3", peer="0.0.0.0/0"))}, "who may reach GPU hosts: sgr-3", "tcp 22 0.0.0.0/0", "`aws ec2 revoke-security-group-ingress --group-id sg-h --security-group-rule-ids sgr-3`; it is no part of the stack"),
        ({"host_doors": (MODEL, OUT)}, "who may reach GPU hosts", "there is none", "`pulumi up --refresh --stack prod` makes it again"),
        ({"host_doors": (SSH, MODEL)}, "what GPU hosts may reach", "nobody", AGAIN),
        ({"agent_doors": (OUT, SSH)}, "who may reach Medic's host: sgr-1", "tcp 22 sg-a", "`aws ec2 revoke-security-group-ingress --group-id sg-a --security-group-rule-ids sgr-1`; it is no part of the stack"),
        ({"versioning": "Suspended"}, "bucket b: versioning", "Suspended", AGAIN),
        ({"versioning": None}, "bucket b: versioning", "there is none", AGAIN),
        ({"encryption": "AES256"}, "bucket b: encryption", "AES256", AGAIN),
        ({"closed_to_public": False}, "bucket b: public access", "open", AGAIN),
        ({"old_versions_end": False}, "bucket b: old versions of models", "are kept for ever", AGAIN),
    ],
)  # fmt: skip
def test_one_thing_changed_is_one_line_with_what_to_do(changed: dict[str, Any], what: str, live: str, do: str) -> None:
    (line,) = lines(replace(LIVE, **changed))

    assert (line.what, line.live, line.state, line.do) == (what, live, State.DRIFTED, do)


@pytest.mark.parametrize(
    "part", ["group", "hooks", "template", "host_doors", "agent_doors", "versioning", "encryption", "closed_to_public"]
)
def test_what_could_not_be_looked_at_is_unknown_and_says_why(part: str) -> None:
    found = lines(replace(LIVE, **{part: REFUSED}))

    assert found
    assert {(each.state, each.live, each.do) for each in found} == {(State.UNKNOWN, "unknown", REFUSED.why)}


def test_drift_beside_what_is_unknown_is_still_drift() -> None:
    found = drift.compare(drift.of_inventory(published()), published(), replace(LIVE, hooks=REFUSED, encryption="AES256"))

    assert drift.worst(found) is State.DRIFTED
    assert drift.worst(tuple(each for each in found if each.state is not State.DRIFTED)) is State.UNKNOWN


def test_a_group_or_a_hook_that_is_gone_is_drift() -> None:
    found = lines(replace(LIVE, group=None, template=None))
    hook = lines(replace(LIVE, hooks=HOOKS[:1]))

    assert {(each.what, each.live) for each in hook} == {
        ("medic:drainSeconds", "there is none"),
        ("hook drain, when nobody speaks", "there is none"),
    }
    assert ("group g", "there is none", State.DRIFTED) in [(each.what, each.live, each.state) for each in found]


def test_a_setting_that_was_changed_and_not_brought_up_says_so() -> None:
    (line,) = lines(wanted=settings(maxSize=8))

    assert (line.what, line.expected, line.published, line.live) == ("medic:maxSize", "8", "4", "4")
    assert line.do == "`pulumi up --stack prod` brings up what the file says"
    (port,) = [each for each in lines(wanted=settings(modelName="llama")) if each.what.startswith("medic:")]
    assert (port.what, port.published, port.do) == (
        "medic:modelName", "", "`pulumi up --stack prod` brings up what the file says"
    )  # fmt: skip


def test_a_setting_that_was_kept_in_the_file_and_is_not_published_yet_says_so() -> None:
    (line,) = lines(replace(LIVE, group=replace(GROUP, on_demand_base=2)), wanted=settings(onDemandBase=2))

    assert (line.state, line.do) == (State.DRIFTED, "`pulumi up --stack prod` writes it into the inventory")


def test_a_fleet_that_sleeps_by_the_clock_has_not_drifted() -> None:
    sleeps = settings(sleepCron="0 20 * * *", wakeCron="0 6 * * *")

    assert lines(replace(LIVE, group=replace(GROUP, smallest=0)), wanted=sleeps, of=published(sleeps)) == []


def test_what_an_older_program_did_not_publish_is_unknown_until_a_stack_file_says_it() -> None:
    old = replace(published(), min_size=-1, instance_types=(), volume_gib=-1, burst_max_size=-1, on_demand_percent=-1)

    assert {(each.what, each.state) for each in lines(of=old)} == {
        (f"medic:{each}", State.UNKNOWN)
        for each in ("minSize", "instanceTypes", "volumeGib", "burstMaxSize", "onDemandPercentAboveBase")
    }
    assert lines(of=old, wanted=settings()) == []


def test_a_literal_ami_is_held_to_and_one_that_moves_is_not() -> None:
    pinned = settings(amiId="ami-2")

    (line,) = lines(wanted=pinned, of=published(pinned))

    assert (line.what, line.expected, line.live) == ("medic:amiId", "ami-2", "ami-1")
