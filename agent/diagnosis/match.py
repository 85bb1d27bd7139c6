"""Applies the rules to one evidence. In: `Evidence` (redacted, bounded) and the rules. Out: a `Diagnosis`, always.

How the cause is told from the noise around it:
- lines that a `benign_noise` rule knows, lines whose own level says INFO or below, and complaints that a later line
  declares over (`cleared_by`) count for no other rule;
- rules are tried by `order`: facts that stand by themselves first, then causes that start a cascade, then the effects
  that they drag behind them, then guesses from an exit code alone;
- among rules of one order the one whose line came first in the log speaks: the first cause behind the cascade;
- noise explains nothing on a service with a sick plane, nor beside a line of trouble that no rule knows.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from agent.diagnosis import facts as structural
from agent.model import Cause, Diagnosis, Evidence, Health, LogLine, Plane, Rule, Sureness

CITED_LINES = 5
"""Lines a diagnosis carries: the first ones matched. The bundle has the rest."""

_LEVEL = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|FATAL|CRITICAL|PANIC|SEVERE)\b"
    r"|(?i:\blevel\"?[=:]\s?\"?(trace|debug|info|notice|warn|error|fatal|critical|panic))"
    r"|(?i:\[(trace|debug|info|notice|warn|warning|error|crit|alert|emerg|fatal)\])"
)
_CALM = frozenset({"trace", "debug", "info", "notice"})
_LEVEL_WITHIN = 120
"""Characters from the start of a line in which its level is looked for: beyond it stands the message."""
_TROUBLE = re.compile(
    r"\berr(?:or)?\b|exception|\bfail(?:ed|ure|ing)?\b|fatal|panic|traceback|critical|denied|refused|\bkilled|abort|cannot|can't"
    r"|could not|unable|timed? ?out|corrupt|invalid|segfault|unhealthy|no such|not found|out of memory|unreachable|rejected",
    re.IGNORECASE,
)
_DENIES_TROUBLE = re.compile(
    r"\b(?:no|0|without) (?:errors?|failures?)\b|\b(?:errors?|failed|failures)[=:] ?0\b", re.IGNORECASE
)

_PATH_OF_A_REQUEST = (Plane.HOST, Plane.CONTAINER, Plane.DIRECT, Plane.HOST_PORT, Plane.ENGINE, Plane.NGINX, Plane.PUBLIC)
"""From the inside out: the first sick plane is where to look."""


_Entries = tuple[tuple[int, LogLine, str], ...]
"""(position, line, lower-cased text) of some lines of a log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spoken:
    """A rule that holds, with what it rests on."""

    rule: Rule
    agreed: tuple[tuple[str, str], ...]
    lines: tuple[LogLine, ...]
    first: int
    """Position of its first line in the log; -1 without one."""


