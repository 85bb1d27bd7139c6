"""Breaks real servers in real containers and writes what `docker logs` says as labelled cases: `python -m tests.lab.logs`.

In: `servers/*.yaml`, one file per server, each with its faults and its healthy lives. Out: `tests/cases/diagnosis/logs/*.jsonl`,
lines that `medic eval diagnose --cases` reads. No test runs this; the tests read what it wrote. `--only GLOB` makes a few
anew and keeps the rest.

A case of a server file (what stands beside `cases:` is the default of each):

    id, class, also   the name, the cause that was made, other causes that a fair judge would take
    files             name -> text, seen in the container below /f
    docker            more words for `docker run`
    prepare, break    shell, run in the container before the server and unheard: to set it up, to break it
    run               the server, as the container's own process
    beside            another container on the same network: {name, run, seconds to wait for it}
    ready, after      shell, run beside the server once it lives: what says so, what happens to it then
    signal            sent to the server at the end
    seconds           it is given after that, longer while it still talks; a server that ends is read at once
"""

import argparse
import fnmatch
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # what YAML holds has no narrower type here

import yaml

from agent.model import Cause
from tests.lab import images

SERVERS = Path(__file__).with_name("servers")
CASES = Path(__file__).parents[2] / "cases" / "diagnosis" / "logs"
LABEL = "medic.test=logs"
HEAD, TAIL, LINE_CHARACTERS = 20, 60, 1_000
"""What is kept of a log: its first lines, its last, and the beginning of each."""
KEYS = {"id", "class", "also", "files", "docker", "prepare", "break", "run", "beside", "ready", "after", "signal", "seconds"}
PREPARED = "medic: prepared"
"""The line that ends the preparation; it is no part of the log."""
PREPARATION = 120.0
QUIET = 2.5
"""Seconds without a new line from which a server counts as having said what it has to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of one server, with the cause that was made; the words of the module's docstring."""

    server: str
    id: str
    cause: Cause
    also: tuple[Cause, ...]
    files: Mapping[str, str]
    docker: tuple[str, ...]
    script: str
    beside: Mapping[str, Any]
    after: str
    signal: str
    seconds: float


def read(file: Path) -> tuple[Life, ...]:
    """Return the lives that one server file describes. Raises KeyError or ValueError for a wrong one."""
    told = yaml.safe_load(file.read_text())
    server, cases = told.pop("server"), told.pop("cases")
    return tuple(_life(server, told | case, dict(told.get("files", {})) | case.get("files", {})) for case in cases)


def _life(server: str, told: dict[str, Any], files: dict[str, str]) -> Life:
    unknown = told.keys() - KEYS
    if unknown:
        raise ValueError(f"{server}/{told['id']}: unknown keys {sorted(unknown)}")
    run = told["run"] if "exec " in told["run"] else f"exec {told['run']}"
    after = told.get("after", "")
    if after:
        after = f"for n in $(seq 200); do {told.get('ready', 'sleep 1.5')} && break; sleep 0.2; done; {after}"
    return Life(
        server=server,
        id=f"{server}-{told['id']}",
        cause=Cause(told["class"]),
        also=tuple(Cause(name) for name in told.get("also", ())),
        files=files,
        docker=tuple(told.get("docker", ())),
        script=f"{{\n{told.get('prepare', 'true')}\n{told.get('break', 'true')}\n}} >/dev/null 2>&1 </dev/null\necho '{PREPARED}'\n{run}",
        beside=told.get("beside", {}),
        after=after,
        signal=told.get("signal", ""),
        seconds=float(told["seconds"]),
    )


def live(life: Life) -> dict[str, Any]:
    """Let one server live and end as described; return the labelled case."""
    name = f"medic-logs-{secrets.token_hex(4)}"
    with ExitStack() as ends, tempfile.TemporaryDirectory(prefix="medic-logs-") as folder:
        Path(folder).chmod(0o755)
        for file, text in life.files.items():
            Path(folder, file).parent.mkdir(exist_ok=True)
            Path(folder, file).write_text(text)
        _docker("network", "create", "--label", LABEL, name)
        ends.callback(_docker, "network", "rm", name)
        if life.beside:
            _start(f"{name}-beside", name, ("--network-alias", life.beside["name"]), f"exec 2>/dev/null; {life.beside['run']}")
            ends.callback(_docker, "rm", "--force", "--volumes", f"{name}-beside")
            time.sleep(float(life.beside["seconds"]))
        _start(name, name, ("--volume", f"{folder}:/f:ro", *life.docker), life.script)
        ends.callback(_docker, "rm", "--force", "--volumes", name)
        _until_prepared(name)
        if life.after:
            _docker("exec", name, "timeout", "90", "bash", "-c", life.after)
        _until_said(name, life.seconds)
        if life.signal:
            _docker("kill", "--signal", life.signal, name)
            _until_said(name, 6)
        return _case(life, name)


