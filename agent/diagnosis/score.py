"""Counts how often the rules are right on labelled logs. In: cases (JSON lines) and rules. Out: a `Score`.

A case has only a log, perhaps an exit code and OOMKilled, so the class may come from text alone. Two numbers matter: how
many causes are right, and how many healthy logs were called sick (false alarms), which a healer must not have.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from agent.diagnosis import log_cut, match
from agent.model import (
    Cause,
    ContainerFacts,
    ContainerState,
    Diagnosis,
    Evidence,
    Health,
    IncidentId,
    LogLine,
    Rule,
    ServiceName,
    Verdict,
)

T = TypeVar("T")
_KINDS = {str: "text", int: "a number", bool: "true or false"}

_THEN = datetime(2026, 1, 1, tzinfo=UTC)
"""Any time will do: a labelled log carries none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One labelled log. `also_accept`: other causes that a fair judge would take."""

    id: str
    service: str
    log: str
    exit_code: int | None
    oom_killed: bool | None
    cause: Cause
    also_accept: tuple[Cause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """One case that was not answered as labelled, and who answered."""

    id: str
    expected: Cause
    given: Cause
    said_by: str
    line: str
    """The first line that the answer rests on; empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """The cases of one cause."""

    cause: Cause
    correct: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How the rules did."""

    correct: int
    total: int
    false_alarms: int
    """Benign cases that were given a cause to act on. INCONCLUSIVE is wrong, but no alarm."""
    benign: int
    classes: tuple[ClassScore, ...]
    misses: tuple[Miss, ...]


def read_cases(lines: Iterable[str]) -> tuple[Case, ...]:
    """Return the cases of JSON lines {id, service, log, exit_code, oom_killed, class, also_accept}.

    Only `log` and `class` must be there; other keys and blank lines are passed over. Raises ValueError, one sentence that
    names the line and the key.
    """
    return tuple(_case(number, line) for number, line in enumerate(lines, start=1) if line.strip("\ufeff \t\r\n"))


def score(
    cases: Sequence[Case],
    rules: Sequence[Rule],
    second_opinion: Callable[[Evidence, Diagnosis], Diagnosis] = lambda _evidence, ruled: ruled,
) -> Score:
    """Apply `rules` to every case and count. second_opinion: what is made of what they say, by a model perhaps."""
    seen = [(case, evidence(case, case.log)) for case in cases]
    given = [(case, second_opinion(shown, match.diagnose(shown, rules))) for case, shown in seen]
    right = [diagnosis.cause in (case.cause, *case.also_accept) for case, diagnosis in given]
    benign = [case.cause is Cause.BENIGN_NOISE for case in cases]
    return Score(
        correct=sum(right),
        total=len(cases),
        false_alarms=sum(
            calm and not fair and diagnosis.cause is not Cause.INCONCLUSIVE
            for calm, fair, (_, diagnosis) in zip(benign, right, given, strict=True)
        ),
        benign=sum(benign),
        classes=tuple(
            ClassScore(cause=cause, correct=sum(of_cause), total=len(of_cause))
            for cause in Cause
            if (of_cause := [fair for fair, case in zip(right, cases, strict=True) if case.cause is cause])
        ),
        misses=tuple(_miss(case, diagnosis) for fair, (case, diagnosis) in zip(right, given, strict=True) if not fair),
    )


def _miss(case: Case, diagnosis: Diagnosis) -> Miss:
    return Miss(
        id=case.id,
        expected=case.cause,
        given=diagnosis.cause,
        said_by=diagnosis.said_by,
        line=diagnosis.lines[0].text if diagnosis.lines else "",
    )


def _case(number: int, line: str) -> Case:
    try:
        fields = json.loads(line.strip("\ufeff \t\r\n"))
    except ValueError as exc:
        raise ValueError(f"line {number}: not JSON: {exc}") from exc
    if not isinstance(fields, dict):
        raise ValueError(f"line {number}: not a JSON object")  # noqa: TRY004 - read_cases promises one kind of error
    try:
        return Case(
            id=str(fields.get("id", f"line-{number}")),
            service=str(fields.get("service") or "service"),
            log=_wanted(fields, "log", str),
            exit_code=_wanted(fields, "exit_code", int) if fields.get("exit_code") is not None else None,
            oom_killed=_wanted(fields, "oom_killed", bool) if fields.get("oom_killed") is not None else None,
            cause=_cause("class", _wanted(fields, "class", str)),
            also_accept=tuple(_cause("also_accept", name) for name in fields.get("also_accept") or ()),
        )
    except (TypeError, ValueError) as exc:
        raise ValueError(f"line {number}: {exc}") from exc


def _wanted(fields: Mapping[str, object], key: str, kind: type[T]) -> T:
    if key not in fields:
        raise ValueError(f"`{key}` is missing")
    value = fields[key]
    # JSON's true is an int to Python, and no exit code.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"`{key}` must be {_KINDS[kind]}, not {value!r:.40}")
    return value


def _cause(key: str, name: object) -> Cause:
    try:
        return Cause(name)
    except ValueError:
        raise ValueError(f"`{key}`: {name!r:.40} is none of {', '.join(cause.value for cause in Cause)}") from None


def evidence(case: Case, log: str) -> Evidence:
    """Return the evidence that a labelled case amounts to, with `log` as its log: no plane was looked at."""
    cut = log_cut.cut(log_cut.readable(log.encode(errors="replace")))
    known = case.exit_code is not None or case.oom_killed is not None
    container = ContainerFacts(
        name=case.service, id="", state=ContainerState.EXITED, exit_code=case.exit_code, oom_killed=case.oom_killed
    )
    return Evidence(
        incident=IncidentId("scored"),
        at=_THEN,
        verdict=Verdict(service=ServiceName(case.service), health=Health.UNKNOWN, at=_THEN, judgements=()),
        container=container if known else None,
        log=tuple(LogLine(id=f"L{number}", text=text) for number, text in enumerate(cut.lines, start=1)),
        log_note=cut.note,
        events=(),
        changes=(),
    )
