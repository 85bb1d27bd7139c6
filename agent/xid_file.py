"""Reads NVIDIA's table of Xids, `agent/gpu/xids.yaml`: dated data, since NVIDIA adds to it with every driver."""

from pathlib import Path

import yaml

from agent.errors import ConfigError
from agent.gpu.xids import Catalogue, Entry
from agent.model import XidAction

FILE = Path(__file__).parent / "gpu" / "xids.yaml"


def load(file: Path = FILE) -> Catalogue:
    """Return the catalogue. Raises ConfigError naming the number and what is wrong with it."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"cannot load {file}: {exc}") from exc
    if not isinstance(content, dict) or not isinstance(content.get("xids"), dict):
        raise ConfigError(f"cannot load {file}: it needs `source`, `read` and a table `xids`")
    entries = {}
    for number, row in content["xids"].items():
        known = [action.value for action in XidAction]
        if not isinstance(number, int) or not isinstance(row, dict) or row.get("action") not in known:
            raise ConfigError(f"cannot load {file}: xids.{number}: needs an `action`, one of {', '.join(known)}")
        entries[number] = Entry(action=XidAction(row["action"]), meaning=str(row.get("meaning", "")))
    return Catalogue(source=str(content.get("source", "")), read=str(content.get("read", "")), entries=entries)
