"""What travels with Medic: the catalogue, its playbooks, the rules and the golden cases; from a checkout or from a wheel."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import ConfigError
from agent.model import Rule, Runbook

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.model import Golden

PACKAGE = Path(__file__).parents[1]


def folder(name: str) -> Path:
    """Return the folder `runbooks` or `ansible`: inside the package when installed from a wheel, else beside it."""
    inside = PACKAGE / "_shipped" / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def runbooks() -> tuple[Runbook, ...]:
    """Load the catalogue: of the checkout, or the one that travels in the wheel. Raises ConfigError."""
    from agent import runbook_file

    return runbook_file.load_runbooks(folder("runbooks"), folder("ansible") / "playbooks")


def rules() -> tuple[Rule, ...]:
    """Load the diagnosis rules that travel in the package. Raises ConfigError."""
    from agent import rule_file

    return rule_file.load_rules(PACKAGE / "rules")


def golden_cases(place: Path | None) -> "tuple[Golden, ...]":
    """Load the golden cases that ship, or those of a file or folder. Raises ConfigError."""
    from agent import golden_file

    if place is None:
        return golden_file.load(PACKAGE / "golden")
    return golden_file.load(place) if place.is_dir() else golden_file.read(place)


def record_tested(passed: Iterable[Runbook]) -> Path:
    """Write the file TESTED beside the runbooks, with those that passed now; return its path. Raises ConfigError."""
    from agent import runbook_file

    path = folder("runbooks") / runbook_file.TESTED
    try:
        path.write_text(runbook_file.tested_text(runbooks(), passed), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return path
