"""What hosts over SSH cost a sweep: fifty of them, five dead, one that accepts and says nothing, one whose dockerd hangs.

Each is an address of the loopback with a real OpenSSH server behind it, a connection and processes of its own; all of them have
this machine's Docker engine. So the machine also does what fifty machines would do, and the figures are upper bounds.
"""

import contextlib
import itertools
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil

from agent import look
from agent.adapters.docker_engine import DockerEngine
from agent.adapters.prober import BatchProber
from agent.adapters.ssh_ways import SshWays
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.model import (
    ContainerCheck,
    Health,
    Host,
    HostCheck,
    HostName,
    HttpCheck,
    Judgement,
    Plane,
    Service,
    ServiceName,
    SshAccess,
    Thresholds,
)
from bench.figure import Figure
from bench.ground import HTTPD, Ground, free_port
from tests import far_hosts
from tests.far_hosts import far_host

HOSTS = 50
DEAD = 5
ROUNDS = 6
PAUSE = 1.0
"""Seconds between two sweeps: in between, hosts that could not be reached are tried again."""
CONTAINERS = 60
PER_SERVER = 15
"""Addresses of one sshd; it takes 16 (OpenSSH 9.2, MAX_LISTEN_SOCKS)."""
EVERY = timedelta(seconds=5)

SWEEP, SWEEP_WHAT = "sweep-ssh-hosts", f"slowest sweep of {HOSTS} SSH hosts, {DEAD} dead, 2 hanging"
SWEEP_BAR = look.DEADLINE.total_seconds()
LIST, LIST_WHAT = "container-state-ssh", f"state of one host with {CONTAINERS} containers over SSH"
LIST_BAR = 40
IDLE = 10
"""Seconds over which the cost of fifty open connections that nobody uses is taken."""


