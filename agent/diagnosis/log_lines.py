"""What the lines of a log say of themselves, before any rule reads them: level, template, and where in a cascade they stand.

In: the lines of one evidence. Out: `Entry` per line. Pure text work that knows the formats of many loggers and no cause.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.model import LogLine

LEVEL_WITHIN = 160
"""Characters from the start of a line in which its level is looked for: beyond it stands the message."""
CHAIN_LINES = 120
"""Lines back from a `Caused by:` in which the head of its trace is looked for."""

_LEVEL = re.compile(
    r"\b(?<!=)(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|CRITICAL|PANIC|SEVERE)\b"  # not a value: LOG_LEVEL=DEBUG
    r"|(?i:\b(?:level|severity|levelname|lvl|loglevel|log\.level)\"?\s?[=:]\s?\"?"
    r"(trace|debug|info(?:rmation)?|notice|warn|error|fatal|critical|panic))"
    r"|(?i:[\[<](?:\w{1,20}:)?(trace|debug|info|note|notice|system|warn|warning|error|crit|alert|emerg|fatal)[\]>])"
    r"|^(?:\S{1,40} {1,3}\| )?(?i:(trce|dbug|info|warn|fail|crit): )"  # .NET
    r"|^(?:\S{1,40} {1,3}\| )?([IWEF])\d{4} \d\d:\d\d"  # klog, glog
    r"|^\S{10} \S{15}: ([IWEF]) "  # TensorFlow
    r"|^\[([DIWEC]) (?:\d{4}-\d\d-\d\d|\d{6}) \d\d:\d\d"  # Tornado, Jupyter
    r"|^\[Nest\] .{10,60}\b(LOG|VERBOSE) \["  # NestJS
    r"|^(?:\[rank\d{1,5}\]: ?)?\[(?:rank\d{1,5}\]:\[)?([WEF])\d{3,4} \d\d:\d\d:\d\d"  # PyTorch
    r"|\b[A-Z][a-z]\w{2,40}(Warning): "  # Python and Node name a warning's class so
    r"|^(?i:(debug|notice|warning|error|fatal)): "  # what is left of a line of Postfix once syslog is off
    r"|: (Debug|Info|Warning|Error|Fatal): "  # Dovecot
    r"|\"s\":\"([DIWEF])\d?\""  # MongoDB
    r"|\"level\":\s?([1-6]0)\b"  # pino, bunyan
    r"|^(?:\S{1,40} {1,3}\| )?\S{8,10}[ T]\S{5,18} ([DINWEC]) \| "  # etcd's capnslog
    r"|^\d{1,9}:[XCSM] \d\d \w{3} \d{4} [\d:.]{8,12} ([.*-]) "  # redis, whose # is for everything that matters, errors too
    r"|[\s\[](DBG|INF|WRN|ERR|FTL)[\s\]]"  # zerolog, Serilog
    r"|^([DIWEF]), \["  # Ruby
    r"|\s\[([TDIWEF])\]\s"  # Gitea
    r"|[\]\dZ]\s{1,4}(?i:(trace|debug|info|notice|warn|warning|error|fatal))(?::\s|\t)"  # after a time: winston, zap's console
    r"|^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d, (?i:(info|warning|error)) "  # Windows CBS
    r"|^(?:\S{1,40} {1,3}\| )?\s{0,4}(\u26a0|\u2713|\u2714)\s"  # Next.js, docker compose
)
"""What follows `|` after up to 40 characters at the start is docker compose's own prefix."""
_CALM = frozenset(
    {"trace", "debug", "info", "information", "notice", "note", "system", "trce", "dbug", "dbg", "inf", "log", "verbose", "d", "i", "n", "t", "10", "20", "30", ".", "*", "-", "\u2713", "\u2714"}
)  # fmt: skip
_WARNING = frozenset({"warn", "warning", "wrn", "w", "40", "\u26a0"})
_CARRIES_AN_ERROR = re.compile(
    r"\b(?:err(?:or)?|exception|exc_info|error_message)\"?[=:]\s?\"?(?!null|nil|none|false|true|\[\]|\{\}|0\b|\"|<nil>)[^\s\"]"
    r"|\breason\"?[=:]\s?\"?[^\"]{0,80}(?:err|fail|exceed|timed? ?out|refus|denied|unhealthy|kill|crash|evict|back-?off|no such|not found)",
    re.IGNORECASE,
)
"""A calm line that brings an error along in a field of its own tells of trouble, whatever its level."""
_GIVES_UP = re.compile(
    r"\b(?:gave|giving) up\b|\bcrashed\b|entered (?:the )?(?:FATAL|failed) state|\bspawn ?err", re.IGNORECASE
)
"""So does one that says something was given up: a supervisor writes that at INFO."""

