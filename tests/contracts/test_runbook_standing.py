"""The contract of what runbooks have shown, and of what an attempt made worse: the memory twin, SQLite and Postgres alike."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.errors import StoreError
from agent.model import Harm, IncidentId, RunbookMark, RunbookMarkKind, Tie
from agent.ports import Store
from tests.contracts.test_store import RESTART, RUN, SECOND, SICK, START, WEB, WELL, at_once, connect, opened, store

__all__ = ["connect", "store"]  # fixtures: the same stores as the whole contract

VAIN = RunbookMark(
    runbook=RESTART.runbook,
    hash="ab12",
    kind=RunbookMarkKind.INEFFECTIVE,
    at=START,
    service=WEB.name,
    because="it did not help in I1-1",
    key="I1-1 ineffective",
)
TIE = Tie(service=SICK.service, strong=True, why="it depends on web", names=("web", "10.0.0.2"))
HARM = Harm(at=START, patient=("page: connection refused",), neighbours=(SICK,), ties=(TIE,))


def test_marks_come_back_in_the_order_they_were_written(store: Store) -> None:
    passed = replace(VAIN, kind=RunbookMarkKind.PASSED, at=START - SECOND, service=None, key="passed")
    other = replace(VAIN, hash="cd34", key="I2-1 ineffective")
    for mark in (VAIN, other, passed):
        store.runbook_standing.note(mark)
    assert store.runbook_standing.marks(["ab12"]) == (VAIN, passed)
    assert store.runbook_standing.marks(["ab12", "cd34"]) == (VAIN, other, passed)
    assert store.runbook_standing.marks([]) == ()


def test_a_mark_is_kept_once_and_the_first_stands(connect: Callable[[], Store]) -> None:
    one, two = connect(), connect()
    at_once(*[lambda s=s: s.runbook_standing.note(VAIN) for s in (one, two) * 2])
    one.runbook_standing.note(replace(VAIN, kind=RunbookMarkKind.HARMFUL))
    assert two.runbook_standing.marks(["ab12"]) == (VAIN,)


def test_the_first_writer_of_harm_and_of_what_came_after_it_wins(store: Store) -> None:
    incident = opened(store)
    store.attempts.begin(incident, 1, RESTART, now=START)
    for around, harm, seen in (((WELL,), HARM, (SICK, WELL)), ((SICK,), replace(HARM, patient=()), (WELL,))):
        store.attempts.looked_around(incident, 1, around, (TIE,))
        store.attempts.harmed(incident, 1, harm)
        store.attempts.undone(incident, 1, RUN, now=START)
        store.attempts.undo_seen(incident, 1, seen)
    found = store.incidents.get(incident)
    assert found is not None
    (attempt,) = found.attempts
    assert (attempt.around, attempt.ties, attempt.harm, attempt.undo_seen) == ((WELL,), (TIE,), HARM, (SICK, WELL))


def test_every_start_of_an_undo_is_counted(store: Store) -> None:
    incident = opened(store)
    store.attempts.begin(incident, 1, RESTART, now=START)
    assert [store.attempts.undo_started(incident, 1, place="here") for _ in range(3)] == [1, 2, 3]
    found = store.incidents.get(incident)
    assert found is not None
    assert found.attempts[0].runs == 0, "an undo is no start of its attempt"


def test_nobody_around_is_an_answer_too(store: Store) -> None:
    incident = opened(store)
    store.attempts.begin(incident, 1, RESTART, now=START)
    store.attempts.looked_around(incident, 1, (), ())
    found = store.incidents.get(incident)
    assert found is not None
    assert found.attempts[0].around == ()


@pytest.mark.parametrize(
    "write",
    [
        lambda store, incident: store.attempts.looked_around(incident, 1, (WELL,), (TIE,)),
        lambda store, incident: store.attempts.harmed(incident, 1, HARM),
        lambda store, incident: store.attempts.undo_started(incident, 1, place="here"),
        lambda store, incident: store.attempts.undo_seen(incident, 1, (WELL,)),
    ],
)
def test_harm_needs_an_attempt(store: Store, write: Callable[[Store, IncidentId], object]) -> None:
    incident = opened(store)
    with pytest.raises(StoreError, match="it was never begun"):
        write(store, incident)
