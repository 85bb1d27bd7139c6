"""`medic check`: one sweep by hand, read only."""

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.model import ServiceRecord, Verdict
    from agent.settings import Settings


def check(
    ctx: typer.Context,
    service: Annotated[str | None, typer.Argument(help="One service. Default: all.", metavar="[SERVICE]")] = None,
    recorded: Annotated[
        bool, typer.Option("--recorded", help="Add what the store has recorded: status, and since when.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Look at every service once.

    Says what is seen. Changes nothing, opens no incident, waits for no streak.
    """
    from agent.cli import screen
    from agent.model import ServiceName
    from agent.wiring import clock, looking

    settings = options.settings(ctx)
    verdicts = looking.check(settings, ServiceName(service) if service else None)
    if not verdicts:
        _refuse(service, settings)
    if as_json or options.given(ctx).as_json:
        screen.print_json(verdicts)
    else:
        # Opening the store costs as much as all the looking: a quick look does without.
        records = _records(settings) if recorded else None
        screen.console().print(screen.services_table(verdicts, settings.services, records, clock.CLOCK.now()))
    raise typer.Exit(_exit_code(verdicts))


def _refuse(service: str | None, settings: "Settings") -> None:
    from agent import yaml_text
    from agent.errors import ConfigError

    if service is None:
        raise ConfigError(
            "cannot check anything: no service is declared, by medic.yaml or by a label (`medic init` proposes a file)"
        )
    known = [str(each.name) for each in settings.services]
    raise ConfigError(f"cannot check {service!r}: there is no such service{yaml_text.mean(service, known)}")


def _records(settings: "Settings") -> "tuple[ServiceRecord, ...]":
    from agent.wiring import keeping

    with keeping.open_store(settings) as store:
        return store.services.records()


def _exit_code(verdicts: "tuple[Verdict, ...]") -> int:
    from agent.model import Health

    healths = {verdict.health for verdict in verdicts}
    if Health.SICK in healths:
        return options.SICK
    return options.CANNOT_LOOK if Health.UNKNOWN in healths else options.WELL
