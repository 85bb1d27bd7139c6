"""`medic approve ID`: say yes to what Medic asks."""

import typer

from agent.cli import options


def approve(ctx: typer.Context, id_: options.Approval, why: options.Why = "", as_json: options.Json = False) -> None:
    """Let a plan that waits for your word be carried out.

    It is looked at afresh first: another plan, or a service that is well by then, is not what you approved.
    """
    from agent import answering
    from agent.cli import asking
    from agent.wiring import clock, keeping

    with keeping.open_store(options.settings(ctx)) as store:
        answer = answering.approve(id_, by=options.login(), why=why, store=store, clock=clock.CLOCK)
    asking.say_answer(answer, as_json=as_json or options.given(ctx).as_json)
