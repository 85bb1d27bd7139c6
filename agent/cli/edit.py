"""`medic edit ID --set NAME=VALUE`: say yes to what Medic asks, with other parameters."""

from typing import Annotated

import typer

from agent.cli import options


def edit(
    ctx: typer.Context,
    id_: options.Approval,
    set_: Annotated[list[str], typer.Option("--set", help="A parameter that a person gives.", metavar="NAME=VALUE")],
    why: options.Why = "",
    as_json: options.Json = False,
) -> None:
    """Change the parameters of a plan that waits for your word, and approve it so.

    Only what its runbook lets a person give (`medic runbook show`). The request as it was is void.
    """
    from agent import answering
    from agent.cli import asking
    from agent.wiring import clock, keeping, shipped

    values = dict(options.pairs(set_))
    with keeping.open_store(options.settings(ctx)) as store:
        answer = answering.edit(
            id_, values, by=options.login(), why=why, runbooks=shipped.runbooks(), store=store, clock=clock.CLOCK
        )
    asking.say_answer(answer, as_json=as_json or options.given(ctx).as_json)
