"""When people work by plan: windows of the week in medic.yaml, beside the silences that people begin themselves. Pure."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from agent.model import Hold, HoldCode, Standing, Window


def in_force(windows: Iterable[Window], now: datetime) -> tuple[datetime, str] | None:
    """Return the end of the window that `now` lies in, and why it is; the latest end where several overlap.

    A window is of the wall clock: on the day the clock is set forward it is an hour shorter, and an hour longer on the other.
    """
    ends = [(end, window.why) for window in windows if (end := _end(window, now)) is not None]
    return max(ends, default=None)


def hold(standing: Standing) -> Hold | None:
    """A window of medic.yaml is in force. When it ends everything is decided afresh; nothing is replayed."""
    if standing.maintenance is None:
        return None
    end, why = standing.maintenance
    until = f"{end:%Y-%m-%d %H:%M} UTC, the end of the window in medic.yaml"
    return Hold(code=HoldCode.MAINTENANCE, because=f"a maintenance window: {why}", until=until, look_again=end - standing.now)


def _end(window: Window, now: datetime) -> datetime | None:
    """Return when the window that began today or yesterday ends, if `now` lies in it."""
    zone = ZoneInfo(window.timezone)
    today = now.astimezone(zone).date()
    for day in (today, today - timedelta(days=1)):
        if day.weekday() not in window.days:
            continue
        last = day if window.end > window.begin else day + timedelta(days=1)
        begin, end = (
            datetime.combine(date, time(minutes // 60, minutes % 60), zone).astimezone(now.tzinfo)
            for date, minutes in ((day, window.begin), (last, window.end))
        )
        if begin <= now < end:
            return end
    return None
