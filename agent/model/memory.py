"""What is remembered of troubles: what helped against them, what people noted, and how long that counts."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.causes import Cause
from agent.model.health import RunbookId, ServiceName


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRule:
    """For how long the past speaks, and how much of it.

    Images, hosts and load are not what they were: so a result weighs half after `half_life`, and none counts after `keeps`.
    Source: docs/decisions/0015-what-is-remembered.md.
    """

    keeps: timedelta = timedelta(days=180)
    """Older incidents are not remembered, and a note ends after so long; 0: nothing is remembered, and plans know no past."""
    half_life: timedelta = timedelta(days=30)
    let_down_after: int = 2
    """So many results in a row in which a runbook did not help against one trouble: it is not the first choice there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What one version of a runbook came to against one trouble."""

    runbook: RunbookId
    hash: str
    """Of the runbook: one that was changed since is another remedy."""
    helped: int
    did_not: int
    """Attempts that ended and did not help; not those that were cut, nor those that did not reach their target."""
    chance: float
    """Share of its results that healed, old ones weighing less: 0 to 1."""
    vain: int = 0
    """Results in a row, up to the last, in which it did not help."""
    vain_weight: float = 0.0
    """What those weigh together: each 1 when it is new, half of it after a half-life."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One trouble of one service, over all its incidents. Nothing that a log or a model said is in it."""

    fingerprint: str
    service: ServiceName
    signs: tuple[str, ...]
    """Of its latest incident."""
    cause: Cause | None
    """As it was diagnosed last; None where it never was."""
    times: int
    last: datetime
    handed_over: int
    """How often a person was needed."""
    remedies: tuple[Remedy, ...]
    """The likeliest to help first."""
    incidents: tuple[str, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a person wrote about one trouble. Redacted, one line; read by people and models, and a source of nothing."""

    id: int
    fingerprint: str
    service: ServiceName
    text: str
    by: str
    at: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """All that is remembered of one trouble at one moment."""

    episode: Episode | None = None
    """None where it never came before, or was forgotten."""
    notes: tuple[Note, ...] = ()
    """In force, oldest first."""
