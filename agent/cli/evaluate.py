"""`medic eval`: how good diagnosis and decision are, on golden cases and on labelled logs, with or without a model."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.diagnosis.score import Case, Score
    from agent.evaluation import Judged
    from agent.model import Consultation, Diagnosis, Evidence, Golden
    from agent.settings import ModelSettings, Settings

LINE_CHARACTERS = 120
"""Of the line that a wrong answer rests on."""
ENOUGH = 0.9
"""Share of right cases with which a bundle passes; and nothing unsafe."""
CONFIGURED = "configured"
LOCAL = "openai/local"
"""Name of the model where only the URL of an OpenAI-compatible endpoint is given."""

app = typer.Typer(help="Measure diagnosis and decision on cases whose answer is known.", rich_markup_mode=None)

Model = Annotated[
    str | None,
    typer.Option(
        "--model", help="Ask a model too: the URL of an OpenAI-compatible endpoint, or `configured`.", metavar="URL|configured"
    ),
]
ModelName = Annotated[str, typer.Option("--model-name", help="As litellm names it, where --model is a URL.")]


@app.callback(invoke_without_command=True)
def golden(
    ctx: typer.Context,
    cases: Annotated[Path | None, typer.Option("--cases", help="File or folder of cases. Default: those that ship.")] = None,
    model: Model = None,
    model_name: ModelName = LOCAL,
    as_json: options.Json = False,
) -> None:
    """Decide every golden case afresh: the share that is right, what would have been unsafe, what it cost.

    With the configured model and the cases that ship, the result is kept: until its bundle of prompts, rules, runbooks, models
    and limits has passed, what the model proposes is only suggested.
    """
    if ctx.invoked_subcommand is not None:
        return
    from agent.cli import screen
    from agent.errors import ConfigError
    from agent.wiring import evaluations, opinions, shipped

    read = shipped.golden_cases(cases)
    asked = None if model is None else whom(options.settings(ctx), model, model_name)
    try:
        judged = _judge(ctx, read, asked)
    except LookupError as exc:
        raise ConfigError(f"cannot evaluate: {exc.args[0]}") from exc
    passed = _passed(judged)
    # Of a model that medic.yaml does not name nothing is kept: no Medic asks it.
    bundle = opinions.model_bundle(options.settings(ctx))[0] if model == CONFIGURED and cases is None else None
    if bundle is not None:
        evaluations.keep_evaluation(options.settings(ctx), bundle, passed=passed, figures=_figures(judged))
    if as_json or options.given(ctx).as_json:
        screen.print_json({"passed": passed, "bundle": bundle, "figures": _figures(judged), "cases": screen.as_plain(judged)})
    else:
        screen.console().print(screen.judged_table(judged))
        typer.echo(_summary(judged, bundle, passed=passed))
    raise typer.Exit(options.WELL if passed else options.SICK)


def _judge(ctx: typer.Context, cases: "Sequence[Golden]", model: "ModelSettings | None") -> "list[Judged]":
    from agent import evaluation, recall
    from agent.wiring import clock, opinions, shipped

    rules, runbooks = shipped.rules(), shipped.runbooks()
    if model is None:
        return list(evaluation.play(cases, rules, runbooks, None))
    with opinions.second_opinions(options.settings(ctx), model) as made:
        apart = evaluation.apart(cases, clock.CLOCK.now())
        return list(
            evaluation.play(
                apart, rules, runbooks, lambda case: made(evaluation.Recording(case.service, case.evidence), recall.Past())
            )
        )


def whom(using: "Settings", model: str, name: str) -> "ModelSettings":
    """Return whom to ask. Raises ConfigError. The limits, and when it is asked, are those of medic.yaml, but for how many calls an hour may take."""
    from agent.errors import ConfigError
    from agent.model import Asks, ModelLimits, Price
    from agent.settings import ModelProvider, ModelSettings

    if model == CONFIGURED:
        if using.model is None:
            raise ConfigError("cannot ask the configured model: medic.yaml has no `model:`; give --model URL")
        chosen = using.model
    elif model.startswith(("http://", "https://")):
        limits = using.model.limits if using.model is not None else ModelLimits()
        asks = using.model.asks if using.model is not None else Asks.STUCK
        # Nobody says what an endpoint of one's own costs: nothing, until medic.yaml names it with its prices.
        free = ((name, Price(input=Decimal(0), output=Decimal(0))),)
        provider = ModelProvider(model=name, investigate=name, url=model, key="none", prices=free)
        chosen = ModelSettings(providers=(provider,), limits=limits, asks=asks)
    else:
        raise ConfigError(f"cannot ask {model!r}: write the URL of an OpenAI-compatible endpoint, or `configured`")
    many = 1_000_000  # an evaluation is many incidents in a few minutes; what bounds it is the money of a day
    return replace(chosen, limits=replace(chosen.limits, calls_per_hour=many, calls_per_day=many))


def _passed(judged: "Sequence[Judged]") -> bool:
    return not any(each.unsafe for each in judged) and sum(each.right for each in judged) >= ENOUGH * len(judged)


def _figures(judged: "Sequence[Judged]") -> dict[str, float | int | str]:
    return {
        "cases": len(judged),
        "right": sum(each.right for each in judged),
        "unsafe": sum(bool(each.unsafe) for each in judged),
        "calls": sum(each.calls for each in judged),
        "usd": float(sum(each.cost for each in judged)),
    }


def _summary(judged: "Sequence[Judged]", bundle: str | None, *, passed: bool) -> str:
    figures = _figures(judged)
    asked = [each.calls for each in judged if each.calls]
    steps = f"{sum(asked) / len(asked):.1f} calls of a model per asking" if asked else "no model was asked"
    about = f"; bundle {bundle}: {'passed' if passed else 'did not pass'}" if bundle is not None else ""
    share = int(figures["right"]) / len(judged)
    return (
        f"right {figures['right']}/{len(judged)} ({share:.0%}), unsafe actions {figures['unsafe']}, {steps},"
        f" cost ${figures['usd']:.4f}{about}"
    )


@app.command("diagnose")
def diagnose(
    ctx: typer.Context,
    cases: Annotated[
        Path,
        typer.Option(
            "--cases", help="JSON lines: log and class; perhaps id, service, exit_code, oom_killed, also_accept (causes)."
        ),
    ],
    model: Model = None,
    model_name: ModelName = LOCAL,
    as_json: options.Json = False,
) -> None:
    """Apply the rules, and a model where they doubt, to every case: what is right, the false alarms, and each miss.

    Exits 3 where a model was asked and never answered: then it is the rules alone that were measured.
    """
    from agent.cli import screen
    from agent.diagnosis import score
    from agent.errors import ConfigError

    try:
        with cases.open(encoding="utf-8") as lines:
            read = score.read_cases(lines)
    except OSError as exc:
        raise ConfigError(f"cannot read {cases}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise ConfigError(f"cannot read {cases}: {exc}") from exc
    asked: list[Consultation] = []
    with _opinion(ctx, model, model_name, asked) as opinion:
        result = opinion(read)
    if as_json or options.given(ctx).as_json:
        screen.print_json(result)
    else:
        _show(result)
    vain = [each for each in asked if not each.model]
    if vain:
        screen.say(f"a model was asked {len(asked)} times, and {len(vain)} times in vain: {vain[0].came_of_it}")
    if vain and len(vain) == len(asked):
        raise typer.Exit(options.CANNOT_LOOK)
    raise typer.Exit(options.SICK if result.false_alarms else options.WELL)


@contextlib.contextmanager
def _opinion(
    ctx: typer.Context, model: str | None, name: str, asked: "list[Consultation]"
) -> "Iterator[Callable[[tuple[Case, ...]], Score]]":
    """Yield what scores cases. asked: gets what came of each asking of a model."""
    from agent import evaluation, recall
    from agent.diagnosis import score
    from agent.wiring import clock, opinions, shipped

    rules = shipped.rules()
    if model is None:
        yield lambda cases: score.score(cases, rules)
        return
    using = options.settings(ctx)
    runbooks = shipped.runbooks()
    with opinions.second_opinions(using, whom(using, model, name)) as made:
        begun = clock.CLOCK.now()

        def opinion(seen: "Evidence", ruled: "Diagnosis") -> "Diagnosis":
            case = evaluation.of_log(seen, begun)
            said = evaluation.opinion(
                case, ruled, runbooks, made(evaluation.Recording(case.service, case.evidence), recall.Past())
            )
            if said.consultation is not None:
                asked.append(said.consultation)
            return said

        yield lambda cases: score.score(cases, rules, opinion)


def _show(result: "Score") -> None:
    from agent.cli import screen

    for each in result.classes:
        typer.echo(f"{each.cause.value:<28} {each.correct}/{each.total}")
    for miss in result.misses:
        because = f": {miss.line[:LINE_CHARACTERS]}" if miss.line else ""
        typer.echo(
            screen.plain(f"miss {miss.id}: {miss.expected.value} expected, {miss.given.value} given by {miss.said_by}{because}")
        )
    typer.echo(f"correct {result.correct}/{result.total}")
    typer.echo(f"false alarms {result.false_alarms}/{result.benign}")
