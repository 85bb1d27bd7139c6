"""The chain: whole as it was written, and every change of it names the first row that does not fit."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import audit
from agent.model import (
    AuditHead,
    AuditKind,
    AuditRow,
    Health,
    IncidentId,
    Judgement,
    Plane,
    Receipt,
    RunbookId,
    ServiceName,
    Verdict,
)
from tests.fakes import START

FEW = settings(max_examples=25, deadline=None)
words = st.text(max_size=20)
entries = st.builds(
    audit.Entry,
    kind=st.sampled_from([kind for kind in AuditKind if kind is not AuditKind.RECEIPT]),
    key=st.none() | words,
    actor=words,
    incident=st.none() | words.map(IncidentId),
    payload=st.dictionaries(words, words | st.integers() | st.booleans() | st.none(), max_size=3),
)
FIELDS = ("at", "actor", "kind", "key", "incident", "payload", "previous", "hash")


def chain(given_: list[audit.Entry]) -> list[AuditRow]:
    rows: list[AuditRow] = []
    for number, entry in enumerate(given_):
        at = (START + timedelta(seconds=number)).isoformat()
        rows.append(audit.link(entry, rows[-1] if rows else None, at=at))
    return rows


@FEW
@given(st.lists(entries, max_size=8))
def test_a_chain_is_whole_as_it_was_written(given_: list[audit.Entry]) -> None:
    rows = chain(given_)
    assert audit.first_broken(rows) is None
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    if rows:
        assert audit.first_broken(rows, audit.head_of(rows[-1])) is None


@FEW
@given(st.lists(entries, min_size=1, max_size=8), st.data())
def test_one_changed_text_names_its_row(given_: list[audit.Entry], data: st.DataObject) -> None:
    rows = chain(given_)
    at = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from(FIELDS))
    rows[at] = replace(rows[at], **{name: getattr(rows[at], name) + "x"})
    broken = audit.first_broken(rows)
    assert broken is not None
    assert broken.id == at + 1


@FEW
@given(st.lists(entries, min_size=2, max_size=8), st.data())
def test_a_row_taken_out_is_missed(given_: list[audit.Entry], data: st.DataObject) -> None:
    rows = chain(given_)
    at = data.draw(st.integers(0, len(rows) - 2))
    broken = audit.first_broken(rows[:at] + rows[at + 1 :])
    assert broken is not None
    assert broken.id == at + 1


@FEW
@given(st.lists(entries, min_size=1, max_size=8), st.data())
def test_a_cut_tail_shows_against_a_head_that_was_told(given_: list[audit.Entry], data: st.DataObject) -> None:
    rows = chain(given_)
    kept = data.draw(st.integers(0, len(rows) - 1))
    assert audit.first_broken(rows[:kept]) is None, "a chain alone cannot show that its end is missing"
    broken = audit.first_broken(rows[:kept], audit.head_of(rows[-1]))
    assert broken is not None
    assert broken.id == kept + 1


@FEW
@given(st.lists(entries, min_size=1, max_size=8), st.data())
def test_a_rewritten_chain_shows_against_a_head_that_was_told(given_: list[audit.Entry], data: st.DataObject) -> None:
    head = audit.head_of(chain(given_)[-1])
    at = data.draw(st.integers(0, len(given_) - 1))
    forged = chain([*given_[:at], replace(given_[at], actor=given_[at].actor + "x"), *given_[at + 1 :]])
    assert audit.first_broken(forged) is None
    broken = audit.first_broken(forged, head)
    assert broken is not None
    assert broken.id == head.id


@FEW
@given(entries)
def test_the_head_reads_as_it_is_told(entry: audit.Entry) -> None:
    (row,) = chain([entry])
    head = audit.head_of(row)
    assert audit.read_head(f"{head.id}:{head.hash}") == head == AuditHead(id=1, hash=row.hash[:16])


@pytest.mark.parametrize(
    "text", ["", "12", "12:", "0:0123456789abcdef", "12:0123", "12:0123456789ABCDEF", "x:0123456789abcdef"]
)
def test_refuses_what_is_no_head(text: str) -> None:
    with pytest.raises(ValueError, match="is no head of the audit"):
        audit.read_head(text)


# -------------------------------------------------------------------------------------------------------------- receipts


def look(second: int, **healths: Health) -> Verdict:
    judgements = tuple(
        Judgement(check=name, plane=Plane.CONTAINER, health=health, detail="seen") for name, health in healths.items()
    )
    return Verdict(service=ServiceName("web"), health=Health.WELL, at=START + timedelta(seconds=second), judgements=judgements)


RECEIPT = Receipt(
    incident=IncidentId("I1"),
    attempt=1,
    runbook=RunbookId("start-container"),
    runbook_hash="ab12",
    opened_by=look(0, container=Health.SICK, http=Health.SICK),
    before=look(1, container=Health.SICK, http=Health.SICK),
    ran_until=START + timedelta(seconds=3),
    settle=timedelta(seconds=1),
    looks_needed=2,
    looks_made=3,
    looks=(
        look(4, container=Health.WELL, http=Health.SICK),
        look(5, container=Health.WELL, http=Health.WELL),
        look(6, container=Health.WELL, http=Health.WELL),
    ),
)


def test_a_receipt_comes_back_from_its_row_and_holds() -> None:
    (row,) = chain([audit.receipt_entry(RECEIPT)])
    assert audit.receipt_of(row) == RECEIPT
    assert audit.objections(RECEIPT) == ()


@pytest.mark.parametrize(
    ("receipt", "why"),
    [
        (replace(RECEIPT, before=look(1, container=Health.WELL, http=Health.WELL)), "no check was red"),
        (replace(RECEIPT, before=look(1, container=Health.UNKNOWN, http=Health.WELL)), "no check was red"),
        (replace(RECEIPT, looks=RECEIPT.looks[:2]), "were not all well"),
        (replace(RECEIPT, looks=RECEIPT.looks[1:2]), "were not all well"),
        (replace(RECEIPT, looks=()), "were not all well"),
        (replace(RECEIPT, looks=(look(5, http=Health.WELL),) * 2), "not looked at again: container"),
        (replace(RECEIPT, looks=(look(5), look(6))), "were not all well"),
        (replace(RECEIPT, ran_until=START + timedelta(hours=1)), "before the playbook ended"),
    ],
)
def test_a_receipt_that_does_not_show_a_heal_is_objected_to(receipt: Receipt, why: str) -> None:
    assert why in "; ".join(audit.objections(receipt)), "whatever its verdicts say in words: the raw judgements decide"


@pytest.mark.parametrize("payload", ["", "{", "[]", '{"_":"Receipt"}', '{"_":"Hold"}'])
def test_a_damaged_receipt_is_no_receipt(payload: str) -> None:
    (row,) = chain([audit.receipt_entry(RECEIPT)])
    assert audit.receipt_of(replace(row, payload=payload)) is None
