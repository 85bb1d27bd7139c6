"""`medic runbook list | show | run | test`: the catalogue of remedies, one of them on demand, and whether it still works."""

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from rich.console import Console

    from agent.model import Host, PlaybookRun, Rehearsal, Runbook
    from agent.settings import Settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show, run and test the remedies that Medic knows.")

Id = Annotated[str, typer.Argument(help="Id of a runbook, for example restart-container.", metavar="ID")]


@app.command("list")
def list_all(ctx: typer.Context, as_json: options.Json = False) -> None:
    """List every runbook.

    With its risk and its rung on the ladder: lower rungs are tried first. One that failed on several services is out of
    service until `medic runbook restore`. One that asks first somewhere, whatever its mode, says why.
    """
    from agent.cli import screen
    from agent.policy import breaker, trust
    from agent.wiring import clock, keeping, shipped

    runbooks = sorted(shipped.runbooks(), key=lambda runbook: (runbook.rung, runbook.id))
    if as_json or options.given(ctx).as_json:
        screen.print_json(runbooks)
        return
    with keeping.open_store(options.settings(ctx)) as store:
        standing = {each.scope: each.because for each in store.breakers.standing()}
        marks = store.runbook_standing.marks([runbook.hash for runbook in runbooks])
    rule, now = options.settings(ctx).fleet_limits.runbooks, clock.CLOCK.now()
    out = {runbook.id: standing[scope] for runbook in runbooks if (scope := breaker.RUNBOOK + runbook.id) in standing}
    # What cannot be put to the test was not demoted: `runbook show` says why it asks.
    earns = [runbook for runbook in runbooks if runbook.unrehearsed is None]
    asks = {runbook.id: where for runbook in earns if (where := trust.where_demoted(runbook, marks, rule, now))}
    screen.console().print(screen.runbooks_table(runbooks, out, asks))


@app.command("show")
def show(ctx: typer.Context, id_: Id, as_json: options.Json = False) -> None:
    """Show one runbook.

    What it treats and when, its parameters, its limits and its undo.
    """
    from agent import errands
    from agent.cli import screen
    from agent.model import RunbookId
    from agent.wiring import shipped

    runbook = errands.runbook_of(RunbookId(id_), shipped.runbooks())
    if as_json or options.given(ctx).as_json:
        screen.print_json(runbook)
    else:
        screen.console().print(screen.pairs(_rows(runbook)))


@app.command("restore")
def restore(
    ctx: typer.Context,
    id_: Id,
    why: Annotated[str, typer.Option("--why", help="What you found and mended.", metavar="TEXT")],
) -> None:
    """Put a runbook back into service that failed on several services.

    What it did before is not counted again.
    """
    from agent import errands
    from agent.cli import breaker
    from agent.model import RunbookId
    from agent.policy import breaker as rules
    from agent.wiring import shipped

    runbook = errands.runbook_of(RunbookId(id_), shipped.runbooks())
    breaker.reset_scope(ctx, f"{rules.RUNBOOK}{runbook.id}", why)


@app.command("run")
def run(
    ctx: typer.Context,
    id_: Id,
    service: options.Service,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A parameter that a person gives.", metavar="NAME=VALUE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ansible's check mode with diff: changes nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Run one runbook on one service, now.

    Recorded and verified like any other attempt; outside the automatic budget. Exit 1 when the service is not well after it.
    """
    from agent import errands
    from agent.cli import asking, screen
    from agent.model import RequestKind, RunbookId, ServiceName
    from agent.wiring import rehearsals, shipped

    settings = options.settings(ctx)
    lines = as_json or options.given(ctx).as_json
    runbook = errands.runbook_of(RunbookId(id_), shipped.runbooks())
    values = options.pairs(set_)
    if not dry_run:
        asking.ask(settings, RequestKind.RUN, service, runbook=runbook.id, values=values, as_json=lines)
    with screen.console(stderr=True).status(f"{runbook.id}: check mode"):
        ended = rehearsals.dry_run(settings, ServiceName(service), runbook.id, dict(values))
    if lines:
        screen.print_json(ended)
    else:
        _print_dry_run(ended)
    raise typer.Exit(_dry_run_code(ended))


@app.command("test")
def rehearse(
    ctx: typer.Context,
    id_: Annotated[str | None, typer.Argument(help="Id of a runbook; or --all.", metavar="[ID]")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every runbook of the catalogue that can be.")] = False,
    image: Annotated[
        str | None, typer.Option("--image", help="A local image with sh, sleep and httpd. Default: the lab's.")
    ] = None,
    nginx_image: Annotated[
        str | None, typer.Option("--nginx-image", help="A local image with nginx and curl. Default: the lab's.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="A declared host to make the throw-aways on; for some runbooks, a throw-away itself."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Write what passed into runbooks/TESTED, for a checkout that is to be shipped.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Put a runbook to the test.

    On throw-away containers: break, see, explain, choose, dry run, mend, see again, run once more, remove. A pass makes a
    demoted or changed runbook act by itself again.
    """
    from agent.cli import screen
    from agent.model import HostName
    from agent.wiring import rehearsals, shipped

    settings = options.settings(ctx)
    lines = as_json or options.given(ctx).as_json
    chosen = _chosen(id_, all_, on_a_host=host is not None)
    on = [rehearsals.host_for(settings, each, HostName(host) if host else None) for each in chosen]
    _stop_if_halted(settings)
    images = (image or rehearsals.IMAGE, nginx_image or rehearsals.NGINX_IMAGE)
    results = _rehearsed(settings, list(zip(chosen, on, strict=True)), images, screen.console(stderr=lines))
    for done in results:
        if done.passed:
            rehearsals.keep_pass(settings, done)
    if lines:
        screen.print_json(results)
    elif len(results) > 1:
        screen.console().print(screen.rehearsals_table(results))
    _stop_if_halted(settings)
    passed = {done.runbook for done in results if done.passed}
    if record and passed:
        typer.echo(f"recorded in {shipped.record_tested([each for each in chosen if each.id in passed])}", err=True)
    raise typer.Exit(options.WELL if len(passed) == len(chosen) else options.SICK)


AT_ONCE = 2
"""Rehearsals at a time: each has its own names, folder and state; more only wait for one another on two cores."""


def _rehearsed(
    settings: "Settings", chosen: "list[tuple[Runbook, Host]]", images: tuple[str, str], to: "Console"
) -> "list[Rehearsal]":
    """Put each runbook to the test, some at a time, and say each step as it ends. None begins once people have said stop."""
    from concurrent.futures import ThreadPoolExecutor

    from agent.cli import screen
    from agent.model import Host, Rehearsal, RehearsalStep, Runbook
    from agent.wiring import halting, rehearsals

    def say(text: str) -> None:
        to.print(screen.plain(text), soft_wrap=True, markup=False, highlight=False)

    def one(runbook: Runbook, host: Host) -> Rehearsal | None:
        def tell(step: RehearsalStep) -> None:
            say(f"{runbook.id:<24} {'ok' if step.passed else 'NO':<2} {step.name:<13}{step.said}")

        if halting.kill_file(settings).halted() is not None:
            return None
        done = rehearsals.rehearse(settings, runbook, host, *images, tell)
        say(f"{runbook.id} {'passed' if done.passed else 'did not pass'} in {done.took.total_seconds():.1f} s")
        return done

    # What is done to a whole host is done to all that lives there.
    at_once = 1 if any(runbook.whole_host for runbook, _ in chosen) else AT_ONCE
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="rehearsal") as pool:
        return [done for done in pool.map(one, *zip(*chosen, strict=True)) if done is not None]


