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
            line("e", "fatal: odd", "benign_noise"),
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "line 2: not JSON: "),
        ("[]", "line 2: not a JSON object"),
        ('{"id": "a", "class": "disk_full"}', "line 2: `log` is missing"),
        ('{"log": 7, "class": "disk_full"}', "line 2: `log` must be text, not 7"),
        ('{"log": "x", "class": "disk_full", "exit_code": true}', "line 2: `exit_code` must be a number, not True"),
        ('{"log": "x", "class": "disk_full", "oom_killed": "no"}', "line 2: `oom_killed` must be true or false, not 'no'"),
        (line("a", "x", "no_such_class"), "line 2: `class`: 'no_such_class' is none of gpu_out_of_memory, "),
        (line("a", "x", "disk_full", "odd"), "line 2: `also_accept`: 'odd' is none of "),
    ],
)
def test_a_malformed_case_is_named_by_its_line_and_key(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="line 2") as refused:
        score.read_cases([line("a", "x", "disk_full"), text])
    assert str(refused.value).startswith(says)


def test_odd_lines_are_read() -> None:
    odd = [
        '\ufeff{"log": "no space", "class": "disk_full", "note": "a key of somebody else"}\r\n',
        "\r\n",
        '{"log": "", "class": "benign_noise", "service": null, "exit_code": null, "also_accept": null}\n',
        '{"id": 7, "log": "a\\ud800b", "class": "disk_full"}',
    ]
    cases = score.read_cases(odd)
    assert [(case.id, case.service) for case in cases] == [("line-1", "service"), ("line-3", "service"), ("7", "service")]
    assert score.score(cases, (DISK,)).total == 3


def test_cases_of_one_id_are_counted_each() -> None:
    cases = score.read_cases([line("a", "no space", "disk_full"), line("a", "no space", "auth_failure")])
    counted = score.score(cases, (DISK,))
    assert (counted.correct, counted.total, len(counted.misses)) == (1, 2, 1)
    assert counted.misses[0].line == "no space"


@pytest.mark.skipif(not LABELLED.exists(), reason=f"the labelled public logs are not at {LABELLED}")
def test_the_shipped_rules_are_right_on_labelled_public_logs() -> None:
    with LABELLED.open(encoding="utf-8") as lines:
        counted = score.score(score.read_cases(lines), rule_file.load_rules(ROOT / "agent" / "rules"))

    assert counted.false_alarms == 0
    assert counted.correct >= 0.85 * counted.total, counted.misses
