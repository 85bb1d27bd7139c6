"""The audit's part of the store: what appends to it, once, and what verify makes of a database that somebody changed."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import audit, notices
from agent.model import AuditKind, Closing, Health, IncidentId, Outcome, Receipt, Recorded
from agent.ports import Store
from agent.redact import Redactor
from agent.store.store import OpenStore, open_store
from agent.wiring import keeping
from tests.contracts.test_store import NOTICE, RESTART, RUN, SICK, SPENT, WARMING, WEB, WELL, at_once
from tests.fakes import START, FakeClock
from tests.memory_store import memory_store

SECOND = timedelta(seconds=1)
SECRET = "hf_" + "k" * 34


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.live)])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Open one more store over the same, at first empty, database."""
    if request.param == "memory":
        shared = memory_store()
        yield lambda: shared
        return
    url = f"sqlite:///{tmp_path}/medic.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened: list[OpenStore] = []

    def connect_once_more() -> Store:
        opened.append(open_store(url, FakeClock(), redact=str))
        return opened[-1]

    yield connect_once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Callable[[], Store]) -> Store:
    return connect()


def kinds(store: Store) -> list[str]:
    return [row.kind for row in keeping.audit_rows(store)]


def receipt(incident: IncidentId) -> Receipt:
    look = replace(SICK, at=START + 9 * SECOND, judgements=(replace(SICK.judgements[0], health=Health.WELL, symptoms=()),))
    return Receipt(
        incident=incident,
        attempt=1,
        runbook=RESTART.runbook,
        runbook_hash=RESTART.runbook_hash,
        opened_by=SICK,
        before=SICK,
        ran_until=START + 5 * SECOND,
        settle=RESTART.settle,
        looks_needed=2,
        looks_made=2,
        looks=(look, replace(look, at=START + 10 * SECOND)),
    )


def healed(store: Store) -> IncidentId:
    """Write one whole heal, each write twice, as a step that is repeated after a crash does."""
    store.services.enrol(WEB, now=START)
    incident = store.incidents.open(WEB, SICK, fingerprint="web http-refused", now=START)[0].id
    store.incidents.open(WEB, SICK, fingerprint="web http-refused", now=START)
    for _ in range(2):
        store.incidents.hold(incident, WARMING, until=START + SECOND)
        store.incidents.next_round(incident, expected=1)
        store.attempts.begin(incident, 1, RESTART, now=START)
        store.attempts.ran(incident, 1, RUN, now=START + 5 * SECOND)
        store.attempts.end(incident, 1, Outcome.HEALED, WELL, now=START + 10 * SECOND, receipt=receipt(incident))
        store.incidents.close(incident, Closing.HEALED, by="medic", now=START + 10 * SECOND)
    return incident


def test_every_step_of_a_heal_is_kept_once_and_in_order(store: Store) -> None:
    incident = healed(store)
    words = "opened held next-round intent ran ended receipt closed"
    assert kinds(store) == words.split(), "a repeated step appends nothing"
    assert audit.first_broken(keeping.audit_rows(store)) is None
    (row,) = store.audit.receipts(incident)
    assert audit.receipt_of(row) == receipt(incident)
    assert store.audit.receipts(IncidentId("I99")) == ()


def test_refusals_and_what_people_do_are_kept_with_who_did_it(store: Store) -> None:
    incident = store.incidents.request(WEB, SICK, RESTART, by="ada", now=START).id
    store.incidents.escalate(incident, SPENT)
    store.incidents.close(incident, Closing.BY_PERSON, by="bob", now=START)
    store.services.enrol(WEB, now=START)
    store.services.set_status(WEB.name, Recorded.STOPPED, by="eve", diagnostic="", now=START)
    rows = list(keeping.audit_rows(store))
    assert [(row.kind, row.actor) for row in rows] == [
        ("opened", "ada"),
        ("refused", "medic"),
        ("closed", "bob"),
        ("status", "eve"),
    ]
    assert SPENT.because in rows[1].payload


def test_setting_the_state_of_nothing_leaves_no_row(store: Store) -> None:
    store.services.set_status(WEB.name, Recorded.STOPPED, by="eve", diagnostic="", now=START)
    assert not store.incidents.close(IncidentId("I7"), Closing.HEALED, by="medic", now=START)
    assert store.audit.head() is None


