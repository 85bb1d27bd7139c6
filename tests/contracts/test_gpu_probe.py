"""The probe of a host's GPUs, on real programs: a shim that replays nvidia-smi, a written kernel log, one that hangs."""

import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from agent import xid_file
from agent.adapters import bounded_program, local_exec
from agent.adapters.gpu_probe import GpuProbe, Run
from agent.adapters.machine import Machine
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.errors import HungError, OutsideError
from agent.model import Blind, GpuRequest, GpuSeen, GpuTool, HostName, XidAction

SECOND = timedelta(seconds=1)
HERE = HostName("here")
SHIM = Path(__file__).parents[1] / "shims" / "nvidia-smi"


@pytest.fixture
def shim(tmp_path: Path) -> Callable[[str], GpuRequest]:
    """Return what puts the shim into a state and asks it, with a kernel log of its own."""
    shutil.copy(SHIM, tmp_path)
    log = tmp_path / "kern.log"
    log.write_text("2026-11-30T00:01:00+00:00 gpu kernel: NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n")

    def of(state: str, timeout: timedelta = 8 * SECOND, tool: str | None = None) -> GpuRequest:
        (tmp_path / "nvidia-smi.state").write_text(f"{state}\n")
        return GpuRequest(host=HERE, timeout=timeout, tool=tool or str(tmp_path / "nvidia-smi"), kernel_log=str(log))

    return of


def prober(run: Run = local_exec.run) -> GpuProbe:
    machine = Ways(machines={HERE: cast("Machine", SimpleNamespace(run=run, patience=timedelta(0)))}, engines={}, doors={})
    return GpuProbe(machine.machine_of, catalogue=xid_file.load, clock=SystemClock())


def seen(request: GpuRequest, by: GpuProbe | None = None) -> GpuSeen:
    answer = (by or prober()).probe(request, 9 * SECOND)
    assert isinstance(answer, GpuSeen), answer
    return answer


def test_the_cards_of_a_host_are_seen(shim: Callable[[str], GpuRequest]) -> None:
    found = seen(shim("normal"))
    assert (found.tool, found.whole, len(found.gpus), found.holders) == (GpuTool.ANSWERED, True, 2, ())
    assert [(xid.number, xid.action) for xid in found.xids or ()] == [(79, XidAction.REBOOT)]


@pytest.mark.parametrize(
    ("state", "tool"),
    [("lost", GpuTool.DETACHED), ("mismatch", GpuTool.MISMATCH), ("no-devices", GpuTool.NO_DEVICES),
     ("no-driver", GpuTool.NO_DRIVER), ("no-library", GpuTool.NO_LIBRARY), ("off-bus", GpuTool.LOST), ("crash", GpuTool.FAILED)],
)  # fmt: skip
def test_how_it_fails_is_seen_with_its_own_words(shim: Callable[[str], GpuRequest], state: str, tool: GpuTool) -> None:
    found = seen(shim(state))
    assert (found.tool, found.gpus) == (tool, ())
    assert found.said


def test_one_that_dies_in_the_middle_leaves_what_it_said_and_no_more(shim: Callable[[str], GpuRequest]) -> None:
    found = seen(shim("dies"))
    assert (found.tool, found.whole, len(found.gpus)) == (GpuTool.FAILED, False, 1)


def test_a_driver_that_does_not_know_a_field_is_asked_without_and_remembered(shim: Callable[[str], GpuRequest]) -> None:
    by = prober()
    found = seen(shim("old"), by)
    assert (found.tool, len(found.gpus), found.gpus[0].throttle) == (GpuTool.ANSWERED, 2, ())
    assert seen(shim("old"), by).tool is GpuTool.ANSWERED


def test_mig_says_less_and_nothing_of_it_is_zero(shim: Callable[[str], GpuRequest]) -> None:
    card = seen(shim("mig")).gpus[0]
    assert (card.mig, card.utilization, card.remap_pending, card.ecc_uncorrected) == (True, None, None, None)


def test_a_card_that_needs_a_reset_is_named(shim: Callable[[str], GpuRequest]) -> None:
    assert [card.lost for card in seen(shim("reset-required")).gpus] == [None, "gpu requires reset"]


def test_a_holder_that_is_no_process_is_told_from_one_that_is(shim: Callable[[str], GpuRequest]) -> None:
    (gone,) = seen(shim("orphan")).holders or ()
    assert (gone.alive, gone.container, gone.memory) == (False, None, 40218.0)
    (busy,) = seen(shim("busy 1")).holders or ()
    assert (busy.alive, busy.name) == (True, "/usr/bin/python3, --model a,b")


