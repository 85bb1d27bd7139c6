"""Whole dialogues that were recorded are replayed without a provider: what Medic asks, and what it makes of the answers, is as it was.

They were recorded against the scripted provider (`python -m tests.lab.dialogues`), never with a real model. A difference that is
meant is recorded anew; `tests/contracts/test_litellm_model.py` records them again over HTTP and compares.
"""

import difflib
import json
from collections.abc import Callable

import pytest

from tests import recorded
from tests.lab import dialogues
from tests.lab.dialogues import DIALOGUES, FOLDER

ANEW = "if it is meant: python -m tests.lab.dialogues"


def plain(part: object) -> list[str]:
    return json.dumps(part, indent=1, ensure_ascii=False).split("\n")


def apart(was: object, now: object) -> str:
    return "\n".join(difflib.unified_diff(plain(was), plain(now), "recorded", "now", lineterm="", n=2))


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_recorded_dialogue_goes_as_it_went(name: str) -> None:
    head, calls, end = recorded.read(FOLDER / f"{name}.jsonl")
    assert head == {"why": DIALOGUES[name].why, "recorded": dialogues.RECORDED}
    model = recorded.Replayed(calls)
    with dialogues.told(DIALOGUES[name], model) as at:
        assert model.wrong is None, f"Medic asks otherwise; {ANEW}\n{apart(model.wrong[1], model.wrong[0])}"
        now = json.loads(json.dumps(recorded.ended(at)))
        assert now == end, f"it ends otherwise; {ANEW}\n{apart(end, now)}"
    assert model.at == len(calls), "every call that was recorded is made"


def test_no_recording_is_left_behind() -> None:
    assert {file.stem for file in FOLDER.glob("*.jsonl")} == set(DIALOGUES)


def test_they_hold_every_way_in_which_a_dialogue_ends() -> None:
    ends = [recorded.read(FOLDER / f"{name}.jsonl")[2] for name in DIALOGUES]
    noted = "\n".join(note for end in ends for note in end["noted"])
    for limit in (
        "asks again",
        "back and forth",
        "nothing new",
        "500 tools at once",
        "went to this incident",
        "no call is left",
    ):
        assert limit in noted, limit
    assert {end["state"] for end in ends} == {"held", "escalated"}
    assert not any(end["ran"] for end in ends), "no dialogue makes Medic act by itself"


@pytest.mark.parametrize(
    "changed",
    [
        lambda call: {**call, "asked": {**call["asked"], "model": "another"}},
        lambda call: {**call, "asked": {**call["asked"], "tools": []}},
        lambda call: {**call, "asked": {**call["asked"], "said": call["asked"]["said"][:-1]}},
    ],
    ids=["the model", "the tools", "what is said"],
)
def test_a_replay_sees_a_change_of_what_is_asked(changed: Callable[[recorded.JSON], recorded.JSON]) -> None:
    _, calls, _ = recorded.read(FOLDER / "explained.jsonl")
    model = recorded.Replayed((calls[0], changed(calls[1]), *calls[2:]))
    with dialogues.told(DIALOGUES["explained"], model):
        assert model.wrong is not None
        assert model.wrong[0] == calls[1]["asked"]
