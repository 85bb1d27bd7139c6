"""Faults, done for real to one container of the lab's site. Each returns when it is done.

`FAULTS` is the closed set that scenario files may name; what a fault takes beside the service are its named arguments. Signals
are sent from outside the container, from the host's own process table: inside, PID 1 is immune to SIGKILL and SIGSTOP, and
`docker kill` would be an order of a person and not an accident.
"""

import contextlib
import dataclasses
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal  # Any: arguments as a scenario file gives them

from tests.lab import images, stage
from tests.lab.ground import Site
from tests.lab.stage import Part, Stage, StageError

HEALS_WITHIN = 180.0
"""Seconds for a heal in the middle of a scenario; it takes 8, and minutes on a machine that is busy with other things."""


def crash(site: Stage, name: str) -> None:
    """Kill the service's first process: the container exits with 137."""
    _signal(site, name, "KILL")


def hang(site: Stage, name: str) -> None:
    """Stop the service's first process where it stands: the port still takes connections, and nobody answers."""
    _signal(site, name, "STOP")


def continue_(site: Stage, name: str) -> None:
    """Let a process that was stopped go on."""
    _signal(site, name, "CONT")


def signal_child(site: Stage, name: str, signal: Literal["KILL", "STOP", "SEGV", "BUS"] = "KILL") -> None:
    """Send a signal to the service's child process. Under `docker run --init` that is the program: the container ends with it."""
    part = site.part(name)
    children = [line.split() for line in part.docker("top", part.container, "-o", "pid,ppid").splitlines()[1:]]
    first = str(part.inspect()["State"]["Pid"])
    child = next((pid for pid, parent in children if parent == first), None)
    if child is None:
        raise StageError(f"cannot signal the child of {name}: it has none")
    _kill(part, site.run, child, signal)


def become(site: Stage, name: str, behaviour: str, text: str = "", *, lasting: bool = False) -> None:
    """Let the service behave badly from now on (tests/lab/app.py); `lasting` survives restarts."""
    _post(site, name, {"behaviour": behaviour, "text": text, "lasting": lasting})


def say(site: Stage, name: str, text: str) -> None:
    """Let the service write a line into its log."""
    _post(site, name, {"say": text})


def tell_docker(
    site: Stage, name: str, word: Literal["stop", "kill", "pause", "restart", "rm"], *, flags: tuple[str, ...] = ()
) -> None:
    """Do what a person does at the command line: `docker <word> [flags] <container>`."""
    part = site.part(name)
    part.docker(word, *flags, part.container)


def redeploy(site: Stage, name: str) -> None:
    """Replace the service's container by an equal one, as a deploy does."""
    _deploy(site, name)


def deploy_other_image(site: Stage, name: str) -> None:
    """Replace the service's container by one of another image, which does the same: `latest` was built anew meanwhile."""
    part = site.part(name)
    other = f"medic-lab/other:{site.run}"
    stage.docker("commit", part.container, other)
    _deploy(site, name, image=other)


def leave_created(site: Stage, name: str) -> None:
    """Replace the service's container by one that was made and never started, as a deploy that died half-way does."""
    part = site.part(name)
    part.docker("rm", "--force", part.container)
    stage.create(site, part, start=False)


def move_address(site: Stage, name: str) -> None:
    """Let the service come back with another address, and a stranger have its old one."""
    container = site.part(name).container
    before = stage.address(container, site.network)
    stage.docker("network", "disconnect", site.network, container)
    stage.docker(
        *(
            "run",
            "--detach",
            "--name",
            f"{container}-stranger",
            "--label",
            f"medic.demo={site.run}",
            "--label",
            "medic.test=lab",
        ),
        *("--network", "none", "--stop-timeout", "1", images.TINY, "sh", "-c", "trap exit TERM; sleep 3600 & wait"),
    )
    stage.docker("network", "disconnect", "none", f"{container}-stranger")
    # Docker gives the lowest free address, which is the old one: the stranger first.
    stage.docker("network", "connect", site.network, f"{container}-stranger")
    stage.docker("network", "connect", site.network, container)
    if stage.address(container, site.network) == before:
        raise StageError(f"cannot move the address of {name}: it got its old one back")


