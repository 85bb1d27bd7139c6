"""The machine's clock: the only reader of time and the only sleeper in Medic."""

import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """`ports.Clock` on the operating system."""

    def now(self) -> datetime:
        """Return the time of day, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back, whatever happens to the time of day."""
        return time.monotonic()

    def sleep(self, span: timedelta) -> None:
        """Wait; a span of zero or less returns at once."""
        time.sleep(max(span.total_seconds(), 0.0))
