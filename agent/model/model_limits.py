"""What a language model may cost: the limits that its control layer keeps, whatever the model or its provider do."""

import enum
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """Limits on asking a model. *One asking* is everything that is said for one diagnosis. Money is US dollars."""

    steps: int = 8
    """Calls of the model in one asking, retries and other providers included."""
    tool_calls: int = 12
    """Tool calls carried out in one asking."""
    tool_calls_at_once: int = 4
    """Tool calls carried out of one answer; more in one answer is refused as a whole."""
    tokens: int = 40_000
    """Input and output tokens of one asking."""
    wall: timedelta = timedelta(seconds=90)
    """One asking, from its first call to its verdict."""
    money_per_incident: Decimal = Decimal("0.50")
    money_per_day: Decimal = Decimal(5)
    """In any 24 hours."""
    calls_per_incident: int = 24
    calls_per_hour: int = 60
    calls_per_day: int = 300
    """In any 24 hours."""
    at_once: int = 2
    """Calls under way at one moment, over all incidents."""
    no_news: int = 3
    """Tool answers in a row that show nothing new; the asking ends there."""
    tell_at: Decimal = Decimal("0.8")
    """Share of `money_per_day` at which people are told, once a day."""


class ModelLimit(enum.Enum):
    """Which limit ended an asking."""

    STEPS = "steps"
    TOOL_CALLS = "tool-calls"
    TOOL_CALLS_AT_ONCE = "tool-calls-at-once"
    TOKENS = "tokens"
    WALL = "wall"
    MONEY_PER_INCIDENT = "money-per-incident"
    MONEY_PER_DAY = "money-per-day"
    CALLS_PER_INCIDENT = "calls-per-incident"
    CALLS_PER_HOUR = "calls-per-hour"
    CALLS_PER_DAY = "calls-per-day"
    REPEATS = "repeats"
    OSCILLATION = "oscillation"
    NO_NEWS = "no-news"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """An asking ends here: the answer of the rules stands. A value, not an error."""

    limit: ModelLimit
    because: str
