"""What a host has and lacks for Medic's work on it: one shell script's answers, and what they mean.

In: the way to a host (None: this machine). Out: findings, each with what to do about it. Reads only.
"""

import re
import subprocess
from collections.abc import Mapping
from datetime import timedelta

from agent.adapters import ssh_client
from agent.adapters.machine import Machine
from agent.adapters.ssh_client import Way
from agent.errors import OutsideError
from agent.model import Found
from agent.ports import Clock

WITHIN = 30.0
"""Seconds for all questions; Docker has five of them for each of its two."""
LEAST_PYTHON = (3, 8)
"""Source: ansible-core 2.19, supported target Python versions."""
LEAST_ROOM = 64 * 1024
"""KiB free where locks and markers lie: they are empty folders, and a disk this full has other troubles."""
LARGEST_OFFSET = 5.0
"""Seconds that its clock may be off; the answer itself takes a part of one."""
TOOLS = ("timeout", "grep", "dd", "find", "cut", "mkdir")

_SCRIPT = r"""
say() { printf 'medic\t%s\t%s\n' "$1" "$(printf '%s' "$2" | tr '\t\n' '  ' | cut -c1-300)"; }
say clock "$(date +%s.%N)"
say user "$(id -un)"
say system "$( (. /etc/os-release 2>/dev/null && echo "$PRETTY_NAME") || uname -sr)"
missing=
for tool in $2; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
say tools "$missing"
missing=
for tool in bash curl gzip base64; do command -v "$tool" >/dev/null || missing="$missing $tool"; done
say lookers "$missing"
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || python=
say python "$( [ -z "$python" ] || "$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>&1 | tail -n 1)"
for module in requests yaml; do
    say "$module" "$( [ -z "$python" ] || "$python" -c "import $module; print($module.__version__)" 2>&1 | tail -n 1)"
done
export DOCKER_HOST=$1
say docker "$(command -v docker >/dev/null && timeout 5 docker version --format '{{.Server.Version}}' 2>&1 | tail -n 1)"
say compose "$(command -v docker >/dev/null && timeout 5 docker compose version --short 2>&1 | tail -n 1)"
if [ "$(id -u)" = 0 ]; then base=/var/lib/medic; else base=${XDG_STATE_HOME:-$HOME/.local/state}/medic; fi
base=${MEDIC_STATE_DIR:-$base}/target at=$base
while [ ! -d "$at" ]; do at=$(dirname "$at"); done
say base "$base"
say room "$(df -Pk "$at" 2>/dev/null | awk 'NR == 2 { print $4 }')"
[ -w "$at" ] && say writable yes
say held "$(ls "$base/locks" 2>/dev/null | head -n 5)"
"""
_VERSION = re.compile(r"\d+(\.\d+)+\S*")


def look(host: str, docker: str, way: Way | Machine | None, clock: Clock) -> tuple[Found, ...]:
    """Ask a host everything; one finding alone where it cannot be reached.

    way: None where the host is this machine; a machine where Medic looks and does not act, so that less is needed there.
    """
    began = clock.now().timestamp()
    try:
        said = _ask(docker, way)
    except OutsideError as exc:
        return (Found(what="reach", well=False, found=str(exc)),)
    ended = clock.now().timestamp()
    answers = dict(line.split("\t")[1:3] for line in said.splitlines() if line.startswith("medic\t") and line.count("\t") == 2)
    match way:
        case None:
            reached, found = "this machine", meant(host, answers)
        case Way():
            reached = f"{way.hops[-1].user}@{way.hops[-1].address}:{way.hops[-1].port}"
            found = meant(host, answers)
        case _:
            reached, found = "through SSM, to look only", _looked_at(answers)
    who = answers.get("user", "")
    return (
        Found(what="reach", well=True, found=f"{reached}, as {who}; {answers.get('system', '')}"),
        *found,
        _clock(answers.get("clock", ""), began, ended),
    )


