"""A fleet as the stack's inventory and its groups tell of it, as hosts and services: what `medic.yaml` need not say. Pure.

In: the inventory document, the live members, the SSH keys that hosts published. Out: a `Snapshot`, its text in the state folder,
and what `config` puts beside what people declare. A host whose key nobody published is none: the first answer on port 22 is
never trusted.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any  # JSON that we wrote

from agent import codec
from agent.model import (
    Check,
    CompletionCheck,
    ContainerCheck,
    GpuCheck,
    Host,
    HostName,
    HttpCheck,
    Member,
    Plane,
    Service,
    ServiceName,
    SshAccess,
    Thresholds,
)
from infra import inventory
from infra.inventory import Inventory

ORIGIN = "inventory"
"""`Service.origin` of what the fleet declares."""
FOLDER, FILE, KNOWN_HOSTS, KEY = "fleet", "fleet.json", "known_hosts", "ssh/id_ed25519"
"""Under the state folder."""
REQUEST = timedelta(seconds=10)
"""For one tiny completion: a busy engine answers late."""
GPUS = timedelta(seconds=30)
"""Between two looks at the cards of a host: nvidia-smi takes a second where the driver sleeps."""

_HOST_KEY = re.compile(r"(ssh-ed25519|ecdsa-sha2-nistp256|ssh-rsa) [A-Za-z0-9+/]+={0,3}")
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A fleet at one moment. keys: instance -> its SSH host key, as published."""

    inventory: Inventory
    members: tuple[Member, ...]
    keys: Mapping[str, str]
    at: datetime

    @property
    def shape(self) -> tuple[object, ...]:
        """What hosts and services depend on: where it is the same, nothing has to be built anew."""
        reached = tuple((each.instance, each.address, each.in_service, self.keys[each.instance]) for each in reachable(self))
        return (self.inventory, reached)


def text(snapshot: Snapshot) -> str:
    """Return the snapshot as the file that is kept of it."""
    return json.dumps(
        {
            "inventory": inventory.render(snapshot.inventory),
            "members": [codec.encode(each) for each in snapshot.members],
            "keys": dict(snapshot.keys),
            "at": codec.encode(snapshot.at),
        },
        indent=1,
    )


def read(kept: str) -> Snapshot:
    """Return the snapshot that `text` wrote. Raises ValueError (InventoryError is one) for anything else."""
    document: Any = json.loads(kept)
    try:
        return Snapshot(
            inventory=inventory.parse(document["inventory"]),
            members=tuple(codec.decode(each) for each in document["members"]),
            keys={str(key): str(value) for key, value in document["keys"].items()},
            at=codec.decode(document["at"]),
        )
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"it is no snapshot of a fleet: {exc}") from exc


def reachable(snapshot: Snapshot) -> tuple[Member, ...]:
    """Return the hosts that can be reached and are meant to serve, or are on their way out: not those that still warm up."""
    return tuple(
        each for each in snapshot.members if not each.coming and _ADDRESS.fullmatch(each.address) and _key(snapshot, each)
    )


def unpublished(snapshot: Snapshot) -> tuple[Member, ...]:
    """Return the hosts in service that Medic leaves alone, since no key of theirs is published."""
    return tuple(each for each in snapshot.members if each.in_service and not _key(snapshot, each))


def _key(snapshot: Snapshot, member: Member) -> str | None:
    key = snapshot.keys.get(member.instance, "")
    return key if _HOST_KEY.fullmatch(key) else None


def known_hosts(snapshot: Snapshot) -> str:
    """Return the pinned keys as ssh reads them, one line a host."""
    return "".join(f"{each.address} {_key(snapshot, each)}\n" for each in reachable(snapshot))


def hosts(snapshot: Snapshot, known: str, key_file: str | None) -> tuple[Host, ...]:
    """Return the fleet's hosts, each named after its instance. known: the path of the known_hosts file."""
    return tuple(
        Host(
            name=HostName(each.instance),
            access=SshAccess(
                address=each.address,
                user=snapshot.inventory.ssh_user,
                known_hosts=known,
                key_file=key_file,
                sudo=snapshot.inventory.ssh_user != "root",
            ),
        )
        for each in reachable(snapshot)
    )


def services(snapshot: Snapshot, interval: timedelta, *, gpus: bool = False) -> tuple[Service, ...]:
    """Return the model of each host in service, as one replica of the stack's group.

    interval: between two beats. gpus: the cards of its host are looked at as well; whether the container sees them, its
    completions tell.
    """
    return tuple(_service(snapshot.inventory, each, interval, gpus=gpus) for each in reachable(snapshot) if each.in_service)


def _service(of: Inventory, member: Member, interval: timedelta, *, gpus: bool) -> Service:
    model, slow = of.model, max(interval, timedelta(seconds=10))
    # From the host itself, so that neither the balancer nor a security group is in the way of telling what is wrong.
    base = f"http://127.0.0.1:{model.port}"
    checks: list[Check] = [
        ContainerCheck(name="container", every=interval, thresholds=Thresholds(sick_after=1)),
        HttpCheck(
            name="ready",
            every=slow,
            thresholds=Thresholds(),
            plane=Plane.HOST_PORT,
            url=base + model.ready_path,
            timeout=timedelta(seconds=2),
        ),
    ]
    if model.name:
        checks.append(
            CompletionCheck(
                name="completion",
                every=max(interval, timedelta(seconds=60)),
                thresholds=Thresholds(sick_after=3),
                url=f"{base}/v1",
                model=model.name,
                timeout=REQUEST,
                api="text",
            )
        )
    if gpus:
        checks.append(GpuCheck(name="gpu", every=max(interval, GPUS), thresholds=Thresholds(sick_after=2), in_container=False))
    return Service(
        name=ServiceName(f"{model.container}-{member.instance}"),
        host=HostName(member.instance),
        container=model.container,
        checks=tuple(checks),
        group=of.stack,
        origin=ORIGIN,
    )
