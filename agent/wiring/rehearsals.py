"""Trying a runbook: in check mode on a service, or for real on a throw-away container or host."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from agent.errors import ConfigError, OutsideError
from agent.model import (
    ContainerFacts,
    FleetAct,
    FleetLimits,
    Here,
    Host,
    HostName,
    Permissions,
    PlaybookRun,
    Rehearsal,
    RehearsalStep,
    Runbook,
    RunbookId,
    RunbookMark,
    RunbookMarkKind,
    RunEnd,
    Service,
    ServiceName,
)
from agent.ports import World
from agent.settings import Settings
from agent.wiring import clock, cloud, halting, keeping, looking, shipped, worlds

IMAGE = "medic-lab/tiny"
NGINX_IMAGE = "medic-lab/base"
"""The lab's images, built by `python -m tests.lab.images` in a checkout."""


def host_for(using: Settings, runbook: Runbook, named: HostName | None) -> Host:
    """Return the host that a runbook's throw-aways are made on: the one that people name, else the first with an engine.

    Raises ConfigError where there is none, or a whole host is needed and people named none or one on which a service lives.
    """
    if named is None and runbook.whole_host:
        raise ConfigError(f"cannot test {runbook.id!r}: it is done to a whole host; name one with --host that you can spare")
    fit = {host.name: host for host in using.hosts if host.docker is not None}
    host = fit.get(named) if named is not None else next(iter(fit.values()), None)
    if host is None:
        wanted = f"no host {named!r} with a Docker engine" if named is not None else "no host with a Docker engine"
        raise ConfigError(f"cannot test {runbook.id!r}: {wanted} is declared; there are: {', '.join(fit) or 'none'}")
    lives = sorted(service.name for service in using.services if service.host == host.name)
    if runbook.whole_host and lives:
        raise ConfigError(f"cannot test {runbook.id!r} on host {host.name!r}: {', '.join(lives)} of medic.yaml lives there")
    return host


def rehearse(
    using: Settings,
    runbook: Runbook,
    host: Host,
    image: str,
    nginx_image: str,
    on_step: Callable[[RehearsalStep], None],
) -> Rehearsal:
    """Put one runbook to the test on throw-aways on a host, in a scratch state folder, under the real kill switch.

    Raises OutsideError where an image is missing, Docker is away, or a host that is to be a throw-away itself has containers.
    """
    import tempfile
    import uuid

    from agent import rehearsal, runbook_file
    from agent.adapters.docker_engine import DockerEngine

    assert host.docker is not None  # noqa: S101  `host_for` returns no host without an engine
    files = shipped.folder("runbooks") / runbook.id
    expected = runbook_file.load_expectation(files)
    name = f"medic-rehearsal-{uuid.uuid4().hex[:8]}"
    with contextlib.ExitStack() as opened:
        reached = opened.enter_context(looking.ways(using))
        docker = DockerEngine((host,), clock.CLOCK, far=reached.engines, late=reached.late, bare=reached.bare)
        opened.callback(docker.close)
        if runbook.whole_host:
            _refuse_where_something_is(docker.list(host.name), runbook, host)
        with tempfile.TemporaryDirectory(prefix="medic-rehearsal-", ignore_cleanup_errors=True) as scratch:
            case = rehearsal.Case(
                runbook=runbook,
                files=files,
                symptoms=tuple(expected.symptoms),
                causes=tuple(expected.causes),
                asked=expected.asked,
                refused=expected.refused,
                services=expected.services,
                name=name,
                # Of a host elsewhere, nobody but revert.yml removes it.
                folder=Path(scratch) / "folder" if isinstance(host.access, Here) else Path("/var/tmp") / name,  # noqa: S108
                image=image,
                nginx_image=nginx_image,
                host=host.name,
                docker=host.docker,
            )
            for needed in rehearsal.images(case):
                if not docker.has_image(host.name, needed):
                    raise OutsideError(
                        f"cannot test {runbook.id!r}: host {host.name!r} has no image {needed!r}; build it with"
                        " `python -m tests.lab.images` in a checkout, or name another with --image or --nginx-image",
                        transient=False,
                    )
            state = Path(scratch) / "state"
            small = replace(
                using,
                state_dir=state,
                store_url=f"sqlite:///{state / 'medic.db'}",
                # Those behind it are hosts that it may be reached through.
                hosts=(host, *(each for each in using.hosts if each is not host)),
                services=(),
                channels=(),
                permissions=Permissions(),
                fleet_limits=FleetLimits(),
            )
            with worlds.build(small) as world:
                scratch_world = rehearsal.trusting(replace(world, kill_switch=halting.kill_file(using)))
                return rehearsal.rehearse(case, scratch_world, lambda name: docker.named(host.name, name), on_step)


