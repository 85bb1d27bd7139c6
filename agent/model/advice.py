"""What asking a language model brought: a proposal at most, never a permission. Every text in here came from a model, redacted."""

import enum
from dataclasses import dataclass
from decimal import Decimal

from agent.model.causes import Cause
from agent.model.health import Mode, RunbookId


class Asks(enum.Enum):
    """When a model is asked at all, where the rules are in doubt."""

    STUCK = "stuck"
    """Not before a first attempt that is safe and fits what was seen: a restart is over before a model has answered."""
    DOUBT = "doubt"
    """Before the first attempt as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a model costs, in US dollars for a million tokens."""

    input: Decimal
    output: Decimal

    def of(self, input_tokens: int, output_tokens: int) -> Decimal:
        """Return the price of one call."""
        return (self.input * input_tokens + self.output * output_tokens) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A runbook of the catalogue that a model proposes. `plan` asks of it all that it asks of any other, and more."""

    runbook: RunbookId
    parameters: tuple[tuple[str, str], ...] = ()
    """(name, value) as the model wrote them. They are compared with what the declaration gives and are never a source."""
    at_most: Mode = Mode.ASK
    """How far Medic may go with it: ASK, or SUGGEST while this bundle of prompts and limits has no passing evaluation."""
    because: str = ""
    """Why it may not be asked for; empty where it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consultation:
    """One asking of a model and what came of it."""

    model: str
    """Who answered; empty where nobody did."""
    bundle: str
    """Id of prompts, schemas, rules, runbooks, models and limits together: what an evaluation speaks of."""
    doubt: str
    """Why the model was asked."""
    came_of_it: str
    """One sentence: what it answered, or why the answer of the rules stands."""
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal = Decimal(0)
    """US dollars."""
    cause: Cause | None = None
    """What it takes to be the cause, with evidence that exists; None where it has shown none."""
    confidence: float | None = None
    """0 to 1, as the model says. It may lower what Medic does by itself and never raises it."""
    proposal: Proposal | None = None
    unproven: tuple[str, ...] = ()
    """What it claimed without evidence that exists: shown, and a ground for nothing."""
    reused: bool = False
    """The answer was given before, on the same evidence in an unchanged world: it cost nothing."""
