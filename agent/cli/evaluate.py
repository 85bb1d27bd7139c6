"""`medic eval`: how good the diagnosis is, on labelled cases."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.diagnosis.score import Score

LINE_CHARACTERS = 120
"""Of the line that a wrong answer rests on."""

app = typer.Typer(no_args_is_help=True, help="Score the rules on labelled cases.")


@app.callback()
def _group() -> None:
    """Score the rules on labelled cases."""


@app.command("diagnose")
def diagnose(
    ctx: typer.Context,
    cases: Annotated[
        Path,
        typer.Option(
            "--cases", help="JSON lines: log and class; perhaps id, service, exit_code, oom_killed, also_accept (causes)."
        ),
    ],
    as_json: options.Json = False,
) -> None:
    """Apply the rules to every case: what is right, the false alarms on healthy logs, and each miss with the rule that spoke."""
    from agent import wiring
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
    result = score.score(read, wiring.rules())
    if as_json or options.given(ctx).as_json:
        screen.print_json(result)
    else:
        _show(result)
    raise typer.Exit(options.SICK if result.false_alarms else options.WELL)


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
