"""Savings are reckoned from what was published at each moment, and from nothing where nothing was."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from agent import savings
from agent.model import SpotPrice, Stay
from tests.fakes import START

HOUR = timedelta(hours=1)
STAY = Stay(
    instance="i-1", group="g", kind="g5.xlarge", zone="us-east-1a", spot=True, began_at=START, seen_at=START + 10 * HOUR
)
LATER = START + 24 * HOUR


def price(usd: str, after: float = -1, zone: str = "us-east-1a", kind: str = "g5.xlarge") -> SpotPrice:
    return SpotPrice(kind=kind, zone=zone, at=START + after * HOUR, usd=Decimal(usd))


def one(*prices: SpotPrice, stay: Stay = STAY, since: float = -1, on_demand: str | None = "1.00") -> savings.SpotBill:
    hour = None if on_demand is None else Decimal(on_demand)
    (bill,) = savings.of([stay], prices, lambda _: hour, START + since * HOUR, LATER)
    return bill


def test_one_price_all_the_time() -> None:
    bill = one(price("0.40"))

    assert (bill.there, bill.priced) == (10 * HOUR, 10 * HOUR)
    assert (bill.paid, bill.on_demand, bill.saved) == (Decimal("4.0"), Decimal("10.00"), Decimal("6.00"))


def test_each_price_counts_for_as_long_as_it_stood_in_whatever_order_they_come() -> None:
    bill = one(price("0.90", after=8), price("0.40"), price("0.50", after=4))

    assert bill.paid == Decimal("0.40") * 4 + Decimal("0.50") * 4 + Decimal("0.90") * 2


def test_spot_that_was_dearer_is_no_saving() -> None:
    assert one(price("1.20")).saved == Decimal("-2.00")


def test_time_before_the_first_known_price_counts_nowhere() -> None:
    bill = one(price("0.40", after=4))

    assert (bill.there, bill.priced, bill.paid, bill.on_demand) == (10 * HOUR, 6 * HOUR, Decimal("2.40"), Decimal("6.00"))


@pytest.mark.parametrize("others", [price("0.40", zone="us-east-1b"), price("0.40", kind="g6.xlarge")])
def test_another_pools_price_is_none(others: SpotPrice) -> None:
    bill = one(others)

    assert (bill.priced, bill.paid, bill.on_demand) == (timedelta(0), 0, 0)


def test_a_type_without_an_on_demand_price_is_compared_with_nothing() -> None:
    assert one(price("0.40"), on_demand=None).priced == timedelta(0)


def test_only_what_lies_in_the_window_counts() -> None:
    assert one(price("0.40"), since=7).there == 3 * HOUR


def test_hosts_on_demand_and_those_that_were_gone_before_save_nothing() -> None:
    stays = [replace(STAY, spot=False), replace(STAY, seen_at=START - HOUR, began_at=START - 2 * HOUR)]

    assert savings.of(stays, [price("0.40")], lambda _: Decimal(1), START, LATER) == ()
