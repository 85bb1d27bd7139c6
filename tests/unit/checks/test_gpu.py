"""The GPU check: tables of what a host and its container say of their cards."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from agent import checks, xid_file
from agent.gpu import xids
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
    GpuHolder,
    GpuRequest,
    GpuSeen,
    GpuTool,
    Health,
    HostName,
    HttpSeen,
    Judgement,
    Observation,
    ProbeRequest,
    Thresholds,
    Xid,
    XidAction,
)
from tests.unit.checks.test_checks import BLIND, SECOND, facts, service, words

W, S, U = Health.WELL, Health.SICK, Health.UNKNOWN
CHECK = GpuCheck(name="gpu", every=SECOND, thresholds=Thresholds(), count=2)
STARTED = datetime(2026, 11, 30, 6, tzinfo=UTC)
RUNNING = facts(started_at=STARTED)
ONE = Gpu(index=0, uuid="GPU-a", bus="0000:3b:00", temperature=41.0, ecc_uncorrected=0, throttle=())
TWO = replace(ONE, index=1, uuid="GPU-b", bus="0000:5a:00")
WELL = GpuSeen(
    tool=GpuTool.ANSWERED,
    gpus=(ONE, TWO),
    holders=(),
    driver_loaded=True,
    driver_devices=2,
    xids=(),
    at=STARTED + 3600 * SECOND,
)
SEES = ExecSeen(exit_code=0, output="uuid, pci.bus_id\nGPU-a, 00000000:3B:00.0\nGPU-b, 00000000:5A:00.0\n")
SEES_ONE = ExecSeen(exit_code=0, output="uuid, pci.bus_id\nGPU-a, 00000000:3B:00.0\n")
LOST = ExecSeen(exit_code=255, output="Failed to initialize NVML: Unknown Error\n")
STALE = ExecSeen(exit_code=18, output="Failed to initialize NVML: Driver/library version mismatch\n")
CATALOGUE = xid_file.load()


def judge(
    seen: Observation | None = WELL,
    inside: Observation | None = SEES,
    *,
    check: GpuCheck = CHECK,
    of: ContainerFacts | Blind = RUNNING,
    page: str | None = None,
    running: tuple[str, ...] = (),
) -> Judgement:
    containers = (*((of,) if isinstance(of, ContainerFacts) else ()), *(facts(id=id_, name=id_[:6]) for id_ in running))
    observed: dict[ProbeRequest, Observation] = {
        ContainersRequest(host=HostName("here")): ContainersSeen(containers=containers)
    }
    for request in checks.requests(check, service(check), of):
        answer: Observation | None
        match request:
            case GpuRequest():
                answer = seen
            case ExecRequest():
                answer = inside
            case _:
                answer = HttpSeen(status=200, latency=SECOND, body=page or "")
        if answer is not None:
            observed[request] = answer
    return checks.judge(check, service(check), of, observed)


def xid(number: int, after: float = 60.0, bus: str = "0000:3b:00", text: str = "text") -> Xid:
    at = (STARTED + after * SECOND).isoformat()
    return xids.parse(f"{at} NVRM: Xid (PCI:{bus}): {number}, pid=1, {text}", CATALOGUE, None)[0]


def logged(*lines: Xid) -> GpuSeen:
    return replace(WELL, xids=lines)


def failed(tool: GpuTool, **more: object) -> GpuSeen:
    return replace(WELL, tool=tool, gpus=(), whole=False, holders=None, said="its words", **more)  # type: ignore[arg-type]


def test_cards_that_are_there_and_sound_and_seen_are_well() -> None:
    judgement = judge()
    assert (judgement.health, judgement.detail) == (W, "2 GPUs, 41 °C at most, seen in the container")


@pytest.mark.parametrize(
    ("seen", "inside", "health", "signs"),
    [
        # What the container lost and the host has.
        (WELL, LOST, S, ["gpu-lost-in-container"]),
        (WELL, STALE, S, ["gpu-lost-in-container"]),
        (WELL, ExecSeen(exit_code=6, output="No devices were found\n"), S, ["gpu-lost-in-container"]),
        (WELL, SEES_ONE, W, []),
        # What the host says of itself: then the container's own words say nothing more.
        (failed(GpuTool.MISMATCH), LOST, S, ["gpu-driver-mismatch"]),
        (failed(GpuTool.MISMATCH), SEES, S, ["gpu-driver-mismatch"]),
        (failed(GpuTool.NO_DRIVER), LOST, S, ["gpu-driver-down"]),
        (failed(GpuTool.NO_LIBRARY), LOST, S, ["gpu-driver-down"]),
        (failed(GpuTool.LOST), LOST, S, ["gpu-missing"]),
        (failed(GpuTool.NO_DEVICES), LOST, S, ["gpu-missing"]),
        # Nobody could look: never a ground to act.
        (failed(GpuTool.HANGS), SEES, U, []),
        (failed(GpuTool.HANGS), LOST, U, []),
        (failed(GpuTool.ABSENT), SEES, U, []),
        (failed(GpuTool.FAILED), LOST, U, []),
        (failed(GpuTool.REFUSED), LOST, U, []),
        (failed(GpuTool.DETACHED), LOST, U, []),
        (BLIND, LOST, U, []),
        (None, LOST, U, []),
        (WELL, BLIND, U, []),
        (WELL, None, U, []),
        (WELL, ExecSeen(exit_code=127, output=""), U, []),
        (WELL, ExecSeen(exit_code=137, output=""), U, []),
        (WELL, ExecSeen(exit_code=0, output="uuid, pci.bus_id\nGPU-a, 000"), W, []),  # half an answer proves nothing missing
        # The tool is of no use, and the driver's own files say it.
        (failed(GpuTool.HANGS, driver_loaded=False, driver_devices=None), SEES, S, ["gpu-driver-down"]),
        (failed(GpuTool.ABSENT, driver_devices=1), SEES, S, ["gpu-missing"]),
        (failed(GpuTool.ABSENT, driver_loaded=None, driver_devices=None), SEES, U, []),
        # Cards.
        (replace(WELL, gpus=(ONE,)), SEES_ONE, S, ["gpu-missing"]),
        (replace(WELL, gpus=(ONE,), whole=False), SEES_ONE, W, []),
        (replace(WELL, gpus=(ONE, replace(TWO, lost="gpu requires reset"))), SEES, S, ["gpu-needs-reset", "gpu-missing"]),
        (replace(WELL, gpus=(ONE, replace(TWO, uuid="", lost="unknown error"))), SEES_ONE, S, ["gpu-missing", "gpu-missing"]),
        (replace(WELL, gpus=(ONE, replace(TWO, ecc_uncorrected=3))), SEES, S, ["gpu-ecc"]),
        (replace(WELL, gpus=(ONE, replace(TWO, remap_failed=True))), SEES, S, ["gpu-remap-failed"]),
        (replace(WELL, gpus=(ONE, replace(TWO, remap_pending=True))), SEES, W, []),
        (replace(WELL, gpus=(ONE, replace(TWO, throttle=("hw-slowdown",)))), SEES, S, ["gpu-throttled"]),
        (replace(WELL, gpus=(ONE, replace(TWO, temperature=99.0))), SEES, W, []),
        (replace(WELL, gpus=(ONE, replace(TWO, recovery=XidAction.RESET))), SEES, S, ["gpu-needs-reset"]),
        (replace(WELL, gpus=(ONE, replace(TWO, recovery=XidAction.REBOOT))), SEES, S, ["gpu-needs-reboot"]),
        # MIG says less, and nothing of it is zero or a fault.
        (replace(WELL, gpus=(replace(ONE, ecc_uncorrected=None, throttle=None, mig=True), TWO)), SEES, W, []),
    ],
)  # fmt: skip
def test_the_gpu_check(seen: Observation | None, inside: Observation | None, health: Health, signs: list[str]) -> None:
    judgement = judge(seen, inside)
    assert (judgement.health, words(judgement)) == (health, signs)


def test_a_card_that_the_container_does_not_have_is_not_its_business() -> None:
    broken = replace(WELL, gpus=(ONE, replace(TWO, ecc_uncorrected=3)), xids=(xid(79, bus="0000:5a:00"),))
    assert judge(broken, SEES_ONE).health is W
    assert words(judge(broken, SEES)) == ["gpu-needs-reboot", "gpu-ecc"]


@pytest.mark.parametrize(
    ("lines", "signs"),
    [
        ((), []),
        ((xid(43), xid(45), xid(63)), []),
        ((xid(13),), []),
        ((xid(13), xid(31, 90)), ["gpu-app-fault"]),
        ((xid(13, -90), xid(31, -60)), []),  # before this container
        ((xid(13, -3 * 3600), xid(31, -2 * 3600), xid(31, -60)), ["gpu-suspect"]),  # whichever application it was
        ((xid(13, -30 * 3600), xid(31, -29 * 3600), xid(31, -60)), []),
        ((xid(95),), ["gpu-needs-reset"]),
        ((xid(79),), ["gpu-needs-reboot"]),
        ((xid(51),), ["gpu-suspect"]),
        ((xid(154, text="GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)"),), ["gpu-needs-reboot"]),
        ((xid(95), xid(154, 70, text="GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)")), []),
    ],
)
def test_xid_lines_since_the_container_started_ask_for_what_nvidia_says(lines: tuple[Xid, ...], signs: list[str]) -> None:
    assert words(judge(logged(*lines))) == signs


def test_what_the_kernel_says_stands_while_the_tool_hangs() -> None:
    judgement = judge(failed(GpuTool.HANGS, xids=(xid(119),)), None)
    assert (judgement.health, words(judgement)) == (S, ["gpu-needs-reset"])


def test_a_kernel_log_that_cannot_be_read_is_unknown_unless_it_is_not_asked() -> None:
    blind = replace(WELL, xids=None, gaps=("cannot run 'dmesg'",))
    assert judge(blind).health is U
    assert "dmesg" in judge(blind).detail
    assert judge(blind, check=replace(CHECK, xids=False)).health is W


GONE = GpuHolder(uuid="GPU-a", pid=77, name="", memory=40218.0, alive=False)
ENDED = replace(GONE, alive=True, container="e" * 64)


@pytest.mark.parametrize(
    ("holder", "running", "signs"),
    [
        (GONE, (), ["gpu-memory-held"]),
        (replace(GONE, memory=100.0), (), []),
        (replace(GONE, memory=None), (), ["gpu-memory-held"]),
        (replace(GONE, alive=None), (), []),
        (replace(GONE, alive=True), (), []),  # a process of the host is a person's
        (ENDED, (), ["gpu-memory-held"]),
        (ENDED, ("e" * 64,), []),
    ],
)
def test_memory_is_held_by_orphans_only_where_its_holder_is_known_to_be_gone(
    holder: GpuHolder, running: tuple[str, ...], signs: list[str]
) -> None:
    assert words(judge(replace(WELL, holders=(holder,)), running=running)) == signs


@pytest.mark.parametrize(
    ("manager", "state", "signs"),
    [
        ("active", "completed", []),
        ("inactive", "completed", ["gpu-fabric-down"]),
        ("failed", None, ["gpu-fabric-down"]),
        ("active", "in progress", ["gpu-fabric-down"]),
        ("activating", "in progress", []),
        (None, None, []),
    ],
)
def test_the_fabric_manager_counts_where_it_is_asked_for(manager: str | None, state: str | None, signs: list[str]) -> None:
    seen = replace(WELL, fabric_manager=manager, gpus=(replace(ONE, fabric=state), TWO))
    assert words(judge(seen, check=replace(CHECK, fabric_manager=True))) == signs
    assert judge(seen).health is W


def test_what_is_allowed_is_the_persons_to_say() -> None:
    worn = replace(
        WELL, gpus=(replace(ONE, ecc_uncorrected=3, throttle=("hw-slowdown",), remap_pending=True, temperature=93.0), TWO)
    )
    assert judge(worn, check=replace(CHECK, ecc_uncorrected=3, throttled=False)).health is W
    strict = replace(CHECK, remap_pending=True, temperature=92)
    assert words(judge(worn, check=strict)) == ["gpu-ecc", "gpu-remap-pending", "gpu-hot", "gpu-throttled"]
    assert words(judge(inside=SEES_ONE, check=replace(CHECK, container_count=2))) == ["gpu-lost-in-container"]
    assert judge(inside=LOST, check=replace(CHECK, in_container=False)).health is W


def test_the_metrics_of_dcgm_stand_in_for_a_tool_that_cannot_be_asked() -> None:
    check = replace(CHECK, dcgm_url="http://10.0.0.2:9400/metrics", xids=False)
    page = 'DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-a"} 48\nDCGM_FI_DEV_ECC_DBE_VOL_TOTAL{gpu="0",UUID="GPU-a"} 2\n'
    assert words(judge(BLIND, check=check, page=page)) == ["gpu-ecc"]
    assert words(judge(BLIND, LOST, check=check, page=page.replace("} 2", "} 0"))) == ["gpu-lost-in-container"]
    assert judge(BLIND, check=check, page="").health is U


@pytest.mark.parametrize("of", [facts(ContainerState.EXITED), checks.missing("web"), facts(ContainerState.PAUSED)])
def test_a_container_that_does_not_run_is_not_asked_and_lost_nothing(of: ContainerFacts) -> None:
    assert not any(isinstance(request, ExecRequest) for request in checks.requests(CHECK, service(CHECK), of))
    assert judge(of=of).health is W


def test_services_of_one_host_ask_it_once() -> None:
    asked = {checks.requests(check, service(check), RUNNING)[0] for check in (CHECK, replace(CHECK, name="other", count=8))}
    assert len(asked) == 1


def test_the_tool_in_the_container_is_ended_there() -> None:
    request = checks.requests(CHECK, service(CHECK), RUNNING)[1]
    assert isinstance(request, ExecRequest)
    assert request.argv[:5] == ("timeout", "-s", "KILL", "5", "nvidia-smi")


def test_nothing_is_seen_without_answers() -> None:
    observed: Mapping[ProbeRequest, Observation] = {}
    assert checks.judge(CHECK, service(CHECK), BLIND, observed).health is U
