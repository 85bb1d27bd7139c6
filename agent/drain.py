"""The durable workflow of one host that is taken away: from the notice to a host that ends with nothing left on it.

In: the incident that `departing` opened for a `Departure`. Out: the host is out of the balancer, its containers have ended by
themselves as far as the time allowed, its last words are kept, the group knows, and the incident waits for the replacement.
Reads like `heal`: this module orders the steps, and the engine remembers each. A step that cannot be done is said and does not
keep the next one waiting: the host ends at its deadline whether we are ready or not.

    intend ─ leave ─ replace ─ finish ─ stop ─ keep ─ complete ─ rest (docs/how-to/deploy.md has the timetable)
"""

import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

from agent import audit, berths, codec, gate, incident_at_hand
from agent.errors import OutsideError, StoreError
from agent.model import (
    AuditKind,
    ContainerState,
    Departure,
    DepartureStage,
    Ending,
    Hold,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    Outcome,
    PlaybookRun,
    Refusal,
    RefusalCode,
    RunEnd,
    StoryKind,
    Timetable,
)
from agent.policy import giving_up, holds, spot
from agent.ports import Engine, Fleet, Store, World
from agent.steps import escalate

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Containers that are told to end at the same time."""
LOG_BYTES = 65_536
"""Of each container's log in the last words; all of them together stay under a megabyte."""
ASK_EVERY = timedelta(seconds=1)
LEAST_GRACE = timedelta(seconds=1)


def is_due(incident_id: IncidentId, store: Store) -> bool:
    """Say whether this round of an incident is a drain and no heal: the rounds after the one in which its host was given up."""
    going, incident = store.departures.of(incident_id), store.incidents.get(incident_id)
    return going is not None and incident is not None and incident.round > going.after_round


def drain(incident_id: IncidentId, engine: Engine, world: World, fleet: Fleet) -> Ending:
    """Drain one host inside its deadline. Safe to run again after a crash. Raises StoreError as `heal` does."""
    with incident_at_hand.working_on(incident_id):
        try:
            return _story(incident_id, engine, world, fleet)
        except StoreError:
            raise
        except Exception as bug:
            # An incident must never go silent because Medic stumbled: people still have what is left of two minutes.
            logger.exception("a drain met a bug", extra={"incident": incident_id})
            refusal = Refusal(code=RefusalCode.UNEXPECTED, because=f"Medic itself failed: {type(bug).__name__}: {bug}")
            return engine.step("hand over after a bug", lambda: _hand_over(incident_id, refusal, world))


def _story(incident_id: IncidentId, engine: Engine, world: World, fleet: Fleet) -> Ending:
    going = engine.step("read the departure", lambda: _departure(incident_id, world))
    if going.drained_at is not None:  # a later round of a service's incident: nothing is done twice
        return engine.step("await the replacement", lambda: _rest(incident_id, _awaits(going, fleet), world))
    held = engine.step("may it be drained", lambda: _hold(going, world, fleet))
    if isinstance(held, Refusal):
        return engine.step("hand over", lambda: _stays(going, held, world))
    if held is not None:
        return engine.step("hold", lambda: _rest(incident_id, held, world))
    plan = engine.step("intend", lambda: _intend(going, world, fleet))
    lost = [
        *engine.step("leave the balancer", lambda: _leave(going, world, fleet)),
        *engine.step("start the replacement", lambda: _replace(going, world, fleet)),
        *engine.step("let requests finish", lambda: _finish(going, plan, world, fleet)),
        *engine.step("stop the containers", lambda: _stop(going, plan, world, fleet)),
        *engine.step("keep its last words", lambda: _keep(going, plan, world, fleet)),
        *engine.step("complete the hook", lambda: _complete(going, world, fleet)),
    ]
    engine.step("drained", lambda: _drained(going, tuple(lost), world))
    return engine.step("await the replacement", lambda: _rest(incident_id, _awaits(going, fleet), world))


# Each function below does one step; what it could not do comes back as sentences.


def _departure(incident_id: IncidentId, world: World) -> Departure:
    found = world.store.departures.of(incident_id)
    if found is None:
        raise LookupError(f"cannot drain for {incident_id}: it tells of no host")
    return found


