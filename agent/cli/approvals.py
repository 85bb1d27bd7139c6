"""`medic approvals`: what waits for a person's word, and what it would change."""

from typing import TYPE_CHECKING

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from datetime import datetime

    from agent.model import Approval


def approvals(ctx: typer.Context, as_json: options.Json = False) -> None:
    """List what waits for your word.

    What would be done, why, how far it goes, until when, and what Ansible's check mode says that it would change.
    """
    from rich.text import Text

    from agent.cli import screen
    from agent.wiring import clock, keeping

    now = clock.CLOCK.now()
    with keeping.open_store(options.settings(ctx)) as store:
        waiting = store.approvals.waiting(now)
    if as_json or options.given(ctx).as_json:
        screen.print_json(waiting)
        return
    if not waiting:
        typer.echo("nothing waits for your word")
    to = screen.console()
    for approval in waiting:
        to.print(screen.pairs(_rows(approval, now)))
        for line in approval.diff.splitlines():
            style = {"+": "green", "-": "red"}.get(line[:1], "dim")
            to.print(Text(screen.plain(f"    {line}"), style=style), soft_wrap=True)
        to.print()


def _rows(approval: "Approval", now: "datetime") -> list[tuple[str, str]]:
    from agent import notices

    plan = approval.plan
    return [
        ("request", f"{approval.id}, attempt {approval.number} of {approval.incident}"),
        ("service", approval.service),
        ("what", f"{plan.title} ({plan.runbook})"),
        ("why", plan.why),
        ("impact", approval.impact),
        *((f"  {name}", value) for name, value in plan.parameters),
        ("expires", f"{approval.expires_at.astimezone():%Y-%m-%d %H:%M:%S}, in {notices.span(approval.expires_at - now)}"),
    ]
