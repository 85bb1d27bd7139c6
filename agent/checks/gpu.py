"""The GPU check: the host's cards are all there and sound, and the container sees them.

A tool that hangs, is absent or dies in the middle says nothing of the service: UNKNOWN, unless what the driver or the kernel
log says by themselves is a sign. What NVIDIA says to ignore is no sign, and one fault of an application is none either.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from agent.checks import command, frame
from agent.gpu import dcgm, smi, xids
from agent.model import (
    Blind,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    ExecRequest,
    ExecSeen,
    Gpu,
    GpuCheck,
    GpuRequest,
    GpuSeen,
    GpuTool,
    HttpRequest,
    HttpSeen,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
    Xid,
    XidAction,
)

DAY = timedelta(hours=24)
REPEATS = 3
"""Faults of applications on one card within a day, whichever application it was, from which the card is suspect.
Source: NVSentinel counts so; docs/how-to/gpus.md."""
DCGM_BYTES = 1_048_576
IN_USE = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})

_TOLD: Mapping[GpuTool, str] = {
    GpuTool.MISMATCH: "gpu-driver-mismatch",
    GpuTool.NO_DRIVER: "gpu-driver-down",
    GpuTool.NO_LIBRARY: "gpu-driver-down",
    GpuTool.LOST: "gpu-missing",
    GpuTool.NO_DEVICES: "gpu-missing",
}
"""What the tool itself says is broken on the host."""
_GONE_INSIDE = frozenset({GpuTool.DETACHED, *_TOLD})

Signs = Iterator[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inside:
    """What the container sees. uuids: None where nobody could say; why: why it sees none, or why nobody could say."""

    uuids: frozenset[str] | None
    whole: bool = True
    why: str = ""


def requests(check: GpuCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return what to ask the host, the container where it runs, and the DCGM exporter where there is one."""
    asked: list[ProbeRequest] = [_host(check, service)]
    if check.in_container and command.nowhere(facts) is None:
        asked.append(_container(check, service))
    exporter = _exporter(check)
    return (*asked, *(() if exporter is None else (exporter,)))