@pytest.mark.parametrize("state", ["hang", "hang-child"])
def test_one_that_hangs_is_killed_and_costs_nothing_but_its_own_answer(shim: Callable[..., GpuRequest], state: str) -> None:
    by = prober()
    began = time.monotonic()
    found = seen(shim(state, timeout=SECOND), by)
    assert found.tool is GpuTool.HANGS
    assert [xid.number for xid in found.xids or ()] == [79]
    assert time.monotonic() - began < 8
    end = time.monotonic() + 5
    while local_exec.runs("sleep\0" + "3600") and time.monotonic() < end:
        time.sleep(0.01)
    assert not local_exec.runs("sleep\0" + "3600")
    assert seen(shim("normal"), by).tool is GpuTool.ANSWERED


def test_a_tool_that_is_not_there_is_absent(shim: Callable[..., GpuRequest]) -> None:
    assert seen(shim("normal", tool="/no/such/nvidia-smi")).tool is GpuTool.ABSENT


def test_one_that_cannot_be_killed_is_the_only_one_on_its_host(shim: Callable[..., GpuRequest]) -> None:
    # Nothing in userland makes a process that SIGKILL does not end, so the end of the hang is played.
    started, stuck = [], [True]

    def run(argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        if "--format=csv" not in argv:
            return local_exec.run(argv, timeout=timeout, limit=limit)
        started.append(argv)
        if stuck[0]:
            raise HungError("cannot run 'nvidia-smi': it did not end within 1 s", left=lambda: stuck[0])
        return local_exec.run(argv, timeout=timeout, limit=limit)

    by = prober(run)
    for _ in range(5):
        found = seen(shim("normal"), by)
        assert (found.tool, len(found.xids or ())) == (GpuTool.HANGS, 1)
    assert len(started) == 1
    assert "cannot be killed" in found.said
    stuck[0] = False
    assert seen(shim("normal"), by).tool is GpuTool.ANSWERED


def test_a_second_look_does_not_start_while_the_first_hangs(shim: Callable[..., GpuRequest]) -> None:
    release = threading.Event()

    def run(argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        release.wait(20)
        raise OutsideError("cannot run: over", transient=True)

    by = prober(run)
    first = threading.Thread(target=by.probe, args=(shim("normal"), 9 * SECOND), daemon=True)
    first.start()
    time.sleep(0.1)
    answer = by.probe(shim("normal", timeout=timedelta(milliseconds=200)), SECOND)
    release.set()
    first.join(10)
    assert isinstance(answer, Blind)


def test_a_kernel_log_that_cannot_be_read_is_a_gap_and_not_an_empty_log(
    shim: Callable[[str], GpuRequest], tmp_path: Path
) -> None:
    request = shim("normal")
    (tmp_path / "kern.log").unlink()
    found = seen(request)
    assert found.xids is None
    assert any("tail" in gap for gap in found.gaps)


def test_on_another_machine_one_that_did_not_end_in_time_is_not_joined_by_others(shim: Callable[..., GpuRequest]) -> None:
    started = []

    def run(argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        if "--format=csv" not in argv:
            return local_exec.run(argv, timeout=timeout, limit=limit)
        started.append(argv)
        raise bounded_program.hung("cannot run 'nvidia-smi' on host 'far': no answer within 1 s")

    by = prober(run)
    assert [seen(shim("normal"), by).tool for _ in range(3)] == [GpuTool.HANGS] * 3
    assert len(started) == 1


def test_a_way_that_breaks_in_the_middle_says_nothing_of_the_tool(shim: Callable[..., GpuRequest]) -> None:
    broken = [True]

    def run(argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        if broken[0] and "--format=csv" in argv:
            raise OutsideError("cannot run 'nvidia-smi' on host 'far': the SSH connection broke", transient=True)
        return local_exec.run(argv, timeout=timeout, limit=limit)

    by = prober(run)
    assert seen(shim("normal"), by).tool is GpuTool.FAILED
    broken[0] = False
    assert seen(shim("normal"), by).tool is GpuTool.ANSWERED, "the next look asks again at once"


def test_a_host_that_cannot_be_reached_is_blind(shim: Callable[[str], GpuRequest]) -> None:
    def run(argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        raise OutsideError("cannot reach host 'far': no route", transient=True)

    found = seen(shim("normal"), prober(run))
    assert (found.tool, found.xids) == (GpuTool.FAILED, None)
    nowhere = GpuProbe(Ways(machines={}, engines={}, doors={}).machine_of, catalogue=xid_file.load, clock=SystemClock())
    assert isinstance(nowhere.probe(shim("normal"), SECOND), Blind)
