"""`medic cost`: what asking models, and what else Medic buys, came to."""

from datetime import timedelta
from typing import Annotated

import typer

from agent.cli import options


def cost(
    ctx: typer.Context,
    by: Annotated[str, typer.Option("--by", help="incident, day (UTC) or model.", metavar="WORD")] = "day",
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="How far back.")] = 30,
    as_json: options.Json = False,
) -> None:
    """Show what Medic has spent: calls, tokens and US dollars.

    A call that a crash cut counts at the most it could have cost. `~` marks what a provider did not say.
    """
    from agent import spending, yaml_text
    from agent.cli import screen
    from agent.errors import ConfigError
    from agent.wiring import clock, keeping

    if by not in spending.BY:
        raise ConfigError(f"cannot show costs by {by!r}{yaml_text.mean(by, spending.BY)}; there are {', '.join(spending.BY)}")
    with keeping.open_store(options.settings(ctx)) as store:
        lines = spending.bill(store.spending.since(clock.CLOCK.now() - timedelta(days=days)), by)
    if as_json or options.given(ctx).as_json:
        screen.print_json(lines)
    elif not lines:
        typer.echo(f"nothing was spent within {days} days")
    else:
        screen.console().print(screen.costs_table(by, lines))
        typer.echo(f"total ${spending.total(lines):.4f} within {days} days")
