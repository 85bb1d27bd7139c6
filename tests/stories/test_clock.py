"""The clock steps, the machine sleeps: beats go on, nothing is healed for what was seen before, nothing waits for ever."""

from datetime import timedelta
from pathlib import Path

import pytest

from agent.model import Closing, HoldCode, IncidentState, Outcome
from tests.stories.world import EVERY, Ward, service

HOUR, YEARS = timedelta(hours=1), timedelta(days=3652)
STEPS = [HOUR, -HOUR, YEARS, -YEARS]


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    made = Ward(tmp_path, (service("web"), service("api")))
    made.beat(3)
    return made


@pytest.mark.abuse("16")
@pytest.mark.parametrize("step", STEPS)
def test_a_step_of_the_clock_is_no_trouble_of_any_service(ward: Ward, step: timedelta) -> None:
    ward.clock.step(step)
    ward.beat(4)
    assert ward.incidents() == ()
    (latest, *_) = ward.store.sweeps.latest(1)
    assert sorted(latest.checked) == ["api", "web"], "every check is due again at once"


@pytest.mark.abuse("16")
@pytest.mark.parametrize("step", STEPS)
def test_a_service_that_dies_around_a_step_is_healed_with_one_attempt(ward: Ward, step: timedelta) -> None:
    ward.machine.crash("web", exit_code=3)
    ward.clock.step(step)
    ward.beat_until(lambda: bool(ward.incidents()) and ward.incident("web").state is IncidentState.CLOSED)
    assert ward.incident("web").closing is Closing.HEALED
    assert [attempt.outcome for attempt in ward.incident("web").attempts] == [Outcome.HEALED]


@pytest.mark.abuse("16")
def test_what_was_held_while_the_clock_was_wrong_goes_on_when_it_is_right(ward: Ward) -> None:
    ward.clock.step(YEARS)
    ward.halt.why = "ada: the clock is wrong"
    ward.machine.crash("web", exit_code=3)
    ward.beat(3)
    hold = ward.incident("web").hold
    assert hold is not None
    assert hold.code is HoldCode.HALTED
    ward.clock.step(-YEARS)
    ward.halt.why = None
    ward.beat_until(lambda: ward.incident("web").state is IncidentState.CLOSED)
    assert ward.incident("web").closing is Closing.HEALED


@pytest.mark.abuse("18")
@pytest.mark.parametrize("sleep", [timedelta(minutes=10), 8 * HOUR])
def test_one_red_look_before_a_sleep_and_one_after_it_heal_nothing(ward: Ward, sleep: timedelta) -> None:
    for each in ("web", "api"):
        ward.machine.boxes[each].answers = False
    ward.beat()
    ward.clock.step(sleep)  # the monotonic clock stands still while a machine sleeps
    ward.beat()
    assert ward.incidents() == ()
    for each in ("web", "api"):
        ward.machine.boxes[each].answers = True
    ward.beat(5)
    assert ward.incidents() == ()


def test_hours_of_beats_that_show_nothing_new_write_no_streak_and_are_no_sleep(ward: Ward) -> None:
    before = ward.store.services.all_streaks()
    ward.beat(int(HOUR / EVERY))
    assert ward.store.services.all_streaks() == before
    ward.machine.boxes["web"].answers = False
    ward.beat()
    ward.machine.boxes["web"].answers = True
    ward.beat()
    assert ward.incidents() == (), "one red look after an hour of good ones"


@pytest.mark.abuse("18")
def test_what_is_still_sick_after_a_sleep_is_healed_on_two_fresh_looks(ward: Ward) -> None:
    ward.machine.boxes["web"].answers = False
    ward.beat()
    ward.clock.move(8 * HOUR)  # a process that is stopped (SIGSTOP) sees both clocks run on
    woke = ward.clock.now()
    ward.beat_until(lambda: bool(ward.incidents()) and ward.incident("web").state is IncidentState.CLOSED)
    assert ward.incident("web").opened_at - woke >= 2 * EVERY
    assert ward.incident("web").closing is Closing.HEALED
