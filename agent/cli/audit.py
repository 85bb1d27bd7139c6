"""`medic audit list | verify`: the log of every change, decision and answer, and whether anybody touched it."""

from typing import Annotated

import typer

from agent.cli import options

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Read the audit, and check that nobody changed it.")

PAGE = 500
"""Rows that are read at a time."""


@app.command("list")
def list_all(
    ctx: typer.Context,
    incident: Annotated[str | None, typer.Option("--incident", help="Only what concerns this one.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many, the newest.")] = 50,
    as_json: options.Json = False,
) -> None:
    """List what was changed, decided, answered and refused, and by whom; the newest last."""
    from collections import deque

    from agent.cli import screen
    from agent.wiring import keeping

    with keeping.open_store(options.settings(ctx)) as store:
        found = deque((row for row in keeping.audit_rows(store) if incident in (None, row.incident)), maxlen=limit)
    if as_json or options.given(ctx).as_json:
        screen.print_json(tuple(found))
        return
    for row in found:
        line = f"{row.id:>6}  {row.at[:19]}  {row.kind:<18} {row.incident or '-':<6} {row.actor:<10} {row.payload}"
        typer.echo(screen.plain(line, 240))


@app.command("verify")
def verify(
    ctx: typer.Context,
    head: Annotated[
        str | None, typer.Option("--head", help="What a notice told as `Audit: ID:HASH`.", metavar="ID:HASH")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Recompute the whole chain, and judge every heal receipt in it afresh.

    Names the first row that is broken, missing or not what was told, and exits 1.
    """
    from agent import audit, codec
    from agent.cli import screen
    from agent.errors import ConfigError
    from agent.wiring import keeping

    try:
        told = None if head is None else audit.read_head(head)
    except ValueError as exc:
        raise ConfigError(f"cannot verify the audit: {exc}") from exc
    with keeping.open_store(options.settings(ctx)) as store:
        broken = audit.first_broken(keeping.audit_rows(store), told)
        newest = store.audit.head()
    if as_json or options.given(ctx).as_json:
        shown = {"whole": broken is None, "broken": codec.as_dict(broken), "head": codec.as_dict(newest)}
        screen.print_json(shown)
    elif broken is not None:
        screen.say(f"the audit is broken at row {broken.id}: {broken.why}")
    else:
        typer.echo(f"the audit is whole: head {newest.id}:{newest.hash}" if newest else "the audit is whole, and empty")
    if broken is not None:
        raise typer.Exit(options.SICK)
