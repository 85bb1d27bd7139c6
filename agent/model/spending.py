"""What Medic spends: one entry per thing that costs money, reserved before it is bought and billed once its price is known."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from agent.model.dialogue import StopReason, Usage
from agent.model.health import IncidentId


class SpendingKind(enum.Enum):
    """What money goes to."""

    MODEL = "model"
    """One call of a language model."""
    CLOUD = "cloud"
    """A machine or anything else that a cloud provider bills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """One entry of the ledger of spending. What was reserved and never billed (a crash) counts as spent."""

    key: str
    """Natural key: what was bought (`I12 call 3`), so that writing twice is writing once."""
    kind: SpendingKind
    what: str
    """The model or the kind of machine."""
    at: datetime
    """When it was reserved."""
    amount: Decimal
    """US dollars, 0 or more: the most it can cost until it is billed, then what it did cost."""
    billed: bool = False
    incident: IncidentId | None = None
    usage: Usage | None = None
    """Of a call: its tokens; None while it runs, and where it gave no answer."""
    stop: StopReason | None = None
    """Of a call: why the model stopped; None as above."""
    fault: str = ""
    """Of a call: why there is no answer."""
    took: timedelta | None = None
