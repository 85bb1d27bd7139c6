"""What `medic doctor` asks of this machine, one question per function. Each answers within seconds and never raises."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent import housekeeping
from agent import rights as rights_of_docker
from agent.cli import docker_rights
from agent.errors import MedicError, OutsideError
from agent.model import Blind, ComposeSpec, Found, Here, Host, NginxCheck, NginxRequest, NginxSeen
from agent.settings import Settings
from agent.wiring import clock, halting, keeping, leading, looking, opinions

LEAST_PYTHON = (3, 11)
LEAST_DOCKER_API = (1, 25)
"""The oldest API that community.docker speaks. Source: its docker_container page, version 5."""
LEAST_DISK = 512 * 1024 * 1024
"""Bytes free for the state folder: the store, and evidence of a bad week."""

_WITHIN = timedelta(seconds=5)
_LONGEST = 65_536
"""Bytes of one answer that are read."""
_PTH_OF_RECORD = re.compile(r"^([^/,]+\.pth),", re.MULTILINE)
_NOTHING = subprocess.DEVNULL
_CLOCK_SLACK = timedelta(minutes=2)


def look(settings: Settings) -> Iterator[Found]:
    """Ask everything, in the order in which things depend on one another."""
    yield python()
    yield start_up_files(Path(sysconfig.get_path("purelib")))
    yield state_folder(settings.state_dir)
    yield disk(settings.state_dir)
    yield clock_behind(settings.state_dir)
    yield store(settings)
    yield from records(settings)
    for host in settings.hosts:
        yield docker(host)
        yield from rights(host, settings)
    yield ansible()
    yield collection()
    yield from model(settings)
    yield compose(settings)
    yield from nginx(settings)
    yield halted(settings)
    yield daemon(settings)


def python() -> Found:
    """Ask for this Python."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Found(what="python", well=sys.version_info >= LEAST_PYTHON, found=version, how="install Python 3.11 or newer")


def start_up_files(folder: Path) -> Found:
    """Ask whether every file that Python runs at its start (`*.pth`) came with a package: what was smuggled in stands there."""
    owned = set()
    for package in importlib.metadata.distributions(path=[str(folder)]):
        owned |= set(_PTH_OF_RECORD.findall(package.read_text("RECORD") or ""))
    strange = sorted(file.name for file in folder.glob("*.pth") if file.name not in owned)
    how = f"see who put it into {folder}; if nobody did, make the environment anew from the locks"
    return Found(what="start-up files", well=not strange, found=", ".join(strange) or "all of packages", how=how, needed=False)


def state_folder(path: Path) -> Found:
    """Ask whether the state folder can be written: by writing."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path) as probe:
            probe.write(b"medic doctor")
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as exc:
        how = f"make {path} writable for this user, or name another with state_dir or MEDIC_STATE_DIR"
        return Found(what="state folder", well=False, found=f"{path}: {exc.strerror}", how=how)
    return Found(what="state folder", well=True, found=str(path))


def disk(path: Path) -> Found:
    """Ask how much room the state folder has."""
    try:
        free = shutil.disk_usage(next(each for each in (path, *path.parents) if each.exists())).free
    except OSError as exc:
        return Found(what="disk", well=False, found=str(exc.strerror), how=f"see why {path} cannot be looked at")
    how = f"free some of the disk that holds {path}"
    return Found(what="disk", well=free >= LEAST_DISK, found=f"{free // 1024**2:,} MiB free", how=how)


def clock_behind(path: Path) -> Found:
    """Ask whether the clock has fallen behind what Medic itself wrote."""
    now = clock.CLOCK.now()
    try:
        latest = max((entry.stat().st_mtime for entry in path.iterdir()), default=0.0)
    except OSError:
        latest = 0.0
    ahead = datetime.fromtimestamp(latest, UTC) - now
    how = "set the clock (timedatectl set-ntp true): times of incidents are wrong until then"
    return Found(what="clock", well=ahead < _CLOCK_SLACK, found=f"{now:%Y-%m-%d %H:%M:%S} UTC", how=how)


def store(settings: Settings) -> Found:
    """Ask whether the store opens."""
    try:
        with keeping.open_store(settings) as opened:
            count = len(opened.incidents.unclosed())
    except MedicError as exc:
        return Found(what="store", well=False, found=str(exc), how="see the sentence; docs/how-to/configure.md, section store")
    return Found(what="store", well=True, found=f"opens, {count} unclosed incidents")


def records(settings: Settings) -> Iterator[Found]:
    """Ask how much Medic's own records take, beside what they may take at most. Housekeeping trims them once an hour."""
    how = "see that a watch runs: it deletes what is too much once an hour, but nothing of an unclosed incident"
    yield _size("incidents", keeping.kept_files(settings), settings.retention.most_bytes, how)
    try:
        with keeping.open_store(settings) as opened:
            yield _size("sweep reports", opened.sweeps.size(), housekeeping.MOST_SWEEP_BYTES, how)
    except MedicError:
        pass  # `store` has said so
    databases = [file for file in settings.state_dir.glob("*.db*") if file.suffix != ".made"]
    sizes = ", ".join(f"{file.name} {_mib(file.stat().st_size)}" for file in sorted(databases) if file.is_file())
    yield Found(what="databases", well=True, found=sizes or "on a server", needed=False)


