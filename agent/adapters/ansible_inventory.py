"""Hosts and services from an Ansible inventory: what Ansible itself reads in it, in the shape of medic.yaml.

In: a file or folder in ini or YAML. Out: `hosts` and `services`. `ansible-inventory` reads it, bounded, with the plugins for those
two formats alone: nothing in it is run, and no template is filled in; one that would have to be is refused.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any  # what an inventory holds is checked against the shape of medic.yaml, not here

from agent.errors import ConfigError, OutsideError
from agent.model import AnsibleSource, Inventory

WITHIN = 30
"""Seconds. It takes 0.7 here, most of it to start."""
DOCKER = "medic_docker"
SERVICES = "medic_services"
"""The variables of a host that are Medic's own: its engine's socket, and its services as in medic.yaml."""


def read(inventory: Inventory, source: AnsibleSource) -> dict[str, dict[str, Any]]:
    """Return the hosts of a group and their services. Raises ConfigError, or OutsideError when Ansible does not answer."""
    return declared(inventory, source, _ask(inventory, source))


def declared(inventory: Inventory, source: AnsibleSource, document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the answer of `ansible-inventory --list` declares. Pure. Raises ConfigError."""
    variables = document.get("_meta", {}).get("hostvars", {})
    if source.group != "all" and source.group not in document:
        raise _wrong(inventory, f"{source.path} has no group {source.group!r}")
    hosts: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for name in sorted(set(_members(document, source.group))):
        given = variables.get(name, {})
        hosts[name] = _host(inventory, name, given)
        for service, declared in _plain(inventory, name, SERVICES, given.get(SERVICES) or {}).items():
            if service in services:
                raise _wrong(inventory, f"service {service!r} is declared on {services[service]['host']} and on {name}")
            services[service] = {**(declared or {}), "host": name}
    if not hosts:
        raise _wrong(inventory, f"{source.path} names no host in group {source.group!r}")
    return {"hosts": hosts, "services": services}


def _host(inventory: Inventory, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    def of(*names: str) -> Any:
        return next((_plain(inventory, name, each, given[each]) for each in names if each in given), None)

    host: dict[str, Any] = {"docker": docker} if (docker := of(DOCKER)) is not None else {}
    connection = of("ansible_connection")
    if connection == "local":
        return host
    if connection not in (None, "ssh", "smart", "paramiko", "paramiko_ssh"):
        raise _wrong(inventory, f"host {name!r} has ansible_connection {connection!r}: Medic reaches hosts over SSH or locally")
    user, known_hosts = of("ansible_user", "ansible_ssh_user") or inventory.user, inventory.known_hosts
    if user is None or known_hosts is None:
        lacks = "no ansible_user: give `user`" if user is None else "no file with its pinned key: give `known_hosts`"
        raise _wrong(inventory, f"host {name!r} has {lacks} beside `ansible`")
    key_file = of("ansible_ssh_private_key_file", "ansible_private_key_file")
    if key_file is not None:
        key_file = str((Path(_folder(inventory)) / Path(str(key_file)).expanduser()).absolute())
    port, become = of("ansible_port", "ansible_ssh_port"), of("ansible_become")
    ssh = {
        "address": str(of("ansible_host", "ansible_ssh_host") or name),
        "user": str(user),
        "known_hosts": known_hosts,
        "key_file": key_file or inventory.key_file,
        "port": _number(inventory, name, port) if port is not None else 22,
        "jump": inventory.jump_to(name),
        "sudo": inventory.sudo if become is None else str(become).lower() in ("true", "yes", "1", "on"),
    }
    return {**host, "ssh": {key: value for key, value in ssh.items() if value is not None}}


def _number(inventory: Inventory, name: str, port: object) -> int:
    if not str(port).isascii() or not str(port).isdigit():
        raise _wrong(inventory, f"host {name!r} has the port {port!r}, which is no number")
    return int(str(port))


def _plain(inventory: Inventory, host: str, name: str, value: Any) -> Any:
    """Return a value that is what it says. Raises ConfigError for one that Ansible would have to fill in."""
    if any("{{" in text or "{%" in text for text in _texts(value)):
        raise _wrong(inventory, f"{name} of host {host!r} is a template: Medic fills in none; write what it would be")
    if name == SERVICES and not isinstance(value, dict):
        raise _wrong(inventory, f"{name} of host {host!r} must be a mapping, as `services` in medic.yaml")
    return value


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, part in value.items():
                yield str(key)
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)
        case _:
            return


def _members(document: Mapping[str, Any], group: str) -> Iterator[str]:
    """Yield the hosts of a group and of the groups in it. Ansible has refused circles."""
    found = document.get(group, {})
    yield from found.get("hosts", ())
    for child in found.get("children", ()):
        yield from _members(document, child)


def _ask(inventory: Inventory, source: AnsibleSource) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="medic-inventory-") as home:
        empty = Path(home) / "ansible.cfg"
        empty.touch()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "ANSIBLE_CONFIG": str(empty),
            "ANSIBLE_LOCAL_TEMP": home,
            "ANSIBLE_INVENTORY_ENABLED": "ini,yaml",  # never the one that runs an executable file
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        }
        program = Path(sys.executable).parent / "ansible-inventory"
        try:
            done = subprocess.run(  # noqa: S603 -- the path is a person's, in their own configuration
                [str(program), "--list", "--inventory", source.path],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=WITHIN,
                check=False,
                env=environment,
                cwd=home,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise OutsideError(f"cannot read inventory {inventory.name!r}: ansible-inventory: {exc}", transient=True) from exc
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[-300:]
        raise _wrong(inventory, f"Ansible cannot read {source.path}: {said}")
    document = json.loads(done.stdout)
    return document if isinstance(document, dict) else {}


def _folder(inventory: Inventory) -> str:
    assert isinstance(inventory.source, AnsibleSource)  # noqa: S101 -- `read` was given it
    path = Path(inventory.source.path)
    return str(path if path.is_dir() else path.parent)


def _wrong(inventory: Inventory, why: str) -> ConfigError:
    return ConfigError(f"cannot read inventory {inventory.name!r}: {why}")
