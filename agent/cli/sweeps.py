"""`medic sweeps`: the latest sweep reports."""

from typing import Annotated

import typer

from agent.cli import options


def sweeps(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, newest first.")] = 20,
    as_json: options.Json = False,
) -> None:
    """Show the latest sweep reports.

    What was checked, what had issues, what was healed, and what is not as recorded.
    """
    from agent.cli import screen
    from agent.wiring import keeping

    with keeping.open_store(options.settings(ctx)) as store:
        reports = store.sweeps.latest(limit)
    if as_json or options.given(ctx).as_json:
        screen.print_json(reports)
    elif reports:
        screen.console().print(screen.sweeps_table(reports))
    else:
        typer.echo("no sweeps yet: `medic watch` makes them")
