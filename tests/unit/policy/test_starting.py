"""How long a container may be silent before it hangs: learned from its own starts."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import ContainerState, Findings, HoldCode, Limits, Start
from agent.policy import starting
from tests.fakes import START
from tests.unit.policy.holds_at import MINUTE, RUNS, SECOND, WEB, findings, sick, standing, verdict

RED = verdict(sick("http-timeout"))
TIMES = st.lists(st.integers(0, 7_200_000).map(lambda ms: timedelta(milliseconds=ms)), min_size=1, max_size=50)


def starts(*seconds: float, image_id: str = RUNS.image_id) -> tuple[Start, ...]:
    return tuple(
        Start(image_id=image_id, started_at=START - timedelta(days=number + 1), took=timedelta(seconds=took))
        for number, took in enumerate(seconds)
    )


def aged(seconds: float, **facts: object) -> Findings:
    born = replace(RUNS, started_at=START - timedelta(seconds=seconds))
    return findings(RED, container=replace(born, **facts))


@pytest.mark.parametrize(
    ("took", "patience"),
    [
        ((), 10),
        ((90, 90), 10),
        ((90, 95, 85), 285),
        ((85, 95, 90, 88, 92), 285),
        ((1, 1, 1), 10),
        ((3000, 3000, 3000), 1800),
        ((*[10] * 49, 600), 30),
    ],
    ids=["none", "too few", "three", "five", "fast", "capped", "one freak among fifty"],
)
def test_a_container_may_take_three_times_what_its_own_starts_took(took: tuple[float, ...], patience: float) -> None:
    assert starting.patience(WEB, [timedelta(seconds=each) for each in took]) == timedelta(seconds=patience)


@given(TIMES)
def test_the_percentile_was_really_seen_and_few_are_slower(took: list[timedelta]) -> None:
    found = starting.percentile_95(took)
    assert found in took
    assert sum(each > found for each in took) <= len(took) * 0.05
    assert found == starting.percentile_95(took[::-1])


@given(TIMES, st.integers(0, 7200), st.integers(1, 43_200))
def test_patience_stays_between_the_grace_and_the_longest_start(took: list[timedelta], grace: int, longest: int) -> None:
    limits = Limits(start_grace=grace * SECOND, longest_start=longest * SECOND)
    found = starting.patience(replace(WEB, limits=limits), took)
    assert limits.start_grace <= found <= max(limits.start_grace, limits.longest_start)


@pytest.mark.parametrize(
    ("age", "learned", "facts", "held_for"),
    [
        (4, (), {}, 6),
        (11, (), {}, None),
        (200, starts(90, 90, 90), {}, 70),
        (271, starts(90, 90, 90), {}, None),
        (200, starts(90, 90, 90, image_id="sha256:other"), {}, None),
        (200, (), {"health": "starting"}, 15),
        (1795, (), {"health": "starting"}, 5),
        (1801, (), {"health": "starting"}, None),
        (271, starts(90, 90, 90), {"health": "starting"}, None),
        (4, (), {"state": ContainerState.EXITED}, None),
        (4, (), {"started_at": None}, None),
    ],
    ids=[
        "in its grace", "past its grace", "slower than ever but not three times", "three times slower hangs",
        "another image taught nothing", "docker says starting", "starting, near the cap", "starting for too long",
        "starting, but three times slower hangs", "not running", "start not known",
    ],
)  # fmt: skip
def test_holds_while_it_may_be_warming(
    age: float, learned: tuple[Start, ...], facts: dict[str, object], held_for: float | None
) -> None:
    hold = starting.warming(WEB, aged(age, **facts), standing(starts=learned))
    if held_for is None:
        assert hold is None
    else:
        assert hold is not None
        assert (hold.code, hold.look_again) == (HoldCode.WARMING, timedelta(seconds=held_for))


def test_a_life_that_was_well_already_is_not_warming_again() -> None:
    began = START - 2 * MINUTE
    ready = (*starts(90, 90, 90), Start(image_id=RUNS.image_id, started_at=began, took=80 * SECOND))
    assert starting.warming(WEB, findings(RED, container=replace(RUNS, started_at=began)), standing(starts=ready)) is None
