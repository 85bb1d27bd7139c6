"""`medic shadow`: what Medic would have done where it may only watch, beside what others did."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.model import ShadowReport


def shadow(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Option("--service", help="Only this service.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="How far back.")] = 30,
    as_json: options.Json = False,
) -> None:
    """Show what Medic would have done where its mode or a dry run let it only watch, and what others did instead.

    What others did is told from how the container looked before and after; what leaves no trace there is `untold`.
    """
    from agent import shadow as kept
    from agent.cli import screen
    from agent.model import ServiceName
    from agent.wiring import clock, keeping

    now = clock.CLOCK.now()
    with keeping.open_store(options.settings(ctx)) as store:
        known = ServiceName(service) if service is not None else None
        report = kept.report(store, now - timedelta(days=days), now, known)
    if as_json or options.given(ctx).as_json:
        screen.print_json(report)
    elif not report.lines:
        typer.echo(
            f"no decision was held back within {days} days; `mode: observe` lets Medic only watch (docs/how-to/shadow.md)"
        )
    else:
        screen.console().print(screen.shadow_table(report.lines))
        for line in _summary(report):
            typer.echo(screen.plain(line))


def _summary(report: "ShadowReport") -> list[str]:
    from agent.model import Agreement
    from agent.policy import restarts

    said = [
        f"{runbook}: {', '.join(f'{count} {became.value}' for became, count in counts if count)}"
        for runbook, counts in report.counts
    ]
    agreed = sum(line.agreement is Agreement.AGREED for line in report.lines)
    said.append(
        f"{len(report.lines)} decisions, {agreed} agreed with what others did; Medic would have been done"
        f" {restarts.span(report.saved)} sooner in all, at most"
    )
    said += [f"{runbook} agreed every time: it may be let act (docs/how-to/shadow.md)" for runbook in report.ready]
    return said
