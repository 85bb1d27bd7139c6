"""Reads nvidia-smi: its tables (`--query-gpu`, `--query-compute-apps`, `--format=csv`) and how it ended.

Source: nvidia-smi(1); recordings of real cards with drivers 535 to 595.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.gpu import words
from agent.model import Gpu, GpuHolder, GpuTool, XidAction

TOOL = "nvidia-smi"

FIELDS = (
    "index",
    "uuid",
    "name",
    "pci.bus_id",
    "driver_version",
    "temperature.gpu",
    "utilization.gpu",
    "memory.total",
    "memory.used",
    "ecc.errors.uncorrected.volatile.total",
    "remapped_rows.pending",
    "remapped_rows.failure",
    "clocks_event_reasons.active",
    "mig.mode.current",
    "gpu_recovery_action",
    "fabric.state",
)
"""What is asked of every card. A driver that does not know one names it, and is asked without."""
OLDER = {"clocks_event_reasons.active": "clocks_throttle_reasons.active"}
"""What a field was called before. Source: nvidia-smi(1) of driver 535, which renamed it."""
APPS = ("gpu_uuid", "pid", "used_gpu_memory", "process_name")
"""What is asked of every process. Its name comes last, since it may hold commas."""
IN_CONTAINER = ("uuid", "pci.bus_id")

THROTTLE: Mapping[int, str] = {
    0x08: "hw-slowdown",
    0x20: "sw-thermal-slowdown",
    0x40: "hw-thermal-slowdown",
    0x80: "hw-power-brake",
}
"""Reasons that speak of trouble. Idle (1), clocks that were set (2), the power cap that every busy card meets (4), sync boost
(0x10) and the display (0x100) are how it should be. Source: nvml.h, nvmlClocksEventReason*."""

_REFUSED = re.compile(r'Field "([\w.]{1,80})" is not a valid field to query')
_RECOVERY = {
    "none": None,
    "reset": XidAction.RESET,
    "gpu reset required": XidAction.RESET,
    "drain and reset": XidAction.RESET,
    "drain p2p": XidAction.RESET,
    "pf flr": XidAction.RESET,
    "reboot": XidAction.REBOOT,
    "node reboot required": XidAction.REBOOT,
    "os reboot": XidAction.REBOOT,
}
"""NVIDIA's words for what a GPU needs, in the field `gpu_recovery_action` and in the text of Xid 154."""

_SAID: tuple[tuple[str, GpuTool], ...] = (
    ("driver/library version mismatch", GpuTool.MISMATCH),
    ("gpu is lost", GpuTool.LOST),
    ("fallen off the bus", GpuTool.LOST),
    ("unable to determine the device handle", GpuTool.LOST),
    ("no devices were found", GpuTool.NO_DEVICES),
    ("couldn't communicate with the nvidia driver", GpuTool.NO_DRIVER),
    ("driver not loaded", GpuTool.NO_DRIVER),
    ("driver is not loaded", GpuTool.NO_DRIVER),
    ("couldn't find libnvidia-ml", GpuTool.NO_LIBRARY),
    ("nvml shared library", GpuTool.NO_LIBRARY),
    ("insufficient permissions", GpuTool.REFUSED),
    ("access blocked by the operating system", GpuTool.DETACHED),
    ("failed to initialize nvml: unknown error", GpuTool.DETACHED),
    ("failed to initialize nvml", GpuTool.FAILED),
)
"""What it prints, before its exit code is asked: it says more, and older drivers end with 255 for all of them."""

_CODES: Mapping[int, GpuTool] = {
    2: GpuTool.REFUSED,
    3: GpuTool.REFUSED,
    4: GpuTool.REFUSED,
    6: GpuTool.NO_DEVICES,
    8: GpuTool.FAILED,  # a card's external power is not attached: of one card, and nothing is known of the others
    9: GpuTool.NO_DRIVER,
    10: GpuTool.FAILED,  # an interrupt of a card
    12: GpuTool.NO_LIBRARY,
    13: GpuTool.FAILED,  # this NVML is too old for what was asked
    14: GpuTool.FAILED,  # a damaged infoROM, a warning: the table is there, and 14 is no reason to doubt it
    15: GpuTool.LOST,
    124: GpuTool.HANGS,
    126: GpuTool.ABSENT,
    127: GpuTool.ABSENT,
    137: GpuTool.HANGS,
}
"""Exit codes. 124 and 137 are those of `timeout`, 126 and 127 of whatever could not start it. Source: nvidia-smi(1), RETURN VALUE."""

INFOROM = 14
"""The exit code that warns of a damaged infoROM, below a table that is whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What a CSV table held. whole: False where a line could not be read, or the table ended in the middle."""

    rows: tuple[Mapping[str, str], ...]
    whole: bool


def argv(tool: str, fields: Sequence[str]) -> tuple[str, ...]:
    """Return the words that ask for cards."""
    return (tool, f"--query-gpu={','.join(fields)}", "--format=csv")