def _hold(going: Departure, world: World, fleet: Fleet) -> Hold | Refusal | None:
    """Return why nothing may be changed, though a host that the cloud takes back ends all the same."""
    halted = holds.halted(gate.of(world).halted())
    if halted is None and world.permissions.dry_run:
        until = "`dry_run: false` in medic.yaml"
        halted = Hold(code=HoldCode.DRY_RUN, because="dry_run is on", until=until, look_again=timedelta(minutes=5))
    if halted is None and world.permissions.only_watches:
        because, until = f"the mode is {world.permissions.mode.value}", "`mode:` is raised in medic.yaml"
        halted = Hold(code=HoldCode.OBSERVING, because=because, until=until, look_again=timedelta(minutes=5))
    if halted is None:
        return None if going.attempt is None else _last(going, world, fleet)
    ends = f" and {_ends(going)}" if going.attempt is None else ""
    return replace(halted, because=f"{halted.because}; {going.instance} is not drained{ends}")


def _last(going: Departure, world: World, fleet: Fleet) -> Hold | Refusal | None:
    """Ask once more before the first change whether others serve: a halt may have lain between the word and now."""
    stands = berths.berth(HostName(going.host), fleet, world.store)
    if stands is None:
        because, until = f"the group does not say how {going.instance} stands in it", "the group answers"
        return Hold(code=HoldCode.HOST_DOOMED, because=because, until=until, look_again=timedelta(seconds=30))
    return giving_up.last_of(going, stands)


def _stays(going: Departure, refusal: Refusal, world: World) -> Ending:
    """Leave a host where it is that was given up: nothing of it was touched."""
    incident, now = _incident_id(going), world.clock.now()
    if going.attempt is not None:
        world.store.attempts.ran(incident, going.attempt, PlaybookRun(end=RunEnd.NOT_RUN, message=refusal.because), now=now)
        world.store.attempts.end(incident, going.attempt, Outcome.CANCELLED, None, now=now)
    ending = _hand_over(incident, refusal, world)

    def over(known: Departure | None) -> Departure | None:
        return known and replace(known, stage=DepartureStage.OVER, ended_at=now, attempt=None)

    world.store.departures.change(going.instance, over)
    return ending


def _ends(going: Departure) -> str:
    if going.attempt is not None:
        return "is given up"
    return "ends soon" if going.deadline is None else f"ends at {going.deadline:%H:%M:%S} UTC"


def _intend(going: Departure, world: World, fleet: Fleet) -> Timetable:
    """Write what is about to be done, and how large the group is to be again: before the first change."""
    now = world.clock.now()
    # Nobody takes away a host that people gave up: it has the time of a notice, counted from now.
    deadline = going.deadline or now + spot.NOTICE
    times = spot.timetable(deadline, now, balanced=fleet.balancer is not None)
    wanted = _wanted(going, fleet)

    def intended(known: Departure | None) -> Departure | None:
        return known and replace(known, wanted=wanted)

    world.store.departures.change(going.instance, intended)
    payload = {"departure": going, "timetable": times, "wanted": wanted}
    world.store.audit.append(audit.of_drain(AuditKind.INTENT, _incident_id(going), **payload))
    left = (deadline - now).total_seconds()
    _tell(
        going,
        StoryKind.TRYING,
        f"drains {going.instance} ({going.kind}), which {_ends(going)}, within {left:.0f} s",
        world,
        "intend",
    )
    return times


def _wanted(going: Departure, fleet: Fleet) -> int | None:
    """Return how large the group is to be; None where it does not say now, and `departing` asks again."""
    try:
        return fleet.groups.size(going.group).wanted - (1 if going.retired else 0)
    except OutsideError as exc:
        logger.warning("cannot tell how large the fleet is to be", extra={"instance": going.instance, "cause": str(exc)})
        return None


def _leave(going: Departure, world: World, fleet: Fleet) -> tuple[str, ...]:
    if fleet.balancer is None:
        return ()
    balancer = fleet.balancer
    return _done(going, "left the balancer", lambda: balancer.leave(going.instance), world)


