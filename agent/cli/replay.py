"""`medic replay ID`: would this Medic decide an incident of the past as it was decided?"""

import contextlib
from typing import Annotated

import typer

from agent.cli import evaluate, options


def replay(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(help="Id of an incident, for example I12.", metavar="ID")],
    model: evaluate.Model = None,
    model_name: evaluate.ModelName = evaluate.LOCAL,
    as_json: options.Json = False,
) -> None:
    """Decide an incident again on its own evidence, and show what would be decided otherwise.

    Rules, runbooks, declaration and permissions are those of now; what is remembered is what was known then; the rest of the world is
    taken to be quiet. Changes nothing.
    """
    from agent import evaluation
    from agent.cli import incident, screen
    from agent.errors import ConfigError
    from agent.wiring import clock, evaluations, keeping, opinions, shipped

    using = options.settings(ctx)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(keeping.open_store(using))
        found = incident.get(store, id_)
        cases = evaluations.recordings(using, store, found)
        if not cases:
            raise ConfigError(f"cannot replay {found.id}: its bundle holds no evidence")
        chosen = None if model is None else evaluate.whom(using, model, model_name)
        made = None if chosen is None else stack.enter_context(opinions.second_opinions(using, chosen))
        rules, runbooks = shipped.rules(), shipped.runbooks()
        apart = evaluation.apart([case for _, case in cases], clock.CLOCK.now())
        told = []
        for (number, _), case in zip(cases, apart, strict=True):
            past = evaluations.past_of(using, store, found, case.evidence.at)
            opinion = None if made is None else made(evaluation.Recording(case.service, case.evidence), past)
            stands = evaluations.standing_at(using, store, case.service, case.evidence.at, past, runbooks)
            try:
                told.append(evaluation.replay(case, number, rules, runbooks, opinion, stands, past))
            except LookupError as exc:
                raise ConfigError(f"cannot replay {found.id}: {exc.args[0]}") from exc
    if as_json or options.given(ctx).as_json:
        screen.print_json(tuple(told))
    else:
        for each in told:
            typer.echo(
                screen.plain(
                    f"before attempt {each.number}: {'as it was: ' if each.same else ''}{each.was}"
                    f"{'' if each.same else f' then, {each.now} now'}; {each.cause} ({each.said_by})"
                )
            )
    raise typer.Exit(options.WELL if all(each.same for each in told) else options.SICK)
