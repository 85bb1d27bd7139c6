"""`medic shadow` as a person types it."""

import json

from agent.cli import options
from tests.unit.cli.test_silence import Medic, medic

__all__ = ["medic"]  # fixture


def test_where_nothing_was_held_back_it_says_how_to_begin(medic: Medic) -> None:
    code, out, _ = medic("shadow")
    assert (code, "`mode: observe` lets Medic only watch" in out) == (options.WELL, True)
    assert json.loads(medic("shadow", "--json")[1])["lines"] == []
