"""`medic watch`: the daemon, with its timeline on the screen."""

import typer

from agent.cli import options


def watch(ctx: typer.Context, as_json: options.Json = False) -> None:
    """Run the daemon: look, and heal what is sick.

    On the beat, until SIGTERM or Ctrl-C. One daemon per state folder; of several on one PostgreSQL store one leads, the others
    stand by and take over.
    """
    import json
    import os

    from agent import codec
    from agent.cli import logs, screen
    from agent.model import Lead, StoryEvent
    from agent.redact import Redactor
    from agent.wiring import daemon

    settings = options.settings(ctx)
    logs.configure(settings.log, verbose=options.given(ctx).verbose, redact=Redactor(settings.secrets))
    to = screen.console()
    width = max([8, *(len(service.name) for service in settings.services)])
    lines = as_json or options.given(ctx).as_json

    def tell(event: StoryEvent) -> None:
        if lines:
            typer.echo(json.dumps(codec.as_dict(event), ensure_ascii=True))
        else:
            to.print(screen.story_line(event, width), soft_wrap=not to.is_terminal)

    def ready() -> None:
        if not lines:
            named = f"{len(settings.services)} services of {settings.file}" if settings.file else "services with Docker labels"
            typer.echo(
                f"watching {named} every {screen.span(settings.interval)}, pid {os.getpid()}, state in {settings.state_dir}"
            )

    def stands_by(lead: Lead) -> None:
        if not lines:
            typer.echo(
                f"standing by: {screen.plain(lead.holder)} leads; this one takes over when it is silent for {screen.span(settings.lease)}"
            )

    daemon.run(settings, tell, ready, stands_by)
