"""A person's request: through the daemon that runs, or carried out in the foreground where none does."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from agent.errors import ConfigError, OutsideError
from agent.model import IncidentId, IncidentState, Lead, Request, RequestAnswer, StoryEvent
from agent.ports import Store
from agent.settings import Settings
from agent.wiring import clock, daemon, keeping, leading

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.watch import Parts

ANSWER_WITHIN = timedelta(seconds=10)
FOLLOW_WITHIN = timedelta(minutes=30)


def ask(using: Settings, request: Request, on_story: Callable[[StoryEvent], None]) -> RequestAnswer:
    """Ask the running daemon and follow what comes of it live; without one, take the lock and do it in the foreground.

    Raises ConfigError when the request names what there is not, OutsideError when the daemon does not answer in time.
    """
    from agent.adapters.watch_lock import WatchLock

    if leading.watch_is_running(using) is not None or leading.leader(using) is not None:
        with keeping.open_store(using) as store:
            store.requests.ask(request)
            answer = _sensible(_wait_for_answer(store, request.id))
            if answer.accepted and answer.incident is not None:
                _follow(store, answer.incident, on_story)
            return answer

    stop = threading.Event()

    def refuse(lead: Lead) -> None:
        raise OutsideError(f"cannot ask: {lead.holder} has just begun to lead; ask again", transient=True)

    with WatchLock(using.state_dir).held(), leading.lead(using, stop, waiting_for=refuse) as lease:
        assert lease is not None  # noqa: S101  nothing sets `stop` before
        with daemon.joined(using, stop, stop, lease, on_story, lambda: None) as parts:
            return _in_the_foreground(parts, request, on_story)


def _in_the_foreground(parts: "Parts", request: Request, on_story: Callable[[StoryEvent], None]) -> RequestAnswer:
    from agent import errands, outbox

    _refuse_what_needs_a_daemon(parts, request)
    parts.engine.launch()
    try:
        answer = _sensible(errands.answer(request, parts.world, parts.engine, parts.sweep))
        if answer.accepted and answer.incident is not None:
            _follow(parts.world.store, answer.incident, on_story)
        _wait_for_others(parts)
        return answer
    finally:
        parts.stop.set()
        parts.engine.stop(timedelta(seconds=10))
        outbox.deliver_due(parts.world.store.outbox, parts.notifiers, clock.CLOCK)


def _refuse_what_needs_a_daemon(parts: "Parts", request: Request) -> None:
    """Refuse to give a host up where nobody would follow it to its end. Raises ConfigError."""
    chosen = next((each for each in parts.world.runbooks if each.id == request.runbook), None)
    if chosen is not None and chosen.fleet is not None:
        raise ConfigError(f"cannot run {chosen.id!r} in the foreground: start `medic watch`, which follows the host to its end")


def _wait_for_others(parts: "Parts") -> None:
    """Starting the engine resumed whatever an earlier crash had cut: let it end rather than cut it again."""
    end = clock.CLOCK.monotonic() + FOLLOW_WITHIN.total_seconds()
    while parts.engine.running() and clock.CLOCK.monotonic() < end:
        clock.CLOCK.sleep(keeping.FOLLOW_EVERY)


def _wait_for_answer(store: Store, request: str) -> RequestAnswer:
    end = clock.CLOCK.monotonic() + ANSWER_WITHIN.total_seconds()
    while clock.CLOCK.monotonic() < end:
        answer = store.requests.answered(request)
        if answer is not None:
            return answer
        clock.CLOCK.sleep(keeping.FOLLOW_EVERY)
    raise OutsideError(
        f"cannot follow request {request!r}: the daemon did not answer within {ANSWER_WITHIN.total_seconds():.0f} s",
        transient=True,
    )


def _sensible(answer: RequestAnswer) -> RequestAnswer:
    if answer.mistaken:
        raise ConfigError(answer.sentence)
    return answer


def _follow(store: Store, incident: IncidentId, on_story: Callable[[StoryEvent], None]) -> None:
    """Tell the incident's story as it grows, until its round ends."""
    told = 0
    end = clock.CLOCK.monotonic() + FOLLOW_WITHIN.total_seconds()
    while clock.CLOCK.monotonic() < end:
        now = store.incidents.get(incident)
        for event in store.story.since(told, incident=incident):
            on_story(event)
            told = event.id
        if now is None or now.state is not IncidentState.OPEN:
            return
        clock.CLOCK.sleep(keeping.FOLLOW_EVERY)
