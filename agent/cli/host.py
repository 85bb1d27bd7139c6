"""`medic host`: which hosts there are, what each has and lacks for Medic's work, and making one ready."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import options

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.model import Host, TaskResult
    from agent.settings import Settings

app = typer.Typer(no_args_is_help=True, help="See, check and prepare hosts.")

Name = Annotated[str, typer.Argument(help="Name of a host.", metavar="HOST")]


@app.command("list")
def list_(ctx: typer.Context, as_json: options.Json = False) -> None:
    """List the hosts: how each is reached, and whether its engine answers."""
    from agent.cli import screen
    from agent.wiring import host_care

    settings = options.settings(ctx)
    with screen.console(stderr=True).status("asking the hosts"):
        seen = host_care.hosts(settings)
    if as_json or options.given(ctx).as_json:
        screen.print_json(seen)
    else:
        screen.console().print(screen.hosts_table(seen))
    raise typer.Exit(options.WELL if all(each.answers for each in seen) else options.CANNOT_LOOK)


@app.command()
def check(ctx: typer.Context, host: Name, as_json: options.Json = False) -> None:
    """Say what a host has and lacks for Medic's work on it. Reads only."""
    from agent.cli import screen
    from agent.wiring import host_care

    settings = options.settings(ctx)
    _host(host, settings)
    with screen.console(stderr=True).status(f"asking {host}"):
        found = host_care.check_host(settings, host)
    if as_json or options.given(ctx).as_json:
        screen.print_json(found)
    else:
        to = screen.console()
        for each in found:
            to.print(screen.found_line(each), soft_wrap=not to.is_terminal)
    raise typer.Exit(options.WELL if all(each.well or not each.needed for each in found) else options.CANNOT_LOOK)


@app.command()
def prepare(
    ctx: typer.Context,
    host: Name,
    dry_run: Annotated[bool, typer.Option("--check", help="Say what is missing and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Install on a host what Ansible's modules need: Python 3 with requests and PyYAML.

    Uses the host's own package manager, as the declared account, by sudo where the host says so. Asks first.
    """
    from agent.cli import screen
    from agent.model import RunEnd
    from agent.wiring import host_care

    settings = options.settings(ctx)
    _host(host, settings)
    if not (yes or dry_run):
        typer.confirm(f"Install what is missing on {host}, with its package manager?", abort=True, err=True)
    to = screen.console()

    def tell(task: "TaskResult") -> None:
        if task.status != "skipped":
            to.print(screen.plain(f"{task.status:<9} {task.name}{' - ' + task.message if task.message else ''}"), markup=False)

    run = host_care.prepare_host(settings, host, check=dry_run, on_task=tell)
    typer.echo(screen.plain(f"{run.end.value}: {run.message}"))
    match run.end:
        case RunEnd.COMPLETED:
            raise typer.Exit(options.WELL)
        case RunEnd.UNREACHABLE | RunEnd.LOST:
            raise typer.Exit(options.CANNOT_LOOK)
        case _:
            raise typer.Exit(options.SICK)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.", metavar="NAME")],
    address: Annotated[str, typer.Option("--address", help="Name or address.")],
    user: Annotated[str, typer.Option("--user", help="The account there.")],
    known_hosts: Annotated[Path, typer.Option("--known-hosts", help="The file in which its key is pinned.")],
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 22,
    key_file: Annotated[Path | None, typer.Option("--key-file", help="The private key. Default: the ssh-agent's.")] = None,
    sudo: Annotated[bool, typer.Option("--sudo", help="Playbooks become root by sudo.")] = False,
    fingerprint: Annotated[
        str | None, typer.Option("--fingerprint", help="What its key must be, SHA256:..., instead of asking.")
    ] = None,
) -> None:
    """Pin the key of a host that Medic is to reach over SSH, and print its entry for medic.yaml.

    Shows the fingerprint and asks: compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host itself.
    medic.yaml is yours: nothing is written into it.
    """
    from agent import words
    from agent.cli import screen
    from agent.errors import ConfigError
    from agent.wiring import host_care

    for check, given, what in (
        (words.machine_address, address, "--address"),
        (words.account, user, "--user"),
        (words.name, name, "NAME"),
    ):
        try:
            check(given)
        except ValueError as exc:
            raise ConfigError(f"cannot add host {name!r}: {what}: {exc}") from exc
    key = host_care.fetch_host_key(address, port)
    if fingerprint is None:
        typer.echo(f"{address} shows the {key.kind} key {key.fingerprint}", err=True)
        typer.confirm("Is that what the host itself says?", abort=True, err=True)
    elif fingerprint != key.fingerprint:
        raise ConfigError(f"cannot add host {name!r}: it shows the {key.kind} key {key.fingerprint}, not {fingerprint}")
    new = host_care.pin_host_key(known_hosts, address, port, key)
    screen.say(f"{'pinned' if new else 'stood already'} in {known_hosts}; put this below `hosts:` in medic.yaml")
    typer.echo(_entry(name, address, port, user, key_file, known_hosts, sudo=sudo), nl=False)


def _entry(name: str, address: str, port: int, user: str, key_file: Path | None, known_hosts: Path, *, sudo: bool) -> str:
    import yaml

    ssh: dict[str, object] = {"address": address, "user": user, "known_hosts": str(known_hosts.absolute())}
    if port != 22:
        ssh["port"] = port
    if key_file is not None:
        ssh["key_file"] = str(key_file.absolute())
    if sudo:
        ssh["sudo"] = True
    text = str(yaml.safe_dump({name: {"ssh": ssh}}, sort_keys=False))
    return "".join(f"  {line}\n" for line in text.splitlines())


def _host(name: str, settings: "Settings") -> "Host":
    from agent import yaml_text
    from agent.errors import ConfigError

    found = next((host for host in settings.hosts if host.name == name), None)
    if found is None:
        raise ConfigError(f"cannot find host {name!r}{yaml_text.mean(name, [str(host.name) for host in settings.hosts])}")
    return found
