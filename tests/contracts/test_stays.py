"""The contract of who was in the fleet: the memory twin, SQLite and Postgres alike."""

from dataclasses import replace

from agent.model import Stay
from agent.ports import Store
from tests.contracts.test_store import SECOND, START, at_once, connect, store

__all__ = ["connect", "store"]  # fixtures: the same stores as the whole contract

STAY = Stay(instance="i-1", group="g", kind="g5.xlarge", zone="us-east-1a", spot=True, began_at=START, seen_at=START + SECOND)


def test_who_was_there_comes_back_as_it_was(store: Store) -> None:
    store.stays.note([STAY, replace(STAY, instance="i-2", began_at=START - SECOND)])

    assert [each.instance for each in store.stays.since(START)] == ["i-2", "i-1"]
    assert store.stays.since(START)[1] == STAY


def test_a_host_that_is_seen_again_is_one_row_that_only_lengthens(store: Store) -> None:
    store.stays.note([STAY])
    store.stays.note([replace(STAY, began_at=START + SECOND, seen_at=START + 9 * SECOND)])
    store.stays.note([replace(STAY, seen_at=START)])

    assert store.stays.since(START) == (replace(STAY, seen_at=START + 9 * SECOND),)


def test_who_was_gone_before_is_left_out(store: Store) -> None:
    store.stays.note([STAY])

    assert store.stays.since(START + SECOND) == (STAY,)
    assert store.stays.since(START + 2 * SECOND) == ()


def test_many_who_note_at_once_leave_one_row(store: Store) -> None:
    at_once(*[lambda: store.stays.note([STAY])] * 8)

    assert store.stays.since(START) == (STAY,)