def swap_addresses(site: Stage, name: str, other: str) -> None:
    """Let two services come back with each other's address."""
    first, second = site.part(name).container, site.part(other).container
    before = {each: stage.address(each, site.network) for each in (first, second)}
    for each in (first, second):
        stage.docker("network", "disconnect", site.network, each)
    # Docker gives the lowest free address, so the one that had the higher comes first.
    for each in sorted((first, second), key=lambda each: int(before[each].rpartition(".")[2]), reverse=True):
        stage.docker("network", "connect", site.network, each)
    if stage.address(first, site.network) != before[second]:
        raise StageError(f"cannot swap the addresses of {name} and {other}: Docker gave them others")


def detach_network(site: Stage, name: str) -> None:
    """Take the service's container off its network."""
    stage.docker("network", "disconnect", "--force", site.network, site.part(name).container)


def write_file(site: Stage, name: str, file: str, text: str) -> None:
    """Write one of this run's files in place, as an editor or a deploy does. Paths are below the run's folder."""
    (site.folder / file).write_text(text)


def run_inside(site: Stage, name: str, *, command: list[str]) -> None:
    """Run a command in the service's container, as something there gone wrong would."""
    part = site.part(name)
    part.docker("exec", part.container, *command)


def take_port(site: Stage, name: str) -> None:
    """End the service and let a stranger take its first published port before it comes back."""
    published = str(site.part(name).run["ports"][0]).rpartition(":")[0]
    stage.docker("rm", "--force", site.part(name).container)
    stage.docker(
        *("run", "--detach", "--name", f"medic-lab-{site.run}-squatter", "--label", f"medic.demo={site.run}"),
        *("--label", "medic.test=lab", "--publish", f"{published}:8080", "--stop-timeout", "1"),
        *(images.TINY, "httpd", "-f", "-p", "8080"),
    )


def hang_docker(site: Stage, name: str) -> None:
    """Let the Docker socket that Medic uses take connections and answer nothing more (tests/lab/socket_proxy.py)."""
    (site.folder / "docker.mute").touch()


def lose_docker(site: Stage, name: str) -> None:
    """Take the Docker socket that Medic uses away."""
    (site.folder / "docker.sock").unlink()


def medic(site: Stage, name: str, *, words: list[str]) -> None:
    """Do what a person does with Medic: `medic <words>`."""
    _medic(site, *words)


def answer(site: Stage, name: str, word: Literal["approve", "deny"]) -> None:
    """Do what a person does who is asked: wait for the request, then say yes or no."""
    end = time.monotonic() + stage.PATIENCE.total_seconds()
    while not (waiting := json.loads(_medic(site, "--json", "approvals"))):
        if time.monotonic() > end:
            raise StageError(f"cannot {word}: Medic asked for nothing")
        time.sleep(0.5)
    _medic(site, word, waiting[0]["id"], "--why", "the lab says so")


def await_heal(site: Stage, name: str) -> None:
    """Wait until Medic has healed the service of what was done to it before: what follows is another trouble."""
    end = time.monotonic() + HEALS_WITHIN
    while not any(
        each["closing"] == "healed" for each in json.loads(_medic(site, "--json", "incident", "list", "--service", name))
    ):
        if time.monotonic() > end:
            raise StageError(f"cannot go on: Medic has not healed {name} within {HEALS_WITHIN:.0f} s")
        time.sleep(0.5)


def net(site: Site, name: str, way: Literal["cut", "half-open", "reset", "slow", "mend"], *, seconds: float = 1.0) -> None:
    """Do something to the network of another host. seconds: how late everything comes on a slow one."""
    host = site.host(name)
    match way:
        case "cut":
            host.cut()
        case "half-open":
            host.half_open()
        case "reset":
            host.reset()
        case "slow":
            host.slow(seconds)
        case "mend":
            host.mend()


def sshd(site: Site, name: str, word: Literal["stop", "start", "drop", "new-key", "forget-user"]) -> None:
    """Do something to the sshd of another host: end it, start it, end only the connections it has, give the host another
    key, or take Medic's key out of those it lets in."""
    host = site.host(name)
    server = host.sshd
    match word:
        case "stop":
            server.stop()
        case "start":
            server.start()
        case "drop":
            server.cut()
        case "new-key":
            server.stop()
            server.new_key()
            server.start()
        case "forget-user":
            (server.folder / "authorized_keys").write_text("")
            server.cut()


