"""`medic doctor`: what is missing, and how to get it."""

from typing import TYPE_CHECKING

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from rich.text import Text

    from agent.cli.machine import Found


def doctor(ctx: typer.Context, as_json: options.Json = False) -> None:
    """Say what this machine lacks, and how to get it.

    Changes nothing, but makes an empty store where there is none.
    """
    from agent.cli import machine, screen

    settings = options.settings(ctx)
    lines = as_json or options.given(ctx).as_json
    to = screen.console()
    answers = []
    with screen.console(stderr=True).status("asking this machine"):
        for found in machine.look(settings):
            answers.append(found)
            if not lines:
                to.print(_line(found), soft_wrap=not to.is_terminal)
    if lines:
        screen.print_json(answers)
    raise typer.Exit(options.WELL if all(found.well or not found.needed for found in answers) else options.CANNOT_LOOK)


def _line(found: "Found") -> "Text":
    from rich.text import Text

    from agent.cli import screen

    word, style = ("ok", "green") if found.well else ("missing", "red") if found.needed else ("note", "yellow")
    line = Text(f"{word:<8}", style=style)
    line.append(f"{screen.plain(found.what):<18} {screen.plain(found.found)}", style="")
    if not found.well and found.how:
        line.append(f"  ({screen.plain(found.how)})", style="dim")
    return line
