"""`medic deny ID --why TEXT`: say no to what Medic asks."""

import typer

from agent.cli import options


def deny(ctx: typer.Context, id_: options.Approval, why: options.Why, as_json: options.Json = False) -> None:
    """Say no to a plan that waits for your word.

    Its incident is handed to people.
    """
    from agent import answering
    from agent.cli import asking
    from agent.wiring import clock, keeping

    with keeping.open_store(options.settings(ctx)) as store:
        answer = answering.deny(id_, by=options.login(), why=why, store=store, clock=clock.CLOCK)
    asking.say_answer(answer, as_json=as_json or options.given(ctx).as_json)
