"""A sub-question in a fresh dialogue: a log is read by somebody who has no tools, and only a summary comes back to the search.

A log that is too long to be shown, or that another service wrote, is where instructions hide and where a search loses its way. Who
reads it can do nothing: no tool is offered, no runbook is named, and nothing that it is told stands in the dialogue of the search.
Its call is one like any other, reserved and billed. What it answers is checked in `reply`: a strict form, few lines, and only
lines that were shown; those are then handed on as Medic read them, not as they were repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agent.llm import brief, fence, reply
from agent.llm.brief import Redact
from agent.llm.tools import Seen
from agent.model import LogLine, Question, Role, Said

MOST_SHOWN = 16_000
"""Characters of a log that is read so: with the rest, such a call stays under 8 000 tokens."""
MOST_OUTPUT = 400
"""Tokens of a summary."""
MOST_SUMMARY = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One log as it is given to who reads it."""

    said: tuple[Said, ...]
    shown: tuple[LogLine, ...]
    """Every line that may be named."""


def sheet(texts: Sequence[str], question: Question, redact: Redact, nonce: str) -> Sheet:
    """Return the whole dialogue: the rules, and the log inside a fence. texts: its lines, redacted, oldest first."""
    lines = [LogLine(id=f"R{number}", text=text) for number, text in enumerate(texts, start=1)]
    kinds = brief.templated(lines, redact, MOST_SHOWN)
    log = "\n".join(f"{line.id}| {f'({count} times alike) ' if count > 1 else ''}{line.text}" for count, line in kinds)
    head = f"Service {fence.line(question.service.name, redact, 80)} is sick. What does this log show of why?"
    return Sheet(
        said=(
            Said(role=Role.SYSTEM, text=brief.READ),
            Said(role=Role.USER, text=f"{head}\n\n{fence.fenced(log, nonce)}\n\nGive your answer."),
        ),
        shown=tuple(line for _, line in kinds),
    )


def told(summary: reply.Summary, of: int, seen_before: int, redact: Redact) -> Seen:
    """Return a summary as the search is told it. of: lines that were read. seen_before: as for `tools.use`."""
    words = fence.line(summary.text, redact, MOST_SUMMARY) or "nothing"
    return Seen(
        lines=tuple(replace(line, id=f"T{seen_before + number}") for number, line in enumerate(summary.lines, start=1)),
        note=f"{of} lines were read in a dialogue of their own. Who read them says, which is no evidence: {words}",
    )
