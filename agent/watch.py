"""The daemon behind `medic watch`: owns the engine, the heartbeat, the event streams, the request inbox and the outbox.

In: a world, built by `wiring`. Out: it runs until it is told to stop, and then leaves nothing half done: no new work within
a second, the running playbook swept and recorded as interrupted, every heal suspended where it is.

Threads: the caller's (inbox, story, housekeeping), the heartbeat's, one per host for Docker events, one for nudges, one for
the outbox.
"""

import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from agent import audit, errands, outbox
from agent.departing import FleetWatch
from agent.distress import Distress
from agent.errors import MedicError, OutsideError
from agent.housekeeping import Housekeeping
from agent.metrics import Tally
from agent.model import AuditKind, ContainerEvent, DepartureStage, HostName, Service, ServiceName, StoryEvent, StoryKind
from agent.policy import dependencies
from agent.ports import Notifier, Workflows, World
from agent.sweep import Sweep
from heartbeat.schedule import Heartbeat

logger = logging.getLogger(__name__)

TICK = timedelta(milliseconds=250)
"""Between looks at the inbox so that a request is claimed within half a second."""

GRACE = timedelta(seconds=10)
"""What running steps get to end after SIGTERM; Docker and systemd kill after 10 s and 90 s by default."""

RENEW_WITHIN = timedelta(minutes=30)
"""What running steps get where the fleet has changed: the longest playbook and more."""

DELIVER_EVERY = timedelta(seconds=1)
RECONNECT = timedelta(seconds=2)
READ_RUNBOOKS = timedelta(seconds=5)
ADOPT_EVERY = timedelta(seconds=2)
"""Between two looks for heals that a Medic which led before has left."""

NUDGING = ("die", "oom", "destroy", "pause", "unpause", "start", "health_status")
"""Docker events after which a service is looked at at once."""


OVER = (StoryKind.HEALED, StoryKind.RECOVERED, StoryKind.CLOSED)
"""Lines of a story after which its incident is no more."""


class DurableEngine(Workflows, Protocol):
    """The engine's life, beside the starting of heals."""

    def launch(self) -> None:
        """Start, and resume every heal that a crash cut."""

    def stop(self, within: timedelta) -> None:
        """Suspend every heal and close."""

    def adopt(self) -> int:
        """Go on with the heals of a Medic that led before."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the daemon runs, made by `wiring`."""

    world: World
    engine: DurableEngine
    sweep: Sweep
    heartbeat: Heartbeat
    distress: Distress
    notifiers: Mapping[str, Notifier]
    hosts: Sequence[HostName]
    fleet: "FleetWatch | None" = None
    """Where hosts come from a cloud."""
    housekeeping: Housekeeping
    tally: Tally
    """What this process counts of itself."""
    stop: threading.Event
    """Set by a signal; `world.stopping` reads it."""
    on_story: Callable[[StoryEvent], None]
    once_ready: Callable[[], None]


def run(parts: Parts) -> None:
    """Run until `parts.stop` is set, then shut down cleanly."""
    nudges: queue.SimpleQueue[ServiceName | None] = queue.SimpleQueue()
    told = _last_story(parts.world)
    parts.engine.launch()
    threads = [threading.Thread(target=_nudge_each, args=(parts, nudges), name="nudges")]
    threads += [threading.Thread(target=_deliver, args=(parts,), name="outbox")]
    threads += [threading.Thread(target=_follow, args=(parts, host, nudges), name=f"events {host}") for host in parts.hosts]
    threads += [threading.Thread(target=_attend_fleet, args=(parts, parts.fleet), name="fleet")] if parts.fleet else []
    for thread in threads:
        thread.start()
    parts.heartbeat.start()
    parts.once_ready()
    try:
        _attend(parts, told, nudges)
    finally:
        parts.stop.set()
        nudges.put(None)
        parts.heartbeat.stop()
        # Where only the fleet has changed nothing is cut: what runs may end.
        parts.engine.stop(GRACE if parts.world.stopping() else RENEW_WITHIN)
        for thread in threads:
            thread.join(GRACE.total_seconds())


