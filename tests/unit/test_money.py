"""One cap a day over hosts and models, by one definition."""

from dataclasses import replace
from decimal import Decimal

import pytest

from agent import money
from agent.model import Spending, SpendingKind
from tests.fakes import START

CALL = Spending(key="I1 call 1", kind=SpendingKind.MODEL, what="a model", at=START, amount=Decimal("0.0123"))
HOST = replace(CALL, key="I1 replacement 1", kind=SpendingKind.CLOUD, what="g5.xlarge", amount=Decimal("24.144"))


def spent(*amounts: str) -> list[Spending]:
    return [replace(CALL, key=each, amount=Decimal(each)) for each in amounts]


@pytest.mark.parametrize(("already", "fits"), [((), True), (("5", "0.86"), True), (("5.87",), False)])
def test_one_days_money_pays_models_and_hosts(already: tuple[str, ...], fits: bool) -> None:
    said = money.no_room(spent(*already), HOST, Decimal("30.01"))

    assert (said is None) is fits
    assert said is None or said == (
        "one more g5.xlarge on demand may cost up to 24.14 USD, and of 30.01 USD a day for hosts and models 5.87 are spent"
    )


def test_a_host_is_counted_where_a_model_is_asked() -> None:
    assert money.no_room([HOST], CALL, Decimal("24.15")) == (
        "one more call of a model may cost up to 0.0123 USD, and of 24.15 USD a day for hosts and models 24.14 are spent"
    )
    assert money.no_room([HOST], CALL, Decimal("24.1563")) is None


def test_a_cap_of_nothing_buys_nothing_and_what_is_free_always_fits() -> None:
    assert money.no_room([], CALL, Decimal(0)) is not None
    assert money.no_room([], replace(CALL, amount=Decimal(0)), Decimal(0)) is None
