"""What Medic would have done where it may not act, and what became of it without Medic."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.decisions import HoldCode, Plan
from agent.model.health import IncidentId, RunbookId, ServiceName
from agent.model.looking import ContainerFacts


class Deed(enum.Enum):
    """What others did to a container, as it can be told from how it looked before and after."""

    STARTED = "started"
    """It runs since a later moment: started, or restarted."""
    UNPAUSED = "unpaused"
    RECREATED = "recreated"
    OTHER_IMAGE = "other-image"
    """Made anew from another image."""
    CONFIGURED = "configured"
    """Its declared configuration file is another one."""
    RECONNECTED = "reconnected"
    """It is in other networks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowEnd:
    """How an incident ended that Medic had only watched."""

    at: datetime
    deeds: tuple[Deed, ...] | None
    """None: nobody could look."""
    by: str = ""
    """Who restarted it, as words, where that is known."""
    ran: tuple[RunbookId, ...] = ()
    """Runbooks that a person ran on it meanwhile, through Medic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """One decision that was made, kept, and not carried out: the first of its incident. Key: the incident."""

    incident: IncidentId
    service: ServiceName
    at: datetime
    code: HoldCode
    """Why it was not carried out: OBSERVING, SUGGESTED (people were told) or DRY_RUN (they were told as well)."""
    plan: Plan
    before: ContainerFacts | None
    """How the container looked; None where nobody could look."""
    config: str | None = None
    """sha256 of the declared configuration file at that moment."""
    ended: ShadowEnd | None = None


class Agreement(enum.Enum):
    """What became of a decision in shadow, beside what others did."""

    AGREED = "agreed"
    """Others did what Medic would have done, and it helped."""
    DIFFERED = "differed"
    """Others did something else."""
    BY_ITSELF = "by-itself"
    """It was well again and nothing was seen to be done: what Medic would have done may not have been needed."""
    UNTOLD = "untold"
    """What Medic would have done leaves no trace on the container, or nobody could look."""
    ACTED = "acted"
    """Medic itself was let act later."""
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowLine:
    """One line of the report."""

    incident: IncidentId
    service: ServiceName
    at: datetime
    would: RunbookId
    said_by: str
    """`rules`, or the model that proposed it."""
    told: bool
    """People were told what Medic would do, and may have done it for that."""
    agreement: Agreement
    did: str
    """What others did, as words."""
    saved: timedelta | None = None
    """AGREED: how much sooner Medic would have been done, at most; else None: nobody knows."""
    guessed: bool = False
    """No heal by this runbook is on record, so only its settle time was taken off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowReport:
    """Decisions in shadow of a time, beside what others did."""

    since: datetime
    lines: tuple[ShadowLine, ...]
    """Oldest first."""
    counts: tuple[tuple[RunbookId, tuple[tuple[Agreement, int], ...]], ...]
    """By runbook: how often what."""
    saved: timedelta
    """The sum over those that AGREED."""
    ready: tuple[RunbookId, ...]
    """Runbooks that agreed often enough, and never otherwise, to be let act."""