def _try(life: Life) -> dict[str, Any] | None:
    """Return the case, or None after saying why there is none: one server must not cost the others."""
    try:
        return live(life)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"{life.id}: {error}", file=sys.stderr)
        return None


def _case(life: Life, name: str) -> dict[str, Any]:
    state = json.loads(_docker("inspect", "--format", "{{json .State}}", name))
    lines = [line[:LINE_CHARACTERS] for line in _docker("logs", name).splitlines() if line != PREPARED]
    if len(lines) > HEAD + TAIL:
        lines = [*lines[:HEAD], *lines[-TAIL:]]
    ended = state["Status"] == "exited"
    return {
        "id": life.id,
        "service": life.server,
        "log": "\n".join(lines),
        "exit_code": state["ExitCode"] if ended else None,
        "oom_killed": state["OOMKilled"] if ended else None,
        "class": life.cause.value,
        "also_accept": [cause.value for cause in life.also],
    }


def _start(name: str, network: str, words: tuple[str, ...], script: str) -> None:
    command = ("run", "--detach", "--label", LABEL, "--name", name, "--network", network, *words)
    _docker(*command, images.SERVERS, "bash", "-c", script)


def _until_prepared(name: str) -> None:
    """Return when the server itself begins, or has ended already."""
    end = time.monotonic() + PREPARATION
    while _runs(name) and PREPARED not in _docker("logs", name):
        if time.monotonic() > end:
            raise RuntimeError(f"not prepared within {PREPARATION:.0f} s")
        time.sleep(0.3)


def _until_said(name: str, seconds: float) -> None:
    """Return when the container has ended, or after `seconds` once it is quiet, or after four times that."""
    begun = told = time.monotonic()
    said = ""
    while _runs(name) and time.monotonic() < begun + 4 * seconds:
        time.sleep(0.5)
        if (now := _docker("logs", name)) != said:
            said, told = now, time.monotonic()
        if said.strip() not in ("", PREPARED) and time.monotonic() > max(begun + seconds, told + QUIET):
            return


def _runs(name: str) -> bool:
    return _docker("inspect", "--format", "{{.State.Running}}", name).strip() == "true"


def _docker(*words: str) -> str:
    """Run docker; return what it printed, both streams in their order."""
    done = subprocess.run(
        ("docker", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=120, check=False
    )
    printed = done.stdout.decode(errors="replace")
    if done.returncode != 0 and words[0] in ("run", "network"):
        raise RuntimeError(f"cannot run docker {words[0]}: {printed.strip()[-300:]}")
    return printed


def _written(server: str) -> Iterator[dict[str, Any]]:
    file = CASES / f"{server}.jsonl"
    if file.exists():
        yield from (json.loads(line) for line in file.read_text().splitlines())


def main() -> int:
    """Make the logs of every server, or of those that `--only` names; return 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.logs", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="*", help="glob of case ids")
    parser.add_argument("--at-once", type=int, default=4, help="containers at once")
    wish = parser.parse_args()
    images.ensure(images.SERVERS)
    CASES.mkdir(exist_ok=True)
    for file in sorted(SERVERS.glob("*.yaml")):
        lives = read(file)
        wanted = [life for life in lives if fnmatch.fnmatch(life.id, wish.only)]
        if not wanted:
            continue
        server = lives[0].server
        with ThreadPoolExecutor(wish.at_once) as pool:
            tried = tuple(pool.map(_try, wanted))
        made = {case["id"]: case for case in (*_written(server), *(case for case in tried if case is not None))}
        lines = [json.dumps(made[life.id], ensure_ascii=False) for life in lives if life.id in made]
        (CASES / f"{server}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"{server}: {sum(case is not None for case in tried)} of {len(wanted)} made", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