def _replace(going: Departure, world: World, fleet: Fleet) -> tuple[str, ...]:
    """Start the replacement now, and not when the host is gone; the group then also waits for us to complete its hook."""
    try:
        members = fleet.groups.members()
    except OutsideError as exc:
        return _failed(going, exc, world)
    # A host that people gave up goes whatever warms up beside it.
    must_go = spot.needs_replacement if going.attempt is None else spot.stands
    if going.retired and must_go(going, members):
        return _done(going, "its group becomes one smaller", lambda: fleet.groups.retire(going.instance), world)
    if going.retired:
        return ()  # a crash came between the call and its being remembered
    if must_go(going, members):
        return _done(going, "its replacement is starting", lambda: fleet.groups.replace(going.instance), world)
    _tell(going, StoryKind.TASK, "a replacement is on its way already", world, "replace")
    return ()


def _finish(going: Departure, times: Timetable, world: World, fleet: Fleet) -> tuple[str, ...]:
    """Wait until the balancer lets go of it, within its part of the time: less than the balancer's own delay.

    A balancer that has not let go by then is no loss that was seen: whether it had requests left, it does not say.
    """
    if fleet.balancer is None:
        return ()
    began = world.clock.now()
    while world.clock.now() < times.finish:
        try:
            if not fleet.balancer.serves(going.instance):
                _tell(going, StoryKind.TASK, "the balancer has let go of it", world, "finish")
                return ()
        except OutsideError as exc:
            # Not knowing is no reason to cut requests short: the time they have is waited for.
            logger.debug("cannot see whether requests ended", extra={"instance": going.instance, "cause": str(exc)})
        world.clock.sleep(min(ASK_EVERY, max(times.finish - world.clock.now(), timedelta(0))))
    waited = (world.clock.now() - began).total_seconds()
    text = (
        f"the balancer had not let go of {going.instance} after {waited:.0f} s; whether it had requests left is not known:"
        " they end with its containers, which are told now"
    )
    _tell(going, StoryKind.TASK, text, world, "finish")
    return ()


def _stop(going: Departure, times: Timetable, world: World, fleet: Fleet) -> tuple[str, ...]:
    """Tell every container to end, all at once: SIGTERM first, SIGKILL when their time is over."""
    host, now = HostName(going.host), world.clock.now()
    grace = max(times.stop - now, min(LEAST_GRACE, max(times.complete - now, timedelta(0))))
    if times.complete <= now:
        return _said(going, f"there was no time to end the containers of {going.instance}", world, "stop")
    try:
        running = [each.name for each in world.containers.list(host) if each.state is ContainerState.RUNNING]
    except OutsideError as exc:
        return _failed(going, exc, world)
    with ThreadPoolExecutor(AT_ONCE) as at_once:
        failed = [each for each in at_once.map(lambda name: _stop_one(host, name, grace, fleet), running) if each]
    if failed:
        return tuple(text for why in failed for text in _said(going, why, world, "stop"))
    took = (world.clock.now() - now).total_seconds()
    _tell(going, StoryKind.TASK, f"{len(running)} container(s) ended in {took:.1f} s", world, "stop")
    return ()


def _stop_one(host: HostName, name: str, grace: timedelta, fleet: Fleet) -> str:
    try:
        fleet.stopper.stop(host, name, grace)
    except OutsideError as exc:
        return str(exc)
    return ""


def _keep(going: Departure, times: Timetable, world: World, fleet: Fleet) -> tuple[str, ...]:
    """Keep what the containers said last: here, and in the bucket, which outlives this machine as well."""
    host, words = HostName(going.host), []
    try:
        for facts in world.containers.list(host):
            if world.clock.now() >= times.keep:
                break
            said = world.containers.logs(host, facts.name, limit=LOG_BYTES).decode(errors="replace")
            words.append({"container": codec.as_dict(facts), "log": said})
    except OutsideError as exc:
        if not words:
            return _failed(going, exc, world)
    text = world.redact(json.dumps({"departure": codec.as_dict(going), "containers": words}, indent=1))
    try:
        world.bundles.keep(_incident_id(going), "last-words.json", text.encode())
        if world.clock.now() >= times.keep:
            return _said(going, "there was no time to copy its last words to the bucket", world, "keep")
        where = fleet.last_words.keep(f"{going.instance}/{_incident_id(going)}.json", text.encode())
    except OutsideError as exc:
        return _failed(going, exc, world)
    _tell(going, StoryKind.TASK, f"kept its last words in {where}", world, "keep")
    return ()