def one_beat(sweep: Sweep, distress: Distress, tally: Tally, slot: int) -> None:
    """Sweep once. What is away (a full disk, a locked store) is one sentence in the log, and the next beat tries again.

    People hear of it when it lasts, and not through the store, which may be what is away.
    """
    try:
        sweep.beat(slot)
    except MedicError as exc:
        tally.stumbled("beat")
        logger.error("cannot finish a beat", extra={"slot": slot, "cause": str(exc)})
        distress.beat_failed(str(exc))
    else:
        distress.beat_ended()


class _Inbox:
    """What is new in the store for the caller's thread. While nobody writes, a look is one number and no query."""

    def __init__(self, parts: Parts, told: int, nudges: "queue.SimpleQueue[ServiceName | None]") -> None:
        self._parts = parts
        self._told = told
        self._nudges = nudges
        self._seen: int | None = None
        self._is_halted: bool | None = None

    def look(self, *, stopping: bool) -> None:
        """Tell what happened; unless Medic is stopping, carry out the oldest request."""
        stamp = self._parts.world.store.changes.stamp()
        if stopping or stamp is None or stamp != self._seen:
            told, asked = _tell(self._parts, self._told, self._nudges), False
            if not stopping:
                asked = _answer_a_request(self._parts)
            # What was found may not be all there is: the next look asks again, until it finds nothing.
            self._seen = stamp if told == self._told and not asked else None
            self._told = told
        self._note_halt()

    def _note_halt(self) -> None:
        """Put into the audit that people said stop, or go on. The switch is a file, which works when the store does not."""
        store, why = self._parts.world.store.audit, self._parts.world.kill_switch.halted()
        if self._is_halted is None:
            before = store.latest(AuditKind.HALTED, AuditKind.RESUMED)
            self._is_halted = before is not None and before.kind == AuditKind.HALTED.value
        if (why is not None) is not self._is_halted:
            kind = AuditKind.RESUMED if why is None else AuditKind.HALTED
            store.append(audit.by_person(kind, "person", said=why))
            self._is_halted = why is not None


def _attend(parts: Parts, told: int, nudges: "queue.SimpleQueue[ServiceName | None]") -> None:
    """The caller's thread: stories out, requests in, orphaned heals on, old rows away."""
    inbox = _Inbox(parts, told, nudges)
    read_at = parts.world.clock.monotonic()
    adopted_at = read_at
    while True:
        stopping = parts.stop.wait(TICK.total_seconds())
        try:
            inbox.look(stopping=stopping)
            if parts.world.clock.monotonic() - read_at >= READ_RUNBOOKS.total_seconds():
                read_at = parts.world.clock.monotonic()
                parts.world.catalogue.runbooks()  # whoever edits one is told at once, and not when it is needed
            if not stopping and parts.world.clock.monotonic() - adopted_at >= ADOPT_EVERY.total_seconds():
                adopted_at = parts.world.clock.monotonic()
                parts.engine.adopt()
            parts.housekeeping.keep_house()
        except MedicError as exc:
            # The store is away (disk full, locked, restarting): the beat goes on blind, nothing is started without a row.
            parts.tally.stumbled("inbox")
            logger.error("cannot attend to the inbox", extra={"cause": str(exc)})
        if stopping:
            return


def _deliver(parts: Parts) -> None:
    """Send notices from a thread of their own: a slow channel must not keep a request waiting."""
    store, empty_at = parts.world.store, None
    while True:
        stopping = parts.stop.wait(DELIVER_EVERY.total_seconds())
        try:
            parts.distress.tell()
            stamp = store.changes.stamp()
            if stopping or stamp is None or stamp != empty_at:
                outbox.deliver_due(store.outbox, parts.notifiers, parts.world.clock)
                # While nothing is on its way and nobody writes, nothing can become due.
                empty_at = None if store.outbox.undelivered() else stamp
        except MedicError as exc:
            parts.tally.stumbled("outbox")
            logger.error("cannot deliver notices", extra={"cause": str(exc)})
        except Exception:
            # A bug in one notifier must not end all notices for good: the row stays, and the log has the trace.
            logger.exception("delivering notices met a bug")
        if stopping:
            return


