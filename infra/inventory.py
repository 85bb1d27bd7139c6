"""What the stack tells the agent: one versioned JSON document, exported and kept as an SSM parameter.

The program writes it, the agent reads it; neither needs the other's tools. Hosts are not in it: they come and go, and the
agent lists them from the group. Imports no Pulumi.
"""

import json
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

VERSION = 1
"""Raised when a reader of the last version would misunderstand a document; a new optional field does not raise it."""
LARGEST = 4096
"""Bytes of a standard SSM parameter (AWS Systems Manager quotas)."""


class InventoryError(ValueError):
    """An inventory that cannot be used; the text is the whole message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The inference server that runs on every host of the fleet.

    container: its name there. image: pinned by digest. ready_path: what its balancer asks.
    name: the model of the tiny request, empty where `ready_path` alone says "warm".
    """

    container: str
    image: str
    port: int
    ready_path: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """One stack, as the agent needs it. Ends of text fields: names and URLs as AWS gives them; empty where there is none.

    group, burst_group: Auto Scaling groups. launch_hook, drain_hook: their lifecycle hooks.
    host_keys: the SSM path under which each host publishes its SSH host key as `<instance id>`.
    warm_up_seconds, drain_seconds: how long the hooks hold.
    From hosts_security_group on: what `medic infra drift` expects of the live stack beside the rest, as the settings of the same
    names say it; empty and -1 where the program that wrote it did not say.
    """

    stack: str
    region: str
    group: str
    burst_group: str
    launch_hook: str
    drain_hook: str
    queue_url: str
    dead_letter_url: str
    bucket: str
    log_group: str
    metric_namespace: str
    target_group_arn: str
    host_keys: str
    ssh_user: str
    warm_up_seconds: int
    drain_seconds: int
    on_demand_base: int
    max_size: int
    model: Model
    hosts_security_group: str = ""
    agent_security_group: str = ""
    balancer_security_group: str = ""
    on_demand_percent: int = -1
    min_size: int = -1
    burst_max_size: int = -1
    volume_gib: int = -1
    instance_types: tuple[str, ...] = ()
    ami_id: str = ""
    sleep_cron: str = ""


def render(inventory: Inventory) -> str:
    """Return the document. Raises InventoryError when it is too large for a standard parameter."""
    text = json.dumps({"version": VERSION, **asdict(inventory)}, separators=(",", ":"), sort_keys=True)
    if len(text.encode()) > LARGEST:
        raise InventoryError(f"cannot write inventory: it has {len(text.encode())} bytes, and a parameter holds {LARGEST}")
    return text


def parse(text: str) -> Inventory:
    """Return the inventory that `text` holds. Unknown fields are left out: a newer program may add some.

    Raises InventoryError: not JSON, a newer version, a field missing or of another type.
    """
    try:
        document = json.loads(text)
    except ValueError as exc:
        raise InventoryError(f"cannot read inventory: it is not JSON ({exc})") from exc
    if not isinstance(document, dict):
        raise InventoryError("cannot read inventory: it is not a JSON object")
    version = document.get("version")
    if isinstance(version, int) and version > VERSION:
        raise InventoryError(f"cannot read inventory: it is version {version} and this Medic knows {VERSION}; update Medic")
    if version != VERSION:
        raise InventoryError(f"cannot read inventory: its version is {version!r} and must be {VERSION}")
    model = document.get("model")
    if not isinstance(model, dict):
        raise InventoryError("cannot read inventory: `model` must be an object")
    return Inventory(**_fields(Inventory, document, leave="model"), model=Model(**_fields(Model, model)))


def _fields(kind: type[Any], document: dict[str, Any], leave: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in fields(kind):
        if each.name == leave:
            continue
        if each.name not in document and each.default is not MISSING:
            continue
        value = document.get(each.name)
        if isinstance(each.default, tuple):
            if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                raise InventoryError(f"cannot read inventory: `{each.name}` must be a list of texts, not {value!r}")
            found[each.name] = tuple(value)
            continue
        wanted, words = (int, "a whole number") if each.type is int else (str, "a text")
        # JSON's true is an int to Python and is none here.
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise InventoryError(f"cannot read inventory: `{each.name}` must be {words}, not {value!r}")
        found[each.name] = value
    return found