def engine(site: Site, name: str, word: Literal["hang", "continue", "stop", "start"]) -> None:
    """Do something to the Docker engine of another host."""
    host = site.host(name)
    match word:
        case "hang":
            host.hang()
        case "continue":
            host.go_on()
        case "stop":
            host.stop_engine()
        case "start":
            host.start_engine()


def run_on(site: Site, name: str, *, command: list[str]) -> None:
    """Run a command on another host, as something there would."""
    site.host(name).shell(*command)


def await_run(site: Site, name: str) -> None:
    """Wait until a runbook of Medic's has begun to change the service: its marker says so on the service's host."""
    markers = site.host(site.part(name).host).sshd.target_state / "markers"
    end = time.monotonic() + HEALS_WITHIN
    while not list(markers.glob("*/*/started")):
        if time.monotonic() > end:
            raise StageError(f"cannot go on: no runbook has begun to change {name} within {HEALS_WITHIN:.0f} s")
        time.sleep(0.05)


def wait(site: Stage, name: str, seconds: float) -> None:
    """Let some time pass between two faults."""
    time.sleep(seconds)


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


FAULTS: Mapping[str, Callable[..., None]] = {
    function.__name__.strip("_").replace("_", "-"): function
    for function in (
        *(crash, hang, continue_, signal_child, exhaust_memory, become, say, tell_docker, redeploy, leave_created),
        *(deploy_a_mistake, deploy_other_image, strand_nginx, move_address, swap_addresses, detach_network, take_port),
        *(write_file, run_inside, hang_docker, lose_docker, medic, answer, await_heal, wait),
        *(net, sshd, engine, run_on, await_run),
    )
}


def inject(site: Stage, step: Mapping[str, Any], subject: str) -> None:
    """Do one step of a scenario. Raises StageError when there is no such fault, or it takes other words."""
    words = dict(step)
    name, to = str(words.pop("do", "")), str(words.pop("to", subject))
    if name not in FAULTS:
        raise StageError(f"cannot do {name!r}: there are {', '.join(sorted(FAULTS))}")
    try:
        FAULTS[name](site, to, **words)
    except TypeError as exc:
        raise StageError(f"cannot do {name!r} with {', '.join(words) or 'nothing'}: {exc}") from exc


def _deploy(site: Stage, name: str, **other: str) -> None:
    """Replace a container as a careful deploy does: the new one is there before the old one goes. other: words of `run:`."""
    part = site.part(name)
    old = f"{part.container}-old"
    part.docker("rename", part.container, old)
    stage.create(site, dataclasses.replace(part, run={**part.run, **other}))
    part.docker("rm", "--force", old)


def _signal(site: Stage, name: str, signal: str) -> None:
    part = site.part(name)
    _kill(part, site.run, str(part.inspect()["State"]["Pid"]), signal)


def _kill(part: Part, run: str, process: str, signal: str) -> None:
    flags = ("--rm", "--pid=host", "--network=none", "--label", f"medic.demo={run}", "--label", "medic.test=lab")
    part.docker("run", *flags, images.TINY, "kill", f"-{signal}", process)


def _medic(site: Stage, *words: str) -> str:
    medic = (Path(sys.executable).with_name("medic"), "--config", site.medic_yaml)
    return stage.run((*medic, *words), f"medic {' '.join(words)}", timedelta(seconds=HEALS_WITHIN))


def _post(site: Stage, name: str, wish: Mapping[str, Any]) -> None:
    part = site.part(name)
    url = f"http://{stage.address(part.container, site.network)}:8080/become"
    try:
        urllib.request.urlopen(url, data=json.dumps(wish).encode(), timeout=10).close()
    except OSError as exc:
        raise StageError(f"cannot tell {name} how to behave: {exc}") from exc


def _addresses(site: Stage) -> set[str]:
    """Return the addresses that containers hold on the site's network."""
    wanted = "{{range .Containers}}{{.IPv4Address}} {{end}}"
    return {text.partition("/")[0] for text in stage.docker("network", "inspect", "--format", wanted, site.network).split()}
