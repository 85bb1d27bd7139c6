"""The host check: the machine under the service has room, and its Docker engine and its clock are sound."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from agent.checks import frame
from agent.model import (
    Blind,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    Health,
    HostCheck,
    HttpRequest,
    HttpSeen,
    Judgement,
    MachineRequest,
    MachineSeen,
    Observation,
    ProbeRequest,
    Service,
)

CLOCK_TIMEOUT = timedelta(seconds=2)
DATE_STEP = timedelta(seconds=1)
"""`Date` has whole seconds, cut off. Source: RFC 9110, section 6.6.1."""


def requests(check: HostCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:  # noqa: ARG001 (one signature for all checks)
    """Return what to ask the machine, and the server whose clock is compared."""
    clock = _clock(check)
    return (_machine(check, service), *(() if clock is None else (clock,)))


def judge(
    check: HostCheck,
    service: Service,
    facts: ContainerFacts | Blind,  # noqa: ARG001 (one signature for all checks)
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge all that was asked: every sign at once, since they are different troubles. A sign weighs more than a blind spot."""
    seen = observed.get(_machine(check, service))
    signs = [
        *(_room(check, seen) if isinstance(seen, MachineSeen) else ()),
        *_docker(check, service, observed),
        *_clock_signs(check, seen, observed),
    ]
    if signs:
        return frame.sick(check, *signs)
    if not isinstance(seen, MachineSeen):
        return frame.unseen(check, seen, f"host {service.host}")
    clock = _clock(check)
    if clock is not None and _offset(observed.get(clock)) is None:
        return frame.judgement(check, Health.UNKNOWN, f"cannot look: {clock.url} does not tell the time")
    fullest = max((disk.used for disk in seen.disks), default=0.0)
    return frame.well(check, f"disks {fullest:.0f} %, memory {seen.memory_used:.0f} %, load {seen.load_per_cpu:.1f} per CPU")


def _room(check: HostCheck, seen: MachineSeen) -> Iterator[tuple[str, str]]:
    for disk in seen.disks:
        if disk.used > check.disk_used:
            yield "disk-full", f"{disk.path} is {disk.used:.1f} % full, {check.disk_used} % is allowed"
        if disk.inodes_used is not None and disk.inodes_used > check.inodes_used:
            yield (
                "inodes-full",
                f"{disk.path} has {disk.inodes_used:.1f} % of its inodes used, {check.inodes_used} % is allowed",
            )
    if seen.memory_used > check.memory_used:
        yield "memory-short", f"{seen.memory_used:.1f} % of the memory is used, {check.memory_used} % is allowed"
    if check.load_per_cpu is not None and seen.load_per_cpu > check.load_per_cpu:
        yield "load-high", f"the load is {seen.load_per_cpu:.1f} per CPU, {check.load_per_cpu:g} is allowed"


def _docker(check: HostCheck, service: Service, observed: Mapping[ProbeRequest, Observation]) -> Iterator[tuple[str, str]]:
    listed = observed.get(ContainersRequest(host=service.host))
    # An engine that does not answer at all is an incident of the host's own.
    if isinstance(listed, ContainersSeen) and listed.took > check.docker_within:
        took, allowed = listed.took.total_seconds(), check.docker_within.total_seconds()
        yield "docker-slow", f"Docker took {took:.2f} s to list its containers, {allowed:g} s is allowed"


def _clock_signs(
    check: HostCheck, seen: Observation | None, observed: Mapping[ProbeRequest, Observation]
) -> Iterator[tuple[str, str]]:
    clock = _clock(check)
    ours = None if clock is None else _offset(observed.get(clock))
    if ours is None or not isinstance(seen, MachineSeen):
        return
    offset = ours + seen.ahead  # the server was asked by our clock, and what counts is the host's
    if abs(offset) > check.clock_within + DATE_STEP:
        ahead = "ahead of" if offset > timedelta(0) else "behind"
        seconds = abs(offset).total_seconds()
        yield "clock-off", f"the clock is {seconds:.0f} s {ahead} that of {check.clock_url}"


def _offset(seen: Observation | None) -> timedelta | None:
    """Return how far our clock is ahead of the one that answered; None where it told no time."""
    if not isinstance(seen, HttpSeen) or seen.at is None:
        return None
    try:
        theirs: datetime = parsedate_to_datetime(dict(seen.headers).get("date", ""))
    except ValueError:
        return None
    return seen.at - theirs.replace(tzinfo=theirs.tzinfo or UTC)


def _machine(check: HostCheck, service: Service) -> MachineRequest:
    return MachineRequest(host=service.host, disks=check.disks)


def _clock(check: HostCheck) -> HttpRequest | None:
    if check.clock_url is None:
        return None
    return HttpRequest(url=check.clock_url, timeout=CLOCK_TIMEOUT, body_limit=1, keep=("date",))
