"""The kill switch, and what a halt has stopped."""

from datetime import datetime, timedelta

from agent.adapters.kill_file import KillFile
from agent.model import RunEnd
from agent.settings import Settings
from agent.wiring import clock, keeping, leading


def kill_file(using: Settings) -> KillFile:
    """Return the kill switch."""
    return KillFile(using.state_dir, environment=using.halted_by_env)


def stopped_since(using: Settings, began: datetime, within: timedelta) -> tuple[str, ...]:
    """Return what a halt that began then has stopped, a sentence for each playbook, waiting for those still under way.

    Makes no store where there is none. Raises ConfigError or StoreError when the store cannot be asked.
    """
    if keeping.is_file(using) and leading.watch_is_running(using) is None:
        return ()  # a store that is one file has one daemon: without it nothing is under way
    end = clock.CLOCK.monotonic() + within.total_seconds()
    with keeping.open_store(using) as store:
        while True:
            attempts = [attempt for incident in store.incidents.recent() for attempt in incident.attempts]
            running = [attempt for attempt in attempts if attempt.runs and attempt.run is None]
            if not running or clock.CLOCK.monotonic() >= end:
                break
            clock.CLOCK.sleep(keeping.FOLLOW_EVERY)
    stopped = [
        a for a in attempts if a.run is not None and a.run.end is RunEnd.CANCELLED and a.ran_until and a.ran_until >= began
    ]
    return (
        *(f"stopped {a.plan.runbook} ({a.incident}-{a.number}): {a.run.message}" for a in stopped if a.run is not None),
        *(f"still under way: {a.plan.runbook} ({a.incident}-{a.number})" for a in running),
    )
