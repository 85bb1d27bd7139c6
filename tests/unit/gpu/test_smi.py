"""What nvidia-smi says, as nouns: every way to say "no value" is not known, and never zero."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.gpu import smi, words
from agent.model import GpuTool, XidAction

HEAD = "index, uuid, pci.bus_id, temperature.gpu, utilization.gpu [%], memory.used [MiB], remapped_rows.pending, gpu_recovery_action"
ROW = "0, GPU-a, 00000000:3B:00.0, 41, 17 %, 3 MiB, No, None"


def table(*lines: str, end: str = "\n") -> smi.Table:
    return smi.table("\n".join(lines) + end)


def test_a_card_is_read_by_the_names_of_its_fields() -> None:
    (card,) = smi.gpus(table(HEAD, ROW))
    assert (card.index, card.uuid, card.bus, card.temperature, card.utilization) == (0, "GPU-a", "0000:3b:00", 41.0, 17.0)
    assert (card.memory_used, card.remap_pending, card.recovery, card.lost) == (3.0, False, None, None)


def test_fields_in_another_order_and_fields_that_nobody_asked_for_change_nothing() -> None:
    found = table("power.draw [W], temperature.gpu, uuid, novel.field", "144.97 W, 50, GPU-a, [N/A]")
    (card,) = smi.gpus(found)
    assert (card.uuid, card.temperature, card.memory_used) == ("GPU-a", 50.0, None)


@pytest.mark.parametrize(
    "word",
    ["[N/A]", "N/A", "[Not Supported]", "[Unknown Error]", "[Requested functionality has been deprecated]", "-", "",
     "[Insufficient Permissions]", "[Not Found]"],
)  # fmt: skip
def test_every_way_to_say_that_there_is_no_value_is_no_value(word: str) -> None:
    (card,) = smi.gpus(table("uuid, memory.used [MiB], remapped_rows.pending, gpu_recovery_action, fabric.state",
                             f"GPU-a, {word}, {word}, {word}, {word}"))  # fmt: skip
    assert (card.memory_used, card.remap_pending, card.recovery, card.fabric, card.lost) == (None, None, None, None, None)


@pytest.mark.parametrize("word", ["ERR!", "[GPU requires reset]", "[GPU is lost]", "GPU has fallen off the bus"])
def test_a_card_that_does_not_answer_says_so(word: str) -> None:
    (card,) = smi.gpus(table("uuid, temperature.gpu, memory.used [MiB]", f"GPU-a, {word}, 0 MiB"))
    assert card.lost == words.bare(word)
    assert card.temperature is None


@pytest.mark.parametrize(
    ("text", "rows", "whole"),
    [
        (f"{HEAD}\n{ROW}\n{ROW}\n", 2, True),
        (f"{HEAD}\n{ROW}\n0, GPU-b, 0000", 1, False),  # died in the middle
        (f"{HEAD}\n{ROW}", 0, False),  # its last cell may be cut
        (f"{HEAD}\n{ROW}, and, more\n", 1, True),
        (f"{HEAD}\n1, 2\n", 0, False),
        (f"WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n{HEAD}\n{ROW}\n", 1, True),
        (f"{HEAD}\n", 0, True),
        ("", 0, False),
        ("No devices were found\n", 0, False),
    ],
)
def test_what_is_not_there_is_known_to_be_missing_only_in_a_whole_table(text: str, rows: int, whole: bool) -> None:
    found = smi.table(text)
    assert (len(found.rows), found.whole) == (rows, whole)


@pytest.mark.parametrize(
    ("code", "output", "how"),
    [
        (0, f"{HEAD}\n{ROW}\n", GpuTool.ANSWERED),
        (14, f"{HEAD}\n{ROW}\n", GpuTool.ANSWERED),
        (14, "", GpuTool.FAILED),
        (0, "", GpuTool.FAILED),
        (0, "No devices were found\n", GpuTool.NO_DEVICES),
        (6, "No devices were found\n", GpuTool.NO_DEVICES),
        (255, "Failed to initialize NVML: Unknown Error\n", GpuTool.DETACHED),
        (255, "Failed to initialize NVML: GPU access blocked by the operating system\n", GpuTool.DETACHED),
        (18, "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.105\n", GpuTool.MISMATCH),
        (255, "Failed to initialize NVML: Driver/library version mismatch\n", GpuTool.MISMATCH),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", GpuTool.NO_DRIVER),
        (255, "Failed to initialize NVML: Driver Not Loaded\n", GpuTool.NO_DRIVER),
        (12, "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.\n", GpuTool.NO_LIBRARY),
        (15, "", GpuTool.LOST),
        (255, "Unable to determine the device handle for GPU 0000:5A:00.0: Unknown Error\n", GpuTool.LOST),
        (15, "Unable to determine the device handle for GPU 0000:5A:00.0: GPU is lost.  Reboot the system", GpuTool.LOST),
        (4, "Failed to initialize NVML: Insufficient Permissions\n", GpuTool.REFUSED),
        (2, "", GpuTool.REFUSED),
        (3, "", GpuTool.REFUSED),
        (8, "", GpuTool.FAILED),
        (10, "", GpuTool.FAILED),
        (13, "", GpuTool.FAILED),
        (255, "", GpuTool.FAILED),
        (-9, "", GpuTool.FAILED),
        (77, "surprise", GpuTool.FAILED),
        (124, "", GpuTool.HANGS),
        (137, "", GpuTool.HANGS),
        (126, "", GpuTool.ABSENT),
        (127, "sh: nvidia-smi: not found\n", GpuTool.ABSENT),
    ],
)
def test_how_it_ended_is_told_by_what_it_says_before_its_exit_code(code: int, output: str, how: GpuTool) -> None:
    assert smi.ending(code, output) is how


def test_a_field_that_the_driver_does_not_know_is_named() -> None:
    assert smi.refused_field('Field "gpu_recovery_action" is not a valid field to query.\n\n') == "gpu_recovery_action"
    assert smi.refused_field(f"{HEAD}\n{ROW}\n") is None


def test_a_process_name_may_hold_commas_and_may_be_missing() -> None:
    found = table("gpu_uuid, pid, used_gpu_memory [MiB], process_name",
                  "GPU-a, 12, 20480 MiB, python3 --model a,b", "GPU-a, 13, [N/A], [Not Found]", "GPU-a, x, 1 MiB, y")  # fmt: skip
    assert [(each.pid, each.memory, each.name) for each in smi.holders(found)] == [
        (12, 20480.0, "python3 --model a,b"), (13, None, ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        ("0x0000000000000001", ()),
        ("0x0000000000000004", ()),
        ("0x0000000000000048", ("hw-slowdown", "hw-thermal-slowdown")),
        ("0x00000000000000a4", ("sw-thermal-slowdown", "hw-power-brake")),
        ("[N/A]", None),
        ("Active", None),
    ],
)
def test_only_reasons_that_speak_of_trouble_throttle(mask: str, why: tuple[str, ...] | None) -> None:
    assert smi.throttle(mask) == why


@pytest.mark.parametrize(
    ("word", "asks"),
    [("None", None), ("Reset", XidAction.RESET), ("Reboot", XidAction.REBOOT), ("Drain and Reset", XidAction.RESET),
     ("Node Reboot Required", XidAction.REBOOT), ("OS Reboot", XidAction.REBOOT), ("Replace me", XidAction.UNKNOWN)],
)  # fmt: skip
def test_what_a_gpu_asks_for_is_known_by_nvidias_words(word: str, asks: XidAction | None) -> None:
    assert smi.recovery(word) is asks


@pytest.mark.parametrize(
    ("written", "bus"),
    [("00000000:3B:00.0", "0000:3b:00"), ("PCI:0000:3b:00", "0000:3b:00"), ("0000:3B:00", "0000:3b:00"),
     ("3b:00.0", "0000:3b:00"), ("0008:01:00", "0008:01:00"), ("[N/A]", ""), ("", ""), ("a:b:c:d", "")],
)  # fmt: skip
def test_one_address_is_one_word_wherever_it_is_written(written: str, bus: str) -> None:
    assert words.bus(written) == bus


@given(st.text(max_size=400), st.integers(min_value=-64, max_value=255))
def test_nothing_that_it_prints_breaks_the_reader(text: str, code: int) -> None:
    found = smi.table(text)
    smi.gpus(found)
    smi.holders(found)
    smi.sentence(text)
    assert smi.ending(code, text) in GpuTool
