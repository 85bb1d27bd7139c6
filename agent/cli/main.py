"""The command `medic`: the global options, the list of commands, and how errors become exit codes.

Each command is one file and imports what it uses when it runs: `medic --version` must not pay for Docker, SQL or Ansible.
"""

import io
import sys
import traceback
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any  # Any: what a command returns is Typer's business

import typer
from typer.core import TyperGroup

from agent.cli import (
    approvals,
    approve,
    audit,
    breaker,
    check,
    config,
    cost,
    deny,
    doctor,
    edit,
    evaluate,
    halt,
    heal,
    host,
    incident,
    infra,
    init,
    inventory,
    memory,
    options,
    replay,
    resume,
    runbook,
    shadow,
    silence,
    sweeps,
    watch,
)
from agent.errors import ConfigError, MedicError, OutsideError


class _Medic(TyperGroup):
    """The group of all commands: an error that Medic raises on purpose is one sentence and an exit code, with -v its trace too."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MedicError as exc:
            from agent.cli import screen
            from agent.redact import Redactor

            clean = Redactor()  # the rules alone: what the configuration knows may be what could not be read
            if options.given(ctx).verbose:
                typer.echo(clean("".join(traceback.format_exception(exc))), err=True)
            screen.say(clean(str(exc)))
            raise typer.Exit(_exit_code(exc)) from exc


def _exit_code(error: MedicError) -> int:
    match error:
        case ConfigError():
            return options.BAD_INPUT
        case OutsideError():
            return options.CANNOT_LOOK
        case _:
            return options.SICK


app = typer.Typer(
    name="medic",
    cls=_Medic,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it needs no Rich, and reads the same in every terminal
    epilog=options.EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medic {metadata.version('medic-agent')}")
        raise typer.Exit


@app.callback()
def medic(
    ctx: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The medic.yaml to read. Default: $MEDIC_CONFIG, ./medic.yaml, /etc/medic."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text, where a command reads.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, and show the trace of an error.")] = False,
    _shown: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Keep containerised services well: look, explain, remedy, look again, and hand over what stays sick."""
    ctx.obj = options.Options(config=config_file, as_json=as_json, verbose=verbose)


app.command("init")(init.init)
app.command("doctor")(doctor.doctor)
app.command("config")(config.config)
app.command("check")(check.check)
app.command("watch")(watch.watch)
app.command("heal")(heal.heal)
app.add_typer(runbook.app, name="runbook")
app.add_typer(incident.app, name="incident")
app.add_typer(host.app, name="host")
app.command("approvals")(approvals.approvals)
app.command("approve")(approve.approve)
app.command("deny")(deny.deny)
app.command("edit")(edit.edit)
app.add_typer(audit.app, name="audit")
app.add_typer(evaluate.app, name="eval")
app.add_typer(memory.app, name="memory")
app.command("shadow")(shadow.shadow)
app.command("replay")(replay.replay)
app.command("cost")(cost.cost)
app.command("sweeps")(sweeps.sweeps)
app.add_typer(breaker.app, name="breaker")
app.add_typer(infra.app, name="infra")
app.add_typer(inventory.app, name="inventory")
app.command("halt")(halt.halt)
app.command("resume")(resume.resume)
app.command("silence")(silence.silence)
app.command("silences")(silence.silences)


def run() -> None:
    """Run `medic` with the arguments of the process, and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ✓ shows ?, and no error is lost over it
    sys.exit(app(prog_name="medic"))
