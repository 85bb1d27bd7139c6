"""`medic memory list | show`: what past incidents teach."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.episodes import Episode

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What past incidents teach: which trouble, and what helped."
)

Days = Annotated[int, typer.Option("--days", min=1, max=3660, help="How far back; older incidents do not count.")]


@app.command("list")
def list_all(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Option("--service", help="Only this service.")] = None,
    days: Days = 180,
    as_json: options.Json = False,
) -> None:
    """List every trouble that came, the latest first, with the remedy likeliest to help."""
    from agent.cli import screen

    found = [each for each in _episodes(ctx, days) if service in (None, each.service)]
    if as_json or options.given(ctx).as_json:
        screen.print_json(tuple(found))
    elif found:
        screen.console().print(screen.episodes_table(found))
    else:
        typer.echo(f"no incident within {days} days")


@app.command("show")
def show(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(help="Id of an incident, for example I12.", metavar="ID")],
    days: Days = 180,
    as_json: options.Json = False,
) -> None:
    """Show everything that is remembered of the trouble that an incident is one case of."""
    from agent.cli import screen
    from agent.errors import ConfigError

    episode = next((each for each in _episodes(ctx, days) if id_ in each.incidents), None)
    if episode is None:
        raise ConfigError(f"cannot find incident {screen.plain(id_, 40)!r} within {days} days")
    if as_json or options.given(ctx).as_json:
        screen.print_json(episode)
        return
    rows = [
        ("service", str(episode.service)),
        ("signs", ", ".join(episode.signs)),
        ("cause", episode.cause.value if episode.cause is not None else "never diagnosed"),
        ("times", f"{episode.times}, a person was needed {episode.handed_over} times"),
        *(
            (each.runbook, f"helped {each.helped}, did not {each.did_not}; chance {each.chance:.0%}")
            for each in episode.remedies
        ),
        ("incidents", ", ".join(episode.incidents)),
    ]
    screen.console().print(screen.pairs(rows))


def _episodes(ctx: typer.Context, days: int) -> "tuple[Episode, ...]":
    from agent import episodes, wiring

    now = wiring.CLOCK.now()
    with wiring.open_store(options.settings(ctx)) as store:
        return episodes.remember(store.incidents.opened_since(now - timedelta(days=days)), now)
