"""The lease as this side believes in it: for half its span after each renewal, and never again once another has taken over."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from agent.adapters.lease import KeptLease, SoleLease, stand_by
from agent.errors import LeaseLost, StoreError
from agent.model import Lead
from tests.memory_store import memory_store

SPAN = timedelta(seconds=30)


class Elapsed:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Leads:
    """A `ports.LeadStore` that answers as it is told."""

    def __init__(self, answer: bool | StoreError) -> None:
        self.answer = answer

    def renew(self, _term: int, _span: timedelta) -> bool:
        if isinstance(self.answer, StoreError):
            raise self.answer
        return self.answer

    def take(self, _holder: str, _place: str, _span: timedelta) -> Lead | None:
        raise AssertionError

    def release(self, _term: int) -> None:
        raise AssertionError("what another has taken is not released")

    def standing(self) -> tuple[Lead, bool] | None:
        raise AssertionError


def kept(leads: Leads, now: Elapsed) -> KeptLease:
    lead = Lead(holder="ann", place="ann/1", term=7, expires_at=datetime(2026, 3, 1, tzinfo=UTC))
    return KeptLease(leads, lead, SPAN, taken_at=now(), now=now)


def test_it_is_held_for_half_its_span_and_longer_after_a_renewal() -> None:
    now = Elapsed()
    lease = kept(Leads(answer=True), now)
    assert (lease.held(), lease.until(), lease.place) == (True, 115.0, "ann/1")
    now.seconds = 115
    assert not lease.held()
    lease.confirm()
    assert (lease.held(), lease.until()) == (True, 130.0)


def test_a_store_that_is_away_costs_it_only_when_the_time_is_up() -> None:
    now = Elapsed()
    lease = kept(Leads(StoreError("cannot renew the lead: connection refused", transient=True)), now)
    with pytest.raises(StoreError, match="connection refused"):
        lease.confirm()
    assert lease.held()
    assert not lease.lost
    now.seconds = 116
    assert not lease.held()


def test_once_another_has_taken_over_it_never_comes_back() -> None:
    leads = Leads(answer=False)
    lease = kept(leads, Elapsed())
    for answer in (False, True):
        leads.answer = answer
        with pytest.raises(LeaseLost, match="cannot change anything: another Medic has taken over"):
            lease.confirm()
        assert not lease.held()
    lease.end()


def test_who_keeps_it_is_told_once_that_it_is_lost() -> None:
    told = threading.Event()
    lease = KeptLease(Leads(answer=False), kept(Leads(answer=True), Elapsed()).lead, timedelta(milliseconds=10), taken_at=0)
    lease.keep(on_lost=told.set)
    assert told.wait(10)
    lease.end()


def test_a_sole_lease_is_always_held() -> None:
    lease = SoleLease()
    lease.confirm()
    assert (lease.held(), lease.until()) == (True, None)


def test_who_stands_by_is_told_who_leads_lives_meanwhile_and_leads_when_stopped_waiting_for() -> None:
    leads, stop = memory_store().leads, threading.Event()
    assert leads.take("ann", "ann/1", timedelta(hours=1)) is not None
    told: list[str] = []
    looks: list[int] = []

    def alive() -> None:
        looks.append(1)
        if told:
            stop.set()

    def wait() -> KeptLease | None:
        return stand_by(leads, "bob", "bob/2", SPAN, stop=stop, waiting_for=lambda lead: told.append(lead.holder), alive=alive)

    told.append("already")  # `alive` ends it at its first look
    assert wait() is None
    assert looks
    stop.clear()
    told.clear()
    leads.release(1)
    lease = wait()
    assert lease is not None
    assert lease.lead.term == 2