def diagnose(evidence: Evidence, rules: Sequence[Rule]) -> Diagnosis:
    """Return what the rules make of `evidence`: a cause, or INCONCLUSIVE with the difference between the planes."""
    found = structural.facts(evidence)
    log = _Log.of(evidence, rules)
    plane = _sick_plane(found)
    for _, same_order in groupby(sorted(rules, key=lambda rule: rule.order), key=lambda rule: rule.order):
        spoken = [said for rule in same_order if (said := _speak(rule, found, log)) is not None]
        if spoken:
            return _diagnosis(min(spoken, key=lambda said: said.first), plane)
    return Diagnosis(
        cause=Cause.INCONCLUSIVE,
        sureness=Sureness.NONE,
        said_by="none",
        summary=_what_is_known(evidence, found),
        plane=plane,
        advice="Read the evidence bundle: no rule knows this. Once the cause is found, a rule for it saves the next reader.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """The lines of one evidence, sorted into what each kind of rule may read."""

    telling: _Entries
    """Lines that may name a cause."""
    noise: _Entries
    """Those that some `benign_noise` rule knows, that are calm by their own level, or whose complaint is over."""
    trigrams: frozenset[str]
    """Every three characters in a row of the whole log: most patterns are ruled out by them without reading a line."""

    @classmethod
    def of(cls, evidence: Evidence, rules: Sequence[Rule]) -> "_Log":
        lines = evidence.log
        if evidence.container is not None and evidence.container.error:
            # Why Docker could not start it stands in inspect only, never in the log.
            lines = (LogLine(id="docker", text=evidence.container.error), *lines)
        numbered = tuple((position, line, line.text.lower()) for position, line in enumerate(lines))
        trigrams = frozenset().union(*(_trigrams(lowered) for _, _, lowered in numbered))
        quiet = {position for position, line, _ in numbered if _is_calm(line.text)}
        for rule in rules:
            if rule.cause is Cause.BENIGN_NOISE:
                quiet.update(position for position, _, _ in _matching(rule, numbered, trigrams))
            elif rule.cleared_by and (hits := _matching(rule, numbered, trigrams)):
                over = max(
                    (position for position, line, lowered in numbered if _any(rule.cleared_by, line.text, lowered)), default=-1
                )
                quiet.update(position for position, _, _ in hits if position < over)
        return cls(
            telling=tuple(entry for entry in numbered if entry[0] not in quiet),
            noise=tuple(entry for entry in numbered if entry[0] in quiet),
            trigrams=trigrams,
        )

    @property
    def has_unexplained_trouble(self) -> bool:
        return any(_TROUBLE.search(line.text) and not _DENIES_TROUBLE.search(line.text) for _, line, _ in self.telling)


def _speak(rule: Rule, found: Mapping[str, frozenset[str]], log: _Log) -> _Spoken | None:
    """Return what the rule rests on, or None when it has nothing to say."""
    agreed: list[tuple[str, str]] = []
    for name, accepted in rule.facts:
        value = structural.agrees(found, name, accepted)
        if value is None:
            return None
        agreed.append((name, value))
    if not rule.log:
        return _Spoken(rule=rule, agreed=tuple(agreed), lines=(), first=-1)
    if rule.cause is Cause.BENIGN_NOISE:
        hits = _matching(rule, log.noise, log.trigrams)
        hits = hits if hits and _may_be_noise(found, log) else ()
    else:
        hits = _matching(rule, log.telling, log.trigrams)
    if not hits:
        return None
    for name, accepted in rule.agree:
        value = structural.agrees(found, name, accepted)
        if value is not None:
            agreed.append((name, value))
    return _Spoken(rule=rule, agreed=tuple(agreed), lines=tuple(line for _, line, _ in hits[:CITED_LINES]), first=hits[0][0])


def _may_be_noise(found: Mapping[str, frozenset[str]], log: _Log) -> bool:
    sick = any("sick" in found[f"plane.{plane.value}"] for plane in Plane)
    return not sick and not log.has_unexplained_trouble


def _matching(rule: Rule, entries: _Entries, trigrams: frozenset[str]) -> _Entries:
    patterns = tuple(pattern for pattern in rule.log if _trigrams_of_needle(pattern) <= trigrams)
    if not patterns:
        return ()
    return tuple(
        entry
        for entry in entries
        if _any(patterns, entry[1].text, entry[2]) and not _any(rule.not_log, entry[1].text, entry[2])
    )


@functools.cache
def _trigrams_of_needle(pattern: str) -> frozenset[str]:
    return _trigrams(needle(pattern))


def _trigrams(text: str) -> frozenset[str]:
    return frozenset(map("".join, zip(text, text[1:], text[2:], strict=False)))


def _any(patterns: tuple[str, ...], text: str, lowered: str) -> bool:
    return any(needle(pattern) in lowered and _compiled(pattern).search(text) for pattern in patterns)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


@functools.cache
def needle(pattern: str) -> str:
    """Return the longest run of plain characters that every match of `pattern` contains, in lower case; "" if unsure.

    A substring test is some fifty times cheaper than a case-insensitive search, and most rules have nothing to say
    about most lines. Only runs outside groups count; a pattern with alternatives at its top has none.
    """
    runs, run, depth, index = [], "", 0, 0
    while index < len(pattern):
        character = pattern[index]
        width = 1
        if character == "\\":
            width = 2
            escaped = pattern[index + 1]
            plain = escaped if not escaped.isalnum() else None
        elif character == "[":
            closing = pattern.index("]", index + 2)
            width, plain = closing + 1 - index, None
        else:
            plain = None if character in "().^$|?*+{" else character
        if character == "|" and depth == 0:
            return ""
        depth += (character == "(") - (character == ")")
        if character in "?*{":
            run = run[:-1]  # the character before may be absent
        if character == "{":
            width = pattern.index("}", index) + 1 - index
        if plain is not None and depth == 0:
            run += plain
        else:
            runs.append(run)
            run = ""
        index += width
    return max((*runs, run), key=len).lower()


def _is_calm(line: str) -> bool:
    """Tell whether the line's own level is INFO or below."""
    level = _LEVEL.search(line[:_LEVEL_WITHIN])
    return level is not None and next(word for word in level.groups() if word is not None).lower() in _CALM


def _diagnosis(said: _Spoken, plane: Plane | None) -> Diagnosis:
    return Diagnosis(
        cause=said.rule.cause,
        sureness=Sureness.CONFIRMED if said.agreed else Sureness.SUSPECTED,
        said_by=f"rule:{said.rule.id}",
        summary=said.rule.summary,
        plane=plane,
        facts=said.agreed,
        lines=said.lines,
        advice=said.rule.advice,
    )


def _sick_plane(found: Mapping[str, frozenset[str]]) -> Plane | None:
    return next((plane for plane in _PATH_OF_A_REQUEST if "sick" in found[f"plane.{plane.value}"]), None)


def _what_is_known(evidence: Evidence, found: Mapping[str, frozenset[str]]) -> str:
    """Say which planes are well and which sick: without a cause, that difference is what a person starts from."""
    sentences = ["No rule names a cause."]
    for health in Health:
        planes = [plane.value for plane in _PATH_OF_A_REQUEST if health.value in found[f"plane.{plane.value}"]]
        if planes:
            sentences.append(f"{health.value.capitalize()}: {', '.join(planes)}.")
    words = sorted(found["symptom"])
    if words:
        sentences.append(f"Symptoms: {', '.join(words)}.")
    if found["changed"]:
        sentences.append(f"Changed since last well: {', '.join(sorted(found['changed']))}.")
    if not evidence.log:
        sentences.append(f"Log: {evidence.log_note}.")
    return " ".join(sentences)
