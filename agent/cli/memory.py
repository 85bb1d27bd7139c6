"""`medic memory list | show | note | forget`: what past incidents teach, and what people add to it and take from it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.model import Episode, MemoryRule, Note

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="What past incidents teach: which trouble, and what helped."
)

LONGEST_NOTE = 500
"""Characters: a hint for whoever is called next. What needs more has a place of its own, which a note can name."""
MOST_NOTES = 20
"""On one trouble."""

Days = Annotated[
    int | None, typer.Option("--days", min=1, max=3660, help="How far back. Default: `memory.keeps` of medic.yaml.")
]
Id = Annotated[str, typer.Argument(help="Id of an incident, for example I12.", metavar="ID")]


@app.command("list")
def list_all(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Option("--service", help="Only this service.")] = None,
    days: Days = None,
    as_json: options.Json = False,
) -> None:
    """List every trouble that is remembered, the latest first, with the remedy likeliest to help."""
    from agent import recall
    from agent.cli import screen
    from agent.wiring import clock, keeping

    rule = _rule(ctx, days)
    with keeping.open_store(options.settings(ctx)) as store:
        remembered = recall.everything(store=store, rule=rule, now=clock.CLOCK.now())
    found = [each for each in remembered if service in (None, each.service)]
    if as_json or options.given(ctx).as_json:
        screen.print_json(tuple(found))
    elif found:
        screen.console().print(screen.episodes_table(found))
    else:
        typer.echo(f"no incident within {rule.keeps.days} days")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A trouble with the notes on it."""

    trouble: "Episode"
    notes: "tuple[Note, ...]"


@app.command("show")
def show(ctx: typer.Context, id_: Id, days: Days = None, as_json: options.Json = False) -> None:
    """Show everything that is remembered of the trouble that an incident is one case of, and what people noted on it."""
    from agent import recall
    from agent.cli import screen
    from agent.errors import ConfigError
    from agent.policy import memory
    from agent.wiring import clock, keeping, shipped

    rule = _rule(ctx, days)
    with keeping.open_store(options.settings(ctx)) as store:
        found = recall.everything(store=store, rule=rule, now=clock.CLOCK.now())
        episode = next((each for each in found if id_ in each.incidents), None)
        notes = store.memory.notes(clock.CLOCK.now())
    if episode is None:
        raise ConfigError(f"cannot find incident {screen.plain(id_, 40)!r} among those of the last {rule.keeps.days} days")
    shown = Shown(trouble=episode, notes=tuple(note for note in notes if note.fingerprint == episode.fingerprint))
    if as_json or options.given(ctx).as_json:
        screen.print_json(shown)
        return
    as_now = memory.of_now(episode.remedies, shipped.runbooks())
    rows = [
        ("service", str(episode.service)),
        ("signs", ", ".join(episode.signs)),
        ("cause", episode.cause.value if episode.cause is not None else "never diagnosed"),
        ("times", f"{episode.times}, a person was needed {episode.handed_over} times"),
        *(
            (
                each.runbook,
                f"helped {each.helped}, did not {each.did_not}; chance {each.chance:.0%}"
                + ("; as it was then" if each not in as_now else "")
                + ("; not the first choice" if memory.let_down(each, rule) else ""),
            )
            for each in episode.remedies
        ),
        ("incidents", ", ".join(episode.incidents)),
        *(
            (f"note N{note.id}", f"{note.text} ({note.by}, {note.at:%Y-%m-%d}, until {note.until:%Y-%m-%d})")
            for note in shown.notes
        ),
    ]
    screen.console().print(screen.pairs(rows))


@app.command("note")
def note(
    ctx: typer.Context,
    id_: Id,
    text: Annotated[str, typer.Argument(help="One line for whoever is called next.", metavar="TEXT")],
    keep: Annotated[
        str | None, typer.Option("--for", help="How long it stands, for example 30d. Default: `memory.keeps`.", metavar="SPAN")
    ] = None,
) -> None:
    """Note something on the trouble that an incident is one case of.

    People and a model read it when the trouble comes again. It is redacted and audited, and no parameter is ever taken from it.
    """
    from agent.cli import incident, screen
    from agent.errors import ConfigError
    from agent.wiring import clock, keeping

    settings = options.settings(ctx)
    written = " ".join(screen.plain(text, LONGEST_NOTE + 1).split())
    if not 0 < len(written) <= LONGEST_NOTE:
        raise ConfigError(f"cannot note that: TEXT must be one line of 1 to {LONGEST_NOTE} characters")
    with keeping.open_store(settings) as store:
        found = incident.get(store, id_)
        now = clock.CLOCK.now()
        span = _span(keep) if keep is not None else settings.fleet_limits.memory.keeps
        if not span:
            raise ConfigError("cannot note that: medic.yaml says `memory: {keeps: 0s}`; give --for SPAN or let Medic remember")
        if len([each for each in store.memory.notes(now) if each.fingerprint == found.fingerprint]) >= MOST_NOTES:
            raise ConfigError(f"cannot note that: {MOST_NOTES} notes stand already; `medic memory forget N...` takes one away")
        made = store.memory.note(found.fingerprint, found.service, written, by=options.login(), now=now, until=now + span)
    typer.echo(f"note N{made.id} on the trouble of {made.service} stands until {made.until:%Y-%m-%d}")


@app.command("forget")
def forget(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(help="An incident (I12): all of its trouble. A note (N3): the note.", metavar="ID")],
    why: Annotated[str, typer.Option("--why", help="Why, for whoever reads the audit.")] = "no reason given",
) -> None:
    """Forget a trouble with its notes, or one note. Plans begin anew there.

    Incidents, attempts and the audit stay: what was done is never lost, it only counts for nothing from now on.
    """
    from agent.cli import incident, screen
    from agent.errors import ConfigError
    from agent.wiring import clock, keeping

    with keeping.open_store(options.settings(ctx)) as store:
        now = clock.CLOCK.now()
        if id_[:1] == "N" and id_[1:].isascii() and id_[1:].isdigit() and len(id_) < 18:
            if not store.memory.withdraw(int(id_[1:]), by=options.login(), now=now):
                standing = ", ".join(f"N{each.id}" for each in store.memory.notes(now)) or "none"
                raise ConfigError(f"cannot forget note {id_}: those that stand are {standing}")
            typer.echo(f"note {id_} is gone")
            return
        found = incident.get(store, id_)
        notes = store.memory.forget(found.fingerprint, by=options.login(), why=screen.plain(why), now=now)
    typer.echo(f"what came of this trouble of {found.service} up to now counts for nothing, and {notes} notes on it are gone")


def _rule(ctx: typer.Context, days: int | None) -> "MemoryRule":
    rule = options.settings(ctx).fleet_limits.memory
    return rule if days is None else replace(rule, keeps=timedelta(days=days))


def _span(text: str) -> timedelta:
    from agent import spans
    from agent.errors import ConfigError

    try:
        span = spans.parse(text)
    except ValueError as exc:
        raise ConfigError(f"cannot note that: --for: {exc}") from exc
    if not timedelta(hours=1) <= span <= timedelta(days=3660):
        raise ConfigError(f"cannot note that: --for: must be from 1h to 3660d, not {spans.text(span)}")
    return span
