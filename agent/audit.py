"""The audit: one hash-chained, append-only log of every change, decision, answer and word of a person.

In: an `Entry`. Out: rows whose hash covers the row and the hash before it, so that an edited byte, a row taken out, or a
tail cut off (the head travels in every notice) shows, and by whom it can be named. Pure: `store/audit.py` keeps the rows.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent import codec
from agent.codec import JSON
from agent.model import Answer, Approval, AuditHead, AuditKind, AuditRow, Health, Incident, IncidentId, Note, Receipt, Verdict

BEGINNING = "0" * 64
"""What the first row has before it."""
SHORT = 16
"""Hex digits of a hash that people and notices get: 64 bits cannot be met by trying."""
_HEAD = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{16,64})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be kept. The same (kind, key) is appended once: a repeated step leaves one row.

    key: None where a compare-and-set in the same transaction makes it happen once already; the row's own number is its key then.
    """

    kind: AuditKind
    key: str | None = None
    actor: str = "medic"
    incident: IncidentId | None = None
    payload: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The first row that does not fit."""

    id: int
    why: str


def link(entry: Entry, before: AuditRow | None, *, at: str) -> AuditRow:
    """Return the row that follows `before` (None: the chain begins). at: ISO 8601, UTC."""
    number = before.id + 1 if before else 1
    texts = {
        "id": number,
        "at": at,
        "actor": entry.actor,
        "kind": entry.kind.value,
        "key": f"#{number}" if entry.key is None else entry.key,
        "incident": entry.incident or "",
        "payload": canonical(entry.payload),
        "previous": before.hash if before else BEGINNING,
    }
    return AuditRow(**texts, hash=_hash(texts))  # type: ignore[arg-type]  # the names above are its fields


def canonical(value: JSON) -> str:
    """Return the one text of a JSON value: sorted keys, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def first_broken(rows: Iterable[AuditRow], head: AuditHead | None = None) -> Broken | None:
    """Recompute the chain; return the first row that is broken, None for a whole chain.

    rows: all of them, by id. head: from a notice; its row must be there and be the one it was.
    """
    before: AuditRow | None = None
    for row in rows:
        expected = before.id + 1 if before else 1
        if row.id != expected:
            return Broken(id=expected, why=f"it is missing; the next one there is {row.id}")
        if row.previous != (before.hash if before else BEGINNING):
            return Broken(id=row.id, why="it does not follow the row before it")
        if is_edited(row):
            return Broken(id=row.id, why="its content is not what its hash was made of")
        if head is not None and row.id == head.id and not row.hash.startswith(head.hash):
            return Broken(id=row.id, why=f"it is not the row that was told: {head.hash} then, {row.hash[: len(head.hash)]} now")
        if row.kind == AuditKind.RECEIPT.value and (wrong := _wrong(row)):
            return Broken(id=row.id, why=f"its receipt does not show a heal: {wrong}")
        before = row
    last = before.id if before else 0
    if head is not None and last < head.id:
        return Broken(id=last + 1, why=f"it is missing; row {head.id} was told once")
    return None


def is_edited(row: AuditRow) -> bool:
    """Return whether a row is not what its own hash was made of."""
    return row.hash != _hash({name: getattr(row, name) for name in _HASHED})


def head_of(row: AuditRow) -> AuditHead:
    """Return what is told of the newest row."""
    return AuditHead(id=row.id, hash=row.hash[:SHORT])


def read_head(text: str) -> AuditHead:
    """Return the head that a notice told as `ID:HASH`. Raises ValueError."""
    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:80]!r} is no head of the audit: write it as in a notice, like 12:0123456789abcdef")
    return AuditHead(id=int(found[1]), hash=found[2])


def opened(incident: Incident, *, by: str) -> Entry:
    """Return the row of an incident's beginning."""
    return Entry(
        kind=AuditKind.OPENED,
        key=incident.id,
        actor=by,
        incident=incident.id,
        payload=_plain(
            {
                "service": incident.service,
                "fingerprint": incident.fingerprint,
                "reasons": incident.first.reasons,
                "requested": incident.requested,
            }
        ),
    )


def about(kind: AuditKind, incident: IncidentId, *, actor: str = "medic", **payload: object) -> Entry:
    """Return the row of one event of an incident that its compare-and-set makes happen once."""
    return Entry(kind=kind, actor=actor, incident=incident, payload=_plain(payload))


