"""Logs of real servers that were broken for real (`python -m tests.lab.logs` makes them), and written ones of software that
has no package here: the score of each file may not fall, a healthy life is never called sick, and each rule is tried.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from agent import rule_file
from agent.diagnosis import match, score
from agent.model import Cause, Diagnosis, Evidence
from tests.cases import test_diagnosis

LOGS = Path(__file__).parent / "diagnosis" / "logs"
FILES = sorted(LOGS.glob("*.jsonl"))
RULES = rule_file.load_rules(Path(__file__).parents[2] / "agent" / "rules")
FLOOR = 0.9
"""Of the cases of one file; what is missed says so in docs/causes.md."""


@cache
def read(file: Path) -> tuple[score.Case, ...]:
    with file.open(encoding="utf-8") as lines:
        return score.read_cases(lines)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_real_logs_are_told_right_and_healthy_ones_never_called_sick(file: Path) -> None:
    counted = score.score(read(file), RULES)
    assert counted.false_alarms == 0, counted.misses
    assert counted.correct >= FLOOR * counted.total, counted.misses


def test_there_are_healthy_lives_enough_to_tell() -> None:
    assert sum(case.cause is Cause.BENIGN_NOISE for file in FILES for case in read(file)) >= 40


def test_each_rule_speaks_in_two_cases_and_holds_its_tongue_in_one_that_reads_alike() -> None:
    spoke: Counter[str] = Counter()
    silent: Counter[str] = Counter()
    for evidence in _every_evidence():
        said = match.diagnose(evidence, RULES)
        text = "\n".join(line.text for line in evidence.log).lower()
        for rule in RULES:
            if said.said_by == f"rule:{rule.id}" or _explains(rule.cause, rule.log, said, evidence):
                spoke[rule.id] += 1
            elif not silent[rule.id] and (not rule.log or any(match.needle(pattern) in text for pattern in rule.log)):
                silent[rule.id] += 1
        if all(spoke[rule.id] >= 2 and silent[rule.id] for rule in RULES):
            break  # the rest of the cases can only say more of the same
    assert [rule.id for rule in RULES if spoke[rule.id] < 2] == []
    assert [rule.id for rule in RULES if silent[rule.id] < 1] == []


def _explains(cause: Cause, patterns: tuple[str, ...], said: Diagnosis, evidence: Evidence) -> bool:
    """Tell whether a rule about noise took part: several may explain the lines of one calm log, and one of them is named."""
    if cause is not Cause.BENIGN_NOISE or said.cause is not cause:
        return False
    return any(match.fits(patterns, line.text) for line in evidence.log)


def _every_evidence() -> Iterator[Evidence]:
    yield from (test_diagnosis.evidence(case.told) for case in test_diagnosis.read())
    yield from (score.evidence(case, case.log) for file in FILES for case in read(file))
