"""The contract of `ports.MemoryStore`, on the memory twin, SQLite and a real Postgres."""

from datetime import timedelta

from agent.model import AuditKind, Note, ServiceName
from agent.ports import Store
from tests.contracts.test_store import connect, store
from tests.fakes import START

__all__ = ["connect", "store"]  # fixtures

DAY = timedelta(days=1)
WEB = ServiceName("web")


def noted(store: Store, text: str = "ask the licence server", *, fingerprint: str = "f", days: int = 9) -> Note:
    return store.memory.note(fingerprint, WEB, text, by="ada", now=START, until=START + days * DAY)


def test_a_note_stands_until_its_end(store: Store) -> None:
    first, second = noted(store), noted(store, "or its cable", days=2)
    assert store.memory.notes(START) == (first, second)
    assert store.memory.notes(START + 2 * DAY) == (first,)
    assert (first.text, first.by, first.service) == ("ask the licence server", "ada", WEB)


def test_what_is_over_is_deleted_and_nothing_else(store: Store) -> None:
    first = noted(store)
    noted(store, days=2)
    assert store.memory.prune(START + 2 * DAY) == 1
    assert (store.memory.prune(START + 2 * DAY), store.memory.notes(START)) == (0, (first,))


def test_a_note_can_be_withdrawn_once(store: Store) -> None:
    note = noted(store)
    assert store.memory.withdraw(note.id, by="ada", now=START)
    assert not store.memory.withdraw(note.id, by="ada", now=START)
    assert not store.memory.withdraw(10**17, by="ada", now=START)
    assert store.memory.notes(START) == ()


def test_the_number_of_a_note_is_never_given_again(store: Store) -> None:
    first = noted(store)
    store.memory.withdraw(first.id, by="ada", now=START)
    assert noted(store).id > first.id


def test_forgetting_a_trouble_takes_its_notes_and_no_others(store: Store) -> None:
    noted(store)
    other = noted(store, fingerprint="g")
    assert store.memory.forget("f", by="ada", why="new hardware", now=START) == 1
    assert store.memory.notes(START) == (other,)
    assert store.memory.forgotten() == {"f": START}


def test_what_was_forgotten_stays_forgotten_when_the_clock_is_set_back(store: Store) -> None:
    store.memory.forget("f", by="ada", why="", now=START)
    store.memory.forget("f", by="ada", why="", now=START - DAY)
    assert store.memory.forgotten() == {"f": START}
    store.memory.forget("f", by="ada", why="", now=START + DAY)
    assert store.memory.forgotten() == {"f": START + DAY}


def test_the_audit_knows_who_noted_and_who_forgot_and_no_text_that_may_have_to_go(store: Store) -> None:
    note = noted(store)
    store.memory.withdraw(note.id, by="bob", now=START)
    store.memory.forget("f", by="bob", why="new hardware", now=START)
    rows = [row for row in store.audit.rows() if row.kind in (AuditKind.NOTED.value, AuditKind.FORGOTTEN.value)]
    assert [(row.kind, row.actor) for row in rows] == [("noted", "ada"), ("forgotten", "bob"), ("forgotten", "bob")]
    assert not any("licence" in row.payload for row in rows)
    assert "new hardware" in rows[2].payload
