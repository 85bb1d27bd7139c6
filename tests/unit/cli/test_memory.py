"""`medic memory` as a person types it."""

import json

import pytest

from agent.cli import options
from agent.model import IncidentId
from tests.unit.cli.test_replay import incident
from tests.unit.cli.test_silence import Medic, medic

__all__ = ["incident", "medic"]  # fixtures


def test_nothing_remembered_is_said(medic: Medic) -> None:
    assert medic("memory", "list") == (options.WELL, "no incident within 180 days\n", "")


def test_a_trouble_that_came_is_listed_and_shown(medic: Medic, incident: IncidentId) -> None:
    code, out, _ = medic("memory", "list")
    assert (code, incident in out, "none was tried" in out) == (options.WELL, True, True)
    (told,) = json.loads(medic("memory", "list", "--json")[1])
    assert (told["service"], told["times"], told["remedies"]) == ("web", 1, [])
    assert "never diagnosed" in medic("memory", "show", incident)[1]
    assert json.loads(medic("memory", "list", "--service", "db", "--json")[1]) == []


def test_an_incident_that_there_is_not_is_refused(medic: Medic) -> None:
    code, _, said = medic("memory", "show", "I9")
    assert (code, "cannot find incident 'I9' among those of the last 180 days" in said) == (options.BAD_INPUT, True)


def test_a_note_is_kept_shown_and_forgotten(medic: Medic, incident: IncidentId) -> None:
    code, out, _ = medic("memory", "note", incident, "ask the licence\nserver; token=ghp_abcdefghijklmnopqrstuvwxyz0123456789")
    assert (code, out.startswith("note N1 on the trouble of web stands until ")) == (options.WELL, True)
    (note,) = json.loads(medic("memory", "show", incident, "--json")[1])["notes"]
    assert note["text"].startswith("ask the licence server; token=[REDACTED")
    assert "note N1" in medic("memory", "show", incident)[1]
    assert medic("memory", "forget", "N1") == (options.WELL, "note N1 is gone\n", "")
    code, _, said = medic("memory", "forget", "N1")
    assert (code, "cannot forget note N1: those that stand are none" in said) == (options.BAD_INPUT, True)


def test_a_trouble_is_forgotten_with_its_notes_and_its_incidents_stay(medic: Medic, incident: IncidentId) -> None:
    medic("memory", "note", incident, "x")
    code, out, _ = medic("memory", "forget", incident, "--why", "another disk")
    assert (code, "1 notes on it are gone" in out) == (options.WELL, True)
    assert json.loads(medic("memory", "list", "--json")[1]) == []
    assert medic("incident", "show", incident)[0] == options.WELL
    assert medic("audit", "verify")[0] == options.WELL


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("note", "I9", "x"), "cannot find incident 'I9'"),
        (("note", "I1", " \n"), "TEXT must be one line of 1 to 500 characters"),
        (("note", "I1", "y" * 501), "TEXT must be one line of 1 to 500 characters"),
        (("note", "I1", "x", "--for", "soon"), "cannot note that: --for:"),
        (("note", "I1", "x", "--for", "1m"), "must be from 1h to 3660d, not 1m"),
        (("forget", "I9"), "cannot find incident 'I9'"),
        (("forget", "N"), "cannot find incident 'N'"),
        (("forget", "N" + "9" * 40), "cannot find incident"),
        (("forget", "web"), "cannot find incident 'web'"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_nothing_is_lost(
    medic: Medic, incident: IncidentId, words: tuple[str, ...], said: str
) -> None:
    code, _, told = medic("memory", *words)
    assert (code, said in told) == (options.BAD_INPUT, True), told
    assert len(json.loads(medic("memory", "list", "--json")[1])) == 1
