"""What was said in one asking, entry by entry, as it is kept in the incident's bundle. Every text is redacted, none is repaired."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from agent.model.dialogue import Said, StopReason, Usage
from agent.model.health import IncidentId


class EntryKind(enum.Enum):
    """What an entry of a transcript is."""

    TOLD = "told"
    """A line that Medic wrote: the head, the case, the answer of a tool."""
    ANSWERED = "answered"
    """A line that the model wrote."""
    FAULT = "fault"
    """A call that brought no answer; `note` says why."""
    NOTE = "note"
    """What Medic made of it: a repair, a limit that was reached, the verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptEntry:
    """One line of a transcript file."""

    trace: IncidentId
    """The incident: the trace id of everything that belongs to it."""
    at: datetime
    kind: EntryKind
    phase: str
    """`investigate`, `classify`, or what else the advisor calls a dialogue of its own."""
    said: Said | None = None
    """None for FAULT and NOTE."""
    model: str = ""
    """Of ANSWERED and FAULT: who was asked."""
    usage: Usage | None = None
    cost: Decimal | None = None
    """US dollars."""
    stop: StopReason | None = None
    took: timedelta | None = None
    """Of a call of the model, or of the tool whose answer was TOLD."""
    note: str = ""
