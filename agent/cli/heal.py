"""`medic heal SERVICE`: look at one service now and heal it if it is sick."""

import typer

from agent.cli import options


def heal(ctx: typer.Context, service: options.Service, as_json: options.Json = False) -> None:
    """Look at one service now and heal it.

    Without waiting for a streak. Does nothing to a service that is well. Follows the incident live.
    """
    from agent.cli import asking
    from agent.model import RequestKind

    lines = as_json or options.given(ctx).as_json
    asking.ask(options.settings(ctx), RequestKind.HEAL, service, as_json=lines)
