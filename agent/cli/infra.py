"""`medic infra`: what a stack would be and cost, before anyone has an account. Needs a checkout: the program is not installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.drift import Line
    from agent.savings import SpotBill
    from infra.prices import Estimate
    from infra.settings import FleetSettings

PATIENCE = 180
"""Seconds for one run of the program on Pulumi's mocks; it takes four."""

app = typer.Typer(no_args_is_help=True, help="Look at the stack that `pulumi up` makes.")

StackFile = Annotated[Path, typer.Argument(help="A stack file: infra/stacks/Pulumi.<stack>.yaml.", metavar="STACK_FILE")]


@app.callback()
def _group() -> None:
    """Look at the stack that `pulumi up` makes."""


@app.command("estimate")
def estimate(ctx: typer.Context, stack: StackFile, as_json: options.Json = False) -> None:
    """Say what a month of a stack costs, by the dated price file: smallest, largest, and what no spot would cost."""
    from agent.cli import screen
    from infra import prices

    settings = _settings(stack)
    book = prices.load()
    priced = prices.estimate(settings, book)
    if as_json or options.given(ctx).as_json:
        screen.print_json(priced)
        return
    _show_estimate(settings, priced)
    typer.echo(f"prices of {book.as_of}, {book.region}: {book.source}")


@app.command("describe")
def describe(ctx: typer.Context, stack: StackFile, as_json: options.Json = False) -> None:
    """Print every resource that `pulumi up` would make, by its part of the stack, and what a month of it costs."""
    from infra import prices

    settings = _settings(stack)
    described = _described(stack)
    if as_json or options.given(ctx).as_json:
        typer.echo(json.dumps(described))
        return
    _show_parts(described["resources"])
    _show_estimate(settings, prices.estimate(settings, prices.load()))


@app.command("preflight")
def preflight(ctx: typer.Context, stack: StackFile, as_json: options.Json = False) -> None:
    """Say whether the account may have what a stack asks for: its quotas of GPU hosts, and types that the region lacks.

    Ends with 1 where something is missing. Needs credentials that may read quotas, and the extra `aws`.
    """
    from rich.table import Table

    from agent.cli import screen
    from agent.wiring import cloud

    settings = _settings(stack)
    needs, lacking = cloud.preflight(settings)
    if as_json or options.given(ctx).as_json:
        screen.print_json(needs)
    else:
        table = Table("vCPUs of", "needs", "allowed", "", box=None, pad_edge=False)
        for each in needs:
            table.add_row(
                each.name, str(each.needs), f"{each.allowed:g}", "" if each.enough else f"ask for more of {each.code}"
            )
        screen.console().print(table)
        for kind in lacking:
            typer.echo(f"{settings.region} has no {kind}: take it out of medic:instanceTypes")
    if lacking or not all(each.enough for each in needs):
        raise typer.Exit(options.SICK)


