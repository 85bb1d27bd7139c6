"""Every limit of the control layer ends an asking when it is reached, and not before; none is forgotten by a restart."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from agent import money
from agent.llm import budget
from agent.llm.budget import Budget, Refused
from agent.model import (
    FaultKind,
    IncidentId,
    LimitReached,
    ModelAnswer,
    ModelFault,
    ModelLimit,
    ModelLimits,
    Role,
    Said,
    Spending,
    SpendingKind,
    StopReason,
    ToolCall,
    Usage,
)
from agent.ports import SpendingStore
from tests.fakes import FakeClock
from tests.memory_store import memory_store

SECOND = timedelta(seconds=1)
CENT = Decimal("0.01")
WIDE = ModelLimits(
    steps=1_000,
    tool_calls=1_000,
    tokens=10**9,
    wall=timedelta(days=30),
    money_per_incident=Decimal(10_000),
    money_per_day=Decimal(10_000),
    calls_per_incident=1_000,
    calls_per_hour=1_000,
    calls_per_day=1_000,
)
"""No limit that a test does not set itself."""


class Desk:
    """A store and a clock that askings share, as one Medic's would."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.spending: SpendingStore = memory_store().spending
        self.told: list[Decimal] = []

    def asking(self, limits: ModelLimits, incident: str = "I1", number: int = 1) -> Budget:
        return Budget(
            limits, IncidentId(incident), number, self.spending, self.clock, on_spent=lambda spent, _: self.told.append(spent)
        )

    def call(self, asking: Budget, *, tokens: int = 100, most: Decimal = CENT, cost: Decimal = CENT) -> LimitReached | None:
        if asking.reserve("small", tokens=tokens, most=most) is not None:
            assert asking.reached is not None
            return asking.reached
        asking.settle(answer(tokens, cost))
        return None


def answer(tokens: int = 100, cost: Decimal = CENT) -> ModelAnswer:
    return ModelAnswer(
        said=Said(role=Role.ASSISTANT, text="hm"),
        stop=StopReason.END,
        usage=Usage(input_tokens=tokens, output_tokens=0, estimated=False),
        model="small",
        cost=cost,
        took=SECOND,
    )


def look(name: str, id_: str = "c") -> ToolCall:
    return ToolCall(id=id_, name=name, arguments='{"service": "web"}')


@pytest.fixture
def desk() -> Desk:
    return Desk()


# -------------------------------------------------------------------------------------------- calls: what trips each limit

TRIPS: dict[ModelLimit, tuple[ModelLimits, int]] = {
    ModelLimit.STEPS: (replace(WIDE, steps=3), 3),
    ModelLimit.TOKENS: (replace(WIDE, tokens=450), 4),
    ModelLimit.MONEY_PER_INCIDENT: (replace(WIDE, money_per_incident=5 * CENT), 5),
    ModelLimit.MONEY_PER_DAY: (replace(WIDE, money_per_day=4 * CENT), 4),
    ModelLimit.CALLS_PER_INCIDENT: (replace(WIDE, calls_per_incident=2), 2),
    ModelLimit.CALLS_PER_HOUR: (replace(WIDE, calls_per_hour=6), 6),
    ModelLimit.CALLS_PER_DAY: (replace(WIDE, calls_per_day=7), 7),
}


@pytest.mark.parametrize("limit", TRIPS, ids=lambda limit: limit.value)
def test_a_limit_on_calls_ends_the_asking_at_the_call_that_passes_it(desk: Desk, limit: ModelLimit) -> None:
    limits, room = TRIPS[limit]
    asking = desk.asking(limits)
    reached = [desk.call(asking) for _ in range(room + 1)]
    assert reached[:-1] == [None] * room
    last = reached[-1]
    assert last is not None
    assert last.limit is limit
    assert len(desk.spending.since(desk.clock.now() - SECOND)) == room  # what was refused is not on the bill


@pytest.mark.parametrize("limit", TRIPS, ids=lambda limit: limit.value)
def test_a_restart_in_the_middle_forgets_no_call(desk: Desk, limit: ModelLimit) -> None:
    limits, room = TRIPS[limit]
    for _ in range(room):
        assert desk.call(desk.asking(limits)) is None  # each by a Medic that has just started
    reached = desk.call(desk.asking(limits))
    assert reached is not None
    assert reached.limit is limit


