"""The gate before and during every change."""

import pytest

from agent.errors import LeaseLost
from agent.gate import Gate
from tests.stories.world import HaltSwitch, Lent


@pytest.mark.parametrize(
    ("halted", "stopping", "taken", "word"),
    [
        (None, False, False, None),
        ("ann: stop", False, False, "halt"),
        ("ann: stop", True, True, "halt"),
        (None, True, True, "stopping"),
        (None, False, True, "lease"),
    ],
)
def test_a_playbook_under_way_is_ended_by_people_by_a_shutdown_and_by_a_lost_lease(
    halted: str | None, stopping: bool, taken: bool, word: str | None
) -> None:
    gate = Gate(kill_switch=HaltSwitch(halted), lease=Lent(taken=taken), stopping=lambda: stopping)
    assert gate.should_stop() == word


def test_who_does_not_lead_does_not_even_ask_whether_it_is_halted() -> None:
    with pytest.raises(LeaseLost):
        Gate(kill_switch=HaltSwitch("ann: stop"), lease=Lent(taken=True), stopping=lambda: False).halted()