@app.command("drift")
def drift(
    ctx: typer.Context,
    stack: Annotated[
        Path | None,
        typer.Argument(help="A stack file; without one, what the stack published is what is expected.", metavar="STACK_FILE"),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Say where a live stack is not as its settings say, and the very setting to change or command to run for each.

    Ends with 0: no drift; 1: some; 3: none was seen, but something could not be looked at. Reads only; needs neither Pulumi nor
    its state, but credentials of AWS and the extra `aws`.
    """
    from agent.cli import screen
    from agent.drift import State, worst
    from agent.wiring import cloud

    lines = cloud.stack_drift(_settings(stack)) if stack else cloud.stack_drift(None, options.settings(ctx))
    if as_json or options.given(ctx).as_json:
        screen.print_json(lines)
    else:
        _show_drift(lines, with_published=stack is not None)
    code = {State.SAME: options.WELL, State.DRIFTED: options.SICK, State.UNKNOWN: options.CANNOT_LOOK}[worst(lines)]
    if code:
        raise typer.Exit(code)


@app.command("idle")
def idle(ctx: typer.Context, as_json: options.Json = False) -> None:
    """Say which GPU hosts had nothing to do of late, and what each costs.

    By the figures that each host sends once a minute and `fleet.idle`; a host that was not heard of is unknown. Stops nothing:
    the runbook retire-host does, and asks first. Needs credentials of AWS and the extra `aws`.
    """
    from rich.table import Table

    from agent.cli import screen
    from agent.policy.idleness import Load
    from agent.wiring import cloud
    from infra import prices

    loads = cloud.host_loads(options.settings(ctx))
    if as_json or options.given(ctx).as_json:
        screen.print_json(loads)
        return
    table = Table("host", "type", "", "USD/h", "USD", "", box=None, pad_edge=False)
    for each in loads:
        money = ["?" if usd is None else f"{'<' if each.spot else ''}{usd:.2f}" for usd in (each.usd_per_hour, each.usd)]
        table.add_row(*(screen.plain(cell) for cell in (each.instance, each.kind, each.load.value, *money, each.because)))
    to = screen.console()
    to.print(table if loads else "no host is in service")
    if any(each.load is Load.IDLE for each in loads):
        to.print("`medic runbook run retire-host model-INSTANCE` asks whether one may go; nothing is stopped without a yes")
    typer.echo(f"on demand: prices of {prices.load().as_of}; spot costs less (<). `medic infra savings` has what was paid.")


@app.command("savings")
def savings(
    ctx: typer.Context,
    days: Annotated[int, typer.Option("--days", min=1, max=90, help="How far back; EC2 keeps 90 days of prices.")] = 30,
    as_json: options.Json = False,
) -> None:
    """Say what the fleet's spot hosts really cost, beside what the same hours cost on demand.

    By the hosts that Medic saw, EC2's own price history and the dated price file. Reads only; needs credentials of AWS and the
    extra `aws`.
    """
    from datetime import timedelta

    from agent.cli import screen
    from agent.wiring import clock, cloud, keeping

    using, until = options.settings(ctx), clock.CLOCK.now()
    since = until - timedelta(days=days)
    with keeping.open_store(using) as store:
        stays = store.stays.since(since)
    bills = cloud.spot_savings(using, stays, since, until)
    if as_json or options.given(ctx).as_json:
        screen.print_json(bills)
        return
    _show_savings(bills, len(stays), days)


def _show_savings(bills: "tuple[SpotBill, ...]", hosts: int, days: int) -> None:
    """hosts: of all kinds that were seen in that time."""
    from datetime import timedelta
    from decimal import Decimal

    from rich.table import Table

    from agent.cli import screen
    from agent.policy import restarts
    from infra import prices

    if not bills:
        typer.echo(f"no spot host was seen within {days} days, of {hosts} hosts in all")
        return
    table = Table("host", "type", "zone", "there", "paid", "on demand", "saved", box=None, pad_edge=False)
    for column in table.columns[3:]:
        column.justify = "right"
    for each in bills:
        sums = [f"{usd:.2f}" for usd in (each.paid, each.on_demand, each.saved)] if each.priced else ["-"] * 3
        table.add_row(*(screen.plain(cell) for cell in (each.instance, each.kind, each.zone, restarts.span(each.there), *sums)))
    screen.console().print(table)
    paid, on_demand = (sum((getattr(each, name) for each in bills), Decimal(0)) for name in ("paid", "on_demand"))
    share = f" ({(on_demand - paid) / on_demand:.0%})" if on_demand else ""
    typer.echo(
        f"{len(bills)} spot hosts within {days} days: paid {paid:.2f} USD, {on_demand:.2f} on demand, saved {on_demand - paid:.2f}{share}"
    )
    unpriced = sum((each.there - each.priced for each in bills), timedelta(0))
    if unpriced:
        typer.echo(f"{restarts.span(unpriced)} of their time has no price, and counts nowhere above")
    book = prices.load()
    typer.echo(
        f"spot: EC2's price history; on demand: prices of {book.as_of}, {book.region}. Volumes, traffic and the balancer are left out."
    )


def _show_drift(lines: tuple["Line", ...], *, with_published: bool) -> None:
    """with_published: a column for what the inventory says, where a stack file says what is expected."""
    from rich.table import Table

    from agent.cli import screen
    from agent.drift import State, worst

    table = Table("", "what", "expected", *(["published"] if with_published else []), "live", box=None, pad_edge=False)
    marks = {State.SAME: "=", State.DRIFTED: "≠", State.UNKNOWN: "?"}
    for each in lines:
        cells = (each.what, each.expected, *([each.published] if with_published else []), each.live)
        table.add_row(marks[each.state], *(screen.plain(cell) for cell in cells))
    to = screen.console()
    to.print(table)
    for each in lines:
        if each.do:
            to.print(screen.plain(f"{marks[each.state]} {each.what}: {each.do}"))
    drifted, unknown = (sum(each.state is state for each in lines) for state in (State.DRIFTED, State.UNKNOWN))
    blind = f"; {unknown} of {len(lines)} could not be looked at" if unknown else ""
    match worst(lines):
        case State.SAME:
            typer.echo(f"no drift: {len(lines)} compared")
        case State.DRIFTED:
            typer.echo(f"drift: {drifted} of {len(lines)} differ{blind}")
        case State.UNKNOWN:
            typer.echo(f"unknown: no drift was seen{blind}")


def _settings(path: Path) -> "FleetSettings":
    from agent.errors import ConfigError
    from infra import settings

    try:
        return settings.from_stack_file(path)
    except settings.SettingsError as exc:
        raise ConfigError(str(exc)) from exc


def _described(path: Path) -> dict[str, Any]:
    """Run the program on Pulumi's mocks, in a process of its own, and return what it says.

    Raises ConfigError where a setting or a policy refuses, OutsideError where Pulumi's packages are missing or fail.
    """
    from agent.errors import ConfigError, OutsideError

    words = [sys.executable, "-W", "ignore", "-m", "infra.describe", str(path.resolve())]
    root = Path(__file__).parents[2]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603  (our own module)
    except subprocess.TimeoutExpired as exc:
        raise OutsideError(f"cannot describe {path}: the program took longer than {PATIENCE} s", transient=True) from exc
    if done.returncode == options.BAD_INPUT:
        raise ConfigError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        if "No module named 'pulumi" in done.stderr:
            raise OutsideError("cannot describe a stack: Pulumi is missing; install requirements-infra.lock", transient=False)
        last = done.stderr.strip().splitlines()[-1:] or [f"cannot describe {path}: the program said nothing"]
        raise OutsideError(last[0], transient=False)
    described: dict[str, Any] = json.loads(done.stdout)
    return described


def _show_parts(resources: list[dict[str, Any]]) -> None:
    from rich.tree import Tree

    from agent.cli import screen

    whole = Tree(f"{len(resources)} resources")
    parts = {part: whole.add(part) for part in dict.fromkeys(each["part"] for each in resources) if part}
    for each in sorted(resources, key=lambda it: (it["type"], it["name"])):
        parts.get(each["part"], whole).add(screen.plain(f"{each['type'].rsplit(':', 1)[-1]} {each['name']}"))
    screen.console().print(whole)


def _show_estimate(settings: "FleetSettings", priced: "Estimate") -> None:
    from rich.table import Table

    from agent.cli import screen

    table = Table("each month", "USD", "", box=None, pad_edge=False)
    for line in priced.lines:
        table.add_row(line.what, f"{line.usd:,.0f}", line.note)
    to = screen.console()
    to.print(table)
    to.print(
        f"at its smallest {priced.smallest:,.0f} USD a month, at its largest {priced.largest:,.0f}; budget {settings.monthly_budget_usd:,}"
    )
    to.print(f"the largest, all of it on demand: {priced.on_demand:,.0f} USD")
    if priced.unknown:
        to.print(f"no price known for {', '.join(priced.unknown)}: they count nothing above")
    for warning in settings.warnings():
        to.print(screen.plain(f"! {warning}"))