_DIGITS = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+", re.IGNORECASE)
TEMPLATE_CHARACTERS = 300

_CARRIERS = tuple(
    re.compile(pattern)
    for pattern in (
        r"^(?!(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL)\b)\S{1,60}\s{1,40}\|(?: |$)",  # docker compose
        r"^\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) [FP](?: |$)",  # CRI
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7,9}Z(?: |$)",  # docker logs --timestamps
        r"^[A-Z]{4,9} \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}Z(?: |$)",  # Google Cloud
        r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [^\s:]{1,80} [^\s:\[]{1,60}(?:\[\d{1,9}\])?:(?: |$)",  # syslog
        r"^\d{4}-\d\d-\d\dT[\d:.,]{8,18}(?:Z|[+-]\d\d:?\d\d) \S{1,80} [^\s:\[]{1,60}\[\d{1,9}\]:(?: |$)",  # journald
        r"^\[pod/\S{1,200}\](?: |$)",  # kubectl logs --prefix
    )
)
"""What carries logs puts this before each line. None of it is the program's own word: not its level, nor a host named gpu-7."""
CARRIED = 0.8
"""Share of the lines that must wear one carrier's prefix before it is taken for one."""

_CAUSED_BY = re.compile(r"^(?:[^|\n]{1,40} \| )?\s{0,12}(?:\S{1,60} )?(?:Caused by: |\[cause\]: |---> )")
_BELONGS_TO_TRACE = re.compile(r"^(?:[^|\n]{1,40} \| )?(?:\s{1,20}\S|Caused by: |\.{3} \d+ more|\}|\))")
_FRAME = re.compile(r"^(?:[^|\n]{1,40} \| )?\s")
_STACK_FRAME = re.compile(r"^(?:[^|\n]{1,40} \| )?\s{1,20}(?:at \S|File \"|\S{1,200}\.(?:go|rs|rb|py):\d)")
"""One step of a trace, of Java, .NET, Node, Python, Go, Rust or Ruby."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line as rules read it."""

    position: int
    """In the log, from 0."""
    rank: float
    """When its trouble began: its position, but for the root of a chain of exceptions, which comes before its effects."""
    line: LogLine
    text: str
    """The line without what a carrier of logs put before it."""
    lowered: str
    calm: bool
    """Its own level is INFO or below, and it brings no error along."""
    warning: bool
    """Its own level is WARN: its writer went on."""
    template: str
    starts_at: int
    """Position of the line that this one belongs to: the head of the trace, with its frames and properties, of Node or Java; else -1."""
    ends_at: int
    """Position of the exception that ends the Python trace this line belongs to; -1 outside of one."""
    traced: bool
    """It belongs to a stack trace, opens or ends one."""


def read(lines: Sequence[LogLine]) -> tuple[Entry, ...]:
    """Return the entries of `lines`, in their order."""
    texts = bare([line.text for line in lines])
    ranks, starts, ends = _ranks(texts), _trace_heads(texts), _trace_ends(texts)
    frames = [_STACK_FRAME.search(text) is not None for text in texts]
    traced = [any(frames[max(0, position - 2) : position + 2]) for position in range(len(lines))]
    return tuple(
        _entry(position, ranks[position], (starts[position], ends[position]), line, texts[position], traced=traced[position])
        for position, line in enumerate(lines)
    )


