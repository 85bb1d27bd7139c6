"""Reads diagnosis rules from `agent/rules/*.yaml` into `model.Rule`. Unknown keys, unknown facts and dangerous patterns
are refused with the file, the rule and the key; a rule that was misread would misjudge a service in silence.
"""

import re
from pathlib import Path
from typing import Annotated

import pydantic
import yaml

from agent.diagnosis import facts, match
from agent.errors import ConfigError
from agent.model import Cause, Rule

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's own in C where its wheel has it: a quarter of a second less for every command that reads the rules."""
PATTERN_CHARACTERS = 200
NEEDLE_CHARACTERS = 3
_ONE_CHARACTER = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_UNBOUNDED = re.compile(r"[*+]|\{\d*,\}|\)\{")
"""A repeat without an end, and a repeated group: on a hostile line they cost quadratic or exponential time."""


def _checked_pattern(pattern: str) -> str:
    if len(pattern) > PATTERN_CHARACTERS:
        raise ValueError(f"pattern is longer than {PATTERN_CHARACTERS} characters")
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {exc}") from exc
    # Escapes and classes stand for one character, whatever is written in them: what repeats is left.
    if _UNBOUNDED.search(_ONE_CHARACTER.sub("x", pattern)):
        raise ValueError(f"pattern {pattern!r} may run away: write `.{{0,80}}` for `.*`, and repeat no group")
    return pattern


def _checked_needle(pattern: str) -> str:
    """Refuse a `log` pattern without a plain run: it is tried on every line, and only such a run makes that cheap."""
    if len(match.needle(pattern)) < NEEDLE_CHARACTERS:
        raise ValueError(
            f"pattern {pattern!r} needs {NEEDLE_CHARACTERS} plain characters in a row outside any group: give each alternative a line"
        )
    return pattern


def _checked_facts(named: dict[str, str]) -> dict[str, str]:
    unknown = sorted(named.keys() - facts.NAMES)
    if unknown:
        raise ValueError(f"unknown fact {unknown[0]!r}: one of {', '.join(sorted(facts.NAMES))}")
    return named


_Pattern = Annotated[str, pydantic.AfterValidator(_checked_pattern)]
_LogPattern = Annotated[_Pattern, pydantic.AfterValidator(_checked_needle)]
_Facts = Annotated[dict[str, str], pydantic.AfterValidator(_checked_facts)]


class _RuleShape(pydantic.BaseModel):
    """One rule as written."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    id: str = pydantic.Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    cause: str
    order: int = pydantic.Field(ge=1, le=999)
    summary: str = pydantic.Field(min_length=1)
    advice: str = pydantic.Field(min_length=1)
    facts: _Facts = {}
    log: list[_LogPattern] = []
    not_log: list[_Pattern] = []
    agree: _Facts = {}
    cleared_by: list[_Pattern] = []

    @pydantic.field_validator("cause")
    @classmethod
    def _known_cause(cls, cause: str) -> str:
        known = [member.value for member in Cause if member is not Cause.INCONCLUSIVE]
        if cause not in known:
            raise ValueError(f"unknown cause {cause!r}: one of {', '.join(known)}")
        return cause

    @pydantic.model_validator(mode="after")
    def _says_something(self) -> "_RuleShape":
        if not self.facts and not self.log:
            raise ValueError("a rule needs `facts` or `log`: without either it would always speak")
        if (self.not_log or self.agree or self.cleared_by) and not self.log:
            raise ValueError("`not_log`, `agree` and `cleared_by` say something about `log`, which is missing")
        return self


class _FileShape(pydantic.BaseModel):
    """One file of rules."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    rules: list[dict[str, object]]


def load_rules(folder: Path) -> tuple[Rule, ...]:
    """Return the rules of every `*.yaml` in `folder`, by order, then id. Raises ConfigError for the first wrong one."""
    rules: dict[str, Rule] = {}
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"cannot load rules from {folder}: there is no *.yaml file in it")
    for file in files:
        for rule in _read(file):
            if rule.id in rules:
                raise ConfigError(f"cannot load {file}: rule {rule.id!r} is there twice")
            rules[rule.id] = rule
    return tuple(sorted(rules.values(), key=lambda rule: (rule.order, rule.id)))


def _read(file: Path) -> list[Rule]:
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"cannot load {file}: {exc}") from exc
    try:
        shapes = _FileShape.model_validate(content).rules
    except pydantic.ValidationError as exc:
        raise ConfigError(f"cannot load {file}: {_first_error(exc)}") from exc
    return [_rule(file, number, shape) for number, shape in enumerate(shapes, start=1)]


def _rule(file: Path, number: int, written: dict[str, object]) -> Rule:
    name = repr(written["id"]) if isinstance(written.get("id"), str) else f"number {number}"
    try:
        shape = _RuleShape.model_validate(written)
    except pydantic.ValidationError as exc:
        raise ConfigError(f"cannot load {file}: rule {name}: {_first_error(exc)}") from exc
    return Rule(
        id=shape.id,
        cause=Cause(shape.cause),
        order=shape.order,
        summary=shape.summary,
        advice=shape.advice,
        facts=tuple(shape.facts.items()),
        log=tuple(shape.log),
        not_log=tuple(shape.not_log),
        agree=tuple(shape.agree.items()),
        cleared_by=tuple(shape.cleared_by),
    )


def _first_error(exc: pydantic.ValidationError) -> str:
    """Return `key: what is wrong` of the first mistake; one at a time is what a person can put right."""
    error = exc.errors(include_url=False)[0]
    key = ".".join(str(part) for part in error["loc"])
    what = "unknown key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    return f"{key}: {what}" if key else what
