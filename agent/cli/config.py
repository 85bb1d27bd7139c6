"""`medic config`: every setting as it is in force, defaults and environment included."""

from typing import Annotated

import typer

from agent.cli import options


def config(
    ctx: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Only say whether it loads.")] = False,
) -> None:
    """Show every setting that is in force.

    In the shape of medic.yaml, defaults and environment included, passwords left out.
    """
    from agent import settings as shown
    from agent.cli import screen
    from agent.redact import Redactor, within

    settings = options.settings(ctx)
    clean = Redactor(settings.secrets)
    if options.given(ctx).as_json:
        screen.print_json(within(shown.as_document(settings), clean))
    elif check:
        typer.echo(f"{settings.file or 'no medic.yaml'}: well, {len(settings.services)} services")
    else:
        typer.echo(f"# {settings.file or 'no medic.yaml: all defaults'}")
        typer.echo(clean(shown.as_yaml(settings)), nl=False)