def bare(texts: Sequence[str]) -> list[str]:
    """Return `texts` as their program wrote them: without the prefix or the JSON of what carried them here."""
    lines = [_unwrapped(text) for text in texts]
    written = sum(bool(line.strip()) for line in lines)
    for carrier in _CARRIERS:
        found = [carrier.match(line) for line in lines]
        if written and sum(each is not None for each in found) >= CARRIED * written:
            lines = [line[each.end() :] if each else line for line, each in zip(lines, found, strict=True)]
    return lines


def _unwrapped(text: str) -> str:
    """Return the line inside one of Docker's json-file driver, or `text`."""
    if not text.startswith(('{"log":"', '{"log": "')):
        return text
    try:
        return str(json.loads(text)["log"]).rstrip("\n")
    except (ValueError, KeyError, TypeError):
        return text


def template(text: str) -> str:
    """Return `text` with its numbers, addresses and ids taken out: equal complaints become equal."""
    return _DIGITS.sub("0", text)[:TEMPLATE_CHARACTERS]


def _entry(position: int, rank: float, trace: tuple[int, int], line: LogLine, text: str, *, traced: bool) -> Entry:
    level = _level(text)
    return Entry(
        position=position,
        rank=rank,
        line=line,
        text=text,
        lowered=text.lower(),
        calm=level in _CALM and _CARRIES_AN_ERROR.search(text) is None and _GIVES_UP.search(text) is None,
        warning=level in _WARNING,
        template=template(text),
        starts_at=trace[0],
        ends_at=trace[1],
        traced=traced,
    )


def _level(text: str) -> str | None:
    """Return the level that a line gives itself, in lower case, or None."""
    found = _LEVEL.search(text[:LEVEL_WITHIN])
    if found is None:
        return None
    return next(word for word in found.groups() if word is not None).lower()


def _ranks(lines: Sequence[str]) -> list[float]:
    """Return when the trouble of each line began.

    Python prints the root of a chain first. Java, Rust's anyhow and .NET print it last, below what it brought about: the
    deepest `Caused by:` ranks just before the head of its trace, and each one above it after that.
    """
    ranks = [float(position) for position in range(len(lines))]
    for position, line in enumerate(lines):
        if not _CAUSED_BY.search(line):
            continue
        head = position
        while head > 0 and position - head < CHAIN_LINES and _BELONGS_TO_TRACE.search(lines[head]):
            head -= 1
        # Deeper is lower on the page; a millionth of a line keeps them in that order and apart from the line before.
        ranks[position] = head - 0.5 - (position - head) * 1e-6
    return ranks


def _trace_heads(lines: Sequence[str]) -> list[int]:
    """Return for each line of a trace below its exception where that stands, up to what caused it, which is another's trouble."""
    heads = [-1] * len(lines)
    for head in range(len(lines) - 1):
        if heads[head] != -1 or _FRAME.search(lines[head]) or not _STACK_FRAME.search(lines[head + 1]):
            continue
        below = head + 1
        while below < len(lines) and below - head < CHAIN_LINES and _BELONGS_TO_TRACE.search(lines[below]):
            if _CAUSED_BY.search(lines[below]):
                break
            heads[below] = head
            below += 1
    return heads


def _trace_ends(lines: Sequence[str]) -> list[int]:
    """Return for each line where the Python trace around it ends: at its first line that is not indented, the exception."""
    ends = [-1] * len(lines)
    for start, line in enumerate(lines):
        if "Traceback (most recent call last)" not in line:
            continue
        end = start + 1
        while end < len(lines) and end - start < CHAIN_LINES and _FRAME.search(lines[end]):
            end += 1
        if end < len(lines):
            ends[start:end] = [end] * (end - start)
    return ends
