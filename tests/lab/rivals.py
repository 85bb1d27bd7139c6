"""Others that could keep the lab's services well, configured as their manuals say, on the same containers and faults as Medic.

A rival may ask for words of `docker run` (`flags`), and is `at_work` while the fault happens; what it did it tells by itself.
What came of it is judged by the lab's own eyes, as for Medic. Each asks what Medic's checks ask, from inside the container.
"""

import re
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tests.lab import ground, images, stage
from tests.lab.stage import Part, Stage, StageError

ALWAYS = ("--restart", "always")
OFTEN = ("--health-interval", "2s", "--health-timeout", "5s", "--health-retries", "2")

Acts = Callable[[], tuple[datetime, ...]]
"""Returns when a rival did something, as far as it tells; asked when the run is over."""


class Rival(Protocol):
    """One other way to keep services well."""

    name: str

    def flags(self, part: Part) -> tuple[str, ...]:
        """Return the words of `docker run` it wants to see on a container it looks after."""

    def at_work(self, site: Stage) -> AbstractContextManager[Acts]:
        """Keep the site well for as long as the context is open."""


class RestartPolicy:
    """Docker's own: `--restart always`. Source: docs.docker.com, "Start containers automatically"."""

    name = "restart policy"

    def flags(self, part: Part) -> tuple[str, ...]:
        return ALWAYS

    @contextmanager
    def at_work(self, site: Stage) -> Iterator[Acts]:
        yield lambda: _restarts_of_docker(site)


class Autoheal:
    """What docker-autoheal does: `docker restart` of whatever is unhealthy, every 5 s, beside a restart policy.

    Source: github.com/willfarrell/docker-autoheal, `docker-entrypoint` (AUTOHEAL_INTERVAL=5).
    """

    name = "autoheal loop"

    def flags(self, part: Part) -> tuple[str, ...]:
        question = _question(part)
        if question is None or any(word.startswith("--health") for word in part.flags):
            return ALWAYS
        return (*ALWAYS, "--health-cmd", question, *OFTEN)

    @contextmanager
    def at_work(self, site: Stage) -> Iterator[Acts]:
        over = threading.Event()
        acts: list[datetime] = []
        loop = threading.Thread(target=self._loop, args=(site, over, acts))
        loop.start()
        try:
            yield lambda: (*acts, *_restarts_of_docker(site))
        finally:
            over.set()
            loop.join()

    def _loop(self, site: Stage, over: threading.Event, acts: list[datetime]) -> None:
        wanted = ("--filter", f"label=medic.demo={site.run}", "--filter", "health=unhealthy")
        while not over.wait(5):
            try:
                for container in stage.docker("ps", "--quiet", *wanted).split():
                    acts.append(datetime.now(UTC))
                    stage.docker("restart", "--time", "1", container)
            except StageError:
                continue  # gone meanwhile: the next look tells


class Monit:
    """Monit of Debian: a program that looks at each container, nginx's routes as hosts, and the manual's restart limit.

    Source: mmonit.com/monit/documentation, "check program", "check host", "service restart limit".
    """

    name = "Monit"
    _ACT = re.compile(r"\[(\S+)\] .*trying to restart")

    def __init__(self, patience: float = 1) -> None:
        """patience: its cycle is so many times as long; it counts a service that is slow to start as one that failed again."""
        self._cycle = max(1, round(2 * patience))
        folder = Path(tempfile.gettempdir(), "medic-lab-monit")
        self._program = folder / "root/usr/bin/monit"
        if not self._program.exists():
            folder.mkdir(exist_ok=True)
            images.fetch_package("monit", folder)

    def flags(self, part: Part) -> tuple[str, ...]:
        return ()

    @contextmanager
    def at_work(self, site: Stage) -> Iterator[Acts]:
        control = site.folder / "monitrc"
        control.touch(mode=0o600)
        control.write_text(_monitrc(site, self._cycle))
        command = (self._program, "-I", "-c", control)
        with (site.folder / "monit.out").open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            try:
                yield lambda: self._acts(site)
                if process.poll() is not None:
                    raise StageError(f"cannot let Monit play: it ended with {process.returncode}, see {out.name}")
            finally:
                process.terminate()
                process.wait(30)

    def _acts(self, site: Stage) -> tuple[datetime, ...]:
        told = self._ACT.findall((site.folder / "monit.logfile").read_text(errors="replace"))
        return tuple(map(datetime.fromisoformat, told))


