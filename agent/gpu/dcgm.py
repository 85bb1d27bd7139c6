"""Reads the metrics of the DCGM exporter (`:9400/metrics`, Prometheus text) into cards.

Two traps: `DCGM_FI_DEV_XID_ERRORS` is a gauge that holds the number of the *last* Xid, for good, and not a count; and what a
card does not support is a huge number. Source: the README of dcgm-exporter, dcgm_fields.h.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from agent.gpu import smi, words
from agent.model import Gpu

BLANK_INT = 0x7FFFFFF0
"""From here on a number says "no value": a 32-bit field's blank, and that of a 64-bit field (2**63 - 16) far above. No field
read here comes near it. Source: dcgm_structs.h, DCGM_INT32_BLANK, DCGM_INT64_BLANK."""

FIELDS = {
    "DCGM_FI_DEV_GPU_TEMP": "temperature",
    "DCGM_FI_DEV_GPU_UTIL": "utilization",
    "DCGM_FI_DEV_FB_USED": "memory_used",
    "DCGM_FI_DEV_FB_FREE": "memory_free",
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": "ecc",
    "DCGM_FI_DEV_ROW_REMAP_PENDING": "pending",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": "failed",
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": "throttle",
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": "throttle",
    "DCGM_FI_DEV_XID_ERRORS": "xid",
}
"""The fields that are read; which of them the exporter sends is its own CSV file's to say."""

_SAMPLE = re.compile(r"^(DCGM_FI_\w{1,80})\{([^}]{0,4096})\} +([^\s]{1,40})(?: +-?\d+)? *$")
_LABEL = re.compile(r'(\w{1,60})="((?:[^"\\]|\\.){0,500})"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What the exporter said. last_xid: number of the last Xid by UUID; 0: none since the driver was loaded."""

    gpus: tuple[Gpu, ...]
    last_xid: Mapping[str, int]


def parse(text: str) -> Metrics:
    """Return the cards in a page of metrics, in the order they are named; none where it is no such page. Never raises.

    Samples of MIG slices (`GPU_I_ID`) are left out: they repeat their card's.
    """
    values: dict[str, dict[str, float]] = {}
    labels: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found is None or found[1] not in FIELDS:
            continue
        named = dict(_LABEL.findall(found[2]))
        uuid, value = named.get("UUID", ""), _value(found[3])
        if not uuid or named.get("GPU_I_ID"):
            continue
        labels.setdefault(uuid, named)
        own = values.setdefault(uuid, {})
        if value is not None:
            own[FIELDS[found[1]]] = value
    cards = tuple(_gpu(uuid, labels[uuid], own) for uuid, own in values.items())
    return Metrics(gpus=cards, last_xid={uuid: int(own["xid"]) for uuid, own in values.items() if "xid" in own})


def _value(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number < BLANK_INT else None


def _gpu(uuid: str, named: Mapping[str, str], own: Mapping[str, float]) -> Gpu:
    used, free, mask = own.get("memory_used"), own.get("memory_free"), own.get("throttle")
    ecc, pending, failed = own.get("ecc"), own.get("pending"), own.get("failed")
    return Gpu(
        index=words.whole(named.get("gpu", "")),
        uuid=uuid,
        name=named.get("modelName", ""),
        bus=words.bus(named.get("pci_bus_id", "")),
        driver=named.get("DCGM_FI_DRIVER_VERSION"),
        temperature=own.get("temperature"),
        utilization=own.get("utilization"),
        memory_total=None if used is None or free is None else used + free,
        memory_used=used,
        ecc_uncorrected=None if ecc is None else int(ecc),
        remap_pending=None if pending is None else pending > 0,
        remap_failed=None if failed is None else failed > 0,
        throttle=None if mask is None else smi.throttle(hex(int(mask))),
    )
