"""Windows of the week: when one is in force, by which wall clock, and until when."""

from datetime import UTC, datetime

import pytest

from agent.model import Hold, HoldCode, Window
from agent.policy import holds, maintenance
from tests.fakes import START
from tests.unit.policy.holds_at import MINUTE, WEB, standing, verdict

MON, TUE, SAT, SUN = 0, 1, 5, 6


def window(days: tuple[int, ...], begin: str, end: str, timezone: str = "UTC", why: str = "backups") -> Window:
    minutes = (60 * int(text[:2]) + int(text[3:]) for text in (begin, end))
    return Window(days=days, begin=next(minutes), end=next(minutes), timezone=timezone, why=why)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# 2026-11-21 is a Saturday. Berlin's clock went back on 2026-10-25 at 01:00 UTC, and forward on 2026-03-29 at 01:00 UTC.
@pytest.mark.parametrize(
    ("days", "begin", "end", "timezone", "now", "until"),
    [
        ((SAT,), "02:00", "04:00", "UTC", "2026-11-21 02:00", "2026-11-21 04:00"),
        ((SAT,), "02:00", "04:00", "UTC", "2026-11-21 03:59", "2026-11-21 04:00"),
        ((SAT,), "02:00", "04:00", "UTC", "2026-11-21 01:59", None),
        ((SAT,), "02:00", "04:00", "UTC", "2026-11-21 04:00", None),
        ((SUN,), "02:00", "04:00", "UTC", "2026-11-21 03:00", None),
        ((SAT,), "23:00", "01:00", "UTC", "2026-11-22 00:30", "2026-11-22 01:00"),
        ((SUN,), "23:00", "01:00", "UTC", "2026-11-22 00:30", None),
        ((SAT,), "06:00", "06:00", "UTC", "2026-11-22 05:59", "2026-11-22 06:00"),
        ((MON,), "00:00", "02:00", "Asia/Tokyo", "2026-11-22 15:30", "2026-11-22 17:00"),
        ((SUN,), "01:00", "05:00", "Europe/Berlin", "2026-10-25 03:30", "2026-10-25 04:00"),
        ((SUN,), "01:00", "05:00", "Europe/Berlin", "2026-03-29 02:30", "2026-03-29 03:00"),
        ((SUN,), "01:00", "05:00", "Europe/Berlin", "2026-03-29 03:00", None),
    ],
)
def test_a_window_is_in_force_by_its_own_wall_clock(
    days: tuple[int, ...], begin: str, end: str, timezone: str, now: str, until: str | None
) -> None:
    found = maintenance.in_force([window(days, begin, end, timezone)], at(now))

    assert (found and found[0]) == (until and at(until))


def test_of_windows_that_overlap_the_last_end_counts() -> None:
    both = [window((SAT,), "02:00", "04:00"), window((SAT,), "03:00", "05:00", why="upgrade")]

    assert maintenance.in_force(both, at("2026-11-21 03:30")) == (at("2026-11-21 05:00"), "upgrade")


def test_a_window_holds_until_its_end_and_says_why() -> None:
    hold = maintenance.hold(standing(maintenance=(START + 2 * MINUTE, "backups")))

    assert hold is not None
    assert (hold.code, hold.because, hold.look_again) == (HoldCode.MAINTENANCE, "a maintenance window: backups", 2 * MINUTE)


def test_without_a_window_nothing_is_held() -> None:
    assert maintenance.hold(standing()) is None


def test_a_hold_is_over_early_only_when_neither_silence_nor_window_is_left() -> None:
    hold = Hold(code=HoldCode.MAINTENANCE, because="-", until="-", look_again=MINUTE)

    assert holds.ended_early(hold, WEB, verdict(), standing())
    assert not holds.ended_early(hold, WEB, verdict(), standing(maintenance=(START + MINUTE, "backups")))
