"""Several providers as one: who is asked next follows from the kind of fault; one deadline and one budget stand over all."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from agent.llm.budget import Budget
from agent.llm.providers import LONGEST_REST, LimitError, Phase, Providers
from agent.model import FaultKind, IncidentId, ModelAnswer, ModelFault, ModelLimits, Price, Role, Said, StopReason
from tests.fakes import FakeClock
from tests.fakes_model import Asked, ScriptedModel, fault, provider, says
from tests.memory_store import memory_store

QUESTION = (Said(role=Role.USER, text="why?"),)


class Bench:
    """Providers over scripted models, one fake clock, one store."""

    def __init__(self, *models: ScriptedModel, limits: ModelLimits | None = None) -> None:
        self.clock, self.store, self.models = FakeClock(), memory_store(), models
        self.limits = limits or ModelLimits(steps=100, calls_per_incident=1_000, calls_per_hour=1_000)
        self.through = Providers([provider(model, f"m{n}") for n, model in enumerate(models)], self.clock, at_once=1)
        self.asked = 0

    def ask(self, phase: Phase = Phase.CLASSIFY) -> ModelAnswer:
        self.asked += 1
        budget = Budget(self.limits, IncidentId("I1"), self.asked, self.store.spending, self.clock)
        return self.through.complete(QUESTION, (), phase=phase, most_output=100, schema=None, budget=budget)


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        (FaultKind.RATE_LIMITED, 2, 1),
        (FaultKind.OVERLOADED, 2, 1),
        (FaultKind.UNREACHABLE, 2, 1),
        (FaultKind.TIMEOUT, 1, 1),
        (FaultKind.REFUSED_KEY, 1, 1),
        (FaultKind.OTHER, 1, 1),
        (FaultKind.BAD_REQUEST, 1, 0),
        (FaultKind.TOO_LONG, 1, 0),
    ],
)
def test_what_follows_a_fault_is_decided_by_its_kind(kind: FaultKind, first: int, second: int) -> None:
    bench = Bench(ScriptedModel(fault(kind)), ScriptedModel(says("yes")))
    if second:
        assert bench.ask().model == "m1/strong"
    else:
        with pytest.raises(ModelFault):
            bench.ask()
    assert [len(model.asked) for model in bench.models] == [first, second]
    assert [FaultKind(kind) for kind in FaultKind] == list(FaultKind), "a new kind needs a row above"
    assert len(FaultKind) == 8


def test_each_phase_has_its_own_model() -> None:
    bench = Bench(ScriptedModel(says("yes")))
    assert bench.ask(Phase.INVESTIGATE).model == "m0/cheap"
    assert bench.ask(Phase.CLASSIFY).model == "m0/strong"


@pytest.mark.parametrize("stop", [StopReason.LENGTH, StopReason.FILTERED])
def test_an_answer_that_was_cut_is_paid_and_not_used(stop: StopReason) -> None:
    bench = Bench(ScriptedModel(says("it is the"), stop=stop), ScriptedModel(says("yes")))
    with pytest.raises(ModelFault):
        bench.ask()
    (paid,) = bench.store.spending.of(IncidentId("I1"))
    assert paid.amount > 0
    assert bench.models[1].asked == []


def test_an_answer_that_says_nothing_is_none() -> None:
    with pytest.raises(ModelFault, match="says nothing"):
        Bench(ScriptedModel(says("  \n"))).ask()


def test_one_slow_provider_leaves_time_for_the_next() -> None:
    bench = Bench(ScriptedModel(fault(FaultKind.TIMEOUT)), ScriptedModel(says("yes")))
    bench.ask()
    (asked,) = bench.models[0].asked
    assert asked.deadline == bench.limits.wall / 2


def test_nobody_is_asked_when_time_is_over() -> None:
    bench = Bench(ScriptedModel(fault(FaultKind.RATE_LIMITED)), limits=ModelLimits(wall=timedelta(seconds=2)))
    with pytest.raises(ModelFault):
        bench.ask()
    assert len(bench.models[0].asked) <= 2


def test_a_provider_that_fails_again_and_again_rests_and_is_tried_again_later() -> None:
    bench = Bench(ScriptedModel(fault(FaultKind.TIMEOUT)), ScriptedModel(says("yes")))
    for _ in range(5):
        bench.ask()
    assert len(bench.models[0].asked) == 3
    bench.clock.move(timedelta(minutes=1))
    bench.ask()
    assert len(bench.models[0].asked) == 4
    bench.ask()
    assert len(bench.models[0].asked) == 4, "one fault after its rest sends it back to a longer one"
    bench.clock.move(LONGEST_REST)
    bench.models[0].steps = [says("yes")]
    assert bench.ask().model == "m0/strong"
    assert bench.ask().model == "m0/strong"


def test_a_refused_key_rests_at_once() -> None:
    bench = Bench(ScriptedModel(fault(FaultKind.REFUSED_KEY)), ScriptedModel(says("yes")))
    bench.ask()
    bench.ask()
    assert len(bench.models[0].asked) == 1


def test_every_provider_resting_is_a_fault_and_no_call() -> None:
    bench = Bench(ScriptedModel(fault(FaultKind.REFUSED_KEY)))
    for _ in range(2):
        with pytest.raises(ModelFault):
            bench.ask()
    assert len(bench.models[0].asked) == 1


def test_the_budget_is_asked_about_the_model_that_is_tried() -> None:
    cheap, dear = ScriptedModel(fault(FaultKind.TIMEOUT)), ScriptedModel(says("yes"))
    bench = Bench(limits=ModelLimits(money_per_incident=Decimal("0.10")))
    through = Providers(
        [
            provider(cheap, "cheap"),
            replace(provider(dear, "dear"), price=lambda _: Price(input=Decimal(10_000), output=Decimal(10_000))),
        ],
        bench.clock,
        at_once=1,
    )
    budget = Budget(bench.limits, IncidentId("I1"), 1, bench.store.spending, bench.clock)
    with pytest.raises(LimitError, match="this call may cost"):
        through.complete(QUESTION, (), phase=Phase.CLASSIFY, most_output=100, schema=None, budget=budget)
    assert dear.asked == []


def test_a_call_waits_its_turn_no_longer_than_it_has() -> None:
    """One call is under way and `at_once` is 1: another is not made beside it, and its own time still ends it."""
    busy, free = threading.Event(), threading.Event()

    def answers(_asked: Asked) -> Said:
        busy.set()
        assert free.wait(60)
        return says("yes")

    bench = Bench(ScriptedModel(answers))
    with ThreadPoolExecutor(1) as others:
        first = others.submit(bench.ask)
        try:
            assert busy.wait(60)
            hurried = replace(bench.limits, wall=timedelta(milliseconds=20))
            budget = Budget(hurried, IncidentId("I2"), 1, bench.store.spending, bench.clock)
            with pytest.raises(ModelFault, match="others are being asked") as caught:
                bench.through.complete(QUESTION, (), phase=Phase.READ, most_output=9, schema=None, budget=budget)
        finally:
            free.set()
        assert caught.value.kind is FaultKind.TIMEOUT
        assert first.result(60).said.text == "yes"
    assert len(bench.models[0].asked) == 1
    assert bench.store.spending.of(IncidentId("I2")) == (), "nothing was reserved for a call that was not made"
    assert bench.ask().said.text == "yes", "its turn is given back"
