"""Faults, done for real to one container of the lab's site. Each returns when it is done; none waits for Medic.

Signals are sent from outside the container, from the host's own process table: inside, PID 1 is immune to SIGKILL and SIGSTOP,
and `docker kill` would be an order of a person and not an accident.
"""

import contextlib
import urllib.error
import urllib.request

from tests.lab import images, stage
from tests.lab.stage import Stage, StageError


def crash(site: Stage, name: str) -> None:
    """Kill the service's first process: the container exits with 137."""
    _signal(site, name, "KILL")


def hang(site: Stage, name: str) -> None:
    """Stop the service's first process where it stands: the port still takes connections, and nobody answers."""
    _signal(site, name, "STOP")


def exhaust_memory(site: Stage, name: str) -> None:
    """Ask for more memory than the container may have: the kernel kills it, OOMKilled."""
    part = site.part(name)
    url = f"http://{stage.address(part.container, site.network)}:8080/embed?mb=256"
    with contextlib.suppress(OSError, urllib.error.URLError):  # it dies before it answers
        urllib.request.urlopen(url, timeout=20).close()
    if not stage.inspect(part.container)["State"]["OOMKilled"]:
        raise StageError(f"cannot exhaust the memory of {name}: this engine does not enforce memory limits")


def strand_nginx(site: Stage, name: str) -> None:
    """Replace the service while its old address stays taken: nginx resolved the name once and keeps the old address."""
    part = site.part(name)
    before = stage.address(part.container, site.network)
    _deploy(site, name)
    for number in range(8):
        if before in _addresses(site):
            return
        # Docker gives the lowest free address; what stands below the old one has to be taken first.
        stage.docker(
            *("run", "--detach", "--network", site.network, "--name", f"{part.container}-stranger-{number}"),
            *("--label", f"medic.demo={site.run}", "--label", "medic.test=lab", "--stop-timeout", "1"),
            *(images.TINY, "sh", "-c", "trap exit TERM; sleep 3600 & wait"),
        )
    raise StageError(f"cannot strand nginx: no other container got the old address {before} of {name}")


def deploy_a_mistake(site: Stage, name: str) -> None:
    """Deploy the service with a setting it cannot work with: it ends at every start, and its declaration is what is wrong."""
    (site.folder / f"{name}.env").write_text("CURRENCY=EURO\n")
    _deploy(site, name)


def stop_on_purpose(site: Stage, name: str) -> None:
    """Do what a person does who wants the service to be down."""
    stage.docker("stop", site.part(name).container)


def _deploy(site: Stage, name: str) -> None:
    """Replace a container as a careful deploy does: the new one is there before the old one goes."""
    part = site.part(name)
    old = f"{part.container}-old"
    stage.docker("rename", part.container, old)
    stage.create(site, part)
    stage.docker("rm", "--force", old)


def _signal(site: Stage, name: str, signal: str) -> None:
    process = stage.inspect(site.part(name).container)["State"]["Pid"]
    flags = ("--rm", "--pid=host", "--network=none", "--label", f"medic.demo={site.run}", "--label", "medic.test=lab")
    stage.docker("run", *flags, images.TINY, "kill", f"-{signal}", str(process))


def _addresses(site: Stage) -> set[str]:
    """Return the addresses that containers hold on the site's network."""
    wanted = "{{range .Containers}}{{.IPv4Address}} {{end}}"
    return {text.partition("/")[0] for text in stage.docker("network", "inspect", "--format", wanted, site.network).split()}
