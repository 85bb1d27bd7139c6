"""`medic doctor`: what is missing, and how to get it."""

import typer

from agent.cli import options


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
                to.print(screen.found_line(found), soft_wrap=not to.is_terminal)
    if lines:
        screen.print_json(answers)
    raise typer.Exit(options.WELL if all(found.well or not found.needed for found in answers) else options.CANNOT_LOOK)
