"""`medic init`: proposes a medic.yaml for what is running now."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.model import ContainerFacts
    from agent.settings import Settings

_TIMEOUT = timedelta(seconds=2)
_DEADLINE = timedelta(seconds=10)


def init(
    ctx: typer.Context,
    to: Annotated[Path, typer.Option("--to", help="The file to write.", dir_okay=False)] = Path("medic.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the proposal and write nothing.")] = False,
) -> None:
    """Propose a medic.yaml for what is running.

    From the containers: their ports, HEALTHCHECKs and nginx routes. Looks only; writes one file.
    """
    from agent import config
    from agent.cli import screen

    _refuse_to_replace(to, force=force or show)
    settings = config.load_state_dir(None if force else options.given(ctx).config)
    with screen.console(stderr=True).status("looking at what is running"):
        text = _propose(settings)
    if show:
        typer.echo(text, nl=False)
    else:
        _write(to, text)
        typer.echo(f"{to} written: look through it, then `medic check`")


def _refuse_to_replace(to: Path, *, force: bool) -> None:
    from agent.errors import ConfigError

    if to.exists() and not force:
        raise ConfigError(f"cannot write {to}: it is there already (--force replaces it, --print only shows the proposal)")


def _write(to: Path, text: str) -> None:
    from agent.errors import ConfigError

    try:
        to.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write {to}: {exc.strerror}") from exc


def _propose(settings: "Settings") -> str:
    from agent import proposal
    from agent.model import HttpRequest, NginxRequest, NginxSeen
    from agent.wiring import looking

    host = settings.hosts[0].name
    with looking.eyes(settings) as (docker, prober):
        containers = docker.list(host)
        ports = sorted({outside for facts in containers for _, outside in facts.ports})
        https = {port: HttpRequest(url=f"http://127.0.0.1:{port}/", timeout=_TIMEOUT, body_limit=1024) for port in ports}
        models = {port: HttpRequest(url=f"http://127.0.0.1:{port}/v1/models", timeout=_TIMEOUT) for port in ports}
        proxies = {facts.name: NginxRequest(host=host, container=facts.name) for facts in _proxies(containers)}
        seen = prober.ask([*https.values(), *models.values(), *proxies.values()], _DEADLINE)
    routes = {name: answer for name, request in proxies.items() if isinstance(answer := seen[request], NginxSeen)}
    answers, named = ({port: seen[request] for port, request in asked.items()} for asked in (https, models))
    return proposal.write(containers, answers, routes, named)


def _proxies(containers: "tuple[ContainerFacts, ...]") -> "list[ContainerFacts]":
    from agent import proposal

    return [facts for facts in containers if proposal.may_be_nginx(facts)]
