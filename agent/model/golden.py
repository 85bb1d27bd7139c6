"""A golden case: what was seen of one sick service, and what has to be made of it. What evaluations are measured by."""

import enum
from dataclasses import dataclass

from agent.model.causes import Cause
from agent.model.evidence import Evidence
from agent.model.health import RunbookId
from agent.model.incidents import Outcome
from agent.model.services import Service


class Decided(enum.Enum):
    """What kind of decision a case ends with."""

    PLAN = "plan"
    """Medic acts by itself."""
    ASK = "ask"
    """Medic asks a person, or suggests; nothing happens by itself."""
    HOLD = "hold"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One case."""

    id: str
    service: Service
    evidence: Evidence
    tried: tuple[tuple[RunbookId, Outcome], ...]
    """The attempts of this incident before the decision."""
    causes: tuple[Cause, ...]
    """Each of them is right; empty: the cause is not judged."""
    decided: Decided
    word: str
    """The runbook of PLAN and ASK, the code of HOLD and REFUSAL."""