def apps_argv(tool: str) -> tuple[str, ...]:
    """Return the words that ask for processes."""
    return (tool, f"--query-compute-apps={','.join(APPS)}", "--format=csv")


def refused_field(output: str) -> str | None:
    """Return the field that this driver does not know, where that is what it says."""
    found = _REFUSED.search(output)
    return found[1] if found else None


def ending(code: int, output: str) -> GpuTool:
    """Return what an exit code and the output together say of how it ended. code: negative for a signal."""
    said = output.lower()
    of_text = next((tool for sign, tool in _SAID if sign in said), None)
    if of_text is not None:
        return of_text
    if code == 0 or (code == INFOROM and _header(output)):
        return GpuTool.ANSWERED if _header(output) else GpuTool.FAILED
    return _CODES.get(code, GpuTool.FAILED)


def sentence(output: str) -> str:
    """Return what it said instead of a table: its last line that is no row, bounded."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and line.count(", ") < 2]
    return lines[-1][:200] if lines else ""


def table(output: str) -> Table:
    """Return the rows of a CSV table by field name. What is no row of it makes it not whole; words around it do not."""
    lines = output.splitlines()
    whole = output.endswith("\n")
    if not whole:
        del lines[-1:]  # a program that died in the middle leaves half a line, and its last cell may read as another value
    start = next((number for number, line in enumerate(lines) if _is_header(line)), None)
    if start is None:
        return Table(rows=(), whole=False)
    names = [name.partition("[")[0].strip() for name in lines[start].split(",")]
    rows: list[Mapping[str, str]] = []
    for line in lines[start + 1 :]:
        cells = [cell.strip() for cell in line.split(",", len(names) - 1)]
        if len(cells) == len(names) and cells[0]:
            rows.append(dict(zip(names, cells, strict=True)))
        elif line.strip() and "," in line:
            whole = False
    return Table(rows=tuple(rows), whole=whole)


def gpus(found: Table) -> tuple[Gpu, ...]:
    """Return the cards of a table; a row that names neither a UUID nor a PCI address is none."""
    cards = (_gpu(row) for row in found.rows)
    return tuple(card for card in cards if card.uuid or card.bus)


def holders(found: Table) -> tuple[GpuHolder, ...]:
    """Return the processes of a table."""
    made = []
    for row in found.rows:
        pid = words.whole(row.get("pid", ""))
        if pid is not None:
            name = row.get("process_name", "")
            made.append(
                GpuHolder(
                    uuid=row.get("gpu_uuid", ""),
                    pid=pid,
                    name="" if words.is_absent(name) else name[:200],
                    memory=words.number(row.get("used_gpu_memory", "")),
                )
            )
    return tuple(made)


def recovery(word: str) -> XidAction | None:
    """Return what NVIDIA's words ask for; None for nothing. Words that we do not know are UNKNOWN."""
    return _RECOVERY.get(words.bare(word), XidAction.UNKNOWN)


def throttle(mask: str) -> tuple[str, ...] | None:
    """Return the troubles in a mask such as `0x0000000000000048`; None where it is no mask."""
    try:
        bits = int(words.bare(mask), 16)
    except ValueError:
        return None
    return tuple(word for bit, word in THROTTLE.items() if bits & bit)


def _gpu(row: Mapping[str, str]) -> Gpu:
    def cell(name: str) -> str:
        return row.get(name) or row.get(OLDER.get(name, ""), "")

    lost = next((said for value in row.values() if (said := words.lost(value)) is not None), None)
    uncorrected = words.whole(cell("ecc.errors.uncorrected.volatile.total"))
    uuid, asked = cell("uuid"), cell("gpu_recovery_action")
    fabric = cell("fabric.state")
    return Gpu(
        index=words.whole(cell("index")),
        uuid="" if words.is_absent(uuid) or words.lost(uuid) else uuid,
        name=cell("name"),
        bus=words.bus(cell("pci.bus_id")),
        driver=None if words.is_absent(cell("driver_version")) else cell("driver_version"),
        temperature=words.number(cell("temperature.gpu")),
        utilization=words.number(cell("utilization.gpu")),
        memory_total=words.number(cell("memory.total")),
        memory_used=words.number(cell("memory.used")),
        ecc_uncorrected=uncorrected,
        remap_pending=words.yes(cell("remapped_rows.pending")),
        remap_failed=words.yes(cell("remapped_rows.failure")),
        throttle=throttle(cell("clocks_event_reasons.active")),
        mig=words.yes(cell("mig.mode.current")),
        recovery=None if words.is_absent(asked) or words.lost(asked) else recovery(asked),
        fabric=None if words.is_absent(fabric) or words.lost(fabric) else words.bare(fabric),
        lost=lost,
    )


def _is_header(line: str) -> bool:
    cells = [cell.partition("[")[0].strip() for cell in line.split(",")]
    return len(cells) > 1 and sum(cell in _NAMES for cell in cells) >= 2


_NAMES = frozenset({*FIELDS, *OLDER.values(), *APPS})


def _header(output: str) -> bool:
    return any(_is_header(line) for line in output.splitlines())
