"""What a stack may be made from, and the sentence for each value it may not."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra import settings

IMAGE = "registry.example/vllm@sha256:" + "a" * 64
ROOT = Path(__file__).parents[2]


def made(**values: Any) -> settings.FleetSettings:
    return settings.from_mapping({"image": IMAGE, **values}, stack="test", region="us-east-1")


def test_the_smallest_configuration_is_one_pinned_image() -> None:
    fleet = made()

    assert (fleet.name, fleet.group_name, fleet.pools, fleet.spot_at_most) == ("medic-test", "medic-test-gpu", 18, 3)


def test_pulumi_yaml_declares_exactly_our_settings_and_their_defaults() -> None:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    ours = {key.removeprefix("medic:"): each for key, each in declared.items() if key.startswith("medic:")}

    assert set(ours) == set(settings.keys())
    assert {key: each["default"] for key, each in ours.items() if "default" in each} == settings.defaults()


def test_numbers_may_come_as_text_as_pulumi_hands_them_over() -> None:
    assert made(maxSize="8", backlogPerReplica="2.5") == made(maxSize=8, backlogPerReplica=2.5)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image": "vllm:latest"}, "medic:image: 'vllm:latest' is not pinned; write NAME@sha256:DIGEST"),
        ({"image": ""}, "medic:image: it is missing"),
        ({"instanceTypes": []}, "medic:instanceTypes: name at least one"),
        ({"instanceTypes": ["g5"]}, "'g5' is no instance type"),
        ({"instanceTypes": ["g5.xlarge", "g5.xlarge"]}, "'g5.xlarge' is there twice"),
        ({"instanceTypes": ["g5.xlarge", "g5g.xlarge"]}, "g5g.xlarge are arm64 and the others x86_64"),
        ({"instanceTypes": ["g5.xlarge"], "zones": 1}, "g5.xlarge in one zone is one spot pool"),
        ({"instanceTypes": "g5.xlarge"}, "'g5.xlarge' is not a list of texts"),
        ({"agentWheel": "dist/medic.tar.gz"}, "medic:agentWheel: 'dist/medic.tar.gz' is no wheel"),
        ({"agentType": "small"}, "medic:agentType: 'small' is no instance type"),
        ({"agentType": "t4g.small"}, "medic:agentType: t4g.small is arm64, and the agent's AMI is x86_64"),
        ({"agentVolumeGib": 4}, "medic:agentVolumeGib: 4 is not 8 to 1024"),
        ({"agentAmiId": "debian"}, "medic:agentAmiId: 'debian' is no AMI id"),
        ({"agentAmiParameter": "debian"}, "medic:agentAmiParameter: name an SSM parameter"),
        ({"zones": 7}, "medic:zones: 7 is not 1 to 6"),
        ({"zones": 1, "balancer": "public"}, "medic:zones: a balancer needs 2 or more"),
        ({"maxSize": 0}, "medic:maxSize: 0 is under 1"),
        ({"minSize": 5}, "medic:minSize: 5 is not 0 to maxSize (4)"),
        ({"onDemandBase": 5}, "medic:onDemandBase: 5 is not 0 to maxSize (4)"),
        ({"onDemandBase": 4}, "not one host would be spot"),
        ({"onDemandPercentAboveBase": 100}, "not one host would be spot"),
        ({"onDemandPercentAboveBase": 101}, "101 is not 0 to 100"),
        ({"maxSize": "four"}, "medic:maxSize: 'four' is not a whole number"),
        ({"maxSize": True}, "medic:maxSize: True is not a whole number"),
        ({"warmUpSeconds": 7201}, "medic:warmUpSeconds: 7201 is not 30 to 7200"),
        ({"drainSeconds": 111}, "medic:drainSeconds: 111 is not 30 to 110: spot hosts go after 120 s"),
        ({"sleepCron": "at night", "wakeCron": "0 6 * * *"}, "medic:sleepCron: 'at night' is not five cron fields"),
        ({"sleepCron": "0 20 * * *"}, "medic:wakeCron: the fleet goes to sleep by sleepCron and nothing wakes it"),
        ({"timeZone": "Berlin"}, "medic:timeZone: 'Berlin' is no zone"),
        ({"port": 22}, "medic:port: 22 is not a port the model can have"),
        ({"cidr": "10.40.0.1/16"}, "medic:cidr: 10.40.0.1/16 has host bits set"),
        ({"cidr": "8.8.0.0/16"}, "medic:cidr: 8.8.0.0/16 is no private IPv4 network"),
        ({"cidr": "10.0.0.0/8"}, "medic:cidr: /8 is not /16 to /24"),
        ({"balancer": "big"}, "medic:balancer: 'big' is none of none, internal, public"),
        ({"certificateArn": "arn:aws:acm:x"}, "there is no balancer to use it"),
        ({"readyPath": "health"}, "medic:readyPath: it must start with /"),
        ({"modelManifest": "a b"}, "medic:modelManifest: only letters, digits"),
        ({"noticeEmail": "me"}, "medic:noticeEmail: 'me' is no address"),
        ({"amiId": "latest"}, "medic:amiId: 'latest' is no AMI id"),
        ({"volumeGib": 8}, "medic:volumeGib: 8 is not 30 to 16384"),
        ({"burstMaxSize": -1}, "medic:burstMaxSize: -1 is not 0 to 20"),
        ({"monthlyBudgetUsd": 0}, "medic:monthlyBudgetUsd: 0 is under 1"),
        ({"backlogPerReplica": 0}, "medic:backlogPerReplica: 0.0 is not over 0"),
        ({"spotPrice": 1}, "medic:spotPrice: there is none; known are"),
    ],
)
def test_refuses_with_one_sentence_that_names_the_key(values: dict[str, Any], said: str) -> None:
    with pytest.raises(settings.SettingsError, match=r"^cannot use setting medic:") as refused:
        made(**values)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("stack", ["Prod", "a" * 20, "dev_1", "dev-"])
def test_refuses_a_stack_whose_name_aws_would_not_take(stack: str) -> None:
    with pytest.raises(settings.SettingsError, match="24 characters at most"):
        settings.from_mapping({"image": IMAGE}, stack=stack, region="us-east-1")


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, "the AMI is whatever amiParameter names"),
        ({"instanceTypes": ["g5.xlarge"]}, "only 3 spot pools (g5.xlarge in 3 zones)"),
        ({"onDemandBase": 0}, "a spot drought leaves no host at all"),
        ({"balancer": "public"}, "the public balancer speaks plain HTTP"),
        ({}, "nobody hears of the budget"),
    ],
)
def test_warns_of_what_is_allowed_and_unwise(values: dict[str, Any], warned: str) -> None:
    assert any(warned in each for each in made(**values).warnings())


def test_a_careful_configuration_is_warned_of_nothing() -> None:
    careful = made(
        amiId="ami-0123", balancer="public", certificateArn="arn:aws:acm:x", noticeEmail="ops@example.com", agentWheel="m.whl"
    )

    assert careful.warnings() == ()


def test_a_stack_file_is_read_as_pulumi_would(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(f"config:\n  aws:region: eu-west-1\n  medic:image: {IMAGE}\n  medic:maxSize: 6\n  other:key: 1\n")

    read = settings.from_stack_file(path)

    assert (read.name, read.region, read.max_size) == ("medic-dev", "eu-west-1", 6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no `config:`"),
        ("config: [", "cannot read stack file"),
        ("config: {medic:image: {secure: x}}", "is not a text"),
    ],
)
def test_refuses_a_stack_file_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(text)

    with pytest.raises(settings.SettingsError, match=said):
        settings.from_stack_file(path)


def test_the_example_stack_file_is_good_once_its_image_is_filled_in() -> None:
    text = (ROOT / "infra/stacks/Pulumi.example.yaml").read_text()
    values = {
        key.removeprefix("medic:"): each for key, each in yaml.safe_load(text)["config"].items() if key.startswith("medic:")
    }

    assert dataclasses.is_dataclass(made(**{**values, "image": IMAGE}))