def _size(what: str, size: int, most: int, how: str) -> Found:
    # A tenth more than the cap is what an hour between two housekeepings, and the estimate of a report's size, may cost.
    return Found(what=what, well=size <= most * 1.1, found=f"{_mib(size)} of at most {_mib(most)}", how=how, needed=False)


def _mib(size: int) -> str:
    return f"{size / 1024**2:,.1f} MiB"


def docker(host: Host) -> Found:
    """Ask a host's Docker engine for its version."""
    what = f"docker on {host.name}"
    if not isinstance(host.access, Here) or host.docker is None:
        return Found(what=what, well=True, found=f"elsewhere: `medic host check {host.name}` asks it", needed=False)
    try:
        answer = _ask_docker(host.docker.removeprefix("unix://"))
        version = str(answer["ApiVersion"])
        enough = tuple(map(int, version.split("."))) >= LEAST_DOCKER_API
    except (OSError, ValueError, KeyError, TypeError) as exc:
        cause = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc) or "no answer"
        how = f"start dockerd, or let this user use {host.docker} (group docker)"
        return Found(what=what, well=False, found=f"{host.docker}: {cause}", how=how)
    return Found(
        what=what, well=enough, found=f"engine {answer.get('Version')}, API {version}", how="upgrade Docker to 1.13 or newer"
    )


def rights(host: Host, settings: Settings) -> Iterator[Found]:
    """Ask what the host's socket refuses; nothing where it does not answer, which `docker` has said, nor on another machine."""
    if not isinstance(host.access, Here):
        return
    try:
        refused = looking.refused(host, _WITHIN)
    except OutsideError:
        return
    if not refused:
        return
    parts = [f"refuses {', '.join(refused)}", f"cannot run: {', '.join(rights_of_docker.cannot_run(refused)) or 'no runbook'}"]
    blind = tuple(docker_rights.cannot_ask(refused, host.name, settings))
    parts += [f"cannot ask: {', '.join(blind)}"] if blind else []
    needed = any(name in refused for name in rights_of_docker.LOOKS)
    how = "allow it at the door, if it should be: docs/how-to/least-privilege.md"
    yield Found(what=f"rights on {host.name}", well=False, found="; ".join(parts), how=how, needed=needed)