@pytest.mark.parametrize(
    ("limit", "over"),
    [
        (ModelLimit.MONEY_PER_DAY, money.DAY),
        (ModelLimit.CALLS_PER_DAY, money.DAY),
        (ModelLimit.CALLS_PER_HOUR, budget.HOUR),
    ],
)
def test_a_window_ends(desk: Desk, limit: ModelLimit, over: timedelta) -> None:
    limits, room = TRIPS[limit]
    incidents = (f"I{number}" for number in range(1, 100))
    for _ in range(room):
        assert desk.call(desk.asking(limits, next(incidents))) is None
    assert desk.call(desk.asking(limits, next(incidents))) is not None
    desk.clock.move(over + SECOND)
    assert desk.call(desk.asking(limits, next(incidents))) is None


def test_limits_of_one_incident_leave_another_alone(desk: Desk) -> None:
    limits = replace(WIDE, calls_per_incident=1, money_per_incident=CENT, steps=1)
    assert desk.call(desk.asking(limits, "I1")) is None
    assert desk.call(desk.asking(limits, "I1")) is not None
    assert desk.call(desk.asking(limits, "I11")) is None


def test_an_incident_keeps_its_bill_over_all_its_attempts_and_days(desk: Desk) -> None:
    limits = replace(WIDE, calls_per_incident=2)
    assert desk.call(desk.asking(limits, number=1)) is None
    desk.clock.move(timedelta(days=3))
    assert desk.call(desk.asking(limits, number=2)) is None
    reached = desk.call(desk.asking(limits, number=3))
    assert reached is not None
    assert reached.limit is ModelLimit.CALLS_PER_INCIDENT


def test_the_wall_clock_ends_calls_and_tools_alike(desk: Desk) -> None:
    asking = desk.asking(replace(WIDE, wall=10 * SECOND))
    desk.clock.move(9 * SECOND)
    assert (asking.left, desk.call(asking), asking.tool(look("inspect"))) == (SECOND, None, None)
    desk.clock.step(timedelta(days=-1))  # a clock that is set back gives no time
    desk.clock.move(SECOND)
    reached, stopped = desk.call(asking), asking.tool(look("probe"))
    assert isinstance(reached, LimitReached)
    assert isinstance(stopped, LimitReached)
    assert (reached.limit, stopped.limit, asking.left) == (ModelLimit.WALL, ModelLimit.WALL, timedelta(0))


# ------------------------------------------------------------------------------------------------------------------ money


def test_money_is_reserved_at_the_most_and_billed_at_what_it_was(desk: Desk) -> None:
    asking = desk.asking(WIDE)
    assert asking.reserve("small", tokens=10, most=Decimal("0.30")) is None
    assert [row.amount for row in desk.spending.of(IncidentId("I1"))] == [Decimal("0.30")]
    asking.settle(answer(cost=Decimal("0.02")))
    assert [(row.amount, row.billed) for row in desk.spending.of(IncidentId("I1"))] == [(Decimal("0.02"), True)]


def test_a_call_that_might_pass_the_cap_is_not_made_though_it_might_be_cheap(desk: Desk) -> None:
    reached = desk.call(desk.asking(replace(WIDE, money_per_day=Decimal(1))), most=Decimal("1.01"))
    assert reached is not None
    assert reached.limit is ModelLimit.MONEY_PER_DAY
    assert desk.told == []


def test_a_call_that_was_cut_counts_at_what_it_might_have_cost(desk: Desk) -> None:
    limits = replace(WIDE, money_per_day=CENT)
    desk.asking(limits, "I1").reserve("small", tokens=1, most=CENT)  # and then Medic is killed
    reached = desk.call(desk.asking(limits, "I2"))
    assert reached is not None
    assert reached.limit is ModelLimit.MONEY_PER_DAY


def test_a_provider_that_does_not_say_is_billed_what_was_reserved_and_never_nothing(desk: Desk) -> None:
    asking = desk.asking(WIDE)
    assert asking.reserve("small", tokens=10, most=CENT) is None
    asking.settle(answer(tokens=0, cost=Decimal(0)))
    (billed,) = desk.spending.of(IncidentId("I1"))
    assert billed.amount == CENT
    assert billed.usage is not None
    assert billed.usage.estimated


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_costs_nothing_only_where_no_provider_charges_for_it(desk: Desk, kind: FaultKind) -> None:
    asking = desk.asking(WIDE)
    assert asking.reserve("small", tokens=10, most=CENT) is None
    asking.failed(ModelFault("cannot ask small: boom", kind=kind))
    (billed,) = desk.spending.of(IncidentId("I1"))
    assert billed.amount == (CENT if kind in {FaultKind.TIMEOUT, FaultKind.OTHER} else 0)
    assert billed.fault == kind.value