def of_attempt(kind: AuditKind, incident: IncidentId, number: int, **payload: object) -> Entry:
    """Return the row of one event of one attempt."""
    return Entry(kind=kind, key=f"{incident} {number}", incident=incident, payload={"attempt": number, **_plain(payload)})


def of_drain(kind: AuditKind, incident: IncidentId, **payload: object) -> Entry:
    """Return the row of one event of a drain; its incident has one drain, however often it is begun."""
    return Entry(kind=kind, key=f"{incident} drain", incident=incident, payload=_plain(payload))


def approval_asked(approval: Approval) -> Entry:
    """Return the row of one request for a person's word, with what was shown to them."""
    payload = _plain({"approval": approval})
    return Entry(kind=AuditKind.APPROVAL_ASKED, key=approval.id, incident=approval.incident, payload=payload)


def approval_answered(id_: str, answer: Answer, *, by: str, why: str, edited: Approval | None = None) -> Entry:
    """Return the row of one answer: who, why, and what an edit made of the plan."""
    return by_person(AuditKind.APPROVAL_ANSWERED, by, key=id_, answer=answer, why=why, edited=edited)


def by_person(kind: AuditKind, actor: str, *, key: str | None = None, **payload: object) -> Entry:
    """Return the row of something that a person did, or that Medic did to no incident."""
    return Entry(kind=kind, key=key, actor=actor, payload=_plain(payload))


def noted(note: Note) -> Entry:
    """Return the row of one note: who wrote it, about what, and the hash of its text, which a person may have forgotten later."""
    digest = hashlib.sha256(note.text.encode("utf-8", "replace")).hexdigest()
    payload = {"note": note.id, "fingerprint": note.fingerprint, "service": note.service, "until": note.until, "text": digest}
    return by_person(AuditKind.NOTED, note.by, key=f"N{note.id}", **payload)


def _plain(payload: dict[str, object]) -> dict[str, JSON]:
    return {name: codec.as_dict(value) for name, value in payload.items()}


def receipt_entry(receipt: Receipt) -> Entry:
    """Return the row of one receipt; `receipt_of` reads it."""
    return Entry(
        kind=AuditKind.RECEIPT,
        key=f"{receipt.incident} {receipt.attempt}",
        incident=receipt.incident,
        payload=codec.encode(receipt),
    )


def receipt_of(row: AuditRow) -> Receipt | None:
    """Return the receipt that a row holds, None where it holds none (any more)."""
    try:
        found = codec.loads(row.payload)
    except (ValueError, RecursionError):
        return None
    return found if row.kind == AuditKind.RECEIPT.value and isinstance(found, Receipt) else None


def _wrong(row: AuditRow) -> str:
    receipt = receipt_of(row)
    return "it cannot be read" if receipt is None else "; ".join(objections(receipt))


def objections(receipt: Receipt) -> tuple[str, ...]:
    """Judge a receipt afresh from its raw judgements; return why "healed" does not follow from them, nothing where it does."""
    found = []
    if _health(receipt.before) is not Health.SICK:
        found.append("no check was red before the attempt")
    last = receipt.looks[-receipt.looks_needed :]
    if len(last) < receipt.looks_needed or any(_health(look) is not Health.WELL for look in last):
        found.append(f"the last {receipt.looks_needed} looks were not all well")
    checked = {judgement.check for look in last[-1:] for judgement in look.judgements}
    if unseen := [each.check for each in receipt.before.judgements if each.check not in checked]:
        found.append(f"not looked at again: {', '.join(unseen)}")
    if receipt.ran_until is not None and last and last[0].at < receipt.ran_until:
        found.append("the looks were made before the playbook ended")
    return tuple(found)


def _health(verdict: Verdict) -> Health:
    healths = {judgement.health for judgement in verdict.judgements}
    if Health.SICK in healths:
        return Health.SICK
    return Health.WELL if healths == {Health.WELL} else Health.UNKNOWN


_HASHED = ("id", "at", "actor", "kind", "key", "incident", "payload", "previous")


def _hash(texts: dict[str, int | str] | dict[str, str]) -> str:
    return hashlib.sha256(json.dumps([texts[name] for name in _HASHED]).encode()).hexdigest()
