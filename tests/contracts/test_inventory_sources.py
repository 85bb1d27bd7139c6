"""Inventories as they really are: Ansible reads its own, and EC2 answers (moto)."""

from pathlib import Path
from typing import Any

import boto3
import moto
import pytest

from agent.adapters import ansible_inventory, ec2_inventory
from agent.errors import ConfigError
from agent.model import AnsibleSource, Ec2Source, Inventory

# ---------------------------------------------------------------------------------------------------------------- Ansible

INI = """
bastion ansible_host=192.0.2.1 ansible_user=door
[gpu]
gpu-1 ansible_host=10.0.3.7 ansible_port=2222 medic_docker=unix:///run/user/docker.sock
gpu-2 ansible_become=true ansible_ssh_private_key_file=keys/id
[gpu:vars]
ansible_user=ops
[here]
me ansible_connection=local
"""
YAML = """
all:
  hosts:
    gpu-1:
      ansible_host: 10.0.3.7
      medic_services:
        llm: {container: llm, checks: [{kind: http, url: 'http://10.0.3.7:8000/health'}]}
"""


def ansible(file: Path, group: str = "all", **more: Any) -> dict[str, dict[str, Any]]:
    source = AnsibleSource(path=str(file), group=group)
    given = {"user": "medic", "known_hosts": "/etc/medic/known_hosts", **more}
    return ansible_inventory.read(Inventory(name="lab", source=source, **given), source)


def test_an_ini_inventory_says_how_each_host_of_a_group_is_reached(tmp_path: Path) -> None:
    (tmp_path / "hosts.ini").write_text(INI)

    hosts = ansible(tmp_path / "hosts.ini")["hosts"]

    assert sorted(hosts) == ["bastion", "gpu-1", "gpu-2", "me"]
    assert hosts["me"] == {}
    assert hosts["gpu-1"] == {
        "docker": "unix:///run/user/docker.sock",
        "ssh": {"address": "10.0.3.7", "user": "ops", "known_hosts": "/etc/medic/known_hosts", "port": 2222, "sudo": False},
    }
    assert hosts["gpu-2"]["ssh"]["sudo"] is True
    assert hosts["gpu-2"]["ssh"]["key_file"] == str(tmp_path / "keys/id")
    assert sorted(ansible(tmp_path / "hosts.ini", "gpu")["hosts"]) == ["gpu-1", "gpu-2"]


def test_services_stand_with_their_host(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text(YAML)

    services = ansible(tmp_path / "hosts.yml")["services"]

    assert services["llm"]["host"] == "gpu-1"
    assert services["llm"]["checks"][0]["kind"] == "http"


def test_an_inventory_runs_nothing_and_fills_in_nothing(tmp_path: Path) -> None:
    script = tmp_path / "hosts.sh"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n")
    script.chmod(0o755)
    with pytest.raises(ConfigError, match="cannot read inventory 'lab': "):
        ansible(script)
    assert not (tmp_path / "ran").exists()

    (tmp_path / "hosts.yml").write_text(
        f"all: {{hosts: {{a: {{ansible_host: \"{{{{ lookup('pipe', 'touch {tmp_path}/ran') }}}}\"}}}}}}"
    )
    with pytest.raises(ConfigError, match="ansible_host of host 'a' is a template: Medic fills in none"):
        ansible(tmp_path / "hosts.yml")
    assert not (tmp_path / "ran").exists()


# -------------------------------------------------------------------------------------------------------------------- EC2


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_SESSION_TOKEN", "testing"),
    ):
        monkeypatch.setenv(name, value)
    with moto.mock_aws():
        yield boto3.client("ec2", region_name="eu-west-1")


def launch(cloud: Any, *names: str | None, medic: str = "yes") -> list[str]:
    image = cloud.describe_images()["Images"][0]["ImageId"]
    ids = []
    for name in names:
        tags = [{"Key": "medic", "Value": medic}, *([] if name is None else [{"Key": "Name", "Value": name}])]
        made = cloud.run_instances(
            ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
        )
        ids.append(made["Instances"][0]["InstanceId"])
    return ids


def ec2(**more: Any) -> dict[str, Any]:
    source = Ec2Source(**{"region": "eu-west-1", "tags": (("medic", "yes"),), "public": False, "ssm": False, **more})
    inventory = Inventory(name="cloud", source=source, user="ubuntu", known_hosts="/k")
    return ec2_inventory.read(inventory, source)["hosts"]


def test_running_instances_with_the_tags_are_hosts(cloud: Any) -> None:
    one, two, twin, nameless, stopped = launch(cloud, "gpu-1", "twin", "twin", None, "gone")
    launch(cloud, "other", medic="no")
    cloud.stop_instances(InstanceIds=[stopped])

    hosts = ec2()

    assert set(hosts) == {"gpu-1", two, twin, nameless}
    assert hosts["gpu-1"]["ssh"]["address"].startswith("10.")
    assert hosts["gpu-1"]["ssh"]["user"] == "ubuntu"
    assert ec2(ssm=True)["gpu-1"] == {"ssm": {"instance": one, "region": "eu-west-1"}}


def test_more_instances_than_can_be_meant_are_a_sentence_and_not_a_part_of_the_fleet(
    cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2_inventory, "MOST", 2)
    launch(cloud, "one", "two", "three")
    with pytest.raises(ConfigError, match="more than 2 running instances have its tags: name tags that fewer have"):
        ec2()


def test_instances_are_reached_through_the_jump_host_of_their_inventory(cloud: Any) -> None:
    launch(cloud, "gate", "gpu-1")
    source = Ec2Source(region="eu-west-1", tags=(("medic", "yes"),), public=False, ssm=False)
    inventory = Inventory(name="cloud", source=source, user="ubuntu", known_hosts="/k", jump="gate")
    hosts = ec2_inventory.read(inventory, source)["hosts"]
    assert {name: host["ssh"].get("jump") for name, host in hosts.items()} == {"gate": None, "gpu-1": "gate"}


def test_no_instance_is_a_sentence_and_not_an_empty_fleet(cloud: Any) -> None:
    with pytest.raises(ConfigError, match="no running instance in eu-west-1 has the tags medic=yes"):
        ec2()
