"""The contract of the ledger of spending: the memory twin, SQLite and Postgres alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from agent.model import IncidentId, Spending, SpendingKind, StopReason, Usage
from agent.ports import Store
from tests.contracts.test_store import SECOND, START, at_once, connect, store

__all__ = ["connect", "store"]  # fixtures: the same stores as the whole contract

CALL = Spending(
    key="I1 call 1",
    kind=SpendingKind.MODEL,
    what="openai/small",
    at=START,
    amount=Decimal("0.0300"),
    incident=IncidentId("I1"),
)
BILLED = replace(
    CALL,
    amount=Decimal("0.0021"),
    billed=True,
    usage=Usage(input_tokens=900, output_tokens=80, estimated=False),
    stop=StopReason.END,
    took=timedelta(seconds=1.5),
)


def room(_spent: Sequence[Spending]) -> None:
    return None


def test_what_is_reserved_and_settled_comes_back_as_it_was(store: Store) -> None:
    assert store.spending.reserve(CALL, START, room) is None
    assert store.spending.of(IncidentId("I1")) == (CALL,)
    assert store.spending.bill(BILLED)
    assert store.spending.since(START) == (BILLED,)


def test_the_first_bill_stands(store: Store) -> None:
    store.spending.reserve(CALL, START, room)
    assert store.spending.bill(BILLED)
    assert not store.spending.bill(replace(BILLED, amount=Decimal(9)))
    assert store.spending.of(IncidentId("I1")) == (BILLED,)


def test_nothing_is_settled_that_was_never_reserved(store: Store) -> None:
    assert not store.spending.bill(BILLED)
    assert store.spending.since(START) == ()


def test_the_same_key_is_reserved_once(store: Store) -> None:
    store.spending.reserve(CALL, START, room)
    assert store.spending.reserve(replace(CALL, amount=Decimal(7)), START, lambda _: "never asked") is None
    assert store.spending.since(START) == (CALL,)


def test_an_objection_comes_back_and_nothing_is_written(store: Store) -> None:
    assert store.spending.reserve(CALL, START, lambda _: "the day's money is spent") == "the day's money is spent"
    assert store.spending.since(START) == ()


def test_only_what_is_inside_the_window_is_counted_oldest_first(store: Store) -> None:
    late, later = replace(CALL, key="b", at=START + 2 * SECOND), replace(CALL, key="c", at=START + 3 * SECOND, incident=None)
    seen: list[tuple[Spending, ...]] = []
    for each in (later, CALL, late):
        store.spending.reserve(each, START + SECOND, lambda spent: seen.append(tuple(spent)))
    assert seen == [(), (later,), (later,)]
    assert store.spending.since(START + SECOND) == (late, later)
    assert store.spending.of(IncidentId("I1")) == (CALL, late)


def test_two_processes_never_spend_the_last_of_it_twice(connect: Callable[[], Store]) -> None:
    stores = [connect(), connect()]

    def one_only(spent: Sequence[Spending]) -> str | None:
        return "spent" if spent else None

    calls = [
        lambda key=key, s=s: s.spending.reserve(replace(CALL, key=key), START, one_only)
        for key, s in (("a", stores[0]), ("b", stores[1]), ("c", stores[0]), ("d", stores[1]))
    ]
    answers = at_once(*calls)
    assert sorted(answer or "" for answer in answers) == ["", "spent", "spent", "spent"]
    assert len(stores[0].spending.since(START)) == 1
