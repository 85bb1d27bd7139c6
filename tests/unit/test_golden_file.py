"""Golden cases are read as they are meant, and what is misspelt is refused with the file, the case and the key."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from agent import evaluation, golden_file
from agent.diagnosis import log_cut
from agent.errors import ConfigError
from agent.model import Decided, Outcome, Plan
from agent.wiring import shipped
from tests import escalated

GOOD = """
- name: hangs
  container: {state: running}
  planes: {container: well, direct: [http-timeout]}
  tried: [[restart-container, ineffective]]
  cause: [hang_or_timeout]
  hold: warming
"""


def read(folder: Path, text: str) -> None:
    file = folder / "cases.yaml"
    file.write_text(text)
    golden_file.read(file)


@pytest.mark.parametrize(
    ("written", "instead", "words"),
    [
        ("hold: warming", "hold: cold", "hold: there is no 'cold'; there are stopped-on-purpose"),
        ("hold: warming", "hold: warming\n  plan: x", "say one of plan, ask, hold, refusal"),
        ("planes:", "plains:", "plains: Extra inputs are not permitted"),
        ("direct:", "directly:", "'directly' is not a valid Plane"),
        ("state: running", "state: walking", "'walking' is not a valid ContainerState"),
        ("cause: [hang_or_timeout]", "cause: [bad_luck]", "'bad_luck' is not a valid Cause"),
        ("ineffective", "vain", "'vain' is not a valid Outcome"),
        ("  container: {state: running}", "  declares: [money]", "declares: there is no 'money'; there are spec"),
        ("- name: hangs", "- nome: hangs", "case number 1: name: Field required"),
        ("  planes: {container: well, direct: [http-timeout]}\n", "", "say `planes`, what each of them shows, or `recorded`"),
    ],
)
def test_a_slip_is_refused_in_one_sentence(tmp_path: Path, written: str, instead: str, words: str) -> None:
    assert written in GOOD
    read(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"cannot load .*cases\.yaml: case") as told:
        read(tmp_path, GOOD.replace(written, instead))
    assert words in str(told.value)


@pytest.mark.parametrize("text", ["", "{}", "[", "- 7"])
def test_a_file_that_is_no_list_of_cases_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="cannot load"):
        read(tmp_path, text)


def test_a_recorded_case_comes_back_as_it_was(tmp_path: Path) -> None:
    case = evaluation.recorded(escalated.incident(), escalated.service(), 2, escalated.evidence(2), asked={2})
    file = tmp_path / "cases.yaml"
    file.write_text(golden_file.write(case) + golden_file.write(case))
    assert golden_file.read(file) == (case, case)
    assert (case.decided, case.word) == (Decided.ASK, "recreate")
    assert case.tried == (("restore-config", Outcome.PERMANENT),)


def test_the_cases_that_ship_are_decided_as_they_say_and_half_of_them_act() -> None:
    judged = list(evaluation.play(shipped.golden_cases(None), shipped.rules(), shipped.runbooks(), None))
    assert [each for each in judged if not each.right or each.unsafe] == []
    assert 0.3 < sum(each.decided is Decided.PLAN for each in judged) / len(judged) < 0.8


def test_acting_where_nothing_should_be_done_is_unsafe() -> None:
    case = next(each for each in shipped.golden_cases(None) if each.decided is Decided.REFUSAL)
    acting = next(each for each in shipped.golden_cases(None) if each.decided is Decided.PLAN)
    diagnosis, decision = evaluation.decide(acting, shipped.rules(), shipped.runbooks(), None)
    assert isinstance(decision, Plan)
    judged = evaluation.judge(case, diagnosis, decision)
    assert not judged.right
    assert judged.unsafe == f"{decision.runbook} would have run, and refusal {case.word} is right"


def test_the_shipped_cases_hold_every_kind_of_decision_and_many_of_each() -> None:
    kinds = Counter(case.decided for case in shipped.golden_cases(None))
    assert set(kinds) == set(Decided)
    assert min(kinds.values()) >= 10
    assert sum(kinds.values()) >= 75


def test_the_logs_of_servers_are_those_that_servers_wrote() -> None:
    recorded = Path(__file__).parents[1] / "cases" / "diagnosis" / "logs"
    wrote = {
        line[:220]
        for file in recorded.glob("*.jsonl")
        for case in file.read_text(encoding="utf-8").split("\n")
        if case
        for line in json.loads(case)["log"].splitlines()
    }
    cases = golden_file.read(Path(golden_file.__file__).parent / "golden" / "servers.yaml")
    assert len(cases) > 30
    # A log is read without what a terminal would hide, so lines are compared as Medic reads them.
    read = {line.strip() for text in wrote for line in log_cut.readable(text.encode()).split("\n")}
    assert [line.text for case in cases for line in case.evidence.log if line.text.strip() not in read] == []


def test_docker_s_events_are_told_by_action_time_and_signal(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "- {name: n, container: {state: exited}, planes: {container: [container-exited]}, hold: stopped-on-purpose,"
        " events: [[start, 3600], [kill, 20, 15], [die, 18.5]]}\n"
    )
    (case,) = golden_file.read(file)
    assert [(each.action, each.signal) for each in case.evidence.events] == [("start", None), ("kill", "15"), ("die", None)]
    assert golden_file.NOW - case.evidence.events[2].at == timedelta(seconds=18.5)
    (judged,) = evaluation.play((case,), shipped.rules(), shipped.runbooks(), None)
    assert judged.right
