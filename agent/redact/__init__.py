"""The one choke point for secrets: every text that leaves Medic (store, report, notice, prompt, log line) passes a `Redactor`.

In: any text. Out: the same text with each secret replaced by `[REDACTED:<kind>]`, without terminal escapes and invisible
characters (a zero-width space inside a token would hide it from a rule, not from a reader). What a diagnosis needs is kept:
addresses, host names, UUIDs, digests, commit and container ids, paths, prose about passwords.

Redact first and cut afterwards: text that was cut before it came here can hold half a secret, which no rule knows.

Known gaps, accepted: a password after nothing but a space in prose, base64 or hex of an unknown secret, a token wrapped over
two lines. A secret that is ours is caught there too, as a literal.

This module is the choke point; what it knows stands beside it: `rules` (a table of shapes), `private_keys`, `literals`
(the forms of a known secret), `visible` (what a reader sees).
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

from agent.model import CommandCheck, CompletionCheck, HttpCheck, Plan, Request, RunSpec, Service, Spec, SweepReport
from agent.redact import literals as known
from agent.redact import private_keys, visible
from agent.redact.rules import RULES, Rule

LONGEST_LINE = 65_536
"""Characters. A longer line keeps its head and its tail: 100 MB in one line must not cost more than 64 KB does."""
_KEPT = 28_672
"""Characters kept at each end of a line that is too long; both ends and the marker stay under LONGEST_LINE."""
_OVERLAP = 4_096
"""Read beyond each kept end and dropped after redaction, so that a secret at the cut is seen whole."""
_GROWTH = 1.5
_SLACK = 64
"""A redacted text is at most `_GROWTH` times as long as it was, plus `_SLACK`: caps upstream stay true."""


class Redactor:
    """Replaces secrets in text. Never raises; what it cannot redact it withholds (`[REDACTION FAILED: n bytes]`).

    literals: exact secrets that are known (configuration, environment); they are found in their URL, JSON, hex and base64
    forms as well. Redacting twice changes nothing. Bars and sample: tests/unit/test_redact.py.
    """

    def __init__(self, literals: Iterable[str] = ()) -> None:
        forms = {form for literal in literals if len(literal) >= known.SHORTEST for form in known.forms(literal)}
        # Longest first: a short secret that starts a longer one must not leave the longer one's rest behind.
        self._literals = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """Return `text` without its secrets, at most 1.5 times as long plus 64 characters."""
        try:
            return _bounded(self._redact(text), text)
        except Exception:  # noqa: BLE001  # whatever went wrong here, letting the text through would be worse
            return f"[REDACTION FAILED: {_size(text)} bytes]"

    def _redact(self, text: str) -> str:
        if len(text) > LONGEST_LINE:
            text = "\n".join(self._shortened(line) if len(line) > LONGEST_LINE else line for line in text.split("\n"))
        text = visible.visible(text)
        for literal in self._literals:
            if literal in text:
                text = text.replace(literal, "[REDACTED:known]")
        return "\n".join(_redact_lines(text))

    def _shortened(self, line: str) -> str:
        """Return the head and tail of an over-long line, each redacted before it is cut."""
        head, tail = self._redact(line[: _KEPT + _OVERLAP]), self._redact(line[-(_KEPT + _OVERLAP) :])
        return f"{head[:_KEPT]} [... {len(line) - 2 * _KEPT} characters left out ...] {tail[-_KEPT:]}"


T = TypeVar("T")
_MARKED = "[REDACTED:"


def within(value: T, redact: Callable[[str], str]) -> T:
    """Return a value of the model, or plain JSON, with every text inside it redacted. Equal texts stay equal; types stay.

    What Medic acts on stays as it is, to the letter: a declaration, a plan, a person's request. They hold no secret, for
    whoever wrote one into them was refused (`holds_secret`).
    """
    return cast("T", _within(value, redact))


def pair(name: str, value: str, redact: Callable[[str], str]) -> tuple[str, str]:
    """Return a name and its value, redacted also where only the name says that the value is a secret."""
    together = redact(f"{name}={value}")
    hidden = together.count(_MARKED) > f"{name}={value}".count(_MARKED)
    alone = redact(value)
    return redact(name), "[REDACTED:setting]" if hidden and alone == value else alone


def holds_secret(texts: Iterable[str]) -> bool:
    """Return whether a rule knows a secret in one of these texts."""
    rules = Redactor()
    return any(rules(text).count(_MARKED) > text.count(_MARKED) for text in texts)


def is_clean(content: bytes, redact: Callable[[str], str]) -> bool:
    """Return whether a file could be kept to the letter: `redact` finds nothing in it. What it cannot tell is not clean."""
    text = content.decode("utf-8", "replace")
    return redact(text) == visible.visible(text)


def texts_of(service: Service) -> Iterator[str]:
    """Return every text of a declaration, and together what is read together: pairs, and the words of a command."""
    sent = (check.headers for check in service.checks if isinstance(check, HttpCheck | CompletionCheck))
    for pairs in (*sent, *_pairs(service.spec)):
        yield from (f"{name}={value}" for name, value in pairs)
    if isinstance(service.spec, RunSpec):
        yield " ".join(service.spec.command)
    yield from (" ".join(check.command) for check in service.checks if isinstance(check, CommandCheck))
    yield from _texts(service)


def _pairs(spec: Spec | None) -> tuple[tuple[tuple[str, str], ...], ...]:
    return (spec.env, spec.labels) if isinstance(spec, RunSpec) else ()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _texts(part)
    elif dataclasses.is_dataclass(value):
        for each in dataclasses.fields(value):
            yield from _texts(getattr(value, each.name))


def _within(value: object, redact: Callable[[str], str]) -> object:
    match value:
        case str():
            return redact(value)
        case Service() | Plan() | Request():
            return value
        case SweepReport():  # names of declared services, beside what containers say of themselves
            return dataclasses.replace(value, unrecorded=tuple(map(redact, value.unrecorded)))
        case (str(name), str(text)) if isinstance(value, tuple):
            return pair(name, text, redact)
        case tuple() | list():
            return type(value)(_within(part, redact) for part in value)
        case dict():
            return {redact(str(key)): _within(part, redact) for key, part in value.items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            parts = {each.name: _within(getattr(value, each.name), redact) for each in dataclasses.fields(value)}
            return dataclasses.replace(value, **parts)
        case _:
            return value


def _redact_lines(text: str) -> list[str]:
    """Redact each line with the rules whose needles the text holds at all, carrying private-key blocks across lines."""
    lowered = text.lower()
    rules = [rule for rule in RULES if any(needle in lowered for needle in rule.needles)]
    lines = text.split("\n")
    if "private key" in lowered:
        lines = private_keys.without_private_keys(lines)
    return [_redact_line(line, rules) for line in lines] if rules else lines


def _redact_line(line: str, rules: list[Rule]) -> str:
    lowered = line.lower()
    for rule in rules:
        for needle in rule.needles:
            if needle in lowered:
                line = rule.pattern.sub(_replacing(rule), line)
                break
    return line


def _replacing(rule: Rule) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        whole = match[0]
        group = match.lastindex or 0
        secret = match[group]
        # Replaced already, or masked by whoever wrote the line: redacting twice changes nothing.
        if "[REDACTED:" in secret or not secret.strip("*x\"' "):
            return whole
        start = match.start(group) - match.start()
        before = match.string[max(0, match.start() - 24) : match.start(group)]
        if rule.spares(before, secret):
            return whole
        return f"{whole[:start]}[REDACTED:{rule.kind}]{whole[start + len(secret) :]}"

    return replace


_MARK = re.compile(r"\[REDACTED:[a-z-]+\]")


def _bounded(redacted: str, text: str) -> str:
    """Return the redacted text, with short marks where many tiny secrets would make it much longer than it was."""
    if len(redacted) <= len(text) * _GROWTH + _SLACK:
        return redacted
    return _MARK.sub("***", redacted)


def _size(text: object) -> int:
    return len(text.encode("utf-8", "replace")) if isinstance(text, str) else 0
