"""What a model is asked about: one incident as Medic knows it, taken at one moment."""

from dataclasses import dataclass, field

from agent.model.decisions import Runbook
from agent.model.evidence import Diagnosis, Evidence
from agent.model.incidents import Attempt, Incident
from agent.model.memory import Remembered
from agent.model.services import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One incident, what the rules made of it, and what may be done about it."""

    service: Service
    number: int
    """The attempt that the answer is for, 1 or more."""
    evidence: Evidence
    """With its log."""
    ruled: Diagnosis
    """What the rules say: it stands where the model is of no help."""
    doubt: str
    """Why the rules alone are not enough, as a sentence."""
    attempts: tuple[Attempt, ...]
    """What was tried in this incident."""
    history: tuple[Incident, ...]
    """Earlier incidents of this service, newest first."""
    remembered: Remembered = field(default_factory=Remembered)
    """What is remembered of this very trouble."""
    runbooks: tuple[Runbook, ...]
    services: tuple[Service, ...]
    """The inventory: nothing else can be looked at."""
