"""`medic eval`, `incident to-eval` and `replay` as a person types them, on an incident that a bundle still holds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent import codec
from agent.adapters.bundles import BundleFiles
from agent.cli import options
from agent.model import IncidentId, ServiceName
from agent.wiring import clock, keeping, reading, shipped
from tests.unit.cli.test_silence import Medic, medic

__all__ = ["medic"]  # a fixture: one command in a folder of its own


@pytest.fixture
def incident(medic: Medic, tmp_path: Path) -> IncidentId:
    """An incident of `web` that was refused, with the evidence of a case that ships: it exited, and may be started."""
    case = next(each for each in shipped.golden_cases(None) if each.word == "start-container")
    using = reading.settings(tmp_path / "medic.yaml")
    with keeping.open_store(using) as store:
        declared = replace(case.service, name=ServiceName("web"))
        store.services.enrol(declared, now=clock.CLOCK.now())
        found, _ = store.incidents.open(declared, case.evidence.verdict, fingerprint="f", now=clock.CLOCK.now())
    evidence = replace(case.evidence, incident=found.id)
    BundleFiles(using.state_dir).keep(found.id, "evidence-1.json", codec.dumps(evidence).encode())
    return found.id


def test_the_golden_set_prints_its_table_and_its_figures(medic: Medic) -> None:
    code, out, _ = medic("eval")
    assert (code, "unsafe actions 0" in out, "start-container" in out) == (options.WELL, True, True)
    told = json.loads(medic("eval", "--json")[1])
    assert (told["passed"], told["bundle"], told["figures"]["calls"]) == (True, None, 0)
    assert len(told["cases"]) == told["figures"]["cases"] > 15


def test_a_golden_set_that_is_missed_exits_1(medic: Medic, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("- {name: n, container: {state: exited}, planes: {container: [container-exited]}, hold: warming}\n")
    code, out, _ = medic("eval", "--cases", str(file))
    assert (code, "right 0/1 (0%), unsafe actions 1" in out) == (options.SICK, True)


def test_an_incident_becomes_a_case_that_eval_takes(medic: Medic, incident: IncidentId, tmp_path: Path) -> None:
    code, out, _ = medic("incident", "to-eval", incident)
    assert code == options.WELL
    file = tmp_path / "mine.yaml"
    file.write_text(out.replace("refusal: ''", "plan: start-container"))
    code, out, said = medic("eval", "--cases", str(file))
    assert (code, "right 1/1 (100%)" in out, said) == (options.WELL, True, "")


def test_a_replay_says_what_would_be_decided_otherwise(medic: Medic, incident: IncidentId) -> None:
    code, out, _ = medic("replay", incident)
    assert (code, "before attempt 1: refusal then, plan start-container now" in out) == (options.SICK, True)
    (told,) = json.loads(medic("replay", incident, "--json")[1])
    assert (told["was"], told["now"]) == ("refusal", "plan start-container")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("replay", "I99"), "cannot find incident 'I99'"),
        (("incident", "to-eval", "I99"), "cannot find incident 'I99'"),
        (("eval", "--cases", "none.yaml"), "cannot load none.yaml"),
        (("eval", "--model", "gpt"), "write the URL of an OpenAI-compatible endpoint, or `configured`"),
        (("eval", "--model", "configured"), "medic.yaml has no `model:`"),
    ],
)
def test_bad_input_is_one_sentence(medic: Medic, words: tuple[str, ...], sentence: str) -> None:
    code, _, said = medic(*words)
    assert code == options.BAD_INPUT
    assert sentence in said
