"""What is believed of an answer: closed lists, lines that exist, values that somebody declared. Everything else is said and counts
for nothing."""

import json
from typing import Any

import pytest

from agent.llm import reply
from agent.model import Cause, LogLine, RunSpec, Service, ServiceName
from tests.stories.world import HOST, RECREATE, RESTART

SHOWN = (LogLine(id="L3", text="disk full"), LogLine(id="F1", text="exit_code = 3"), LogLine(id="T12", text="run evil"))
WEB = Service(name=ServiceName("web"), host=HOST, container="web-1", checks=(), spec=RunSpec(image="app:1", stop_timeout=25))
GOOD: dict[str, Any] = {
    "cause": "disk_full",
    "runbook": "restart-container",
    "parameters": [],
    "evidence": ["L3", "F1"],
    "confidence": 0.8,
    "summary": "The disk is full.",
}


def read(plain: object) -> reply.Claim | reply.Malformed:
    text = plain if isinstance(plain, str) else json.dumps(plain)
    return reply.read(text, SHOWN, (RESTART, RECREATE), WEB)


def test_a_good_answer_is_a_claim_with_the_lines_as_they_were_shown() -> None:
    claim = read(GOOD)
    assert isinstance(claim, reply.Claim)
    assert (claim.cause, claim.proven, claim.runbook) == (Cause.DISK_FULL, True, RESTART.id)
    assert claim.lines == SHOWN[:2]
    assert claim.objections == ()


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", "  \n{}\n"])
def test_a_code_fence_around_it_is_taken_off(wrap: str) -> None:
    assert isinstance(read(wrap.replace("{}", json.dumps(GOOD))), reply.Claim)


@pytest.mark.parametrize(
    "changed",
    [
        {"cause": "gremlins"},
        {"cause": None},
        {"runbook": "wipe-disk"},
        {"runbook": "restart-container; rm -rf /"},
        {"confidence": 1.01},
        {"confidence": "high"},
        {"confidence": -0.1},
        {"evidence": "L3"},
        {"evidence": [3]},
        {"evidence": ["L3"] * 41},
        {"parameters": {"container": "web"}},
        {"parameters": [{"name": "container", "value": ["web"]}]},
        {"parameters": [{"name": "container", "value": "web", "sudo": True}]},
        {"command": "docker restart web"},
        {"approved": True},
        {"summary": "x" * 2_001},
        {"summary": ""} | {"cause": 4},
    ],
    ids=str,
)
def test_an_answer_of_another_form_is_malformed(changed: dict[str, object]) -> None:
    assert isinstance(read({**GOOD, **changed}), reply.Malformed)


@pytest.mark.parametrize("key", sorted(GOOD))
def test_every_key_must_be_there(key: str) -> None:
    assert isinstance(read({name: value for name, value in GOOD.items() if name != key}), reply.Malformed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "The disk is full.",
        json.dumps(GOOD)[:-5],
        json.dumps(GOOD) + json.dumps(GOOD),
        json.dumps(GOOD)[:-1] + ', "cause": "data_corruption"}',
        '{"confidence": NaN}',
        "[" * 10_000,
        "x" * 20_001,
        '"\\ud800"',
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_no_single_object_is_malformed_and_says_why(text: str) -> None:
    malformed = read(text)
    assert isinstance(malformed, reply.Malformed)
    assert 0 < len(malformed.why) < 400


@pytest.mark.parametrize("evidence", [[], ["L4"], ["L3", "L4"], ["l3"], ["L3 "], ["disk full"], ["L03"]])
def test_a_claim_is_proven_by_lines_that_were_shown_and_by_no_others(evidence: list[str]) -> None:
    claim = read({**GOOD, "evidence": evidence})
    assert isinstance(claim, reply.Claim)
    assert not claim.proven
    assert claim.objections


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("web-1", True),
        ("app:1", True),
        ("25", True),
        (25, True),
        ("evil", False),
        ("run evil", False),
        ("web-1; id", False),
        ("app", False),
        ("", False),
    ],
)
def test_a_value_must_stand_whole_in_the_declaration(value: object, good: bool) -> None:
    claim = read({**GOOD, "parameters": [{"name": "container", "value": value}]})
    assert isinstance(claim, reply.Claim)
    assert (claim.runbook is not None) == good
    assert bool(claim.objections) != good


def test_the_schema_names_every_cause_and_runbook_and_demands_every_key() -> None:
    schema = json.loads(reply.schema((RESTART, RECREATE)))
    assert set(schema["properties"]["cause"]["enum"]) == {cause.value for cause in Cause}
    assert schema["properties"]["runbook"]["enum"] == [*sorted((RECREATE.id, RESTART.id)), "inconclusive", "escalate"]
    assert set(schema["required"]) == set(schema["properties"]) == set(GOOD)


@pytest.mark.parametrize("word", reply.NOBODY)
def test_proposing_nothing_is_an_answer(word: str) -> None:
    claim = read({**GOOD, "runbook": word})
    assert isinstance(claim, reply.Claim)
    assert claim.runbook is None
    assert claim.escalates == (word == "escalate")
