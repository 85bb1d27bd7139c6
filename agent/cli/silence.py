"""`medic silence` and `medic silences`: people work on services; Medic watches them and leaves them alone for so long."""

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from datetime import timedelta

    from agent.model import ServiceName

LONGEST_DAYS = 30
"""A silence that nobody remembers is a service that nobody heals."""


def silence(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Argument(help="Name of a service.", metavar="[SERVICE]")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every service.")] = False,
    for_: Annotated[str | None, typer.Option("--for", help="How long, for example 2h.", metavar="SPAN")] = None,
    why: Annotated[str, typer.Option("--why", help="Why, for whoever finds it.")] = "no reason given",
    end: Annotated[int | None, typer.Option("--end", help="End one before its time.", metavar="ID")] = None,
) -> None:
    """Leave a service alone while people work on it.

    It is watched and nothing is changed. When the time is up everything is decided afresh.
    """
    from agent.errors import ConfigError
    from agent.wiring import clock, keeping

    settings = options.settings(ctx)
    given = sum((service is not None, everything, end is not None))
    if given != 1 or (end is None) == (for_ is None):
        raise ConfigError("cannot silence: name one service, or --all, with --for SPAN; or --end ID alone")
    with keeping.open_store(settings) as store:
        now = clock.CLOCK.now()
        if end is not None:
            if not store.silences.end(end, by=options.login(), now=now):
                active = ", ".join(str(each.id) for each in store.silences.active(now)) or "none"
                raise ConfigError(f"cannot end silence {end}: those in force are {active}")
            typer.echo(f"silence {end} ended")
            return
        known = {str(each.name) for each in (*settings.services, *store.services.services())}
        begun = store.silences.begin(
            _known(service, known), why=_why(why), by=options.login(), now=now, until=now + _span(for_ or "")
        )
    typer.echo(
        f"silence {begun.id}: {begun.service or 'every service'} is left alone until {begun.until:%Y-%m-%d %H:%M:%S} UTC"
    )


def silences(ctx: typer.Context, as_json: options.Json = False) -> None:
    """List the silences in force."""
    from agent.cli import screen
    from agent.wiring import clock, keeping

    with keeping.open_store(options.settings(ctx)) as store:
        active = store.silences.active(clock.CLOCK.now())
    if as_json or options.given(ctx).as_json:
        screen.print_json(active)
    elif active:
        screen.console().print(screen.silences_table(active, clock.CLOCK.now()))
    else:
        typer.echo("no silences")


def _known(service: str | None, known: set[str]) -> "ServiceName | None":
    from agent import yaml_text
    from agent.errors import ConfigError
    from agent.model import ServiceName

    if service is not None and service not in known:
        raise ConfigError(f"cannot find service {service!r}{yaml_text.mean(service, sorted(known))}")
    return None if service is None else ServiceName(service)


def _why(why: str) -> str:
    from agent.cli import screen

    return screen.plain(why)


def _span(text: str) -> "timedelta":
    from datetime import timedelta

    from agent import spans
    from agent.errors import ConfigError

    try:
        span = spans.parse(text)
    except ValueError as exc:
        raise ConfigError(f"cannot silence: --for: {exc}") from exc
    if not timedelta(0) < span <= timedelta(days=LONGEST_DAYS):
        raise ConfigError(f"cannot silence: --for: must be from 1s to {LONGEST_DAYS}d, not {spans.text(span)}")
    return span
