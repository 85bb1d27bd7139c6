"""What every command shares: the global options and how a command reads them. Imported by each command, so it stays light."""

import getpass
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.settings import Settings

WELL = 0
SICK = 1
BAD_INPUT = 2
CANNOT_LOOK = 3
REFUSED = 4

EXIT_CODES = """\
Exit codes: 0 well or done; 1 something is sick, an attempt was not enough, or a check of Medic's failed; 2 bad input or
configuration; 3 cannot look, or the machine lacks something; 4 refused or held."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Service = Annotated[str, typer.Argument(help="Name of a service.", metavar="SERVICE")]
Approval = Annotated[str, typer.Argument(help="Id of a request for approval, for example A3.", metavar="ID")]
Why = Annotated[str, typer.Option("--why", help="The reason, for whoever reads the incident.", metavar="TEXT")]


@dataclass(frozen=True, slots=True)
class Options:
    """The options in front of the command."""

    config: Path | None = None
    as_json: bool = False
    verbose: bool = False


def given(ctx: typer.Context) -> Options:
    """Return the global options of this call."""
    options = ctx.find_root().obj
    return options if isinstance(options, Options) else Options()


def settings(ctx: typer.Context) -> "Settings":
    """Read medic.yaml and the environment. Raises ConfigError."""
    from agent.wiring import reading

    return reading.settings(given(ctx).config)


def pairs(set_: list[str] | None) -> tuple[tuple[str, str], ...]:
    """Return the values of `--set NAME=VALUE`. Raises ConfigError."""
    from agent.errors import ConfigError
    from agent.redact import holds_secret

    found = []
    for text in set_ or ():
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise ConfigError(f"cannot read --set {text!r}: write NAME=VALUE")
        if holds_secret((value, text)):
            raise ConfigError(f"cannot set {name!r}: its value is a secret, and what is asked for is stored and shown")
        found.append((name, value))
    return tuple(found)


def login() -> str:
    """Return the name of the person at the keyboard, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
