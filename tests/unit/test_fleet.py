"""A stack's inventory and its live members as hosts and services."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import config, fleet, settings
from agent.adapters import fleet_file
from agent.errors import ConfigError
from agent.model import CompletionCheck, ContainerCheck, GpuCheck, HttpCheck, Member, SshAccess
from infra import inventory
from tests.fakes import START

KEY = "ssh-ed25519 " + "A" * 68
STACK = inventory.Inventory(
    stack="medic-prod", region="us-east-1", group="g", burst_group="", launch_hook="warm-up", drain_hook="drain",
    queue_url="https://q", dead_letter_url="https://d", bucket="b", log_group="l", metric_namespace="Medic", target_group_arn="",
    host_keys="/k", ssh_user="ubuntu", warm_up_seconds=900, drain_seconds=100, on_demand_base=1, max_size=4,
    model=inventory.Model(container="model", image="i@sha256:0", port=8000, ready_path="/health", name="llama"),
)  # fmt: skip
SERVES = Member(instance="i-1", group="g", address="10.0.0.1", kind="g5.xlarge", zone="a", spot=True, state="InService")
SNAPSHOT = fleet.Snapshot(
    inventory=STACK,
    members=(
        SERVES,
        replace(SERVES, instance="i-2", address="10.0.0.2", state="Pending:Wait"),
        replace(SERVES, instance="i-3", address="10.0.0.3", state="Terminating:Wait"),
        replace(SERVES, instance="i-4", address="10.0.0.4"),
        replace(SERVES, instance="i-5", address="10.0.0.5"),
    ),
    keys={"i-1": KEY, "i-2": KEY, "i-3": KEY, "i-4": f'command="id" {KEY}'},
    at=START,
)
EVERY = timedelta(seconds=5)


def test_what_is_kept_is_read() -> None:
    assert fleet.read(fleet.text(SNAPSHOT)) == SNAPSHOT


@pytest.mark.parametrize("text", ["", "[]", "{}", fleet.text(SNAPSHOT).replace('\\"version\\":1', '\\"version\\":2')])
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        fleet.read(text)


def test_a_host_is_one_that_serves_or_leaves_and_whose_key_is_published() -> None:
    hosts = fleet.hosts(SNAPSHOT, "/known", "/key")

    assert [each.name for each in hosts] == ["i-1", "i-3"]
    assert hosts[0].access == SshAccess(address="10.0.0.1", user="ubuntu", known_hosts="/known", key_file="/key", sudo=True)
    assert [each.instance for each in fleet.unpublished(SNAPSHOT)] == ["i-4", "i-5"]


def test_each_pinned_key_is_one_line_that_nobody_can_break_out_of() -> None:
    odd = replace(SNAPSHOT, keys={"i-1": f"{KEY}\n* {KEY}", "i-3": KEY})

    assert fleet.known_hosts(SNAPSHOT) == f"10.0.0.1 {KEY}\n10.0.0.3 {KEY}\n"
    assert fleet.known_hosts(odd) == f"10.0.0.3 {KEY}\n"


def test_the_model_of_each_host_in_service_is_a_replica_of_the_stacks_group() -> None:
    (model,) = fleet.services(SNAPSHOT, EVERY)

    assert (model.name, model.host, model.container, model.group) == ("model-i-1", "i-1", "model", "medic-prod")
    assert [type(each) for each in model.checks] == [ContainerCheck, HttpCheck, CompletionCheck]
    assert isinstance(model.checks[1], HttpCheck)
    assert model.checks[1].url == "http://127.0.0.1:8000/health"


def test_the_cards_of_a_host_are_looked_at_where_that_is_wanted() -> None:
    (model,) = fleet.services(SNAPSHOT, EVERY, gpus=True)

    assert isinstance(model.checks[-1], GpuCheck)
    assert (model.checks[-1].in_container, model.checks[-1].xids) == (False, True)


def test_a_model_without_a_name_is_not_asked_for_tokens() -> None:
    nameless = replace(SNAPSHOT, inventory=replace(STACK, model=replace(STACK.model, name="")))

    assert [each.name for each in fleet.services(nameless, EVERY)[0].checks] == ["container", "ready"]


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"at": START + EVERY}, True),
        ({"members": SNAPSHOT.members[:3]}, True),  # those that are left out were no hosts
        ({"members": SNAPSHOT.members[1:]}, False),
        ({"keys": {**SNAPSHOT.keys, "i-5": KEY}}, False),
        ({"inventory": replace(STACK, drain_seconds=90)}, False),
    ],
)
def test_only_what_hosts_and_services_depend_on_is_a_change(changed: dict[str, object], same: bool) -> None:
    assert (replace(SNAPSHOT, **changed).shape == SNAPSHOT.shape) is same  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------ medic.yaml


def written(folder: Path, text: str = "") -> Path:
    path = folder / "medic.yaml"
    path.write_text(
        f"state_dir: {folder / 'state'}\nfleet:\n  ssm_parameter: /medic/medic-prod/inventory\n  region: us-east-1\n{text}"
    )
    return path


def test_before_it_is_read_a_fleet_has_no_hosts_and_this_machine_is_none(tmp_path: Path) -> None:
    read = config.load(written(tmp_path), {})

    assert (read.hosts, read.services, read.fleet) == ((), (), None)


def test_hosts_and_services_come_from_what_was_last_read_and_are_not_written_out(tmp_path: Path) -> None:
    path = written(tmp_path)
    fleet_file.keep(tmp_path / "state", SNAPSHOT)

    read = config.load(path, {})

    assert [each.name for each in read.hosts] == ["i-1", "i-3"]
    assert [each.name for each in read.services] == ["model-i-1"]
    assert isinstance(read.hosts[0].access, SshAccess)
    assert Path(read.hosts[0].access.known_hosts).read_text() == fleet.known_hosts(SNAPSHOT)
    path.write_text(settings.as_yaml(read))
    assert config.load(path, {}) == read


def test_what_people_declare_under_the_same_name_stays_theirs(tmp_path: Path) -> None:
    path = written(tmp_path, "hosts:\n  i-1: {}\n")
    fleet_file.keep(tmp_path / "state", SNAPSHOT)

    read = config.load(path, {})

    assert [(each.name, type(each.access).__name__) for each in read.hosts] == [("i-1", "Here"), ("i-3", "SshAccess")]


def test_another_fleet_takes_the_place_of_the_last(tmp_path: Path) -> None:
    path = written(tmp_path)
    fleet_file.keep(tmp_path / "state", SNAPSHOT)
    read = config.load(path, {})

    later = config.with_fleet(read, replace(SNAPSHOT, members=SNAPSHOT.members[2:]))

    assert [each.name for each in later.hosts] == ["i-3"]
    assert later.services == ()


def test_a_kept_inventory_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = written(tmp_path)
    fleet_file.keep(tmp_path / "state", SNAPSHOT)
    (tmp_path / "state/fleet/fleet.json").write_text("{")

    with pytest.raises(
        ConfigError, match=r"^cannot read .*fleet.json: .*; delete it, and `medic inventory sync` reads it anew$"
    ):
        config.load(path, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fleet: {region: us-east-1}", "fleet.ssm_parameter"),
        ("fleet: {ssm_parameter: inventory, region: us-east-1}", "is no name of an SSM parameter"),
        ("fleet: {ssm_parameter: /a/b, region: mars}", "is no region"),
        ("fleet: {ssm_parameter: /a/b, region: us-east-1, on_drought: never}", "on_drought"),
        ("fleet: {ssm_parameter: /a/b, region: us-east-1, money_per_day: -1}", "money_per_day"),
    ],
)
def test_refuses_an_inventory_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "medic.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError) as refused:
        config.load(path, {})

    assert said in str(refused.value)