def _chosen(id_: str | None, all_: bool, *, on_a_host: bool) -> "list[Runbook]":
    from agent import errands
    from agent.errors import ConfigError
    from agent.model import RunbookId
    from agent.wiring import shipped

    catalogue = shipped.runbooks()
    if all_ is (id_ is not None):
        raise ConfigError("cannot choose what to test: give the ID of one runbook, or --all")
    if id_ is None:
        return [each for each in catalogue if each.unrehearsed is None and (on_a_host or not each.whole_host)]
    chosen = errands.runbook_of(RunbookId(id_), catalogue)
    if chosen.unrehearsed is not None:
        raise ConfigError(f"cannot test {id_!r}: {chosen.unrehearsed} It asks first, always")
    return [chosen]


def _stop_if_halted(settings: "Settings") -> None:
    """Leave with the code for "refused" while people have said stop: a test changes the world, too."""
    from agent.cli import screen
    from agent.wiring import halting

    halted = halting.kill_file(settings).halted()
    if halted is not None:
        screen.say(f"cannot test a runbook: halted ({halted}); `medic resume` first")
        raise typer.Exit(options.REFUSED)


def _print_dry_run(ended: "PlaybookRun") -> None:
    from rich.text import Text

    from agent.cli import screen

    to = screen.console()
    for task in ended.tasks:
        to.print(Text(screen.plain(f"{task.status:<11} {task.name}  {task.message}".rstrip())), soft_wrap=True)
    for line in ended.diff.splitlines():
        style = {"+": "green", "-": "red"}.get(line[:1], "")
        to.print(Text(screen.plain(line), style=style), soft_wrap=True)
    to.print(Text(screen.plain(f"dry run {ended.end.value}: {ended.message}")), soft_wrap=True)


def _dry_run_code(ended: "PlaybookRun") -> int:
    from agent.model import RunEnd

    return options.WELL if ended.end is RunEnd.COMPLETED else options.SICK


def _rows(runbook: "Runbook") -> list[tuple[str, str]]:
    from agent.cli import screen

    rows = [
        ("id", runbook.id),
        ("title", runbook.title),
        ("treats", ", ".join([*(cause.value for cause in runbook.treats_causes), *runbook.treats_symptoms])),
        ("never for", ", ".join(cause.value for cause in runbook.never_for) or "-"),
        ("container is", ", ".join(state.value for state in runbook.container_states) or "in any state"),
        ("needs", ", ".join(runbook.needs) or "-"),
        ("facts", ", ".join(f"{name} is {accepted.replace('|', ' or ')}" for name, accepted in runbook.facts) or "-"),
        ("risk", runbook.risk.value),
        ("rung", str(runbook.rung)),
        ("playbook", runbook.playbook),
        ("timeout", screen.span(runbook.timeout)),
        ("settle", screen.span(runbook.settle)),
        ("rerun", runbook.rerun.value),
        ("undo", runbook.undo or "-"),
        ("unrehearsed", runbook.unrehearsed or "-"),
        ("hash", runbook.hash),
    ]
    for parameter in runbook.parameters:
        default = f", default {parameter.default}" if parameter.default is not None else ""
        rows.append(
            (
                f"--set {parameter.name}" if parameter.source.value == "person" else parameter.name,
                f"{parameter.kind} from {parameter.source.value}{default}. {parameter.help}",
            )
        )
    return rows
