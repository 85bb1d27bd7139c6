"""The bill adds up whichever way it is cut, and people hear once a day that the money goes out."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from agent import spending
from agent.model import IncidentId, ModelLimits, NoticeKind, Spending, SpendingKind, StopReason, Usage
from tests.fakes import START
from tests.memory_store import memory_store

DAY = timedelta(days=1)
CALL = Spending(
    key="I1-1 call 1",
    kind=SpendingKind.MODEL,
    what="small",
    at=START,
    amount=Decimal("0.10"),
    billed=True,
    incident=IncidentId("I1"),
    usage=Usage(input_tokens=1_000, output_tokens=50, estimated=False),
    stop=StopReason.END,
)
ROWS = (
    CALL,
    replace(CALL, key="2", what="large", amount=Decimal("0.40")),
    replace(CALL, key="3", incident=IncidentId("I2"), at=START + DAY, usage=replace(CALL.usage, estimated=True)),  # type: ignore[type-var]
    replace(CALL, key="4", at=START + DAY, usage=None, billed=False),
)


@pytest.mark.parametrize(
    ("by", "lines"),
    [
        ("incident", [("I1", 3, 1, "0.60", True), ("I2", 1, 0, "0.10", True)]),
        ("day", [("2026-03-01", 2, 0, "0.50", False), ("2026-03-02", 2, 1, "0.20", True)]),
        ("model", [("small", 3, 1, "0.30", True), ("large", 1, 0, "0.40", False)]),
    ],
)
def test_a_bill_by_incident_day_or_model(by: str, lines: list[tuple[str, int, int, str, bool]]) -> None:
    made = spending.bill(ROWS, by)
    assert [(line.of, line.calls, line.without_answer, str(line.usd), line.estimated) for line in made] == lines
    assert spending.total(made) == Decimal("0.70")


def test_people_are_told_once_a_day_and_not_before_it_is_much() -> None:
    outbox = memory_store().outbox
    tell = spending.teller(ModelLimits(money_per_day=Decimal(5), tell_at=Decimal("0.8")), outbox, ("ops",))
    for spent, now in (("3.99", START), ("4.00", START), ("4.50", START + timedelta(hours=3)), ("4.20", START + DAY)):
        tell(Decimal(spent), now)
    sent = [delivery.notice for delivery in outbox.due(START + 2 * DAY)]
    assert [(notice.kind, notice.title) for notice in sent] == [
        (NoticeKind.SPENT, "Medic has spent 80% of a day's money for models"),
        (NoticeKind.SPENT, "Medic has spent 84% of a day's money for models"),
    ]
    assert "$4.00 within 24 hours; $5.00 are allowed" in sent[0].body
