"""Others that could keep the lab's services well, configured as their manuals say, on the same containers and faults as Medic.

A rival may ask for words of `docker run` (`flags`), and is `at_work` while the fault happens. What came of it is judged by the
lab's own eyes, as for Medic.
"""

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from tests.lab import images, stage
from tests.lab.scenario import Member
from tests.lab.stage import Part, Stage

HEALTHCHECK = (
    *("--health-cmd", "curl --fail --silent --max-time 2 http://127.0.0.1:8080/health"),
    *("--health-interval", "2s", "--health-timeout", "3s", "--health-retries", "2"),
)


class Rival(Protocol):
    """One other way to keep services well."""

    name: str

    def flags(self, member: Member) -> tuple[str, ...]:
        """Return the words of `docker run` it wants to see on a container it looks after."""

    def at_work(self, site: Stage) -> AbstractContextManager[None]:
        """Keep the site well for as long as the context is open."""


class RestartPolicy:
    """Docker's own: `--restart always`. Source: docs.docker.com, "Start containers automatically"."""

    name = "restart policy"

    def flags(self, member: Member) -> tuple[str, ...]:
        return ("--restart", "always")

    def at_work(self, site: Stage) -> AbstractContextManager[None]:
        return nullcontext()


class Autoheal:
    """What docker-autoheal does: `docker restart` of whatever is unhealthy, every 5 s, beside a restart policy."""

    name = "autoheal loop"

    def flags(self, member: Member) -> tuple[str, ...]:
        has_its_own = any(word.startswith("--health") for word in member.docker) or member.command is not None
        return ("--restart", "always", *(() if has_its_own else HEALTHCHECK))

    @contextmanager
    def at_work(self, site: Stage) -> Iterator[None]:
        over = threading.Event()
        loop = threading.Thread(target=self._loop, args=(site, over))
        loop.start()
        try:
            yield
        finally:
            over.set()
            loop.join()

    def _loop(self, site: Stage, over: threading.Event) -> None:
        wanted = ("--filter", f"label=medic.demo={site.run}", "--filter", "health=unhealthy")
        while not over.wait(5):
            for container in stage.docker("ps", "--quiet", *wanted).split():
                try:
                    stage.docker("restart", "--time", "1", container)
                except stage.StageError:
                    continue  # gone meanwhile: the next look tells


class Monit:
    """Monit of Debian: the container's state as a program, its HTTP checks as hosts, restart, and the manual's timeout rule.

    Source: mmonit.com/monit/documentation, "check program", "check host", "service restart limit".
    """

    name = "Monit"

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir(), "medic-lab-monit")
        self._program = folder / "root/usr/bin/monit"
        if not self._program.exists():
            folder.mkdir(exist_ok=True)
            images.fetch_package("monit", folder)

    def flags(self, member: Member) -> tuple[str, ...]:
        return ()

    @contextmanager
    def at_work(self, site: Stage) -> Iterator[None]:
        control = site.folder / "monitrc"
        control.touch(mode=0o600)
        control.write_text(_monitrc(site))
        with (site.folder / "monit.out").open("wb") as out:
            process = subprocess.Popen((self._program, "-I", "-c", control), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
            try:
                yield
            finally:
                process.terminate()
                process.wait(30)


def _monitrc(site: Stage) -> str:
    own = "\n".join(f"set {kind} {site.folder}/monit.{kind}" for kind in ("logfile", "pidfile", "idfile", "statefile"))
    return f"set daemon 2\n{own}\n" + "".join(_checks(site, part) for part in site.parts if part.is_declared)


def _checks(site: Stage, part: Part) -> str:
    """Return Monit's checks of one container: its state, and what its HTTP checks ask."""
    docker = "/usr/bin/docker"
    program = site.folder / f"state-{part.name}.sh"
    program.write_text(f'#!/bin/sh\n[ "$({docker} inspect -f {{{{.State.Status}}}} {part.container})" = running ]\n')
    program.chmod(0o755)
    acts = (
        f'  start program = "{docker} start {part.container}" with timeout 20 seconds\n'
        f'  stop program = "{docker} stop {part.container}" with timeout 20 seconds\n'
        f'  restart program = "{docker} restart {part.container}" with timeout 20 seconds\n'
    )
    limit = "  if 3 restarts within 10 cycles then unmonitor\n"
    text = f'check program {part.name} with path "{program}"\n{acts}  if status != 0 for 2 cycles then restart\n{limit}'
    for number, check in enumerate(each for each in part.checks if each["kind"] == "http"):
        url = urlsplit(check["url"])
        host = stage.address(part.container, site.network) if url.hostname == "container" else url.hostname
        body = f' content = "{check["body"]}"' if "body" in check else ""
        text += (
            f"check host {part.name}-{number} with address {host}\n{acts}"
            f'  if failed port {url.port} protocol http request "{url.path}"{body} with timeout 3 seconds for 2 cycles then restart\n'
            f"{limit}"
        )
    return text
