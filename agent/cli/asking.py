"""Asking the daemon (or the foreground) for something, following it on the screen, and what its end amounts to."""

import typer

from agent import yaml_text
from agent.cli import logs, options, screen
from agent.errors import ConfigError
from agent.model import (
    Closing,
    IncidentId,
    IncidentState,
    Request,
    RequestAnswer,
    RequestKind,
    RunbookId,
    ServiceName,
    StoryEvent,
)
from agent.redact import Redactor
from agent.settings import Settings
from agent.wiring import asking, clock, keeping


def ask(
    settings: Settings,
    kind: RequestKind,
    service: str,
    *,
    runbook: str | None = None,
    values: tuple[tuple[str, str], ...] = (),
    as_json: bool,
) -> None:
    """Ask, follow the timeline live, print how it ended, and exit with the code that says so. Raises typer.Exit."""
    import uuid

    request = Request(
        id=uuid.uuid4().hex,
        kind=kind,
        service=ServiceName(service),
        by=options.login(),
        at=clock.CLOCK.now(),
        runbook=RunbookId(runbook) if runbook else None,
        settings=values,
    )
    _refuse_unknown(settings, service)
    logs.configure("text", verbose=False, redact=Redactor(settings.secrets))  # without a daemon, the heal logs here
    to = screen.console(stderr=as_json)

    def tell(event: StoryEvent) -> None:
        to.print(screen.story_line(event), soft_wrap=not to.is_terminal)

    answer = asking.ask(settings, request, tell)
    if as_json:
        screen.print_json(answer)
    else:
        typer.echo(screen.plain(answer.sentence))
    raise typer.Exit(_exit_code(settings, answer))


def _refuse_unknown(settings: Settings, service: str) -> None:
    """Refuse a name that neither medic.yaml nor the store knows: bad input, not a refusal of the daemon's."""
    with keeping.open_store(settings) as store:
        known = {str(each.name) for each in (*settings.services, *store.services.services())}
    if service not in known:
        raise ConfigError(f"cannot find service {service!r}{yaml_text.mean(service, sorted(known))}")


def say_answer(answer: RequestAnswer, *, as_json: bool) -> None:
    """Print what came of an answer to a request for approval, and exit with the code that says so. Raises typer.Exit."""
    if as_json:
        screen.print_json(answer)
    elif answer.accepted:
        typer.echo(screen.plain(answer.sentence))
    else:
        screen.say(answer.sentence)
    raise typer.Exit(options.WELL if answer.accepted else options.REFUSED)


def _exit_code(settings: Settings, answer: RequestAnswer) -> int:
    if not answer.accepted:
        return options.REFUSED
    return options.WELL if answer.incident is None else _incident_code(settings, answer.incident)


def _incident_code(settings: Settings, incident: IncidentId) -> int:
    with keeping.open_store(settings) as store:
        ended = store.incidents.get(incident)
    match ended.state if ended else IncidentState.OPEN:
        case IncidentState.CLOSED:
            helped = ended is None or ended.closing is not Closing.CARRIED_OUT
            return options.WELL if helped else options.SICK
        case IncidentState.HELD:
            return options.REFUSED
        case IncidentState.ESCALATED | IncidentState.OPEN:
            return options.SICK
