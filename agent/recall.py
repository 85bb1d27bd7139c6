"""Reads what is remembered of one trouble: the ledger as episodes, what people want forgotten, and their notes.

In: the store, a fingerprint and a moment. Out: `Remembered`. Nothing here writes: only people do, by `medic memory`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent import episodes
from agent.model import Episode, Incident, IncidentId, MemoryRule, Note, Remembered, ServiceName
from agent.ports import Store

HISTORY = 6
"""Latest incidents of a service that a model is told of, the one under way among them."""
MOST_PAST = 1_000
"""Incidents of one service that are read to find those before one of the past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was known of the service of one incident when it was under way."""

    history: tuple[Incident, ...] = ()
    """Its incidents before this one, newest first."""
    trouble: Remembered = field(default_factory=Remembered)
    """What was remembered of this very trouble."""
    troubles: tuple[Remembered, ...] = ()
    """Everything that was remembered of the service, the trouble that came last first."""


def trouble(
    fingerprint: str, *, store: Store, rule: MemoryRule, now: datetime, besides: IncidentId | None = None
) -> Remembered:
    """Return what is remembered of one trouble at `now`. besides: the incident under way, which is no memory yet."""
    alike = store.incidents.opened_since(now - rule.keeps, fingerprint=fingerprint)
    past = [each for each in alike if each.id != besides]
    found = episodes.remember(past, now, rule, store.memory.forgotten())
    notes = [each for each in store.memory.notes(now) if each.fingerprint == fingerprint]
    return Remembered(episode=found[0] if found else None, notes=tuple(notes) if rule.keeps else ())


def of(service: ServiceName, *, store: Store, rule: MemoryRule, now: datetime) -> tuple[Remembered, ...]:
    """Return everything that is remembered of one service, the trouble that came last first."""
    notes = store.memory.notes(now) if rule.keeps else ()
    return _with_notes((each for each in everything(store=store, rule=rule, now=now) if each.service == service), notes)


def everything(*, store: Store, rule: MemoryRule, now: datetime) -> tuple[Episode, ...]:
    """Return every trouble that is remembered, the one that came last first."""
    return episodes.remember(store.incidents.opened_since(now - rule.keeps), now, rule, store.memory.forgotten())


def as_of(at: datetime, incident: Incident, *, store: Store, rule: MemoryRule) -> Past:
    """Return what was known at `at`, while `incident` was under way: nothing of itself, and nothing that came since.

    What a person has forgotten since was known then. A note that was deleted since is gone, and is no part of it.
    """
    # One incident of a service ends before the next is opened, so that all of an earlier one was known.
    newest_first = store.incidents.recent(service=incident.service, limit=MOST_PAST)
    before = tuple(each for each in newest_first if each.opened_at < incident.opened_at and each.id != incident.id)
    mine = {each.id for each in before}
    ledger = [each for each in store.incidents.opened_since(at - rule.keeps) if each.id in mine]
    forgotten = {fingerprint: until for fingerprint, until in store.memory.forgotten().items() if until <= at}
    notes = (
        [note for note in store.memory.notes(at) if note.at <= at and note.service == incident.service] if rule.keeps else []
    )
    troubles = _with_notes(episodes.remember(ledger, at, rule, forgotten), notes)
    this = [each for each in troubles if each.episode is not None and each.episode.fingerprint == incident.fingerprint]
    noted = Remembered(notes=tuple(note for note in notes if note.fingerprint == incident.fingerprint))
    return Past(history=before, trouble=this[0] if this else noted, troubles=troubles)


def _with_notes(found: Iterable[Episode], notes: Sequence[Note]) -> tuple[Remembered, ...]:
    return tuple(
        Remembered(episode=each, notes=tuple(note for note in notes if note.fingerprint == each.fingerprint)) for each in found
    )
