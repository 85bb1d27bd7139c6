"""The contract of the hosts on their way out: the memory twin, SQLite and Postgres alike."""

from dataclasses import replace

from agent.model import Departure, DepartureStage, IncidentId
from agent.ports import Store
from tests.contracts.test_store import SECOND, START, at_once, connect, store

__all__ = ["connect", "store"]  # fixtures: the same stores as the whole contract

GOING = Departure(
    instance="i-1",
    host="i-1",
    group="g",
    stage=DepartureStage.DOOMED,
    why="interruption",
    heard_at=START,
    deadline=START + SECOND,
)


def test_what_is_heard_is_one_row_and_comes_back_as_it_was(store: Store) -> None:
    assert store.departures.change("i-1", lambda known: known or GOING) == (GOING, True)
    assert store.departures.change("i-1", lambda known: known or replace(GOING, why="late")) == (GOING, False)
    assert store.departures.standing() == (GOING,)


def test_an_answer_of_none_changes_nothing(store: Store) -> None:
    assert store.departures.change("i-1", lambda _known: None) == (None, False)
    store.departures.change("i-1", lambda _known: GOING)
    assert store.departures.change("i-1", lambda _known: None) == (GOING, False)


def test_it_is_found_by_its_incident_and_gone_once_it_is_over(store: Store) -> None:
    store.departures.change("i-1", lambda _known: GOING)
    store.departures.change("i-2", lambda _known: replace(GOING, instance="i-2", heard_at=START - SECOND))
    store.departures.change("i-1", lambda known: known and replace(known, incident=IncidentId("I7")))

    found = store.departures.of(IncidentId("I7"))
    assert found is not None
    assert found.instance == "i-1"
    assert store.departures.of(IncidentId("I8")) is None
    assert [each.instance for each in store.departures.standing()] == ["i-2", "i-1"]
    store.departures.change("i-1", lambda known: known and replace(known, stage=DepartureStage.OVER))
    assert [each.instance for each in store.departures.standing()] == ["i-2"]


def test_many_who_hear_of_it_at_once_leave_one_row(store: Store) -> None:
    answers = at_once(*[lambda: store.departures.change("i-1", lambda known: known or GOING)] * 8)

    assert sorted(changed for _, changed in answers) == [False] * 7 + [True]
