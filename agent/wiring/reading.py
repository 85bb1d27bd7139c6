"""What people wrote: medic.yaml, the environment, and the inventories that they name; settings out."""

from collections.abc import Mapping
from pathlib import Path

from agent.errors import ConfigError
from agent.model import AnsibleSource, Ec2Source, Inventory
from agent.settings import Settings
from agent.wiring import shipped


def settings(config: Path | None) -> Settings:
    """Read medic.yaml and the environment. Raises ConfigError."""
    from agent import config as config_file

    loaded = config_file.load(config, inventory=_inventory)
    _refuse_unknown_runbooks(loaded)
    return loaded


def _inventory(inventory: Inventory) -> Mapping[str, object]:
    """Read what an inventory declares. Raises ConfigError, or OutsideError where it cannot be asked."""
    match inventory.source:
        case AnsibleSource() as source:
            from agent.adapters import ansible_inventory

            return ansible_inventory.read(inventory, source)
        case Ec2Source() as source:
            from agent.adapters import ec2_inventory

            return ec2_inventory.read(inventory, source)


def _refuse_unknown_runbooks(using: Settings) -> None:
    """Refuse a mode for a runbook that there is not: a slip would let the one that was meant run unasked."""
    from agent import yaml_text

    named = [("runbooks", id_) for id_, _ in using.permissions.runbook_modes]
    named += [(f"services.{service.name}.runbooks", id_) for service in using.services for id_, _ in service.runbook_modes]
    known = [str(runbook.id) for runbook in shipped.runbooks()] if named else []
    for place, id_ in named:
        if id_ not in known:
            raise ConfigError(f"cannot read {using.file}: {place}: there is no runbook {id_!r}{yaml_text.mean(id_, known)}")
