"""An intent and its place in the budgets are one transaction: no two heals, in no two processes, overshoot. Every store alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import pytest

from agent.model import Action, Attempt, Budget, Closing, Hold, HoldCode, IncidentId, ServiceName
from agent.policy import limits
from agent.ports import Room, Store
from tests.contracts.test_store import RESTART, RUN, SECOND, START, WEB, at_once, connect, opened, store

__all__ = ["connect", "store"]  # fixtures: the same stores as the whole contract

HOUR = 3600 * SECOND


def services(number: int) -> list[ServiceName]:
    return [ServiceName(f"web-{each}") for each in range(number)]


def room(budget: Budget) -> Room:
    return Room(since=START - HOUR, none_left=lambda actions: limits.no_room(actions, WEB, budget, START + SECOND))


def reserve(store: Store, incident: IncidentId, within: Room, number: int = 1) -> Attempt | Hold:
    return store.attempts.reserve(incident, number, RESTART, within, now=START)


@pytest.mark.parametrize("budget", [Budget(host_actions=3), Budget(fleet_actions=3), Budget(host_at_once=3)])
def test_heals_that_begin_at_once_do_not_overshoot(connect: Callable[[], Store], budget: Budget) -> None:
    stores = connect(), connect()
    incidents = [opened(stores[0], replace(WEB, name=name)) for name in services(8)]
    found = at_once(*[partial(reserve, stores[i % 2], incident, room(budget)) for i, incident in enumerate(incidents)])
    begun = [each for each in found if isinstance(each, Attempt)]
    assert len(begun) == 3
    assert {each.code for each in found if isinstance(each, Hold)} == {HoldCode.BUDGET_SPENT}
    assert {(a.incident, a.number) for a in stores[0].attempts.actions_since(START)} == {(a.incident, a.number) for a in begun}


def test_a_hold_writes_no_row_and_no_line_of_the_audit(store: Store) -> None:
    other, incident = (opened(store, replace(WEB, name=name)) for name in services(2))
    store.attempts.begin(other, 1, RESTART, now=START)
    before = store.audit.head()
    assert isinstance(reserve(store, incident, room(Budget(host_actions=1))), Hold)
    found = store.incidents.get(incident)
    assert found is not None
    assert found.attempts == ()
    assert store.audit.head() == before


def test_a_row_that_stands_already_needs_no_room(store: Store) -> None:
    incident = opened(store)
    first = reserve(store, incident, room(Budget(host_actions=1)))
    assert reserve(store, incident, room(Budget(host_actions=1))) == first
    assert isinstance(reserve(store, incident, room(Budget(host_actions=1)), number=2), Hold)


def test_an_action_is_under_way_until_its_playbook_or_its_incident_ends(store: Store) -> None:
    names = services(4)
    runs, ran, closed, held = (opened(store, replace(WEB, name=name)) for name in names)
    for incident in (runs, ran, closed, held):
        store.attempts.begin(incident, 1, RESTART, now=START)
    store.attempts.ran(ran, 1, RUN, now=START)
    store.incidents.close(closed, Closing.BY_PERSON, by="ann", now=START)
    hold = Hold(code=HoldCode.HALTED, because="ops", until="`medic resume`", look_again=SECOND)
    store.incidents.hold(held, hold, until=START + SECOND)
    under_way: Sequence[Action] = [action for action in store.attempts.actions_since(START) if action.under_way]
    assert [action.incident for action in under_way] == [runs]
