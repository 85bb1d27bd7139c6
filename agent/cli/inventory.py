"""`medic inventory`: the hosts and services that a stack brings with it, from its SSM parameter and its live groups."""

from typing import TYPE_CHECKING

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.fleet import Snapshot

app = typer.Typer(no_args_is_help=True, help="The hosts and services of a stack that `pulumi up` made.")


@app.callback()
def _group() -> None:
    """The hosts and services of a stack that `pulumi up` made."""


@app.command("sync")
def sync(ctx: typer.Context, as_json: options.Json = False) -> None:
    """Read the stack's inventory and who is in its groups now, and keep them; `medic watch` does so by itself."""
    from agent.wiring import cloud

    _show(ctx, cloud.sync_inventory(options.settings(ctx)), as_json)


@app.command("show")
def show(ctx: typer.Context, as_json: options.Json = False) -> None:
    """Show what was last read. Asks nobody."""
    from agent.wiring import cloud

    _show(ctx, cloud.kept_inventory(options.settings(ctx)), as_json)


def _show(ctx: typer.Context, snapshot: "Snapshot", as_json: bool) -> None:
    import json

    from rich.table import Table

    from agent import fleet
    from agent.cli import screen

    if as_json or options.given(ctx).as_json:
        typer.echo(json.dumps(json.loads(fleet.text(snapshot))))
        return
    stack = snapshot.inventory
    known = {each.instance for each in fleet.reachable(snapshot)}
    table = Table("host", "type", "zone", "bought", "state", "address", "", box=None, pad_edge=False)
    for each in snapshot.members:
        why = "" if each.instance in known else "warms up" if each.coming else "no key published: left alone"
        bought = "spot" if each.spot else "on-demand"
        table.add_row(each.instance, each.kind, each.zone, bought, each.state, each.address, why)
    to = screen.console()
    to.print(f"stack {stack.stack} in {stack.region}, read at {snapshot.at:%Y-%m-%d %H:%M:%S} UTC")
    to.print(screen.plain(f"model {stack.model.image} on port {stack.model.port}, events from {stack.queue_url}"))
    to.print(table if snapshot.members else "no host now")
