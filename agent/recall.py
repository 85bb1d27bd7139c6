"""Reads what is remembered of one trouble: the ledger as episodes, what people want forgotten, and their notes.

In: the store, a fingerprint and a moment. Out: `Remembered`. Nothing here writes: only people do, by `medic memory`.
"""

from datetime import datetime

from agent import episodes
from agent.model import Episode, IncidentId, MemoryRule, Remembered, ServiceName
from agent.ports import Store


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
    return tuple(
        Remembered(episode=each, notes=tuple(note for note in notes if note.fingerprint == each.fingerprint))
        for each in everything(store=store, rule=rule, now=now)
        if each.service == service
    )


def everything(*, store: Store, rule: MemoryRule, now: datetime) -> tuple[Episode, ...]:
    """Return every trouble that is remembered, the one that came last first."""
    return episodes.remember(store.incidents.opened_since(now - rule.keeps), now, rule, store.memory.forgotten())
