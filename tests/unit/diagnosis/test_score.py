"""Counting is right, and on labelled public logs (when they are at hand) the rules are."""

import json
from pathlib import Path

import pytest

from agent import rule_file
from agent.diagnosis import score
from agent.model import Cause, Rule

ROOT = Path(__file__).parents[3]
LABELLED = ROOT.parent / "shared" / "data" / "logs-dev.jsonl"
DISK = Rule(id="disk", cause=Cause.DISK_FULL, order=1, summary="s", advice="a", log=("no space",))


def line(name: str, log: str, cause: str, *also: str) -> str:
    return json.dumps(
        {
            "id": name,
            "service": "s",
            "log": log,
            "exit_code": None,
            "oom_killed": None,
            "class": cause,
            "also_accept": list(also),
        }
    )


def test_right_wrong_and_false_alarms_are_counted() -> None:
    cases = score.read_cases(
        [
            line("a", "no space", "disk_full"),
            line("b", "no space", "resource_limit", "disk_full"),
            line("c", "no space", "auth_failure"),
            line("d", "no space", "benign_noise"),
            line("e", "quiet", "benign_noise"),
        ]
    )

    counted = score.score(cases, (DISK,))

    assert (counted.correct, counted.total) == (2, 5)
    assert (counted.false_alarms, counted.benign) == (1, 2)
    assert [(miss.id, miss.given, miss.said_by) for miss in counted.misses] == [
        ("c", Cause.DISK_FULL, "rule:disk"),
        ("d", Cause.DISK_FULL, "rule:disk"),
        ("e", Cause.INCONCLUSIVE, "none"),
    ]
    assert score.ClassScore(cause=Cause.BENIGN_NOISE, correct=0, total=2) in counted.classes


@pytest.mark.parametrize("text", ["{", "[]", '{"id": "a"}', line("a", "x", "no_such_class")])
def test_a_malformed_case_is_named_by_its_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"cannot read case on line 2"):
        score.read_cases([line("a", "x", "disk_full"), text])


@pytest.mark.skipif(not LABELLED.exists(), reason=f"the labelled public logs are not at {LABELLED}")
def test_the_shipped_rules_are_right_on_labelled_public_logs() -> None:
    with LABELLED.open(encoding="utf-8") as lines:
        counted = score.score(score.read_cases(lines), rule_file.load_rules(ROOT / "agent" / "rules"))

    assert counted.false_alarms == 0
    assert counted.correct >= 0.85 * counted.total, counted.misses