def _ask_docker(path: str) -> dict[str, object]:
    """Return what `GET /version` says. Raises OSError or ValueError. Bounded in bytes and in time."""
    end = time.monotonic() + _WITHIN.total_seconds()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_WITHIN.total_seconds())
        connection.connect(path)
        connection.sendall(b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n")
        answer = b""
        while len(answer) < _LONGEST and (chunk := connection.recv(8192)):
            answer += chunk
            connection.settimeout(max(0.01, end - time.monotonic()))
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ValueError(f"it answered {head[:60].decode(errors='replace')!r}")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("it answered no object")  # noqa: TRY004  one kind of error for one bad answer
    return document


def ansible() -> Found:
    """Ask for the ansible-playbook of this Python, else of the PATH."""
    program = shutil.which("ansible-playbook", path=sysconfig.get_path("scripts")) or shutil.which("ansible-playbook")
    how = "reinstall Medic (pip install medic-agent): ansible comes with it"
    if program is None:
        return Found(what="ansible-playbook", well=False, found="not there", how=how)
    said = _first_line(program, "--version")
    return Found(what="ansible-playbook", well=said is not None, found=said or f"{program} does not run", how=how)


def collection() -> Found:
    """Ask for the Ansible collection that speaks to Docker."""
    try:
        well = importlib.util.find_spec("ansible_collections.community.docker") is not None
    except ImportError:
        well = False
    how = "pip install ansible, or: ansible-galaxy collection install community.docker"
    return Found(what="community.docker", well=well, found="there" if well else "not there", how=how)


def model(settings: Settings) -> Iterator[Found]:
    """Ask whether a configured model could be asked, without asking it, and how far its proposals go."""
    if settings.model is None:
        return
    names = ", ".join(provider.model for provider in settings.model.providers)
    installed = importlib.util.find_spec("litellm") is not None
    version = f"litellm {importlib.metadata.version('litellm')}" if installed else "litellm is not installed"
    yield Found(what="model", well=installed, found=f"{names} through {version}", how="pip install 'medic-agent[llm]'")
    bundle, passed = opinions.model_bundle(settings)
    found = f"bundle {bundle}, {'a `medic eval` has passed: proposals ask' if passed else 'not evaluated: proposals are only suggested'}"
    yield Found(what="model bundle", well=passed, found=found, how="docs/how-to/model.md", needed=False)


def compose(settings: Settings) -> Found:
    """Ask for the compose plugin, which only services with a `compose:` spec need."""
    users = [service.name for service in settings.services if isinstance(service.spec, ComposeSpec)]
    program = shutil.which("docker")
    said = _first_line(program, "compose", "version") if program else None
    needed_by = f" (needed by {', '.join(users)})" if users else " (no service needs it)"
    found = said or f"not there{needed_by}"
    return Found(
        what="compose plugin", well=said is not None, found=found, how="apt install docker-compose-plugin", needed=bool(users)
    )


def nginx(settings: Settings) -> Iterator[Found]:
    """Ask every nginx that a check names for its configuration."""
    asked = {
        NginxRequest(host=s.host, container=c.nginx) for s in settings.services for c in s.checks if isinstance(c, NginxCheck)
    }
    if not asked:
        return
    requests = sorted(asked, key=lambda request: (request.host, request.container or ""))
    with looking.eyes(settings) as (_, prober):
        seen = prober.ask(requests, _WITHIN)
    for request in requests:
        what, answer = f"nginx -T {f'in {request.container}' if request.container else 'on this machine'}", seen[request]
        match answer:
            case NginxSeen(valid=True, routes=routes):
                yield Found(what=what, well=True, found=f"{len(routes)} routes")
            case NginxSeen(message=message):
                yield Found(
                    what=what, well=False, found=message, how="mend its configuration; `nginx -t` says where", needed=False
                )
            case Blind(why=why):
                yield Found(what=what, well=False, found=why, how="start it, or correct `nginx:` in the check", needed=False)
            case _:
                raise AssertionError(answer)


def halted(settings: Settings) -> Found:
    """Ask whether people have said stop."""
    word = halting.kill_file(settings).halted()
    return Found(what="halt", well=word is None, found=word or "not halted", how="medic resume", needed=False)


def daemon(settings: Settings) -> Found:
    """Ask whether a watch owns the state folder."""
    try:
        pid, lead = leading.watch_is_running(settings), leading.leader(settings)
    except MedicError as exc:
        return Found(what="watch", well=False, found=str(exc), how="medic watch", needed=False)
    found = f"pid {pid}" if pid else "not running here"
    if lead is not None:
        found += f"; {lead.holder} leads"
    return Found(what="watch", well=pid is not None, found=found, how="medic watch", needed=False)


def _first_line(*command: str) -> str | None:
    """Return the first line that a program prints, None if it fails or takes too long."""
    try:
        # S603: the words are fixed, none of them comes from outside
        ended = subprocess.run(command, capture_output=True, timeout=_WITHIN.seconds, check=False, stdin=_NOTHING)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = ended.stdout.decode(errors="replace").splitlines()
    return lines[0] if ended.returncode == 0 and lines else None
