"""Cuts a container's log to what a person would read first: its head, its tail, and what stands around each distinct error.

In: raw bytes of any size and kind, made `readable` and then `cut`. Out: at most `LINES` clean lines of at most `BYTES`
bytes together, in their order, with a marker line where something was left out. A trace over many lines stays whole.
Log text is untrusted: it is decoded with replacement and stripped of everything that could move a reader's eye or cursor.
"""

import re
from dataclasses import dataclass

from agent.diagnosis import log_lines

RAW_BYTES = 524_288
"""Bytes looked at, at most: 5 000 long lines. Docker is asked for no more, and splitting more costs memory for nothing."""
SEAM = 4_096
"""Bytes dropped at the front of a log that was cut and has no line end: longer than any secret."""
BYTES = 65_536
LINES = 400
LINE_CHARACTERS = 2_000
HEAD_LINES, HEAD_BYTES = 60, 12_288
TAIL_LINES, TAIL_BYTES = 140, 26_624
BEFORE, AFTER = 3, 3
"""Lines kept around an error line."""
TRACE_LINES = 60
"""One trace is kept whole up to this; a recursion error prints thousands."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,40}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,500}(?:\x07|\x1b\\)|[@-Z\\^_])")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but not the tab
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"  # zero-width and bidi
    "\U000e0000-\U000e007f]"  # tag characters: invisible ASCII
)
_TROUBLE = re.compile(
    r"error|fail|fatal|panic|exception|traceback|critical|denied|refused|killed|abort|cannot|unable|timed out|timeout"
    r"|corrupt|invalid|segfault|no such|not found|out of memory|unreachable|emerg|alert|sev(?:ere)?\b|bus error|illegal",
    re.IGNORECASE,
)
_OPENS_TRACE = re.compile(r"Traceback \(most recent call last\)|^\s*(?:panic: |goroutine \d+ \[|Exception in thread )")
_CONTINUES = re.compile(
    r"^(?:[^|\n]{0,40}\| )?(?:\s+\S|\)|\}|Caused by: |\.\.\. \d+ more|The above exception|During handling|$)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCut:
    """What was kept of a log, and one sentence about what was not."""

    lines: tuple[str, ...]
    note: str


def readable(raw: bytes) -> str:
    """Return the last `RAW_BYTES` of a log as clean text.

    A log of that size or more began in the middle of a line. That line is dropped: half a secret is one no rule knows.
    """
    if len(raw) >= RAW_BYTES:
        raw = raw[-RAW_BYTES:]
        raw = b"[... earlier lines not read]\n" + raw[raw.find(b"\n") + 1 or SEAM :]
    text = _ANSI.sub("", raw.decode("utf-8", errors="replace")).replace("\r\n", "\n").replace("\r", "\n")
    return _INVISIBLE.sub("", text)


def cut(text: str) -> LogCut:
    """Return the lines of a readable log that are worth reading, within the caps of this module.

    Redact before, not after: a secret that was cut in two no rule knows.
    """
    lines = [_shorten(line) for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        return LogCut(lines=(), note="the log is empty")
    if _fits(lines):
        return LogCut(lines=tuple(lines), note="whole")
    kept = _choose(lines)
    return LogCut(
        lines=tuple(_with_markers(lines, sorted(kept))),
        note=f"{len(kept)} of {len(lines)} lines kept: tail, head and what stands around distinct errors",
    )


def clean(text: str) -> str:
    """Return text of one line without escape sequences, control, zero-width and bidi characters, cut at `LINE_CHARACTERS`."""
    return _shorten(_INVISIBLE.sub("", _ANSI.sub("", text[:RAW_BYTES])).replace("\n", " "))


def _shorten(line: str) -> str:
    plain = line.rstrip()
    if len(plain) <= LINE_CHARACTERS:
        return plain
    return f"{plain[: LINE_CHARACTERS - 40]} [... {len(plain)} characters in all]"


def _choose(lines: list[str]) -> set[int]:
    """Return the indexes to keep: tail first, since it is nearest to the end; then head; then errors with what is left."""
    kept: set[int] = set()
    room = _Room(lines=LINES - 20, size=BYTES - 2_048)  # what is held back pays for the markers
    _take(range(len(lines) - 1, -1, -1), lines, kept, room, most=TAIL_LINES, most_bytes=TAIL_BYTES)
    _take(range(len(lines)), lines, kept, room, most=HEAD_LINES, most_bytes=HEAD_BYTES)
    seen: set[str] = set()
    for index, line in enumerate(lines):
        if not _TROUBLE.search(line):
            continue
        template = log_lines.template(line)
        if template in seen:
            continue  # the same error again tells nothing new; its first time is the one to read
        seen.add(template)
        _take(_neighbourhood(lines, index), lines, kept, room, most=LINES, most_bytes=BYTES)
        if room.lines <= 0 or room.size <= 0:
            break
    return kept


@dataclass(slots=True)
class _Room:
    """What may still be kept. Mutable: it lives inside one cut."""

    lines: int
    size: int


def _take(indexes: range, lines: list[str], kept: set[int], room: _Room, *, most: int, most_bytes: int) -> None:
    """Keep lines in the order of `indexes` until one of the limits is met."""
    for index in indexes:
        if index in kept:
            continue
        size = len(lines[index].encode()) + 1
        if most < 1 or most_bytes < size or room.lines < 1 or room.size < size:
            return
        kept.add(index)
        most, most_bytes = most - 1, most_bytes - size
        room.lines, room.size = room.lines - 1, room.size - size


def _neighbourhood(lines: list[str], index: int) -> range:
    """Return the lines around an error, stretched over the whole trace it belongs to."""
    first = index
    while first > 0 and index - first < TRACE_LINES and _CONTINUES.match(lines[first]):
        first -= 1
    last = index
    while last + 1 < len(lines) and last - index < TRACE_LINES and _CONTINUES.match(lines[last + 1]):
        last += 1
    if _OPENS_TRACE.search(lines[index]):
        last += 1  # the exception's own line ends a Python trace and is not indented
    return range(max(0, first - BEFORE), min(len(lines), last + AFTER + 1))


def _with_markers(lines: list[str], indexes: list[int]) -> list[str]:
    """Return the kept lines; where others stood between them, one marker says how many."""
    out: list[str] = []
    previous = -1
    for index in indexes:
        if index > previous + 1:
            out.append(f"[... {index - previous - 1} lines left out]")
        out.append(lines[index])
        previous = index
    return _within(out)


def _within(lines: list[str]) -> list[str]:
    """Hold the caps after markers were added: very broken-up choices may cost more markers than were paid for."""
    while not _fits(lines):
        lines.pop(len(lines) // 2)
    return lines


def _fits(lines: list[str]) -> bool:
    return len(lines) <= LINES and sum(len(line.encode()) + 1 for line in lines) <= BYTES
