"""`medic breaker`: where healing has stopped because much failed together, and how a person starts it again."""

from typing import Annotated

import typer

from agent.cli import options

app = typer.Typer(
    help="Show where healing has stopped, or start it again.",
    invoke_without_command=True,
    rich_markup_mode=None,
)

Reason = Annotated[str, typer.Option("--why", help="What you found and mended, for whoever reads it later.", metavar="TEXT")]


@app.callback()
def show(ctx: typer.Context, as_json: options.Json = False) -> None:
    """List every open breaker: its scope, since when, what failed together and what they have in common.

    Exits 1 while one is open. Runbooks that are out of service are listed too: `medic runbook restore` brings them back.
    """
    from agent.cli import screen
    from agent.wiring import clock, keeping

    if ctx.invoked_subcommand is not None:
        return
    with keeping.open_store(options.settings(ctx)) as store:
        standing = store.breakers.standing()
    if as_json or options.given(ctx).as_json:
        screen.print_json(standing)
    elif not standing:
        typer.echo("no breaker is open")
    else:
        screen.console().print(screen.breakers_table(standing, clock.CLOCK.now()))
    raise typer.Exit(options.SICK if standing else options.WELL)


@app.command("reset")
def reset(
    ctx: typer.Context,
    scope: Annotated[str, typer.Argument(help="What `medic breaker` lists: fleet, fleet:HOST or group:NAME.", metavar="SCOPE")],
    why: Reason,
) -> None:
    """Start healing again in one scope, and close its incident.

    Nothing from before is replayed: whatever is still sick is looked at and decided afresh at the next beat.
    """
    reset_scope(ctx, scope, why)


def reset_scope(ctx: typer.Context, scope: str, why: str) -> None:
    """Reset one breaker and say so. Raises ConfigError for a scope whose breaker is not open, and for an empty reason."""
    from agent import breakers
    from agent.errors import ConfigError
    from agent.wiring import clock, keeping

    if not why.strip():
        raise ConfigError(f"cannot reset {scope!r}: say with --why what you found and mended")
    settings = options.settings(ctx)
    with keeping.open_store(settings) as store:
        channels = tuple(channel.name for channel in settings.channels)
        row = breakers.reset(scope, by=options.login(), why=why, store=store, channels=channels, clock=clock.CLOCK)
        known = ", ".join(each.scope for each in store.breakers.standing()) or "none"
    if row is None:
        raise ConfigError(f"cannot reset {scope!r}: no such breaker is open (open: {known})")
    typer.echo(f"reset {scope}, open since {row.opened_at:%Y-%m-%d %H:%M:%S} UTC: {row.because}")