def test_machines_are_on_the_same_ledger_and_not_on_the_bill_of_the_models(desk: Desk) -> None:
    machine = Spending(key="i-1", kind=SpendingKind.CLOUD, what="g5", at=desk.clock.now(), amount=Decimal(100))
    desk.spending.reserve(machine, desk.clock.now(), lambda _: None)
    asking = desk.asking(replace(WIDE, money_per_day=CENT))
    assert desk.call(asking) is None
    assert desk.told == [CENT]


def test_a_host_that_took_the_days_money_leaves_none_for_a_model(desk: Desk) -> None:
    machine = Spending(key="i-1", kind=SpendingKind.CLOUD, what="g5.xlarge", at=desk.clock.now(), amount=Decimal(24))
    desk.spending.reserve(machine, desk.clock.now(), lambda _: None)
    asking = Budget(WIDE, IncidentId("I1"), 1, desk.spending, desk.clock, daily_usd=Decimal("24.015"))

    reached = [desk.call(asking), desk.call(asking)]

    assert reached[0] is None
    assert reached[1] == LimitReached(
        limit=ModelLimit.MONEY_PER_DAY,
        because="one more call of small may cost up to 0.0100 USD, and of 24.02 USD a day for hosts and models 24.01 are spent",
    )


def test_every_bill_says_what_models_cost_within_a_day(desk: Desk) -> None:
    asking = desk.asking(WIDE)
    desk.call(asking)
    desk.call(asking)
    desk.clock.move(money.DAY + SECOND)
    desk.call(asking)
    assert desk.told == [CENT, 2 * CENT, CENT]


# ------------------------------------------------------------------------------------------------------------------ tools


def test_tool_calls_are_counted(desk: Desk) -> None:
    asking = desk.asking(replace(WIDE, tool_calls=2))
    assert [asking.tool(look(name)) for name in ("a", "b")] == [None, None]
    reached = asking.tool(look("c"))
    assert isinstance(reached, LimitReached)
    assert reached.limit is ModelLimit.TOOL_CALLS


def test_an_answer_with_more_tools_than_may_run_at_once_is_refused_as_a_whole(desk: Desk) -> None:
    asking = desk.asking(replace(WIDE, tool_calls_at_once=4))
    assert asking.tools([look(str(number)) for number in range(4)]) is None
    reached = asking.tools([look(str(number)) for number in range(500)])
    assert reached is not None
    assert reached.limit is ModelLimit.TOOL_CALLS_AT_ONCE


def test_the_same_question_is_not_asked_twice_and_asking_on_ends_it(desk: Desk) -> None:
    asking = desk.asking(WIDE)
    spaced = ToolCall(id="other", name="inspect", arguments='{ "service":"web" }')
    answers = [asking.tool(call) for call in (look("inspect"), spaced, look("inspect"), look("inspect"))]
    assert answers[0] is None
    assert all(isinstance(each, Refused) for each in answers[1:3])
    assert isinstance(answers[3], LimitReached)
    assert answers[3].limit is ModelLimit.REPEATS


def test_the_same_question_is_worth_asking_once_the_world_has_changed(desk: Desk) -> None:
    asking = desk.asking(WIDE)
    assert [asking.tool(look("inspect"), world) for world in (0, 1, 2)] == [None, None, None]
    assert isinstance(asking.tool(look("inspect"), 2), Refused)


def test_going_back_and_forth_ends_it(desk: Desk) -> None:
    asking = desk.asking(WIDE)
    answers = [asking.tool(look(name)) for name in ("a", "b", "a", "b")]
    assert isinstance(answers[3], LimitReached)
    assert answers[3].limit is ModelLimit.OSCILLATION


def test_answers_without_anything_new_end_it(desk: Desk) -> None:
    asking = desk.asking(replace(WIDE, no_news=3))
    news = [("a",), ("a",), ("a", "b"), ("b",), ("a",), ()]
    reached = [asking.saw(lines) for lines in news]
    assert reached[:-1] == [None] * 5
    last = reached[-1]
    assert last is not None
    assert last.limit is ModelLimit.NO_NEWS


def test_two_incidents_never_spend_the_last_of_it_twice(desk: Desk) -> None:
    limits, line = replace(WIDE, money_per_day=CENT), threading.Barrier(4)
    made: list[LimitReached | None] = []

    def ask(incident: str) -> Callable[[], None]:
        def run() -> None:
            asking = desk.asking(limits, incident)
            line.wait(timeout=10)
            made.append(desk.call(asking))

        return run

    threads = [threading.Thread(target=ask(f"I{number}")) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert made.count(None) == 1


def test_every_limit_has_a_test_that_trips_it() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [limit for limit in ModelLimit if f"ModelLimit.{limit.name}" not in text] == []
