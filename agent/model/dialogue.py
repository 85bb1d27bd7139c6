"""What is said to a language model and what it answers: one shape for every provider. No text in here is trusted."""

import enum
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from agent.errors import OutsideError


class Role(enum.Enum):
    """Who says a line of a dialogue."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call that a model asks for. Nothing in it has been checked."""

    id: str
    name: str
    arguments: str
    """JSON text as the model wrote it, whole or not, valid or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One line of a dialogue."""

    role: Role
    text: str
    calls: tuple[ToolCall, ...] = ()
    """Only an ASSISTANT line has some."""
    answers: str | None = None
    """The id of the call that a TOOL line answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """A tool as it is described to a model."""

    name: str
    description: str
    schema: str
    """JSON schema of its arguments, as text."""


class StopReason(enum.Enum):
    """Why a model stopped writing."""

    END = "end"
    TOOL_CALLS = "tool_calls"
    LENGTH = "length"
    """Cut at the most output it was allowed: such an answer is a failed one."""
    FILTERED = "filtered"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one call."""

    input_tokens: int
    output_tokens: int
    estimated: bool
    """The provider did not say, so this is our own count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """One finished call."""

    said: Said
    stop: StopReason
    usage: Usage
    model: str
    """The model that answered, as the provider names it."""
    cost: Decimal
    """US dollars."""
    took: timedelta


class FaultKind(enum.Enum):
    """Why a model did not answer."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"
    REFUSED_KEY = "refused_key"
    BAD_REQUEST = "bad_request"
    TOO_LONG = "too_long"
    """The dialogue does not fit into the model's context."""
    UNREACHABLE = "unreachable"
    OTHER = "other"
    """An answer that makes no sense: no choices, HTML, half a body."""

    @property
    def passes(self) -> bool:
        """Whether the same call may well succeed later, or at another provider."""
        return self in {FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.TIMEOUT, FaultKind.UNREACHABLE}


class ModelFault(OutsideError):  # noqa: N818  it is named after what is so, as LeaseLost is
    """A model did not answer, or not usably. `transient` follows from the kind."""

    def __init__(self, sentence: str, *, kind: FaultKind) -> None:
        super().__init__(sentence, transient=kind.passes)
        self.kind = kind