def _refuse_where_something_is(there: Sequence[ContainerFacts], runbook: Runbook, host: Host) -> None:
    # Not only what runs: an engine that begins anew starts what has `restart: always`, though people had stopped it.
    if there:
        names = ", ".join(sorted(each.name for each in there))
        raise OutsideError(
            f"cannot test {runbook.id!r} on host {host.name!r}: it is done to a whole host, and this one has {names}",
            transient=False,
        )


def keep_pass(using: Settings, done: Rehearsal) -> None:
    """Note that a runbook passed its test: it acts by itself again, until it shows otherwise."""
    now = clock.CLOCK.now()
    mark = RunbookMark(
        runbook=done.runbook,
        hash=done.hash,
        kind=RunbookMarkKind.PASSED,
        at=now,
        because="`medic runbook test` passed",
        key=f"{done.hash} passed {now.isoformat()}",
    )
    with keeping.open_store(using) as store:
        store.runbook_standing.note(mark)


def dry_run(using: Settings, service: ServiceName, runbook: RunbookId, values: Mapping[str, str]) -> PlaybookRun:
    """Run one runbook in Ansible's check mode with diff: says what it would change, and changes nothing."""
    from agent import errands, parameters

    with worlds.build(using) as world:
        declared = errands.service_of(service, world)
        chosen = errands.runbook_of(runbook, world.runbooks)
        if chosen.fleet is not None:
            return _dry_farewell(using, declared, chosen, chosen.fleet, world)
        plan = parameters.plan(
            chosen,
            declared,
            good_copy=errands.good_copy(declared, world),
            settings=values,
            why="dry run",
            around=errands.around(chosen, declared, world),
        )
        run_id = f"dry-{os.getpid()}"
        return world.playbooks.run(plan, run_id=run_id, check=True, on_task=lambda _task: None, should_stop=lambda: None)


def _dry_farewell(using: Settings, service: Service, runbook: Runbook, act: FleetAct, world: World) -> PlaybookRun:
    """Return what would be done about a host of a fleet, as people are shown it before they say yes: no playbook does it."""
    from agent import berths, errands, look, parameters
    from agent.policy import giving_up, replicas

    with cloud.opened(using, world) as fleet:
        around = errands.around(runbook, service, replace(world, fleet=fleet))
        parameters.plan(runbook, service, good_copy=None, settings={}, why="dry run", around=around)
        if fleet is None or around.berth is None:
            raise ConfigError(f"cannot run {runbook.id!r}: {service.host} is a host of no fleet that this Medic knows")
        serves = replicas.answers(look.at(service, world.prober, world.clock))
        objection = giving_up.objection(around.berth, None, serves=serves, now=world.clock.now(), act=act)
        if objection is not None:
            return PlaybookRun(end=RunEnd.NOT_RUN, message=f"it would be refused: {objection.because}")
        ways = berths.choice(act, service, around.berth, fleet, world.store)
    lines = ("would be done:", *ways.outlook, "options:", *ways.options)
    return PlaybookRun(end=RunEnd.COMPLETED, message="nothing was changed", diff="\n".join(lines))
