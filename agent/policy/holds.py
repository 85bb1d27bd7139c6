"""Reasons to do nothing now: each function returns a `Hold` (or, where looking is what is broken, a `Refusal`), or None.

A Hold spends no attempt and says what would change its mind. Pure: facts, findings and `now` in.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import (
    ContainerEvent,
    ContainerState,
    Decision,
    Findings,
    Health,
    Hold,
    HoldCode,
    Incident,
    Refusal,
    RefusalCode,
    Service,
)

BLIND_FOR = timedelta(seconds=30)
HALTED_FOR = timedelta(seconds=5)
STOPPED_FOR = timedelta(days=1)
"""Shown to people only: the sweep leaves a stopped service alone until somebody starts it, however long that takes."""


def halted(who: str | None) -> Hold | None:
    """People said stop (`medic halt`)."""
    if who is None:
        return None
    return Hold(code=HoldCode.HALTED, because=who, until="`medic resume`", look_again=HALTED_FOR)


def cannot_see(incident: Incident, findings: Findings) -> Decision | None:
    """No check could look: never a ground to act. Where that opened the incident, people mend the monitoring."""
    verdict = findings.evidence.verdict
    if verdict.health is not Health.UNKNOWN:
        return None
    because = "; ".join(verdict.reasons) or "no check could look"
    if incident.first.health is Health.UNKNOWN:
        # The streak of UNKNOWN opened this incident: the monitoring is what is broken, and people mend that.
        return Refusal(code=RefusalCode.CANNOT_SEE, because=because)
    return Hold(code=HoldCode.MONITOR_BLIND, because=because, until="a check can look again", look_again=BLIND_FOR)


def stopped_on_purpose(incident: Incident, findings: Findings) -> Hold | None:
    """Somebody else than Medic told Docker to stop the container."""
    container = findings.evidence.container
    if container is None or container.state not in (ContainerState.EXITED, ContainerState.MISSING):
        return None
    ours = tuple((attempt.intent_at, attempt.ran_until) for attempt in incident.attempts)
    stop = stop_by_others(findings.evidence.events, ours=ours, removed=container.state is ContainerState.MISSING)
    if stop is None:
        return None
    return Hold(
        code=HoldCode.STOPPED_ON_PURPOSE,
        because=f"Docker was told to {stop.action} it at {stop.at:%H:%M:%S} UTC, and not by Medic",
        until="a person starts the container",
        look_again=STOPPED_FOR,
    )


def warming(service: Service, findings: Findings, now: datetime) -> Hold | None:
    """The container is younger than its start grace."""
    container = findings.evidence.container
    if container is None or container.state is not ContainerState.RUNNING or container.started_at is None:
        return None
    left = container.started_at + service.limits.start_grace - now
    if left <= timedelta(0):
        return None
    age = (now - container.started_at).total_seconds()
    return Hold(
        code=HoldCode.WARMING,
        because=f"its container started {age:.0f} s ago",
        until=f"it answers, or {service.limits.start_grace.total_seconds():.0f} s after its start",
        look_again=left,
    )


OWN_SLACK = timedelta(seconds=2)
"""Docker stamps its events with its own clock, and an event of our own restart may come just after the playbook's end."""


DEADLY = ("2", "3", "9", "15")
"""Signals that end a process by default and that people send to end one: INT, QUIT, KILL, TERM. A HUP asks for a reload."""

STOP_TAKES = timedelta(seconds=60)
"""A death later than this after a signal is not that signal's doing."""


def stop_by_others(
    events: Sequence[ContainerEvent], *, ours: Sequence[tuple[datetime, datetime | None]], removed: bool
) -> ContainerEvent | None:
    """Return the event by which somebody else than Medic stopped the container, if that is why it does not run.

    Docker tells `kill` (a signal was sent through its API) before `die`, and `stop` after it, when it was told to stop a
    container; a crash is a `die` alone. A removed container counts as stopped on purpose only after a `stop` (`docker stop`,
    `compose down`): `docker rm -f` of something that should run is not a decision to do without it.
    ours: (begin, end) of our own attempts; their events are not somebody else's. An end of None means "not over".
    Source: events of Docker 20.10, tests/contracts/test_containers.py.
    """
    theirs = [event for event in events if not any(_within(event.at, begin, end) for begin, end in ours)]
    starts = [position for position, event in enumerate(theirs) if event.action == "start"]
    last_life = theirs[starts[-1] :] if starts else theirs
    if not any(event.action == "die" for event in last_life):
        return None
    died = next(event.at for event in reversed(last_life) if event.action == "die")
    for event in reversed(last_life):
        killed = event.action == "kill" and event.signal in DEADLY and died - event.at <= STOP_TAKES
        if event.action == "stop" or (killed and not removed):
            return event
    return None


def _within(at: datetime, begin: datetime, end: datetime | None) -> bool:
    return begin - OWN_SLACK <= at and (end is None or at <= end + OWN_SLACK)
