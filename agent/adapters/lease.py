"""The lease: the port `Lease` for a store that is a file, and for one that several Medics share.

A shared one is taken in the store and renewed from a thread of its own. This side believes in it for half of its span only:
when the process is stopped, or cut off from the store, what it started ends in the first half, and is swept in the second,
before another Medic may take over.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from agent.errors import LeaseLost, StoreError
from agent.model import Lead
from agent.ports import LeadStore

logger = logging.getLogger(__name__)

SURE = 0.5
"""The part of the span, from the last renewal on, in which the lease certainly is ours."""
RENEWALS = 10
"""So many renewals come within a span: a database that restarts for a few seconds costs nothing."""
ASK_EVERY = timedelta(seconds=1)
"""Between two looks of whoever stands by."""


def boottime() -> float:
    """Return seconds that never go back and count while the machine is suspended; the same in every process of it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SoleLease:
    """Of a store that is a file: whoever owns its state folder is alone."""

    place = ""

    def held(self) -> bool:
        """Say that it is ours."""
        return True

    def until(self) -> float | None:
        """Return None: for ever."""
        return None

    def confirm(self) -> None:
        """Do nothing: nobody else can have it."""


class KeptLease:
    """Of a store that several Medics share. `keep` renews it until `end`, or until another Medic has taken over."""

    def __init__(
        self, leads: LeadStore, lead: Lead, span: timedelta, *, taken_at: float, now: Callable[[], float] = boottime
    ) -> None:
        """taken_at: `now()` from before the store was asked, so that its span began later than we believe."""
        self._leads = leads
        self._span = span
        self._now = now
        self._until = taken_at + SURE * span.total_seconds()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.lead = lead
        self.lost = False
        """Whether another Medic has taken over: then it never comes back."""

    @property
    def place(self) -> str:
        """Return the name of the state folder that it was taken for."""
        return self.lead.place

    def held(self) -> bool:
        """Say whether it certainly is ours."""
        return not self.lost and self._now() < self._until

    def until(self) -> float | None:
        """Return up to when it certainly is ours."""
        return self._until

    def confirm(self) -> None:
        """Renew it now. Raises LeaseLost when another leads, StoreError when the store does not answer."""
        asked_at = self._now()
        if self.lost or not self._leads.renew(self.lead.term, self._span):
            self.lost = True
            raise LeaseLost("change anything", "another Medic has taken over")
        self._until = asked_at + SURE * self._span.total_seconds()

    def keep(self, on_lost: Callable[[], None]) -> None:
        """Renew it from now on; call `on_lost` once when another Medic has taken over."""

        def renew() -> None:
            while not self._ended.wait(self._span.total_seconds() / RENEWALS):
                try:
                    self.confirm()
                except LeaseLost:
                    on_lost()
                    return
                except StoreError as exc:
                    logger.warning("cannot renew the lease", extra={"term": self.lead.term, "cause": str(exc)})

        self._thread = threading.Thread(target=renew, name="lease")
        self._thread.start()

    def end(self) -> None:
        """Renew no more, and let the next one take over at once. What was running must be over."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self.lost:
            return
        try:
            self._leads.release(self.lead.term)
        except StoreError as exc:
            logger.warning("cannot release the lease; it ends by itself", extra={"term": self.lead.term, "cause": str(exc)})


def stand_by(
    leads: LeadStore,
    holder: str,
    place: str,
    span: timedelta,
    *,
    stop: threading.Event,
    waiting_for: Callable[[Lead], None],
    alive: Callable[[], None],
) -> KeptLease | None:
    """Wait until this Medic leads; None when `stop` came first. A store that is away is waited for as well.

    waiting_for: called with the one that leads, once for each. alive: called at every look.
    """
    told = None
    while not stop.is_set():
        alive()
        try:
            taken_at = boottime()
            lead = leads.take(holder, place, span)
            if lead is not None:
                return KeptLease(leads, lead, span, taken_at=taken_at)
            standing = leads.standing()
            if standing is not None and standing[0].term != told:
                told = standing[0].term
                waiting_for(standing[0])
        except StoreError as exc:
            logger.warning("cannot ask who leads", extra={"cause": str(exc)})
        stop.wait(ASK_EVERY.total_seconds())
    return None