def _looked_at(answers: Mapping[str, str]) -> tuple[Found, ...]:
    """Return what a host's answers mean where nothing is carried out."""
    missing = f"{answers.get('tools', '')} {answers.get('lookers', '')}".split()
    docker = answers.get("docker", "")
    return (
        Found(
            what="tools",
            well=not missing,
            found=f"missing: {' '.join(missing)}" if missing else "all there",
            how="install coreutils, grep and findutils, and bash, curl and gzip",
        ),
        _docker(docker),
    )


def _docker(docker: str) -> Found:
    return Found(
        what="docker",
        well=bool(_VERSION.fullmatch(docker)),
        found=docker or "no docker command there",
        how="install its command-line client, start it, or let this account use its socket (group docker, or `sudo: true`)",
    )


def meant(host: str, answers: Mapping[str, str]) -> tuple[Found, ...]:
    """Return what a host's answers mean. Pure."""
    prepare = f"medic host prepare {host}"
    tools, python = answers.get("tools", "").strip(), answers.get("python", "")
    enough = _version(python) >= LEAST_PYTHON
    room = answers.get("room", "")
    docker = answers.get("docker", "")
    return (
        Found(
            what="tools",
            well=not tools,
            found=f"missing: {tools}" if tools else "all there",
            how="install coreutils, grep and findutils",
        ),
        Found(what="python", well=enough, found=python or "not there", how=f"{prepare}: modules need Python 3.8 or newer"),
        _module("requests", answers, f"{prepare}: modules that speak to Docker need it", needed=True),
        _module("yaml", answers, f"{prepare}: recreating services of Compose files needs it", needed=False),
        _docker(docker),
        Found(
            what="compose",
            well=bool(_VERSION.fullmatch(answers.get("compose", "").removeprefix("v"))),
            found=answers.get("compose") or "not there",
            how="install docker-compose-plugin, for services with a `compose:` spec",
            needed=False,
        ),
        Found(
            what="locks and markers",
            well=answers.get("writable") == "yes" and room.isdigit() and int(room) >= LEAST_ROOM,
            found=f"{answers.get('base', '?')}, {int(room) // 1024 if room.isdigit() else '?'} MiB free",
            how="let this account write there, or free space",
        ),
        Found(
            what="under way",
            well=not answers.get("held"),
            found=answers.get("held") or "nothing",
            how="a run holds these locks; it gives them back when it ends, or 15 s after its Medic is gone",
            needed=False,
        ),
    )


def _module(name: str, answers: Mapping[str, str], how: str, *, needed: bool) -> Found:
    said = answers.get(name, "")
    there = bool(_VERSION.fullmatch(said))
    return Found(what=f"python {name}", well=there, found=said if there else "not there", how=how, needed=needed)


def _clock(said: str, began: float, ended: float) -> Found:
    """Return how far the host's clock is off, as far as one answer can tell: it was read between the two times."""
    number = re.match(r"\d+(\.\d+)?", said)
    if number is None:
        return Found(what="clock", well=False, found="cannot be read", needed=False)
    off = max(0.0, began - float(number[0]), float(number[0]) - ended)
    how = "synchronise it: `medic runbook run sync-clock`, or chrony"
    return Found(
        what="clock", well=off <= LARGEST_OFFSET, found=f"{off:.1f} s off" if off else "agrees with ours", how=how, needed=False
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")) if re.fullmatch(r"\d+(\.\d+)*", text) else ()


def _ask(docker: str, way: Way | Machine | None) -> str:
    match way:
        case None:
            return _ask_here(docker)
        case Way():
            return ssh_client.ask(way, _SCRIPT, docker, " ".join(TOOLS), within=WITHIN)
        case _:
            words = ("sh", "-c", _SCRIPT, "medic", docker, " ".join(TOOLS))
            return way.run(words, timeout=timedelta(seconds=WITHIN), limit=65_536)[1].decode("utf-8", "replace")


def _ask_here(docker: str) -> str:
    try:
        return subprocess.run(  # noqa: S603 -- the script is ours
            ["/bin/sh", "-c", _SCRIPT, "medic", docker, " ".join(TOOLS)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WITHIN,
            check=True,
            text=True,
            errors="replace",
        ).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        raise OutsideError(f"cannot ask this machine: {exc}", transient=True) from exc
