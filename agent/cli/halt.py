"""`medic halt`: nothing is changed any more, at once, whatever else is broken."""

from datetime import datetime, timedelta
from typing import Annotated

import typer

from agent.cli import options

SEEN_WITHIN = timedelta(seconds=3)
"""How long the command stays to say what it stopped: a playbook is stopped and swept within a second."""


def halt(
    ctx: typer.Context,
    why: Annotated[str, typer.Argument(help="Why, for whoever finds it.", metavar="[WHY]")] = "no reason given",
) -> None:
    """Stop all remedies now.

    Those under way too, and it says which; looking goes on. Works without a store and with mistakes in medic.yaml.
    """
    from agent import config
    from agent.redact import Redactor
    from agent.wiring import clock, halting

    settings = config.load_state_dir(options.given(ctx).config)
    began = clock.CLOCK.now()
    halting.kill_file(settings).halt(options.login(), Redactor()(why))
    typer.echo(f"halted in {settings.state_dir}; `medic resume` ends it")
    _say_what_stopped(ctx, began)


def _say_what_stopped(ctx: typer.Context, began: datetime) -> None:
    """Say which playbooks the halt stopped. It stands whatever comes of this: without a store there is nothing to say."""
    from agent.cli import screen
    from agent.errors import MedicError
    from agent.wiring import halting, leading

    try:
        for stopped in halting.stopped_since(options.settings(ctx), began, SEEN_WITHIN):
            typer.echo(screen.plain(stopped))
        elsewhere = leading.leader_elsewhere(options.settings(ctx))
        if elsewhere is not None:
            screen.say(f"{elsewhere.holder} leads, and a halt is a file: say `medic halt` there as well")
    except MedicError as exc:
        screen.say(f"what it stopped is not known: {exc}")
