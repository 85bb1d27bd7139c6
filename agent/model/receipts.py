"""The audit chain and the receipts in it."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.health import IncidentId, RunbookId
from agent.model.looking import Verdict


class AuditKind(enum.Enum):
    """What the audit keeps: every change, decision, answer and word of a person. The words are for good: rows are never edited."""

    OPENED = "opened"
    NEXT_ROUND = "next-round"
    HELD = "held"
    REFUSED = "refused"
    CLOSED = "closed"
    INTENT = "intent"
    """An attempt's plan, before its first change."""
    STARTED = "started"
    RAN = "ran"
    ENDED = "ended"
    RECEIPT = "receipt"
    HARMED = "harmed"
    UNDONE = "undone"
    STATUS = "status"
    """The desired state of a service."""
    ASKED = "asked"
    ANSWERED = "answered"
    APPROVAL_ASKED = "approval-asked"
    APPROVAL_ANSWERED = "approval-answered"
    SILENCED = "silenced"
    UNSILENCED = "unsilenced"
    BREAKER = "breaker"
    RUNBOOK_TRUST = "runbook-trust"
    HALTED = "halted"
    RESUMED = "resumed"
    NOTED = "noted"
    """A person's note on a trouble."""
    FORGOTTEN = "forgotten"
    """A note, or all that is remembered of a trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One link of the audit's chain, as texts: `hash` is over exactly what is read here, also where somebody edited it."""

    id: int
    """1, 2, 3 ... without a gap."""
    at: str
    actor: str
    """`medic`, or the person."""
    kind: str
    key: str
    """With `kind`: what this row is about, so that a repeated step appends once."""
    incident: str
    """Empty where it is about none."""
    payload: str
    """Canonical JSON, redacted."""
    previous: str
    """The hash of the row before; 64 zeros for the first."""
    hash: str
    """sha256, hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHead:
    """The last row of a chain: whoever holds it can tell whether the chain was cut or rewritten since."""

    id: int
    hash: str
    """The first 16 hex digits, or all 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Why Medic says "healed": the failing looks before, the same checks after, and the settle window between."""

    incident: IncidentId
    attempt: int
    runbook: RunbookId
    runbook_hash: str
    opened_by: Verdict
    """The verdict that opened the incident."""
    before: Verdict
    """The look of the evidence, just before the plan was chosen."""
    ran_until: datetime | None
    settle: timedelta
    looks_needed: int
    """So many WELL looks in a row count as steady."""
    looks_made: int
    looks: tuple[Verdict, ...]
    """The last looks of verify, oldest first, each with its raw judgements; not more than `steps.verify.LOOKS_KEPT`."""