def figures(on: Ground) -> Iterator[Figure]:
    """Measure sweeps of all hosts, and one host's list of containers over SSH."""
    if far_hosts.SSHD is None:
        missing = "no sshd is installed here (Debian: openssh-server)"
        yield Figure(name=SWEEP, what=SWEEP_WHAT, value=None, unit="s", bar=SWEEP_BAR, limit=missing)
        yield Figure(name=LIST, what=LIST_WHAT, value=None, unit="ms", bar=LIST_BAR, limit=missing)
        return
    on.containers(CONTAINERS)
    name, url = on.served(f"medic-bench-{on.run}-far", HTTPD)
    folder = Path(tempfile.mkdtemp(prefix="medic-bench-hosts-"))
    try:
        with (
            contextlib.ExitStack() as servers,
            _hung_engine(folder / "hung.sock") as hung,
            socket.create_server(("127.0.2.1", 0)) as silent,
        ):
            good = list(itertools.chain.from_iterable(_served(servers, folder, numbers) for numbers in _parts()))
            good[-1] = replace(good[-1], docker=f"unix://{hung}")
            hosts = good + _lost(good[0], int(silent.getsockname()[1]))
            yield from _sweeps(hosts, [_service(host, name, url) for host in hosts])
            yield _list(hosts[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _parts() -> Iterator[range]:
    """Yield which of the hosts that answer each server plays."""
    answering = HOSTS - DEAD - 1
    return (range(start, min(start + PER_SERVER, answering)) for start in range(0, answering, PER_SERVER))


def _served(servers: contextlib.ExitStack, folder: Path, numbers: range) -> list[Host]:
    """Start one server on an address per host, and return the hosts."""
    addresses = [f"127.0.1.{number + 1}" for number in numbers]
    more = "\n".join(f"ListenAddress {address}:{{port}}" for address in addresses[1:])
    server = servers.enter_context(far_host(folder / f"sshd-{numbers.start}", addresses[0], port=free_port(), more=more))
    pins = server.folder / "known_hosts"
    key = " ".join(pins.read_text().split()[1:3])
    pins.write_text("".join(f"[{address}]:{server.port} {key}\n" for address in addresses))
    return [server.host(f"host-{number}", address=address) for number, address in zip(numbers, addresses, strict=True)]


def _lost(like: Host, silent: int) -> list[Host]:
    """Return the host that says nothing, and those that are not there."""
    assert isinstance(like.access, SshAccess)
    places = {"silent": ("127.0.2.1", silent)} | {f"dead-{n}": (f"127.0.3.{n}", 1) for n in range(1, DEAD + 1)}
    return [
        Host(name=HostName(name), access=replace(like.access, address=address, port=port))
        for name, (address, port) in places.items()
    ]


@contextlib.contextmanager
def _hung_engine(path: Path) -> Iterator[Path]:
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        engine.listen(64)  # it accepts, and nobody answers
        yield path


def _service(host: Host, container: str, url: str) -> Service:
    """Return a service that is asked on its host: its container, its answer on the host's loopback, the host's room."""
    every = {"every": EVERY, "thresholds": Thresholds()}
    return Service(
        name=ServiceName(f"web-{host.name}"),
        host=host.name,
        container=container,
        checks=(
            ContainerCheck(name="container", **every),
            HttpCheck(name="http", plane=Plane.HOST_PORT, url=url, status=((200, 499),), timeout=timedelta(seconds=2), **every),
            HostCheck(name="host", disks=("/",), docker_within=look.DEADLINE, **every),
        ),
    )


def _sweeps(hosts: list[Host], services: list[Service]) -> Iterator[Figure]:
    ways = SshWays(hosts)
    engines = DockerEngine(hosts, SystemClock(), far=ways.engines)
    prober = BatchProber(engines, Ways(machines=ways.machines, engines=ways.engines, doors=ways.doors))
    took, cpu = [], []
    try:
        for _ in range(ROUNDS):
            before, began = sum(psutil.Process().cpu_times()[:2]), time.perf_counter()
            judged = _look(hosts, services, prober)
            took.append(time.perf_counter() - began)
            cpu.append(sum(psutil.Process().cpu_times()[:2]) - before)
            time.sleep(PAUSE)
        threads = psutil.Process().num_threads()
        before = sum(psutil.Process().cpu_times()[:2])
        time.sleep(IDLE)
        idle = (sum(psutil.Process().cpu_times()[:2]) - before) / IDLE
    finally:
        engines.close()
        ways.close()
    well = [name for name, judgements in judged.items() if all(each.health is Health.WELL for each in judgements)]
    if len(well) != HOSTS - DEAD - 2:
        missed = f"{len(well)} of {HOSTS - DEAD - 2} services were seen well: {_unwell(judged)}"
        yield Figure(name=SWEEP, what=SWEEP_WHAT, value=None, unit="s", bar=SWEEP_BAR, limit=missed)
        return
    yield Figure(
        name=SWEEP,
        what=SWEEP_WHAT,
        value=max(took),
        unit="s",
        bar=SWEEP_BAR,
        limit="the time an engine that hangs is given (5 s); the first sweep opens every connection",
        more={
            "first_s": round(took[0], 2),
            "median_s": round(statistics.median(took), 2),
            "cpu_s_per_sweep": round(statistics.median(cpu), 2),
            "threads": threads,
            "idle_cpu_percent": round(100 * idle, 1),
        },
    )


def _look(hosts: list[Host], services: list[Service], prober: BatchProber) -> dict[ServiceName, tuple[Judgement, ...]]:
    observed = look.hosts([host.name for host in hosts], prober)
    return look.at_all({each.name: each.checks for each in services}, services, prober, observed)


def _unwell(judged: dict[ServiceName, tuple[Judgement, ...]]) -> str:
    return "; ".join(f"{name}: {j.detail}" for name, each in judged.items() for j in each if j.health is not Health.WELL)[:300]


def _list(host: Host) -> Figure:
    ways = SshWays([host])
    engine = DockerEngine([host], SystemClock(), far=ways.engines)
    took = []
    try:
        engine.list(HostName(host.name))
        time.sleep(3)  # younger than a second, a container is inspected each time
        for _ in range(31):
            began = time.perf_counter()
            listed = engine.list(HostName(host.name))
            took.append((time.perf_counter() - began) * 1000)
    finally:
        engine.close()
        ways.close()
    return Figure(
        name=LIST,
        what=LIST_WHAT,
        value=statistics.median(took[1:]),
        unit="ms",
        bar=LIST_BAR,
        limit="dockerd's own answer, and SSH's encryption in Python on both sides of one machine",
        more={"all_containers": len(listed), "slowest_ms": round(max(took), 1)},
    )