def _complete(going: Departure, world: World, fleet: Fleet) -> tuple[str, ...]:
    """Let the group go on with a host that waits for us. One that does not wait any more is as good."""
    try:
        waited = fleet.groups.complete(going.group, fleet.drain_hook, going.instance)
    except OutsideError as exc:
        return _failed(going, exc, world)
    text = "told the group that it is drained" if waited else "the group did not wait for it any more"
    _tell(going, StoryKind.TASK, text, world, "complete")
    return ()


def _drained(going: Departure, lost: Sequence[str], world: World) -> None:
    now = world.clock.now()

    def drained(known: Departure | None) -> Departure | None:
        if known is None or known.drained_at is not None:
            return known
        return replace(known, stage=DepartureStage.DRAINED, drained_at=now, lost=tuple(lost))

    world.store.departures.change(going.instance, drained)
    if going.attempt is not None:
        run = PlaybookRun(end=RunEnd.COMPLETED, message="; ".join(lost) or "drained")
        world.store.attempts.ran(_incident_id(going), going.attempt, run, now=now)
    world.store.audit.append(audit.of_drain(AuditKind.ENDED, _incident_id(going), lost=tuple(lost)))
    taken = going.deadline is not None and going.attempt is None
    left = f", {(going.deadline - now).total_seconds():.0f} s before its end" if going.deadline and taken else ""
    text = f"drained{left}" + (f"; lost: {'; '.join(lost)}" if lost else "")
    _tell(going, StoryKind.TRIED, text, world, "drained")


def _awaits(going: Departure, fleet: Fleet) -> Hold:
    if going.retired:
        because, until = f"{going.instance} is drained; its end is awaited", "it is gone from its group"
        return Hold(code=HoldCode.HOST_DOOMED, because=because, until=until, look_again=fleet.warm_up)
    return Hold(
        code=HoldCode.HOST_DOOMED,
        because=f"{going.instance} is drained; its replacement is awaited",
        until="as many hosts are warm as there are to be",
        look_again=fleet.warm_up,
    )


def _rest(incident_id: IncidentId, hold: Hold, world: World) -> Ending:
    incident, now = _incident(incident_id, world), world.clock.now()
    world.store.story.tell(
        incident_id,
        incident.service,
        StoryKind.HELD,
        f"{hold.code.value}: {hold.because}",
        now=now,
        key=f"hold {incident.round}",
    )
    world.store.incidents.hold(incident_id, hold, until=now + hold.look_again)
    return Ending.HELD


def _hand_over(incident_id: IncidentId, refusal: Refusal, world: World) -> Ending:
    escalate.hand_over(
        _incident(incident_id, world),
        None,
        refusal,
        store=world.store,
        bundles=world.bundles,
        reports=world.reports,
        channels=world.channels,
        clock=world.clock,
    )
    return Ending.ESCALATED


def _incident(incident_id: IncidentId, world: World) -> Incident:
    incident = world.store.incidents.get(incident_id)
    if incident is None:
        raise LookupError(f"cannot read incident {incident_id!r}: it is not in the store")
    return incident


def _incident_id(going: Departure) -> IncidentId:
    if going.incident is None:
        raise LookupError(f"cannot drain {going.instance}: it has no incident")
    return going.incident


def _done(going: Departure, text: str, act: Callable[[], None], world: World) -> tuple[str, ...]:
    try:
        act()
    except OutsideError as exc:
        return _failed(going, exc, world)
    _tell(going, StoryKind.TASK, text, world, text)
    return ()


def _failed(going: Departure, exc: OutsideError, world: World) -> tuple[str, ...]:
    return _said(going, str(exc), world, str(exc))


def _said(going: Departure, what: str, world: World, key: str) -> tuple[str, ...]:
    _tell(going, StoryKind.TASK, what, world, key)
    return (what,)


def _tell(going: Departure, kind: StoryKind, text: str, world: World, key: str) -> None:
    """Write one line of the story, with the seconds since the notice."""
    now = world.clock.now()
    since = (now - (going.doomed_at or now)).total_seconds()
    incident = _incident(_incident_id(going), world)
    world.store.story.tell(
        incident.id, incident.service, kind, f"+{since:.0f} s {text}", now=now, key=f"drain {key} {incident.round}"
    )
