"""The contract of the hosts on their way out: the memory twin, SQLite and Postgres alike."""

from collections.abc import Sequence
from dataclasses import replace

from agent.model import Departure, DepartureStage, IncidentId, Refusal, RefusalCode
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


def test_a_host_is_given_up_once_beside_all_that_left_before_it(store: Store) -> None:
    store.departures.change("i-0", lambda _known: replace(GOING, instance="i-0", stage=DepartureStage.OVER))
    seen: list[tuple[str, ...]] = []

    def why_not(rows: Sequence[Departure]) -> None:
        seen.append(tuple(each.instance for each in rows))

    assert store.departures.give_up(GOING, why_not) == (GOING, None)
    assert store.departures.give_up(replace(GOING, why="again"), why_not) == (GOING, None)
    assert seen == [("i-0",)]
    assert [each.instance for each in store.departures.latest()] == ["i-0", "i-1"]
    assert [each.instance for each in store.departures.latest(limit=1)] == ["i-1"]


def test_an_objection_leaves_a_host_where_it_is(store: Store) -> None:
    at_risk = replace(GOING, stage=DepartureStage.AT_RISK, why="rebalance")
    store.departures.change("i-1", lambda _known: at_risk)
    no = Refusal(code=RefusalCode.LAST_HOST, because="it is the last")

    assert store.departures.give_up(replace(GOING, why="replace-host"), lambda _rows: no) == (at_risk, no)
    assert store.departures.standing() == (at_risk,)
    given_up, refusal = store.departures.give_up(replace(GOING, why="replace-host"), lambda _rows: None)
    assert (given_up.why, given_up.stage, refusal) == ("rebalance, replace-host", DepartureStage.DOOMED, None)


def test_of_hosts_given_up_at_once_each_sees_those_before_it(store: Store) -> None:
    def only_two(rows: Sequence[Departure]) -> Refusal | None:
        return Refusal(code=RefusalCode.REPLACEMENT_LOOP, because="enough") if len(rows) >= 2 else None

    answers = at_once(
        *[lambda n=n: store.departures.give_up(replace(GOING, instance=f"i-{n}"), only_two) for n in range(4)]  # type: ignore[misc]
    )

    assert sum(refusal is None for _, refusal in answers) == 2
    assert len(store.departures.standing()) == 2
