"""`medic memory` as a person types it."""

import json

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
    assert (code, "cannot find incident 'I9' within 180 days" in said) == (options.BAD_INPUT, True)
