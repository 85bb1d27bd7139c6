"""What the prober remembers between looks: latencies and the growth of logs, inside a window of time."""

from datetime import timedelta

import pytest

from agent.adapters import windows
from agent.model import HostName, HttpRequest, HttpSeen, LogRequest

SECOND = timedelta(seconds=1)
ASKED = HttpRequest(url="http://a/", timeout=SECOND, window=10 * SECOND)
LOG = LogRequest(host=HostName("here"), path="/log", window=10 * SECOND)


class Watch:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def remembered(watch: Watch) -> windows.Windows:
    return windows.Windows(watch)


def took(seconds: float, error: str | None = None) -> HttpSeen:
    return HttpSeen(status=200, latency=timedelta(seconds=seconds), error=error)


def test_the_latencies_of_a_window_are_kept_and_older_ones_dropped(watch: Watch, remembered: windows.Windows) -> None:
    for watch.at in (0, 4, 8):
        remembered.with_latencies(ASKED, took(watch.at))
    watch.at = 12
    assert remembered.with_latencies(ASKED, took(12)).recent == (4 * SECOND, 8 * SECOND, 12 * SECOND)


def test_an_answer_that_did_not_come_adds_nothing(remembered: windows.Windows) -> None:
    remembered.with_latencies(ASKED, took(1))
    assert remembered.with_latencies(ASKED, took(9, "timeout")).recent == (SECOND,)


def test_a_question_without_a_window_remembers_nothing(remembered: windows.Windows) -> None:
    plain = HttpRequest(url="http://a/", timeout=SECOND)
    assert remembered.with_latencies(plain, took(1)) == took(1)


def test_another_address_is_another_question(remembered: windows.Windows) -> None:
    other = HttpRequest(url="http://b/", timeout=SECOND, window=10 * SECOND)
    remembered.with_latencies(ASKED, took(1))
    assert remembered.with_latencies(other, took(2)).recent == (2 * SECOND,)


@pytest.mark.parametrize(
    ("sizes", "written"),
    [([5], 0), ([5, 5], 0), ([5, 25], 20), ([5, 25, 30], 25), ([50, 8], 8), ([50, 8, 10], 10)],
)
def test_what_was_written_to_a_log_counts_across_a_rotation(
    watch: Watch, remembered: windows.Windows, sizes: list[int], written: int
) -> None:
    for watch.at, size in enumerate(sizes):
        seen = remembered.with_growth(LOG, size, size + 100)
    assert (seen.size, seen.written, seen.over) == (sizes[-1] + 100, written, (len(sizes) - 1) * SECOND)


def test_a_question_is_forgotten_when_nobody_asks_it_any_more(watch: Watch, remembered: windows.Windows) -> None:
    remembered.with_latencies(ASKED, took(1))
    watch.at = windows.FORGOTTEN_AFTER + 1
    other = HttpRequest(url="http://b/", timeout=SECOND, window=10 * SECOND)
    remembered.with_latencies(other, took(1))
    assert list(remembered._samples) == [other]
