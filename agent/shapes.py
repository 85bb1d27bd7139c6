"""What the shapes of medic.yaml share: strict objects, and the words and spans of time in them."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any  # Any: what pydantic hands to a validator is not typed yet

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from agent import spans, words, yaml_text


def span(low: str, high: str) -> BeforeValidator:
    """Return a validator for a span of time between two others."""

    def check(value: object) -> timedelta:
        given = spans.parse(str(value))
        if not spans.parse(low) <= given <= spans.parse(high):
            raise ValueError(f"must be from {low} to {high}, not {spans.text(given)}")
        return given

    return BeforeValidator(check)


def wait(low: str, high: str) -> BeforeValidator:
    """Return a validator for a span of time between two others, or none at all (`0s`)."""

    def check(value: object) -> timedelta:
        given = spans.parse(str(value))
        if given != timedelta(0) and not spans.parse(low) <= given <= spans.parse(high):
            raise ValueError(f"must be 0s, or from {low} to {high}, not {spans.text(given)}")
        return given

    return BeforeValidator(check)


def matching(check: Callable[[str], str]) -> BeforeValidator:
    """Return a validator for one text; another type is left to pydantic's own sentence."""
    return BeforeValidator(lambda value: check(value) if isinstance(value, str) else value)


def empty(value: object) -> object:
    """Return what a key with nothing behind it stands for."""
    return {} if value is None else value


Name = Annotated[str, matching(words.name)]
Text = Annotated[str, Field(min_length=1, max_length=4096)]
Count = Annotated[int, Field(ge=1, le=1000)]
Every = Annotated[timedelta, span("100ms", "1d")]
Timeout = Annotated[timedelta, span("10ms", "9s")]  # under look.DEADLINE, which ends the whole batch


class Keys(BaseModel):
    """Refuses unknown keys with the key that was meant; `key:` with nothing behind it stands for all defaults."""

    model_config = ConfigDict(strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _are_known(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                wrong = yaml_text.unknown_key(key, cls.model_fields)
                raise PydanticCustomError("unknown_key", "{wrong}", {"key": key, "wrong": wrong})
        return empty(given)


class Timing(Keys):
    """How often a check looks, and its streaks. Written on a service, they are the defaults of its checks."""

    every: Every | None = None
    sick_after: Count | None = None
    well_after: Count | None = None
    unknown_after: Count | None = None