def _restarts_of_docker(site: Stage) -> tuple[datetime, ...]:
    """Return the restarts by Docker's own policy, each with the time of its container's latest start."""
    acts: list[datetime] = []
    for part in site.parts:
        try:
            seen = stage.inspect(part.container)
        except StageError:
            continue
        acts += [datetime.fromisoformat(seen["State"]["StartedAt"])] * seen["RestartCount"]
    return tuple(acts)


def _question(part: Part) -> str | None:
    """Return a shell command that asks inside the container what the checks of its own address ask; None: nothing."""
    asked = [line for check in part.checks if (line := _asked_inside(check)) is not None]
    return " && ".join(asked) or None


def _asked_inside(check: ground.Check) -> str | None:
    if check["kind"] == "tcp":
        return f"timeout 2 bash -c '</dev/tcp/{check['address'].replace('container:', '127.0.0.1/')}'"
    if "//container" not in check.get("url", ""):
        return None
    if check["kind"] == "completion":
        url = f"{check['url'].replace('//container', '//127.0.0.1')}/completions"
        return f"curl -fsS -m 2 -d '{{}}' {shlex.quote(url)} | grep -qw text"
    ask = f"curl -fsS -m 2 {shlex.quote(check['url'].replace('//container', '//127.0.0.1'))}"
    return f"{ask} | grep -qF {shlex.quote(check['body'])}" if "body" in check else f"{ask} -o /dev/null"


def _monitrc(site: Stage, cycle: int) -> str:
    own = "\n".join(f"set {kind} {site.folder}/monit.{kind}" for kind in ("logfile", "pidfile", "idfile", "statefile"))
    containers = "".join(_check_of_container(site, part) for part in site.parts if part.is_declared)
    return f"set daemon {cycle}\n{own}\n{containers}{''.join(_checks_of_nginx(site))}"


def _check_of_container(site: Stage, part: Part) -> str:
    docker, question = shutil.which("docker"), _question(part)
    program = site.folder / f"look-{part.name}.sh"
    state = f'[ "$({docker} inspect -f {{{{.State.Status}}}} {part.container})" = running ]'
    program.write_text(
        f"#!/bin/sh\n{state} || exit 1\n"
        + (f"exec {docker} exec {part.container} sh -c {shlex.quote(question)}\n" if question else "")
    )
    program.chmod(0o755)
    return (
        f'check program {part.name} with path "{program}" timeout 10 seconds\n{_acts_on(part.container)}'
        "  if status != 0 for 2 cycles then restart\n  if 3 restarts within 10 cycles then unmonitor\n"
    )


def _checks_of_nginx(site: Stage) -> Iterator[str]:
    """Yield a check per routed URL. It is nginx that listens there; the service behind it gets twice the time to come back."""
    for part in site.parts:
        for number, check in enumerate(part.checks):
            url = urlsplit(check.get("url", ""))
            if check["kind"] != "http" or url.port != site.port:
                continue
            content = f' content = "{check["body"]}"' if "body" in check else ""
            patience = 2 if part.name == ground.NGINX else 4
            yield (
                f"check host {part.name}-{number} with address {url.hostname}\n{_acts_on(site.part(ground.NGINX).container)}"
                f'  if failed port {url.port} protocol http request "{url.path}"{content} with timeout 3 seconds'
                f" for {patience} cycles then restart\n  if 3 restarts within 10 cycles then unmonitor\n"
            )


def _acts_on(container: str) -> str:
    docker = shutil.which("docker")
    return "".join(
        f'  {word} program = "{docker} {word} {container}" with timeout 20 seconds\n' for word in ("start", "stop", "restart")
    )
