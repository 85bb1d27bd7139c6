"""Restarts of a container by others: read from Docker's events, told apart from our own, counted and named. Pure.

Docker says `die` and then `start` when a container is restarted, whoever does it. Through its API it also tells `kill` or
`stop` before the start; its own restart policy raises `RestartCount`, which a start through the API sets back to 0.
Source: moby 20.10, `daemon/start.go` (resetRestartManager), and tests/live/test_foreign_restarts.py.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import Action, ContainerEvent, ContainerFacts, ForeignRestart, RestartedBy
from agent.policy import holds

KEEPS = 3
"""So many restarts through Docker's API within `KEEPS_WITHIN` are another healer, or a person at work: Medic stands down."""

KEEPS_WITHIN = timedelta(minutes=10)

_WORDS = {RestartedBy.RESTART_POLICY: "its restart policy", RestartedBy.DOCKER_API: "somebody through Docker's API"}


def by_others(events: Sequence[ContainerEvent], facts: ContainerFacts, actions: Sequence[Action]) -> tuple[ForeignRestart, ...]:
    """Return the restarts of the container that runs under this name now, oldest first, without our own.

    events: of one container name. facts: how it is now: its `restart_count` says how many of the last were its policy's.
    actions: our own on this service; a start while one of them runs is ours.
    """
    found: list[tuple[ContainerEvent, bool]] = []
    dead = told = False
    for event in sorted(events, key=lambda event: event.at):
        if event.action in ("create", "destroy"):
            found, dead, told = [], False, False  # another container had this name
        elif event.action == "die":
            dead = True
        elif event.action == "stop" or (event.action == "kill" and event.signal in holds.DEADLY):
            told = True
        elif event.action == "start":
            if dead:
                found.append((event, told))
            dead = told = False
    last_of_policy = len(found) - (facts.restart_count or 0)
    restarted = []
    for position, (event, told) in enumerate(found):
        # The latest start is its policy's only where the count says so; an earlier count is gone with a later start.
        untold = not told and (position >= last_of_policy or position < len(found) - 1)
        by_policy = untold and facts.restart_policy not in (None, "", "no")
        by = RestartedBy.RESTART_POLICY if by_policy else RestartedBy.DOCKER_API
        if not any(_ours(event.at, action) for action in actions):
            restarted.append(ForeignRestart(container=event.container, at=event.at, by=by))
    return tuple(restarted)


def _ours(at: datetime, action: Action) -> bool:
    return action.at - holds.OWN_SLACK <= at and (action.until is None or at <= action.until + holds.OWN_SLACK)


def keeps_restarting(restarts: Sequence[ForeignRestart], now: datetime) -> str | None:
    """Return who else keeps restarting the service, as words, or None.

    A restart policy is no reason to stand down by itself: it restarts what dies, and does not know why it died.
    """
    recent = [r for r in restarts if r.by is RestartedBy.DOCKER_API and r.at > now - KEEPS_WITHIN]
    if len(recent) < KEEPS:
        return None
    return f"{_WORDS[RestartedBy.DOCKER_API]} restarted it {len(recent)} times in {span(KEEPS_WITHIN)}, and not Medic"


def named(restarts: Sequence[ForeignRestart]) -> str:
    """Return who restarted how often, for example `5 by its restart policy, 1 by somebody through Docker's API`."""
    counts = {by: sum(restart.by is by for restart in restarts) for by in RestartedBy}
    return ", ".join(f"{count} by {_WORDS[by]}" for by, count in counts.items() if count)


def sentence(restarts: Sequence[ForeignRestart], ours: int, now: datetime, within: timedelta = KEEPS_WITHIN) -> str | None:
    """Return `restarted 6 times in 10 min, 5 by its restart policy`, or None when nobody else did of late.

    ours: actions of Medic on this service in the same time.
    """
    recent = [restart for restart in restarts if restart.at > now - within]
    if not recent:
        return None
    return f"restarted {len(recent) + ours} times in {span(within)}, {named(recent)}"


def span(length: timedelta) -> str:
    """Return a span as people say it, in its largest whole unit: `45 s`, `10 min`, `24 h`."""
    seconds = round(length.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
