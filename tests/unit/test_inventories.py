"""Hosts and services that are declared beside medic.yaml: how they join it, and what is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent import config
from agent.adapters import ansible_inventory
from agent.errors import ConfigError
from agent.model import AnsibleSource, Here, HostName, Inventory, RunSpec, ServiceName, SsmAccess
from agent.settings import Settings

MEDIC = """
state_dir: state
hosts: {local: {}}
inventories:
  lab: {ansible: ./hosts.yml, user: medic, known_hosts: ./known_hosts}
services: {web: {host: local}}
"""
SSH = {"address": "10.0.0.1", "user": "medic", "known_hosts": "/k"}


def load(folder: Path, found: Mapping[str, Any], text: str = MEDIC) -> Settings:
    (folder / "medic.yaml").write_text(text)
    for name in ("hosts.yml", "known_hosts", "k"):
        (folder / name).write_text("")
    found = {**found, "hosts": {name: _known(host, folder) for name, host in found.get("hosts", {}).items()}}
    return config.load(folder / "medic.yaml", {}, inventory=lambda _: found)


def _known(host: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {**host, "ssh": {**host["ssh"], "known_hosts": str(folder / "k")}} if "ssh" in host else host


def test_what_an_inventory_declares_stands_beside_medic_yaml_and_says_where_it_came_from(tmp_path: Path) -> None:
    settings = load(tmp_path, {"hosts": {"gpu-1": {"ssh": SSH}}, "services": {"llm": {"host": "gpu-1", "container": "llm"}}})

    assert [(host.name, host.origin) for host in settings.hosts] == [
        (HostName("local"), "medic.yaml"),
        (HostName("gpu-1"), "inventory lab"),
    ]
    llm = next(service for service in settings.services if service.name == ServiceName("llm"))
    assert (llm.host, llm.origin) == ("gpu-1", "inventory lab")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"hosts": {"local": {}}}, "inventories.lab: host 'local' is declared by .*medic.yaml as well: leave it out of one"),
        ({"hosts": {"gpu-1": {}}, "services": {"web": {"host": "gpu-1"}}}, "service 'web' is declared by .*medic.yaml as well"),
        ({"hosts": {"gpu-1": {"sssh": {}}}}, "inventories.lab: hosts.gpu-1.sssh: .*did you mean 'ssh'"),
        ({"hosts": {"gpu-1": {"ssh": {**SSH, "address": "-oProxyCommand=evil"}}}}, "is no name or address of a host"),
    ],
)
def test_what_clashes_or_is_wrong_is_one_sentence(found: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, found)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{}", "name one source: ansible, or ec2"),
        ("{ansible: ./no.ini}", "inventories.lab.ansible: there is no file or folder .*no.ini"),
        ("{ec2: {region: eu-west-1, tags: {medic: 'yes'}}}", "hosts that are reached over SSH need user and known_hosts"),
        ("{ec2: {region: eu-west-1, tags: {}}}", "inventories.lab.ec2.tags"),
    ],
)
def test_an_inventory_that_cannot_be_one_is_refused_with_its_key(entry: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        load(tmp_path, {}, f"state_dir: state\ninventories: {{lab: {entry}}}\n")


@pytest.mark.parametrize(
    ("given", "group", "more", "says"),
    [
        ({}, "web", {}, "has no group 'web'"),
        ({"ansible_port": "ssh"}, "all", {}, "host 'gpu-1' has the port 'ssh', which is no number"),
        ({"ansible_connection": "winrm"}, "all", {}, "ansible_connection 'winrm'"),
        ({}, "all", {"user": None}, "host 'gpu-1' has no ansible_user: give `user` beside `ansible`"),
        ({}, "all", {"known_hosts": None}, "no file with its pinned key: give `known_hosts` beside"),
        ({"medic_services": "web"}, "all", {}, "medic_services of host 'gpu-1' must be a mapping"),
    ],
)
def test_what_medic_cannot_use_is_one_sentence(given: dict[str, Any], group: str, more: dict[str, Any], says: str) -> None:
    source = AnsibleSource(path="/hosts.ini", group=group)
    inventory = Inventory(name="lab", source=source, **{"user": "medic", "known_hosts": "/k", **more})
    document = {"_meta": {"hostvars": {"gpu-1": given}}, "all": {"children": ["ungrouped"]}, "ungrouped": {"hosts": ["gpu-1"]}}

    with pytest.raises(ConfigError, match=says):
        ansible_inventory.declared(inventory, source, document)


def test_hosts_of_an_inventory_are_reached_through_its_jump_host_and_the_jump_host_itself_is_not() -> None:
    source = AnsibleSource(path="/hosts.ini", group="all")
    inventory = Inventory(name="lab", source=source, user="medic", known_hosts="/k", jump="gate")
    document = {"_meta": {"hostvars": {"gate": {"medic_docker": "none"}}}, "all": {"hosts": ["gate", "gpu-1"]}}

    found = ansible_inventory.declared(inventory, source, document)["hosts"]

    assert found["gpu-1"]["ssh"]["jump"] == "gate"
    assert "jump" not in found["gate"]["ssh"]
    assert found["gate"]["docker"] == "none"


def test_a_jump_host_that_nobody_declares_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hosts.gpu-1.ssh.jump: there is no host 'gate' that is reached over SSH"):
        load(tmp_path, {"hosts": {"gpu-1": {"ssh": {**SSH, "jump": "gate"}}}})


def test_an_inventory_without_a_host_is_a_mistake_and_not_an_empty_fleet() -> None:
    source = AnsibleSource(path="/hosts.ini", group="all")
    with pytest.raises(ConfigError, match="names no host in group 'all'"):
        ansible_inventory.declared(Inventory(name="lab", source=source), source, {"all": {"children": ["ungrouped"]}})


def test_an_instance_joins_medic_yaml_through_systems_manager(tmp_path: Path) -> None:
    one = "i-0123456789abcdef0"
    settings = load(tmp_path, {"hosts": {"gpu-1": {"ssm": {"instance": one, "region": "eu-west-1"}}}})

    assert {type(host.access) for host in settings.hosts} == {Here, SsmAccess}
    assert next(host.access for host in settings.hosts if host.name == "gpu-1") == SsmAccess(instance=one, region="eu-west-1")


def test_files_of_a_service_on_another_host_are_named_as_that_host_knows_them(tmp_path: Path) -> None:
    def services(path: str) -> dict[str, Any]:
        return {"llm": {"host": "gpu-1", "container": "llm", "run": {"image": "x", "env_files": [path]}}}

    settings = load(tmp_path, {"hosts": {"gpu-1": {"ssh": SSH}}, "services": services("/etc/llm.env")})
    spec = settings.services[1].spec
    assert isinstance(spec, RunSpec)
    assert spec.env_files == ("/etc/llm.env",)

    with pytest.raises(ConfigError, match=r"services.llm.run.env_files.0.: './llm.env' is read on the service's host"):
        load(tmp_path, {"hosts": {"gpu-1": {"ssh": SSH}}, "services": services("./llm.env")})
