"""Xid lines of the kernel log: NVIDIA's own actions, 154 before all others, and what cancels what."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import xid_file
from agent.gpu import xids
from agent.model import Xid, XidAction

CATALOGUE = xid_file.load()
BOOTED = datetime(2026, 11, 30, tzinfo=UTC)
BUS = "0000:5a:00"


def parsed(*lines: str, booted: datetime | None = BOOTED) -> tuple[Xid, ...]:
    return xids.parse("\n".join(lines), CATALOGUE, booted)


def line(number: int, at: float, text: str = "text", bus: str = "PCI:0000:5a:00") -> str:
    return f"[{at:12.6f}] NVRM: Xid ({bus}): {number}, pid=1234, name=python3, {text}"


def changed(at: float, to: str, frm: str = "None") -> str:
    return f"[{at:12.6f}] NVRM: Xid (PCI:0000:5a:00): 154, GPU recovery action changed from 0x0 ({frm}) to 0x2 ({to})"


@pytest.mark.parametrize(
    ("written", "number", "bus", "pid"),
    [
        ("NVRM: Xid (PCI:0000:5a:00): 79, GPU has fallen off the bus.", 79, BUS, None),
        ("NVRM: Xid (PCI:0000:5a:00): 63, pid=1896, Row Remapper: New row marked for remapping", 63, BUS, 1896),
        ("NVRM: Xid (PCI:0000:5A:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", 79, BUS, None),
        ("NVRM: Xid (PCI:0000:5a:00): 43, pid='4711', name=x", 43, BUS, 4711),
        ("NVRM: Xid (0000:5a:00): 14, Channel 00000001", 14, BUS, None),
        ("NVRM: Xid (PCI:0008:01:00): 48", 48, "0008:01:00", None),
    ],
)
def test_a_line_is_read_as_every_driver_writes_it(written: str, number: int, bus: str, pid: int | None) -> None:
    (xid,) = parsed(written)
    assert (xid.number, xid.bus, xid.pid) == (number, bus, pid)


@pytest.mark.parametrize(
    "written",
    ["NVRM: Xid (PCI:0000:66:00): abc, pid=1", "NVRM: GPU at PCI:0000:5a:00: GPU-b850f46d", "Xid 79 of a log of the application",
     "usb 1-1: new device", "NVRM: Xid (): 79,", ""],
)  # fmt: skip
def test_what_is_no_xid_line_is_none(written: str) -> None:
    assert parsed(written) == ()


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        ("[  60.500000] ", BOOTED + timedelta(seconds=60.5)),
        ("<4>[   60.500000] ", BOOTED + timedelta(seconds=60.5)),
        ("4,1234,60500000,-;", BOOTED + timedelta(seconds=60.5)),
        ("1796000460.500000 gpu-1 kernel: ", datetime.fromtimestamp(1796000460.5, UTC)),
        ("2026-11-30T00:01:00,500000+00:00 ", BOOTED + timedelta(seconds=60.5)),
        ("2026-11-30T02:01:00.500000+02:00 gpu-1 kernel: ", BOOTED + timedelta(seconds=60.5)),
        ("Nov 30 00:01:00 gpu-1 kernel: ", None),
        ("", None),
        ("9999999-99-99T00:00:00 ", None),
    ],
)
def test_a_line_tells_when_it_was_written(stamp: str, at: datetime | None) -> None:
    (xid,) = parsed(stamp + "NVRM: Xid (PCI:0000:5a:00): 79, GPU has fallen off the bus.")
    assert xid.at == at


def test_without_the_time_of_the_boot_a_stamp_since_the_boot_tells_no_time() -> None:
    assert parsed(line(79, 5.0), booted=None)[0].at is None


@pytest.mark.parametrize(
    ("number", "action"),
    [
        (13, XidAction.RESTART_APP), (31, XidAction.RESTART_APP), (94, XidAction.RESTART_APP),
        (43, XidAction.IGNORE), (45, XidAction.IGNORE), (63, XidAction.IGNORE), (92, XidAction.IGNORE),
        (46, XidAction.RESET), (48, XidAction.RESET), (64, XidAction.RESET), (95, XidAction.RESET), (119, XidAction.RESET),
        (79, XidAction.REBOOT), (151, XidAction.REBOOT), (78, XidAction.SUPPORT), (145, XidAction.SUPPORT),
        (51, XidAction.UNKNOWN), (999, XidAction.UNKNOWN),
    ],
)  # fmt: skip
def test_each_number_has_nvidias_own_action_and_an_unknown_one_says_so(number: int, action: XidAction) -> None:
    (xid,) = parsed(line(number, 1.0))
    assert xid.action is action
    assert ("not in NVIDIA's catalogue" in xids.said(xid)) is (action is XidAction.UNKNOWN)


@pytest.mark.parametrize(
    ("to", "action"),
    [
        ("None", XidAction.IGNORE), ("GPU Reset Required", XidAction.RESET), ("Node Reboot Required", XidAction.REBOOT),
        ("OS Reboot", XidAction.REBOOT), ("Drain and Reset", XidAction.RESET), ("Drain P2P", XidAction.RESET),
        ("Something New", XidAction.UNKNOWN),
    ],
)  # fmt: skip
def test_154_says_in_its_own_words_what_is_needed(to: str, action: XidAction) -> None:
    assert parsed(changed(1.0, to))[0].action is action


def test_154_without_its_sentence_is_unknown() -> None:
    assert parsed(line(154, 1.0, "garbled"))[0].action is XidAction.UNKNOWN


def numbers(found: tuple[Xid, ...]) -> list[int]:
    return [xid.number for xid in found]


def test_154_is_taken_instead_of_what_came_before_it_on_its_card() -> None:
    other = line(48, 1.0, bus="PCI:0000:3b:00")
    found = xids.standing(parsed(line(79, 1.0), other, changed(1.1, "Node Reboot Required")), None)
    assert [(xid.number, xid.bus) for xid in found] == [(154, BUS), (48, "0000:3b:00")]


def test_154_none_cancels_an_earlier_fault_and_not_a_later_one() -> None:
    assert numbers(xids.standing(parsed(line(95, 1.0), changed(9.0, "None", "GPU Reset Required")), None)) == []
    assert numbers(xids.standing(parsed(changed(9.0, "None"), line(95, 10.0)), None)) == [95]


def test_154_says_nothing_of_applications() -> None:
    assert numbers(xids.standing(parsed(line(94, 1.0), changed(1.1, "None")), None)) == [94]


def test_what_nvidia_says_to_ignore_asks_for_nothing() -> None:
    assert xids.standing(parsed(line(43, 1.0), line(63, 2.0), line(45, 3.0)), None) == ()


def test_what_came_before_the_container_is_over_for_it() -> None:
    found = parsed(line(94, 5.0), line(13, 50.0))
    assert numbers(xids.standing(found, BOOTED + timedelta(seconds=20))) == [13]


def test_a_line_without_a_time_counts_where_it_speaks_of_the_gpu_only() -> None:
    found = parsed(line(94, 5.0), line(79, 5.0), booted=None)
    assert numbers(xids.standing(found, BOOTED)) == [79]


def test_the_weightiest_comes_first() -> None:
    found = parsed(line(13, 1.0), line(51, 2.0), line(95, 3.0), line(79, 4.0), line(78, 5.0))
    assert numbers(xids.standing(found, None)) == [79, 95, 78, 51, 13]


def test_faults_of_applications_that_repeat_on_one_card_are_counted_by_card() -> None:
    now = BOOTED + timedelta(hours=30)
    found = parsed(line(13, 60.0), line(31, 10 * 3600.0), line(31, 20 * 3600.0), line(31, 20 * 3600.0, bus="PCI:0000:3b:00"))
    assert xids.repeated(found, now, timedelta(hours=24), 2) == {BUS: 2}
    assert xids.repeated(found, now, timedelta(hours=24), 3) == {}


def test_the_catalogue_says_where_and_when_it_was_read() -> None:
    assert CATALOGUE.source.startswith("https://docs.nvidia.com/")
    assert CATALOGUE.read == "2026-11-30"
    assert len(CATALOGUE.entries) > 90


@given(st.text(max_size=300))
def test_no_line_breaks_the_reader(text: str) -> None:
    parsed(f"NVRM: Xid (PCI:0000:5a:00): 154, {text}", f"{text}NVRM: Xid (PCI:0000:5a:00): 79, {text}")
