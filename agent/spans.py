"""Spans of time as people write them: `500ms`, `5s`, `2m`, `24h`, `7d`. Pure.

One spelling in medic.yaml, runbook files, labels and on the screen. A number without a unit is refused: it would be a guess.
"""

import re
from datetime import timedelta

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)


def parse(text: str) -> timedelta:
    """Return the span that `text` says, zero or more.

    Shape: one number and one unit, `1.5s`. Raises ValueError with a sentence that says what would be right.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        wish = (
            f"did you mean {text.strip()}s?"
            if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII)
            else "for example 500ms, 5s, 2m, 24h, 7d"
        )
        raise ValueError(f"{text[:40]!r} is no span of time: write a number and a unit ({wish})")
    return float(match[1]) * _UNITS[match[2]]


def text(span: timedelta) -> str:
    """Return the shortest spelling that `parse` reads back: whole numbers of the largest unit that fits (90 s -> `90s`)."""
    milliseconds = round(span / _UNITS["ms"])
    if milliseconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        size = round(_UNITS[unit] / _UNITS["ms"])
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"
