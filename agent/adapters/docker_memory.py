"""What inspect said of each container, kept for as long as the list itself shows that it is still true.

The list is one call for a whole host and tells little; an inspect costs a millisecond per container and tells aliases,
restart count, OOMKilled and times. So a container is inspected once, and again when it started, stopped or was connected anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent.adapters import docker_facts
from agent.model import ContainerFacts, ContainerState

MOST_INSPECTS = 64
"""In one list call. The rest is told as the list tells it, and inspected at the next calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One container as the list has it, and the ids of its network endpoints."""

    facts: ContainerFacts
    attachments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    facts: ContainerFacts
    attachments: tuple[str, ...]
    true_at: float
    """Monotonic seconds at which a list or an inspect last showed it to be true."""


class InspectMemory:
    """The memory of one host. A race between two threads costs an inspect at most."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def complete(
        self, rows: Sequence[Row], *, began: float, ended: float, inspect: Callable[[str], ContainerFacts | None]
    ) -> tuple[ContainerFacts, ...]:
        """Return the rows with what inspect knows of them, in their order.

        began, ended: monotonic seconds around the list call. inspect: returns None for a container it cannot tell of now.
        """
        kept = {row.facts.id: entry for row in rows if (entry := self._still_true(row, began, ended)) is not None}
        due = [row for row in rows if row.facts.id not in kept]
        # What is down decides verdicts; what runs only adds aliases and times.
        due.sort(key=lambda row: row.facts.state is ContainerState.RUNNING)
        for row in due[:MOST_INSPECTS]:
            found = inspect(row.facts.id)
            if found is not None:
                kept[row.facts.id] = _Kept(facts=found, attachments=row.attachments, true_at=ended)
        self._kept = kept
        return tuple(_merged(row.facts, kept.get(row.facts.id)) for row in rows)

    def _still_true(self, row: Row, began: float, ended: float) -> _Kept | None:
        """Return what is kept of a container unless it may have started, stopped or been connected since."""
        entry = self._kept.get(row.facts.id)
        if entry is None or entry.facts.state is not row.facts.state or entry.attachments != row.attachments:
            return None
        if docker_facts.least_age(row.facts.status) <= timedelta(seconds=ended - entry.true_at):
            return None
        return _Kept(facts=entry.facts, attachments=entry.attachments, true_at=began)


def _merged(listed: ContainerFacts, entry: _Kept | None) -> ContainerFacts:
    if entry is None:
        return listed
    # A container that changed between the list and its inspect: the inspect is the newer one.
    return docker_facts.joined(listed, entry.facts) if entry.facts.state is listed.state else entry.facts
