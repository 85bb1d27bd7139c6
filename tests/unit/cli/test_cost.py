"""`medic cost` as a person types it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli import options
from agent.wiring import clock, keeping, reading
from tests.unit.cli.test_silence import Medic, medic
from tests.unit.test_spending import CALL

__all__ = ["medic"]  # a fixture: one command in a folder of its own


def spend(folder: Path) -> None:
    with keeping.open_store(reading.settings(folder / "medic.yaml")) as store:
        store.spending.reserve(replace(CALL, at=clock.CLOCK.now()), CALL.at, lambda _: None)


def test_nothing_spent_is_said(medic: Medic) -> None:
    assert medic("cost") == (options.WELL, "nothing was spent within 30 days\n", "")


@pytest.mark.parametrize("by", ["day", "incident", "model"])
def test_what_was_spent_is_shown_with_its_total(medic: Medic, tmp_path: Path, by: str) -> None:
    spend(tmp_path)
    code, out, _ = medic("cost", "--by", by)
    assert (code, "total $0.1000 within 30 days" in out, "1,000" in out) == (options.WELL, True, True)
    (line,) = json.loads(medic("cost", "--by", by, "--json")[1])
    assert (line["usd"], line["input_tokens"], line["without_answer"]) == ("0.10", 1_000, 0)


def test_another_word_is_refused_with_those_there_are(medic: Medic) -> None:
    code, _, said = medic("cost", "--by", "weekday")
    assert (code, "there are incident, day, model" in said) == (options.BAD_INPUT, True)
