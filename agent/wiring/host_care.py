"""The hosts as such: whether they answer, what they lack for playbooks, and the keys by which they are known."""

import contextlib
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from agent import look
from agent.errors import ConfigError
from agent.model import (
    Blind,
    ContainersRequest,
    ContainersSeen,
    Found,
    Here,
    Host,
    HostName,
    HostSeen,
    Observation,
    Plan,
    PlaybookRun,
    Rerun,
    Risk,
    RunbookId,
    SshAccess,
    SsmAccess,
    TaskResult,
)
from agent.settings import Settings
from agent.wiring import clock, halting, looking, shipped, worlds

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.adapters.host_keys import HostKey


def hosts(using: Settings) -> tuple[HostSeen, ...]:
    """Return every declared host, and whether its engine answers now."""
    with looking.eyes(using) as (_, prober):
        observed = look.hosts([host.name for host in using.hosts], prober)
    return tuple(_seen(host, observed.get(ContainersRequest(host=host.name))) for host in using.hosts)


def _seen(host: Host, observed: Observation | None) -> HostSeen:
    match host.access:
        case Here():
            reached = "here"
        case SshAccess(address=address, port=port, user=user, jump=jump):
            reached = f"{user}@{address}:{port}{'' if jump is None else f' through {jump}'}"
        case SsmAccess(instance=instance, region=region):
            reached = f"{instance} in {region}"
    seen = observed if isinstance(observed, ContainersSeen) else None
    trouble = observed.why if isinstance(observed, Blind) else "it was not asked"
    return HostSeen(
        name=host.name,
        reached=reached,
        answers=seen is not None,
        trouble="" if seen is not None else trouble,
        containers=None if seen is None or host.docker is None else len(seen.containers),
        origin=host.origin,
    )


def check_host(using: Settings, name: str) -> tuple[Found, ...]:
    """Ask a host what it has and lacks for playbooks. Reads only."""
    from agent.adapters import host_condition

    host = next(host for host in using.hosts if host.name == name)
    if host.docker is None:
        with looking.eyes(using) as (_, prober):
            seen = _seen(host, look.hosts([host.name], prober).get(ContainersRequest(host=host.name)))
        found = f"{seen.reached}; it has no Docker, and nothing else is asked of it" if seen.answers else seen.trouble
        return (Found(what="reach", well=seen.answers, found=found),)
    if isinstance(host.access, SsmAccess):
        with looking.ways(using) as reached:
            return host_condition.look(host.name, host.docker, reached.machine_of(host.name), clock.CLOCK)
    with contextlib.closing(worlds.ansible(using, lambda: None)) as playbooks:
        way = None if isinstance(host.access, Here) else playbooks.way(host)
    return host_condition.look(host.name, host.docker, way, clock.CLOCK)


def prepare_host(using: Settings, name: str, *, check: bool, on_task: Callable[[TaskResult], None]) -> PlaybookRun:
    """Install what modules need on a host. Raises ConfigError while halted, OutsideError when it cannot be started."""
    halted = halting.kill_file(using).halted()
    if halted is not None and not check:
        raise ConfigError(f"cannot prepare {name!r}: halted: {halted}; `medic resume` ends that")
    plan = Plan(
        runbook=RunbookId("prepare-host"),
        runbook_hash="",
        title="Prepare the host",
        risk=Risk.DISRUPTIVE,
        playbook=str(shipped.folder("ansible") / "hosts" / "prepare.yml"),
        parameters=(),
        timeout=timedelta(minutes=20),
        settle=timedelta(0),
        rerun=Rerun.SAFE,
        undo=None,
        why="asked for by a person",
        host=HostName(name),
    )
    with contextlib.closing(worlds.ansible(using, lambda: None)) as playbooks:
        halt = halting.kill_file(using)
        return playbooks.run(
            plan,
            run_id=f"prepare-{os.getpid()}",
            check=check,
            on_task=on_task,
            should_stop=lambda: None if halt.halted() is None or check else "halt",
        )


def fetch_host_key(address: str, port: int) -> "HostKey":
    """Return the best key that a host shows. It is for a person to say whether it is the right one. Raises OutsideError."""
    from agent.adapters import host_keys

    return host_keys.fetch(address, port)


def pin_host_key(file: Path, address: str, port: int, key: "HostKey") -> bool:
    """Write a key that a person agreed to into a known_hosts file; False if it stood there. Raises ConfigError."""
    from agent.adapters import host_keys

    return host_keys.pin(file, address, port, key)
