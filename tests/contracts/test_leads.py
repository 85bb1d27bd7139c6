"""The contract of who leads: the memory twin, SQLite and a real Postgres alike. No test waits: a span of nothing is over at once."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.errors import LeaseLost
from agent.model import ServiceName
from agent.ports import Store
from agent.store.store import open_store
from tests.fakes import START, FakeClock
from tests.memory_store import memory_store

LONG = timedelta(hours=1)
OVER = timedelta(0)

Connect = Callable[[int | None], Store]


POSTGRES = pytest.param("postgres", marks=pytest.mark.live)


@pytest.fixture(params=["memory", "sqlite", POSTGRES])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    """Open one more store over the same, at first empty, database, as the daemon of a term or as a person's command."""
    if request.param == "memory":
        shared = memory_store()
        yield lambda _term: shared
        return
    url = f"sqlite:///{tmp_path}/medic.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = []

    def once_more(term: int | None) -> Store:
        opened.append(open_store(url, FakeClock(), redact=str, term=term))
        return opened[-1]

    yield once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Connect) -> Store:
    return connect(None)


def test_nobody_leads_at_first(store: Store) -> None:
    assert store.leads.standing() is None


def test_one_leads_and_the_other_does_not(store: Store) -> None:
    lead = store.leads.take("ann (pid 1)", "ann/1", LONG)
    assert lead is not None
    assert store.leads.take("bob (pid 2)", "bob/2", LONG) is None
    assert store.leads.standing() == (lead, True)


def test_a_lead_that_ran_out_is_taken_with_the_next_term_and_cannot_be_renewed(store: Store) -> None:
    first = store.leads.take("ann", "ann/1", OVER)
    second = store.leads.take("bob", "bob/2", LONG)
    assert first is not None
    assert second is not None
    assert second.term == first.term + 1
    assert not store.leads.renew(first.term, LONG)
    assert store.leads.standing() == (second, True)


def test_a_lead_that_ran_out_and_that_nobody_took_is_renewed(store: Store) -> None:
    lead = store.leads.take("ann", "ann/1", OVER)
    assert lead is not None
    assert store.leads.renew(lead.term, LONG)
    assert store.leads.take("bob", "bob/2", LONG) is None


def test_the_same_place_takes_it_back_at_once(store: Store) -> None:
    before = store.leads.take("ann (pid 1)", "ann/1", LONG)
    again = store.leads.take("ann (pid 7)", "ann/1", LONG)
    assert before is not None
    assert again is not None
    assert again.term == before.term + 1


def test_a_released_lead_is_free_at_once(store: Store) -> None:
    lead = store.leads.take("ann", "ann/1", LONG)
    assert lead is not None
    store.leads.release(lead.term)
    taken = store.leads.take("bob", "bob/2", LONG)
    assert taken is not None
    store.leads.release(lead.term)  # too late: it is another's
    assert store.leads.standing() == (taken, True)


@pytest.mark.parametrize("connect", ["sqlite", POSTGRES], indirect=True)
def test_what_an_earlier_term_writes_is_refused_and_a_person_still_writes(connect: Connect) -> None:
    person = connect(None)
    first = person.leads.take("ann", "ann/1", OVER)
    assert first is not None
    ann = connect(first.term)
    ann.silences.begin(ServiceName("web"), why="works", by="ann", now=START, until=START + LONG)
    assert person.leads.take("bob", "bob/2", LONG) is not None
    with pytest.raises(LeaseLost, match="cannot write to the store: bob leads now"):
        ann.silences.begin(ServiceName("web"), why="too late", by="ann", now=START, until=START + LONG)
    person.silences.begin(ServiceName("web"), why="mine", by="cleo", now=START, until=START + LONG)
    assert [each.why for each in ann.silences.active(START)] == ["works", "mine"]
