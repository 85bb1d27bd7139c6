"""What the page of one incident's dialogues says, before it is HTML: who said what, which lines were cited, what it cost. Pure.

In: transcript entries, redacted already, and the incident. Out: a `Page` whose every field is text to show; the template escapes.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from agent import notices
from agent.adapters import report_view
from agent.model import EntryKind, Incident, Role, StoryEvent, TranscriptEntry

STORY_LINES = 200
MOST_LINES = 400
"""Lines of one block of data that are shown; all of them are in the file."""
_FENCE = re.compile(r"^<<<DATA (\w+)$(.*?)^DATA \1>>>$", re.MULTILINE | re.DOTALL)
_LINE = re.compile(r"^([A-Z]{1,2}\d{1,6})\| ?(.*)$")
_HEADING = "## "
"""As the brief marks its sections."""
_PHASES = {"investigate": "The search", "read": "A log, read apart without tools", "classify": "The verdict"}
"""What the dialogues are called on the page."""
_ID = re.compile(r"\b[A-Z]{1,2}\d{1,6}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLine:
    """One line of quoted data."""

    id: str
    """Its evidence id; empty for a heading or a note."""
    text: str
    cited: bool
    """The model named it."""
    heads: bool = False
    """It is the heading of the lines below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of what was said: prose, or data from outside, which is never an instruction."""

    prose: str = ""
    data: tuple[DataLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One entry of a transcript as it is shown."""

    who: str
    """`medic`, `model`, `tool`, `note` or `fault`: also its look."""
    title: str
    after: str
    blocks: tuple[Block, ...]
    calls: tuple[tuple[str, str], ...]
    """Tools that it asks for: name and arguments."""
    foot: tuple[str, ...]
    """Tokens, money, time, why it stopped."""
    folded: bool
    """Long and the same every time: shown on a click."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Everything said for one attempt."""

    number: int
    totals: str
    phases: tuple[tuple[str, tuple[Turn, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The whole page."""

    incident: str
    service: str
    host: str
    state: str
    opened: str
    cause: str
    sureness: str
    said_by: str
    summary: str
    lines: tuple[DataLine, ...]
    """The log lines that the diagnosis rests on."""
    attempts: tuple[tuple[str, str, str], ...]
    """Runbook, outcome and why, of each."""
    tiles: tuple[tuple[str, str], ...]
    """The figures at the top: name and value."""
    askings: tuple[Asking, ...]
    story: tuple[tuple[str, str, str, str], ...]


def make(incident: Incident, dialogues: Mapping[int, Sequence[TranscriptEntry]], story: Sequence[StoryEvent]) -> Page:
    """Return the page of one incident. dialogues: by attempt number; those without entries are left out."""
    entries = [entry for number in sorted(dialogues) for entry in dialogues[number]]
    diagnosis = incident.diagnosis
    return Page(
        incident=incident.id,
        service=incident.service,
        host=incident.host,
        state=incident.closing.value if incident.closing else incident.state.value,
        opened=report_view.when(incident.opened_at),
        cause=diagnosis.cause.value if diagnosis else "not diagnosed",
        sureness=diagnosis.sureness.value if diagnosis else "none",
        said_by=diagnosis.said_by if diagnosis else "nobody",
        summary=diagnosis.summary if diagnosis else "",
        lines=tuple(DataLine(id=line.id, text=line.text, cited=True) for line in diagnosis.lines) if diagnosis else (),
        attempts=tuple((a.plan.runbook, a.outcome.value if a.outcome else "unfinished", a.plan.why) for a in incident.attempts),
        tiles=_tiles(entries),
        askings=tuple(_asking(number, dialogues[number]) for number in sorted(dialogues) if dialogues[number]),
        story=tuple(
            (
                f"{event.at:%H:%M:%S}",
                report_view.since(event.at - incident.opened_at),
                event.kind.value,
                report_view.text(event.text),
            )
            for event in story[-STORY_LINES:]
        ),
    )


def _tiles(entries: Sequence[TranscriptEntry]) -> tuple[tuple[str, str], ...]:
    calls = [entry for entry in entries if entry.kind in (EntryKind.ANSWERED, EntryKind.FAULT)]
    used = [entry.usage for entry in entries if entry.usage is not None]
    models = list(dict.fromkeys(entry.model for entry in calls if entry.model))
    return (
        ("calls of a model", str(len(calls))),
        ("tool calls", str(sum(len(entry.said.calls) for entry in entries if entry.said is not None))),
        ("tokens in", f"{sum(usage.input_tokens for usage in used):,}"),
        ("tokens out", f"{sum(usage.output_tokens for usage in used):,}"),
        ("cost", f"${_cost(entries):.4f}"),
        ("waited for it", notices.span(sum((entry.took or timedelta(0) for entry in calls), timedelta(0)))),
        ("asked", ", ".join(models) or "nobody"),
    )


def _cost(entries: Iterable[TranscriptEntry]) -> Decimal:
    return sum((entry.cost or Decimal(0) for entry in entries), Decimal(0))


def _asking(number: int, entries: Sequence[TranscriptEntry]) -> Asking:
    cited = {
        id_
        for entry in entries
        if entry.kind is EntryKind.ANSWERED and entry.said is not None
        for id_ in _ID.findall("\n".join([entry.said.text, *(call.arguments for call in entry.said.calls)]))
    }
    tools = {call.id: call.name for entry in entries if entry.said is not None for call in entry.said.calls}
    phases: dict[str, list[Turn]] = {}
    for entry in entries:
        # Behind its name stands the key of the question, which tells people nothing.
        name = entry.phase.partition(" ")[0]
        phases.setdefault(_PHASES.get(name, name), []).append(_turn(entry, entries[0].at, cited, tools))
    calls = sum(entry.kind in (EntryKind.ANSWERED, EntryKind.FAULT) for entry in entries)
    totals = f"{calls} calls, ${_cost(entries):.4f}, {notices.span(entries[-1].at - entries[0].at)}"
    return Asking(number=number, totals=totals, phases=tuple((name, tuple(turns)) for name, turns in phases.items()))


def _turn(entry: TranscriptEntry, began: datetime, cited: set[str], tools: Mapping[str, str]) -> Turn:
    said = entry.said
    who, title = _who(entry, tools)
    text = said.text if said is not None else entry.note
    return Turn(
        who=who,
        title=title,
        after=f"+{(entry.at - began).total_seconds():.1f} s",
        blocks=_blocks(text, cited),
        calls=tuple((call.name, _pretty(call.arguments)) for call in said.calls) if said is not None else (),
        foot=_foot(entry),
        folded=said is not None and said.role is Role.SYSTEM,
    )


def _who(entry: TranscriptEntry, tools: Mapping[str, str]) -> tuple[str, str]:
    match entry.kind:
        case EntryKind.TOLD if entry.said is not None and entry.said.role is Role.SYSTEM:
            return "medic", "the rules of the game"
        case EntryKind.TOLD if entry.said is not None and entry.said.role is Role.TOOL:
            return "tool", f"{tools.get(entry.said.answers or '', 'an unknown tool')} answers"
        case EntryKind.TOLD:
            return "medic", "Medic"
        case EntryKind.ANSWERED:
            return "model", entry.model
        case EntryKind.FAULT:
            return "fault", f"{entry.model} did not answer"
        case EntryKind.NOTE:
            return "note", "Medic notes"


def _blocks(text: str, cited: set[str]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    at = 0
    for found in _FENCE.finditer(text):
        blocks.append(Block(prose=text[at : found.start()].strip()))
        blocks.append(Block(data=_data(found[2].strip("\n"), cited)))
        at = found.end()
    blocks.append(Block(prose=_pretty(text[at:].strip())))
    return tuple(block for block in blocks if block.prose or block.data)


def _data(text: str, cited: set[str]) -> tuple[DataLine, ...]:
    lines = text.split("\n")
    shown = [
        DataLine(id=found[1], text=report_view.line_text(found[2]), cited=found[1] in cited)
        if (found := _LINE.match(line))
        else DataLine(
            id="", text=report_view.line_text(line.removeprefix(_HEADING)), cited=False, heads=line.startswith(_HEADING)
        )
        for line in lines[:MOST_LINES]
    ]
    if len(lines) > MOST_LINES:
        shown.append(DataLine(id="", text=f"... {len(lines) - MOST_LINES} more lines are in the file", cited=False))
    return tuple(shown)


def _pretty(text: str) -> str:
    """Return a JSON object over several lines where it is one, else the text."""
    if not text.startswith("{"):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return json.dumps(value, indent=2, ensure_ascii=False) if len(text) > 80 else json.dumps(value, ensure_ascii=False)


def _foot(entry: TranscriptEntry) -> tuple[str, ...]:
    foot: list[str] = []
    if entry.usage is not None:
        about = " (our estimate)" if entry.usage.estimated else ""
        foot.append(f"{entry.usage.input_tokens:,} tokens in, {entry.usage.output_tokens:,} out{about}")
    if entry.cost is not None:
        foot.append(f"${entry.cost:.4f}")
    if entry.took is not None:
        foot.append(notices.span(entry.took))
    if entry.stop is not None:
        foot.append(f"stopped: {entry.stop.value}")
    return tuple(foot)
