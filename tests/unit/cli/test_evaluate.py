"""`medic eval diagnose`: what it prints, and what it makes of bad input."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.main import app

OOM = {
    "id": "a",
    "service": "web",
    "log": "",
    "exit_code": 137,
    "oom_killed": True,
    "class": "host_out_of_memory",
    "also_accept": [],
}
CALM = {"id": "b", "service": "web", "log": "INFO ready", "exit_code": None, "oom_killed": None, "class": "data_corruption"}


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["eval", "diagnose", *words])
    return result.exit_code, result.output


def test_it_counts_what_is_right_and_names_each_miss(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps(OOM) + "\n" + json.dumps(CALM) + "\n")
    code, printed = run("--cases", str(cases))
    assert code == 0
    assert "correct 1/2" in printed
    assert "false alarms 0/0" in printed
    assert "miss b: data_corruption expected" in printed


def test_the_score_is_there_as_json(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text(json.dumps(OOM) + "\n")
    code, printed = run("--cases", str(cases), "--json")
    assert code == 0
    assert json.loads(printed)["correct"] == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "line 1: not JSON"), ('{"id": "a"}', "line 1: `log` is missing"), (None, "No such file")],
)
def test_bad_cases_are_one_sentence_and_exit_2(tmp_path: Path, content: str | None, says: str) -> None:
    cases = tmp_path / "cases.jsonl"
    if content is not None:
        cases.write_text(content)
    code, printed = run("--cases", str(cases))
    assert code == 2
    assert says in printed
