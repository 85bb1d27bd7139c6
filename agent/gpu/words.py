"""Values as NVIDIA's tools write them."""

import re

ABSENT = frozenset(
    {
        "",
        "-",
        "n/a",
        "not supported",
        "not available",
        "not found",
        "unknown",
        "unknown error",
        "insufficient permissions",
        "no permission",
        "requested functionality has been deprecated",
        "not applicable",
    }
)
"""Every way to say "no value", in lower case and without brackets. Source: nvidia-smi(1); recordings of drivers 535 to 595."""

LOST = ("err!", "gpu is lost", "gpu requires reset", "fallen off the bus")
"""Instead of a value: this card does not answer."""

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def bare(value: str) -> str:
    """Return a value without brackets and in lower case: `[N/A]` and `N/A` are one word."""
    return value.strip().strip("[]").strip().lower()


def is_absent(value: str) -> bool:
    """Say whether a value says that there is none."""
    return bare(value) in ABSENT


def lost(value: str) -> str | None:
    """Return the value where it says that the card does not answer, else None."""
    word = bare(value)
    return word if any(sign in word for sign in LOST) else None


def number(value: str) -> float | None:
    """Return the number that a value begins with, whatever its unit; None where it is no number."""
    found = _NUMBER.match(value.strip())
    return float(found[0]) if found else None


def whole(value: str) -> int | None:
    """Return a whole number; None where it is none."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def yes(value: str) -> bool | None:
    """Return whether a value says yes; None where it says neither."""
    return {
        "yes": True, "active": True, "enabled": True, "1": True, "true": True,
        "no": False, "not active": False, "disabled": False, "0": False, "false": False,
    }.get(bare(value))  # fmt: skip


def bus(address: str) -> str:
    """Return a PCI address as the kernel's Xid lines write it: `00000000:3B:00.0` and `PCI:0000:3b:00` become `0000:3b:00`."""
    parts = address.strip().lower().removeprefix("pci:").partition(".")[0].split(":")
    if len(parts) == 2:
        parts = ["0", *parts]
    if len(parts) != 3 or not all(re.fullmatch("[0-9a-f]+", part) for part in parts):
        return ""
    return f"{int(parts[0], 16):04x}:{int(parts[1], 16):02x}:{int(parts[2], 16):02x}"
