"""`medic halt`: nothing is changed any more, at once, whatever else is broken."""

from typing import Annotated

import typer

from agent.cli import options


def halt(
    ctx: typer.Context,
    why: Annotated[str, typer.Argument(help="Why, for whoever finds it.", metavar="[WHY]")] = "no reason given",
) -> None:
    """Stop all remedies now.

    Those under way too; looking goes on. Works without a store and with mistakes in medic.yaml.
    """
    from agent import config, wiring
    from agent.redact import Redactor

    settings = config.load_state_dir(options.given(ctx).config)
    wiring.kill_file(settings).halt(options.login(), Redactor()(why))
    typer.echo(f"halted in {settings.state_dir}; `medic resume` ends it")
