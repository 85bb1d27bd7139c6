"""Looking by hand, without changing anything: the ways to all hosts, the engines and the prober over them, one check of it all.

Nothing here imports a store or an engine: `medic check` does not pay for them.
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from agent import labels, look
from agent.errors import ConfigError
from agent.model import Here, Host, HostName, ServiceName, SshAccess, SsmAccess, Verdict
from agent.ports import Containers, Prober
from agent.settings import Settings
from agent.wiring import clock

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.adapters.docker_stream import Dial, Greet
    from agent.adapters.machine import Machine
    from agent.adapters.ssh_ways import SshWays
    from agent.adapters.ssm_ways import SsmWays
    from agent.adapters.ways import Door, Ways


def check(using: Settings, service: ServiceName | None) -> tuple[Verdict, ...]:
    """Look at every declared service (or one) once, without thresholds. Changes nothing and opens no incident."""
    with eyes(using) as (_, prober):
        observed = look.hosts([host.name for host in using.hosts], prober)
        labelled = labels.services(observed) if using.discover_labels else ()
        found = {each.name: each for each in (*labelled, *using.services)}
        chosen = [each for each in found.values() if service in (None, each.name)]
        judgements = look.at_all({each.name: each.checks for each in chosen}, chosen, prober, observed)
    verdicts = tuple(look.verdict(name, judged, clock.CLOCK) for name, judged in judgements.items())
    from agent import redact

    return redact.within(verdicts, redact.Redactor(using.secrets))  # they quote what services answer


@contextlib.contextmanager
def eyes(using: Settings) -> Iterator[tuple[Containers, Prober]]:
    """Open what looks without changing: the Docker engines of all hosts, and the prober for every kind of request."""
    with ways(using) as reached, eyes_by(using, reached) as opened:
        yield opened


@contextlib.contextmanager
def eyes_by(using: Settings, reached: "Ways") -> Iterator[tuple[Containers, Prober]]:
    """Open the same by ways that were made before."""
    from agent.adapters.docker_engine import DockerEngine
    from agent.adapters.prober import BatchProber

    docker = DockerEngine(using.hosts, clock.CLOCK, far=reached.engines, late=reached.late, bare=reached.bare)
    try:
        yield docker, BatchProber(docker, reached)
    finally:
        docker.close()


def refused(host: Host, within: timedelta) -> tuple[str, ...]:
    """Return what Docker on a host, which is this machine, refuses Medic, by the names of `agent.rights`. Raises OutsideError."""
    from agent.adapters.docker_engine import DockerEngine

    docker = DockerEngine((host,), clock.CLOCK, timeout=within)
    try:
        return docker.refuses(host.name)
    finally:
        docker.close()


@contextlib.contextmanager
def ways(using: Settings) -> Iterator["Ways"]:
    """Make the ways to all hosts; nothing connects before it is used. Each kind of host is imported only where there is one."""
    from agent.adapters.local_machine import LocalMachine
    from agent.adapters.ways import Ways

    here = LocalMachine()
    machines: dict[HostName, Machine] = {host.name: here for host in using.hosts if isinstance(host.access, Here)}
    engines: dict[HostName, Dial] = {}
    doors: dict[HostName, Door | None] = {}
    late: dict[HostName, timedelta] = {}
    bare: dict[HostName, Greet] = {}
    with contextlib.ExitStack() as opened:
        if any(isinstance(host.access, SshAccess) for host in using.hosts):
            ssh = _ssh(using.hosts)
            opened.callback(ssh.close)
            machines.update(ssh.machines)
            engines.update(ssh.engines)
            doors.update(ssh.doors)
            bare.update(ssh.bare)
        if any(isinstance(host.access, SsmAccess) for host in using.hosts):
            ssm = _ssm(using.hosts)
            machines.update(ssm.machines)
            engines.update(ssm.engines)
            doors.update(dict.fromkeys(ssm.machines))
            late.update(ssm.late)
        yield Ways(machines=machines, engines=engines, doors=doors, bare=bare, late=late)


def _ssh(hosts: Sequence[Host]) -> "SshWays":
    """Return the ways to the hosts that are reached over SSH. Raises ConfigError where what that needs is not installed."""
    try:
        from agent.adapters.ssh_ways import SshWays
    except ImportError as exc:
        raise ConfigError(f"cannot reach hosts over SSH: {exc}; install medic-agent[ssh]") from exc
    return SshWays(hosts)


def _ssm(hosts: Sequence[Host]) -> "SsmWays":
    """Return the ways to the hosts that are reached through SSM. Raises ConfigError where what that needs is not installed."""
    try:
        from agent.adapters.ssm_ways import SsmWays
    except ImportError as exc:
        raise ConfigError(f"cannot reach hosts through SSM: {exc}; install medic-agent[aws]") from exc
    return SsmWays(hosts)