def _tell(parts: Parts, told: int, nudges: "queue.SimpleQueue[ServiceName | None]") -> int:
    for event in parts.world.store.story.since(told):
        parts.on_story(event)
        for child in waiting_for(event, parts.world.store.services.services() if event.kind in OVER else ()):
            nudges.put(child)
        told = event.id
    return told


def waiting_for(event: StoryEvent, services: Sequence[Service]) -> tuple[ServiceName, ...]:
    """Return the services that depend on one whose incident has ended: they are looked at at once."""
    graph = {service.name: service.depends_on for service in services}
    over = event.kind in OVER
    return tuple(name for name in graph if over and event.service in dependencies.parents(name, graph))


def _last_story(world: World) -> int:
    told = 0
    while events := world.store.story.since(told):
        told = events[-1].id
    return told


def _answer_a_request(parts: Parts) -> bool:
    """Carry out the oldest request; return whether there was one."""
    request = parts.world.store.requests.claim(parts.world.clock.now())
    if request is not None:
        parts.world.store.requests.answer(errands.answer(request, parts.world, parts.engine, parts.sweep))
    return request is not None


def _follow(parts: Parts, host: HostName, nudges: "queue.SimpleQueue[ServiceName | None]") -> None:
    """Turn one host's Docker events into nudges; reconnect for as long as the daemon runs."""
    while not parts.stop.is_set():
        try:
            for event in parts.world.containers.follow(host, parts.stop.is_set):
                for service in _concerned(event, host, parts.world.store.services.services):
                    nudges.put(service)
        except OutsideError as exc:
            # Events only make Medic faster: without them the beat still sees everything, one interval later.
            logger.debug("event stream ended", extra={"host": host, "cause": str(exc)})
        parts.stop.wait(RECONNECT.total_seconds())


def _concerned(event: ContainerEvent, host: HostName, services: Callable[[], Sequence[Service]]) -> list[ServiceName]:
    if not event.action.startswith(NUDGING):
        return []  # most events are others: every `docker exec` of a HEALTHCHECK tells three
    return [service.name for service in services() if service.host == host and service.container == event.container]


def _attend_fleet(parts: Parts, fleet: FleetWatch) -> None:
    """Hear what the cloud says of hosts, and follow those that go; end the round once others have come."""
    while not parts.stop.is_set():
        try:
            if fleet.attend() and not _under_way(parts.world):
                logger.info("the fleet has changed")
                parts.stop.set()
        except MedicError as exc:
            parts.tally.stumbled("fleet")
            logger.warning("cannot attend to the fleet", extra={"cause": str(exc)})
            parts.stop.wait(RECONNECT.total_seconds())
        except Exception:
            logger.exception("attending to the fleet met a bug")
            parts.stop.wait(RECONNECT.total_seconds())


def _under_way(world: World) -> bool:
    """Say whether something is being changed at this moment, which a new round would have to wait for."""
    cut = (each.cut for each in world.store.incidents.unclosed())
    # What waits for a host to come has to know its services, which only a new round does.
    running = any(each is not None and (each.plan.fleet is None or each.run is None) for each in cut)
    return running or any(each.stage is DepartureStage.DOOMED for each in world.store.departures.standing())


def _nudge_each(parts: Parts, nudges: "queue.SimpleQueue[ServiceName | None]") -> None:
    """Look at nudged services one after the other; a burst of events about one service is one look."""
    while (service := nudges.get()) is not None:
        waiting = {service}
        while not nudges.empty():
            waiting.add(nudges.get() or service)
        for each in sorted(waiting):
            if parts.stop.is_set():
                return
            try:
                parts.sweep.nudge(each)
            except MedicError as exc:
                parts.tally.stumbled("nudge")
                logger.warning("cannot look at a nudged service", extra={"service": each, "cause": str(exc)})
            except Exception:
                logger.exception("a nudge met a bug", extra={"service": each})  # the beat looks at it all the same
