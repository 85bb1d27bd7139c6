"""`medic incident list | show | report | export | to-eval | close`: what happened, on the screen or in a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.model import Incident
    from agent.ports import Store

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Read incidents, and close one by hand.")

Id = Annotated[str, typer.Argument(help="Id of an incident, for example I12.", metavar="ID")]


@app.command("list")
def list_all(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Option("--service", help="Only this service.")] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that are not closed.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, newest first.")] = 20,
    as_json: options.Json = False,
) -> None:
    """List incidents, newest first."""
    from agent.cli import screen
    from agent.model import ServiceName
    from agent.wiring import clock, keeping

    name = ServiceName(service) if service else None
    with keeping.open_store(options.settings(ctx)) as store:
        found = store.incidents.unclosed(name)[::-1][:limit] if only_open else store.incidents.recent(service=name, limit=limit)
    if as_json or options.given(ctx).as_json:
        screen.print_json(found)
    elif found:
        screen.console().print(screen.incidents_table(found, clock.CLOCK.now()))
    else:
        typer.echo("no incidents")


@app.command("show")
def show(
    ctx: typer.Context,
    id_: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it is closed or handed over.")] = False,
    as_html: Annotated[
        bool, typer.Option("--html", help="Print a self-contained HTML page with everything that was said with models.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show one incident with its timeline.

    What was seen, the diagnosis, each attempt, and every event.
    """
    from agent.cli import incident_view, screen
    from agent.wiring import clock, evaluations, keeping

    settings = options.settings(ctx)
    with keeping.open_store(settings) as store:
        found = get(store, id_)
        if as_html:
            typer.echo(
                evaluations.dialogue_page(settings, found, store.story.since(0, incident=found.id, limit=100_000)), nl=False
            )
            return
        if as_json or options.given(ctx).as_json:
            screen.print_json(incident_view.whole(found, store.story.since(0, incident=found.id)))
            return
        to = screen.console()
        to.print(screen.pairs(incident_view.rows(found, clock.CLOCK.now())))
        to.print()
        incident_view.print_story(found.id, store, to, clock.CLOCK, follow=follow)


@app.command("report")
def report(
    ctx: typer.Context,
    id_: Id,
    form: Annotated[str, typer.Option("--format", help="md, json, html, or script (re-collects the facts).")] = "md",
    path_only: Annotated[bool, typer.Option("--path", help="Print where the file is instead.")] = False,
) -> None:
    """Print the report of an escalated incident."""
    from agent import yaml_text
    from agent.cli import incident_view
    from agent.errors import ConfigError
    from agent.wiring import keeping

    settings = options.settings(ctx)
    if form not in incident_view.REPORTS:
        raise ConfigError(f"cannot print a report as {form!r}{yaml_text.mean(form, incident_view.REPORTS)}")
    with keeping.open_store(settings) as store:
        found = get(store, id_)
    path = settings.state_dir / "incidents" / found.id / incident_view.REPORTS[form]
    if not path.is_file():
        raise ConfigError(
            f"cannot print the report of {found.id}: it has none; only an escalated incident has ({found.state.value} now)"
        )
    # The report's own lines are kept; escape sequences that a container may have logged are not.
    typer.echo(
        str(path) if path_only else incident_view.readable(path.read_text(encoding="utf-8", errors="replace")), nl=path_only
    )


@app.command("export")
def export(
    ctx: typer.Context,
    id_: Id,
    to: Annotated[
        Path | None, typer.Option("--to", help="The file to write. Default: ./medic-ID.tar.gz.", dir_okay=False)
    ] = None,
) -> None:
    """Write one incident into an archive.

    Its record, its timeline, its evidence and its report.
    """
    from agent.cli import incident_view
    from agent.wiring import clock, keeping

    settings = options.settings(ctx)
    with keeping.open_store(settings) as store:
        found = get(store, id_)
        story = store.story.since(0, incident=found.id, limit=100_000)
    target = to or Path(f"medic-{found.id}.tar.gz")
    incident_view.export(
        incident_view.whole(found, story), settings.state_dir / "incidents" / found.id, target, clock.CLOCK.now()
    )
    typer.echo(str(target))


@app.command("receipt")
def receipt(ctx: typer.Context, id_: Id, as_json: options.Json = False) -> None:
    """Show why Medic says that an incident is healed.

    The failing checks before, the same checks after, and the looks between; judged afresh from what each look saw. Exits 1
    when "healed" does not follow.
    """
    from agent import audit, codec
    from agent.cli import incident_view, screen
    from agent.errors import ConfigError
    from agent.wiring import keeping

    with keeping.open_store(options.settings(ctx)) as store:
        found = get(store, id_)
        rows = store.audit.receipts(found.id)
    if not rows:
        raise ConfigError(f"cannot show the receipt of {found.id}: it has none; only a heal that was seen has")
    row = rows[-1]
    kept = audit.receipt_of(row)
    wrong = ("it cannot be read",) if kept is None else audit.objections(kept)
    edited = audit.is_edited(row)
    if as_json or options.given(ctx).as_json:
        shown = {"row": row.id, "hash": row.hash, "edited": edited, "objections": wrong, "receipt": kept}
        screen.print_json({name: codec.as_dict(value) for name, value in shown.items()})
    else:
        typer.echo(incident_view.receipt_text(row, kept))
        for each in (*(["the row is not what its hash was made of"] if edited else []), *wrong):
            screen.say(f"not shown to be healed: {each}")
    if edited or wrong:
        raise typer.Exit(options.SICK)


@app.command("to-eval")
def to_eval(ctx: typer.Context, id_: Id) -> None:
    """Print an incident as golden cases for `medic eval --cases FILE`, one for each decision that its bundle still holds.

    What was decided stands in it as what is right: correct it where it was not.
    """
    from agent import golden_file
    from agent.errors import ConfigError
    from agent.wiring import evaluations, keeping

    settings = options.settings(ctx)
    with keeping.open_store(settings) as store:
        found = get(store, id_)
        cases = evaluations.recordings(settings, store, found)
    if not cases:
        raise ConfigError(f"cannot make a case of {found.id}: its bundle holds no evidence")
    for _, case in cases:
        typer.echo(golden_file.write(case), nl=False)


@app.command("close")
def close(ctx: typer.Context, id_: Id) -> None:
    """Close one incident by hand.

    People have taken care of it. If the service is still sick, the next beats open a new one.
    """
    from agent import closing
    from agent.model import Closing
    from agent.wiring import clock, keeping

    settings = options.settings(ctx)
    with keeping.open_store(settings) as store:
        found = get(store, id_)
        channels = tuple(channel.name for channel in settings.channels)
        moved = closing.close(found, Closing.BY_PERSON, by=options.login(), store=store, channels=channels, clock=clock.CLOCK)
    typer.echo(f"{found.id} closed" if moved else f"{found.id} was closed already")


def get(store: "Store", id_: str) -> "Incident":
    """Return one incident. Raises ConfigError with the latest ones."""
    from agent.cli import screen
    from agent.errors import ConfigError
    from agent.model import IncidentId

    found = store.incidents.get(IncidentId(id_))
    if found is None:
        latest = ", ".join(incident.id for incident in store.incidents.recent(limit=5)) or "none"
        raise ConfigError(f"cannot find incident {screen.plain(id_, 40)!r}: the latest are {latest}")
    return found