def judge(
    check: GpuCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge all that was seen: every sign at once, since each asks for something else. A sign weighs more than a blind spot."""
    answer = observed.get(_host(check, service))
    seen = answer if isinstance(answer, GpuSeen) else None
    inside = _seen_inside(check, service, facts, observed)
    cards, whole = _cards(check, seen, observed)
    own = tuple(card for card in cards if not inside.uuids or card.uuid in inside.uuids or not card.uuid)
    signs = [
        *(() if seen is None else _of_tool(check, seen)),
        *(() if seen is None else _of_log(check, seen, facts, own, cards)),
        *_of_count(check, cards, own, whole=whole),
        *(sign for card in own for sign in _of_card(check, card)),
        *(() if seen is None else _of_memory(check, seen, service, observed)),
        *(() if seen is None else _of_fabric(check, seen)),
        *_of_container(check, inside, cards),
    ]
    if signs:
        return frame.sick(check, *dict.fromkeys(signs))
    if not cards:
        why = answer if seen is None else Blind(why=f"{check.tool} {seen.tool.value}: {seen.said}")
        return frame.unseen(check, why, f"the GPUs of host {service.host}")
    if check.in_container and inside.uuids is None and command.nowhere(facts) is None:
        return frame.unseen(check, Blind(why=inside.why), f"the GPUs of {service.container}")
    if seen is not None and seen.xids is None and check.xids:
        return frame.unseen(check, Blind(why=f"no kernel log: {'; '.join(seen.gaps)}"), "the kernel log")
    return frame.well(check, _well(own, inside))


def _cards(check: GpuCheck, seen: GpuSeen | None, observed: Mapping[ProbeRequest, Observation]) -> tuple[tuple[Gpu, ...], bool]:
    """Return the cards of the host, and whether they are all: those of nvidia-smi, else those of the DCGM exporter."""
    if seen is not None and seen.tool is GpuTool.ANSWERED:
        return seen.gpus, seen.whole
    exporter = _exporter(check)
    page = observed.get(exporter) if exporter is not None else None
    if isinstance(page, HttpSeen) and page.status == 200:
        # A card that DCGM has lost is simply not there, and an exporter that still starts has none yet.
        return dcgm.parse(page.body).gpus, False
    return (), False


def _of_tool(check: GpuCheck, seen: GpuSeen) -> Signs:
    word = _TOLD.get(seen.tool)
    if word is not None:
        yield word, f"{check.tool} on the host: {seen.said}"
    elif seen.tool is not GpuTool.ANSWERED and check.count:
        # Nobody can ask the cards, but the driver's own files tell of them.
        if seen.driver_loaded is False:
            yield "gpu-driver-down", f"the NVIDIA driver is not loaded, {check.count} GPUs are declared"
        elif seen.driver_devices is not None and seen.driver_devices < check.count:
            yield "gpu-missing", f"the driver knows {seen.driver_devices} GPUs, {check.count} are declared"


def _of_log(
    check: GpuCheck, seen: GpuSeen, facts: ContainerFacts | Blind, own: tuple[Gpu, ...], cards: tuple[Gpu, ...]
) -> Signs:
    if not check.xids or seen.xids is None:
        return
    since = None if isinstance(facts, Blind) else facts.started_at
    others = {card.bus for card in cards} - {card.bus for card in own}
    mine = tuple(xid for xid in seen.xids if xid.bus not in others)
    asking = xids.standing(mine, since)
    for xid in asking:
        word = _word(xid)
        if word is not None:
            yield word, xids.said(xid)
    faults = [xid for xid in asking if xid.action is XidAction.RESTART_APP]
    if since is not None and len(faults) >= check.app_faults:
        yield "gpu-app-fault", f"{len(faults)} faults since the container started, the last: {xids.said(faults[-1])}"
    if seen.at is not None:
        for bus, times in xids.repeated(mine, seen.at, DAY, REPEATS).items():
            yield "gpu-suspect", f"{times} faults of applications on GPU {bus} within a day"


def _word(xid: Xid) -> str | None:
    match xid.action:
        case XidAction.REBOOT:
            return "gpu-needs-reboot"
        case XidAction.RESET:
            return "gpu-needs-reset"
        case XidAction.SUPPORT | XidAction.UNKNOWN:
            return "gpu-suspect"
        case XidAction.RESTART_APP | XidAction.IGNORE:
            return None


def _of_count(check: GpuCheck, cards: tuple[Gpu, ...], own: tuple[Gpu, ...], *, whole: bool) -> Signs:
    for card in own:
        if card.lost is not None:
            word = "gpu-needs-reset" if "reset" in card.lost else "gpu-missing"
            yield word, f"GPU {_name(card)} does not answer: {card.lost}"
    there = sum(card.lost is None for card in cards)
    if check.count is not None and whole and there < check.count:
        yield "gpu-missing", f"the host has {there} GPUs that answer, {check.count} are declared"


def _of_card(check: GpuCheck, card: Gpu) -> Signs:
    name = _name(card)
    if card.recovery is XidAction.REBOOT:
        yield "gpu-needs-reboot", f"the driver asks for a reboot of the host for GPU {name}"
    elif card.recovery is not None:
        yield "gpu-needs-reset", f"the driver asks for a reset of GPU {name} ({card.recovery.value})"
    if card.ecc_uncorrected is not None and card.ecc_uncorrected > check.ecc_uncorrected:
        allowed = f"{check.ecc_uncorrected} are allowed"
        yield (
            "gpu-ecc",
            f"GPU {name} has {card.ecc_uncorrected} uncorrected memory errors since its driver was loaded, {allowed}",
        )
    if card.remap_failed:
        yield "gpu-remap-failed", f"GPU {name} could not put a spare row in place of a broken one"
    if card.remap_pending and check.remap_pending:
        yield "gpu-remap-pending", f"GPU {name} needs a reset before it uses a spare row"
    if check.temperature is not None and card.temperature is not None and card.temperature > check.temperature:
        yield "gpu-hot", f"GPU {name} has {card.temperature:g} °C, {check.temperature} are allowed"
    if check.throttled and card.throttle:
        yield "gpu-throttled", f"GPU {name} is slowed down: {', '.join(card.throttle)}"


def _of_memory(check: GpuCheck, seen: GpuSeen, service: Service, observed: Mapping[ProbeRequest, Observation]) -> Signs:
    listed = observed.get(ContainersRequest(host=service.host))
    if check.orphan_memory is None or seen.holders is None or not isinstance(listed, ContainersSeen):
        return
    running = {container.id for container in listed.containers if container.state in IN_USE}
    for holder in seen.holders:
        gone = holder.alive is False
        ended = holder.container is not None and holder.container not in running
        if (gone or ended) and (holder.memory is None or holder.memory > check.orphan_memory):
            held = "memory" if holder.memory is None else f"{holder.memory:g} MiB"
            who = "which is no process any more" if gone else f"of container {str(holder.container)[:12]}, which does not run"
            yield "gpu-memory-held", f"{held} of GPU {holder.uuid} is held by {holder.pid}, {who}"


def _of_fabric(check: GpuCheck, seen: GpuSeen) -> Signs:
    if not check.fabric_manager:
        return
    if seen.fabric_manager in ("inactive", "failed", "deactivating"):
        yield "gpu-fabric-down", f"nvidia-fabricmanager is {seen.fabric_manager}"
    waiting = [_name(card) for card in seen.gpus if card.fabric is not None and card.fabric != "completed"]
    if waiting and seen.fabric_manager != "activating":
        yield "gpu-fabric-down", f"the NVLink fabric of GPU {', '.join(waiting)} is not set up"


def _of_container(check: GpuCheck, inside: _Inside, cards: tuple[Gpu, ...]) -> Signs:
    """Say what the container lost; only where the host's own cards are seen and answer, else it is the host's trouble."""
    there = sum(card.lost is None for card in cards)
    if inside.uuids is None or not there:
        return
    expected = 1 if check.container_count is None else check.container_count
    if inside.whole and len(inside.uuids) < expected <= there:
        why = inside.why or f"it sees {len(inside.uuids)} of {expected}"
        yield "gpu-lost-in-container", f"the host sees {there} GPUs, the container does not: {why}"


def _seen_inside(
    check: GpuCheck, service: Service, facts: ContainerFacts | Blind, observed: Mapping[ProbeRequest, Observation]
) -> _Inside:
    if not check.in_container or command.nowhere(facts) is not None:
        return _Inside(uuids=None, why="the container does not run")
    asked = f"`{smi.TOOL}` in {service.container}"
    match observed.get(_container(check, service)):
        case ExecSeen(exit_code=code) if code in command.CANNOT_RUN:
            why = (
                f"{asked}: exit code {code}: it has no {smi.TOOL} (NVIDIA_DRIVER_CAPABILITIES lacks `utility`) or no `timeout`"
            )
            return _Inside(uuids=None, why=why)
        case ExecSeen(exit_code=code, output=output):
            how = smi.ending(code, output)
            found = smi.table(output)
            if how is GpuTool.ANSWERED:
                return _Inside(uuids=frozenset(card.uuid for card in smi.gpus(found) if not card.lost), whole=found.whole)
            if how in _GONE_INSIDE:
                return _Inside(uuids=frozenset(), why=f"{asked}: {smi.sentence(output) or how.value}")
            return _Inside(uuids=None, why=f"{asked}: {how.value}: {smi.sentence(output)}")
        case Blind(why=why):
            return _Inside(uuids=None, why=why)
        case _:
            return _Inside(uuids=None, why=f"{asked} was not asked")


def _well(own: tuple[Gpu, ...], inside: _Inside) -> str:
    hottest = max((card.temperature for card in own if card.temperature is not None), default=None)
    parts = [f"{len(own)} GPUs"]
    parts += [f"{hottest:g} °C at most"] if hottest is not None else []
    parts += ["seen in the container"] if inside.uuids else []
    return ", ".join(parts)


def _name(card: Gpu) -> str:
    return card.bus or card.uuid or str(card.index)


def _host(check: GpuCheck, service: Service) -> GpuRequest:
    return GpuRequest(
        host=service.host,
        timeout=check.timeout,
        tool=check.tool,
        kernel_log=check.kernel_log,
        fabric_manager=check.fabric_manager,
    )


def _container(check: GpuCheck, service: Service) -> ExecRequest:
    seconds = f"{max(1, round(check.timeout.total_seconds()))}"  # busybox takes whole seconds only
    argv = ("timeout", "-s", "KILL", seconds, *smi.argv(smi.TOOL, smi.IN_CONTAINER))
    return ExecRequest(host=service.host, container=service.container, argv=argv)


def _exporter(check: GpuCheck) -> HttpRequest | None:
    if check.dcgm_url is None:
        return None
    return HttpRequest(url=check.dcgm_url, timeout=check.timeout, body_limit=DCGM_BYTES)
