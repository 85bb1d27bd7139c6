"""What every `ports.Clock` does: the machine's and the one that tests move."""

from datetime import UTC, timedelta

import pytest

from agent.adapters.system_clock import SystemClock
from agent.ports import Clock
from tests.fakes import FakeClock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    return request.param()


@pytest.mark.abuse("16")
def test_now_is_aware_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


def test_sleep_moves_both_clocks_by_at_least_the_span(clock: Clock) -> None:
    span = timedelta(milliseconds=20)
    now, monotonic = clock.now(), clock.monotonic()
    clock.sleep(span)
    assert clock.monotonic() - monotonic >= span.total_seconds()
    assert clock.now() - now >= span - timedelta(milliseconds=1)


def test_a_span_that_is_over_already_is_not_waited_for(clock: Clock) -> None:
    monotonic = clock.monotonic()
    clock.sleep(timedelta(hours=-1))
    assert 0 <= clock.monotonic() - monotonic < 60