def test_many_writers_make_one_chain(connect: Callable[[], Store]) -> None:
    stores = [connect() for _ in range(4)]

    def write(store: Store) -> None:
        for number in range(5):
            store.audit.append(audit.by_person(AuditKind.HALTED, "ada", key=f"shared {number}"))
            store.audit.append(audit.by_person(AuditKind.RESUMED, "ada"))

    at_once(*(lambda store=store: write(store) for store in stores))
    assert audit.first_broken(keeping.audit_rows(stores[0])) is None
    assert sorted(kinds(stores[0])) == ["halted"] * 5 + ["resumed"] * 20


def test_the_latest_of_some_kinds_is_found(store: Store) -> None:
    assert store.audit.latest(AuditKind.HALTED) is None
    store.audit.append(audit.by_person(AuditKind.HALTED, "ada", said="why"))
    store.audit.append(audit.by_person(AuditKind.RESUMED, "ada"))
    store.audit.append(audit.by_person(AuditKind.STATUS, "ada"))
    found = store.audit.latest(AuditKind.HALTED, AuditKind.RESUMED)
    assert found is not None
    assert found.kind == "resumed"


def test_every_notice_carries_the_head_of_its_moment(store: Store) -> None:
    healed(store)
    store.outbox.post(NOTICE, ["ops"])
    (delivery,) = store.outbox.due(START)
    told = audit.read_head(delivery.notice.body.rpartition(notices.AUDIT)[2])
    assert told == store.audit.head()
    assert audit.first_broken(keeping.audit_rows(store), told) is None


# --------------------------------------------------------------------------------------------- a database that was changed


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A SQLite database with one heal in its audit, closed."""
    store = open_store(f"sqlite:///{tmp_path}/medic.db", FakeClock())
    healed(store)
    store.close()
    return tmp_path / "medic.db"


def first_broken(path: Path, head: str | None = None) -> audit.Broken | None:
    store = open_store(f"sqlite:///{path}", FakeClock())
    try:
        return audit.first_broken(keeping.audit_rows(store), head and audit.read_head(head))
    finally:
        store.close()


@pytest.mark.abuse("70")
@pytest.mark.parametrize("column", ["at", "actor", "kind", "key", "incident", "payload", "previous", "hash"])
def test_one_changed_byte_names_its_row(copy: Path, column: str) -> None:
    for byte in ("~", "\udcff"):
        with sqlite3.connect(copy) as raw:
            (text,) = raw.execute(f"SELECT {column} FROM audit WHERE id = 4").fetchone()
            damaged = (byte + text[1:]).encode("utf-8", "surrogateescape")
            raw.execute(f"UPDATE audit SET {column} = CAST(? AS TEXT) WHERE id = 4", (damaged,))
        raw.close()
        broken = first_broken(copy)
        assert broken is not None
        assert broken.id == 4
        with sqlite3.connect(copy) as raw:
            raw.execute(f"UPDATE audit SET {column} = ? WHERE id = 4", (text,))
        raw.close()
        assert first_broken(copy) is None


@pytest.mark.abuse("70")
@pytest.mark.parametrize(("sql", "row"), [("DELETE FROM audit WHERE id = 3", 3), ("DELETE FROM audit WHERE id > 5", 6)])
def test_rows_taken_out_are_missed(copy: Path, sql: str, row: int) -> None:
    store = open_store(f"sqlite:///{copy}", FakeClock())
    head = store.audit.head()
    store.close()
    assert head is not None
    with sqlite3.connect(copy) as raw:
        raw.execute(sql)
    raw.close()
    broken = first_broken(copy, f"{head.id}:{head.hash}")
    assert broken is not None
    assert broken.id == row


def test_texts_are_redacted_before_they_reach_the_disk(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/medic.db", FakeClock(), Redactor(["open sesame"]))
    incident = store.incidents.open(WEB, SICK, fingerprint="x", now=START)[0].id
    store.incidents.escalate(incident, replace(SPENT, because=f"it said {SECRET}, and open sesame"))
    store.outbox.post(replace(NOTICE, body=f"look: {SECRET}"), ["ops"])
    store.outbox.put_off(1, error=f"https://me:{SECRET}@hooks.example: 503", next_try=START)
    kept = store.incidents.get(incident)
    assert kept is not None
    assert kept.refusal is not None
    assert kept.refusal.because == "it said [REDACTED:huggingface-token], and [REDACTED:known]"
    assert audit.first_broken(keeping.audit_rows(store)) is None, "the hash is over what lies on the disk"
    store.close()
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert SECRET.encode() not in everything
    assert b"open sesame" not in everything
