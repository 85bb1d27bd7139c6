"""Counts how often the rules are right on labelled logs. In: cases (JSON lines) and rules. Out: a `Score`.

A case has only a log, perhaps an exit code and OOMKilled, so the class may come from text alone. Two numbers matter: how
many causes are right, and how many healthy logs were called sick (false alarms), which a healer must not have.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent.diagnosis import log_cut, match
from agent.model import (
    Cause,
    ContainerFacts,
    ContainerState,
    Evidence,
    Health,
    IncidentId,
    LogLine,
    Rule,
    ServiceName,
    Verdict,
)

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
    """Return the cases of JSON lines {id, service, log, exit_code, oom_killed, class, also_accept}. Raises ValueError."""
    return tuple(_case(number, line) for number, line in enumerate(lines, start=1) if line.strip())


def score(cases: Sequence[Case], rules: Sequence[Rule]) -> Score:
    """Apply `rules` to every case and count."""
    given = [(case, match.diagnose(_evidence(case), rules)) for case in cases]
    right = {case.id for case, diagnosis in given if diagnosis.cause in (case.cause, *case.also_accept)}
    return Score(
        correct=len(right),
        total=len(cases),
        false_alarms=sum(
            case.cause is Cause.BENIGN_NOISE
            and diagnosis.cause not in (Cause.BENIGN_NOISE, Cause.INCONCLUSIVE, *case.also_accept)
            for case, diagnosis in given
        ),
        benign=sum(case.cause is Cause.BENIGN_NOISE for case in cases),
        classes=tuple(
            ClassScore(
                cause=cause,
                correct=sum(case.id in right for case in cases if case.cause is cause),
                total=sum(case.cause is cause for case in cases),
            )
            for cause in Cause
            if any(case.cause is cause for case in cases)
        ),
        misses=tuple(
            Miss(id=case.id, expected=case.cause, given=diagnosis.cause, said_by=diagnosis.said_by)
            for case, diagnosis in given
            if case.id not in right
        ),
    )


def _case(number: int, line: str) -> Case:
    try:
        fields = json.loads(line)
        return Case(
            id=str(fields["id"]),
            service=str(fields["service"]),
            log=str(fields["log"]),
            exit_code=fields.get("exit_code"),
            oom_killed=fields.get("oom_killed"),
            cause=Cause(fields["class"]),
            also_accept=tuple(Cause(name) for name in fields.get("also_accept", ())),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"cannot read case on line {number}: {exc!r}") from exc


def _evidence(case: Case) -> Evidence:
    """Return the evidence that a labelled log amounts to: no plane was looked at."""
    cut = log_cut.cut(log_cut.readable(case.log.encode()))
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
