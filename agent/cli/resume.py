"""`medic resume`: ends `medic halt`."""

import typer

from agent.cli import options


def resume(ctx: typer.Context) -> None:
    """End a halt: remedies run again."""
    from agent import config
    from agent.cli import screen
    from agent.wiring import halting

    settings = config.load_state_dir(options.given(ctx).config)
    kill_file = halting.kill_file(settings)
    was_halted = kill_file.resume()
    still = kill_file.halted()
    if still is not None:
        screen.say(f"still halted: {still}")
        raise typer.Exit(options.REFUSED)
    typer.echo("resumed" if was_halted else f"was not halted in {settings.state_dir}")
