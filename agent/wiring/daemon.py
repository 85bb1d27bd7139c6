"""The daemon: its parts joined, and run until it is told to end."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

from agent.adapters.lease import KeptLease
from agent.errors import OutsideError
from agent.model import HttpRequest, IncidentId, Lead, ProbeRequest, StoryEvent, TcpRequest
from agent.ports import Fleet, Lease, Notifier, World
from agent.settings import AppriseChannel, Channel, FileChannel, Settings, WebhookChannel
from agent.wiring import clock, cloud, leading, worlds

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.model import Ending
    from agent.ports import Engine
    from agent.watch import Parts

logger = logging.getLogger(__name__)

STUCK = 70
"""Exit code of a daemon whose heartbeat could not be revived (EX_SOFTWARE): whoever supervises it starts it afresh."""

CONTROL_WITHIN = timedelta(seconds=2)


class _Ended(threading.Event):
    """Set once the daemon is to end; ends the round under way as well."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def set(self) -> None:
        super().set()
        self._stop.set()


def run(
    using: Settings,
    on_story: Callable[[StoryEvent], None],
    once_ready: Callable[[], None],
    stands_by: Callable[[Lead], None],
) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second one ends the process at once. Where several share a store, stand by
    until this one leads.

    Raises OutsideError if one runs already on this state folder, LeaseLost when another has taken over meanwhile.
    """
    from agent import watch
    from agent.adapters.service_manager import ServiceManager
    from agent.adapters.watch_lock import WatchLock

    stop = threading.Event()
    ended = _Ended(stop)
    manager = ServiceManager(using.supervision.socket)

    def told(_signal: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            os._exit(130)
        ended.set()
        manager.stopping()

    def ready() -> None:
        manager.ready()
        once_ready()

    def waits(lead: Lead) -> None:
        manager.ready()  # standing by is what it was started for
        stands_by(lead)

    with WatchLock(using.state_dir).held():
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, told)
        with leading.lead(using, ended, waiting_for=waits) as lease:
            using = cloud.with_fleet_of_now(using, ended, manager.ready)
            while lease is not None and not ended.is_set():
                with joined(using, stop, ended, lease, on_story, ready) as parts, _metrics(using, parts):
                    watch.run(parts)
                # Without a word to end it was the fleet that changed: the same daemon goes on with other hosts.
                stop.clear()
                using = cloud.with_fleet_of_now(using, ended, manager.ready)


@contextlib.contextmanager
def joined(
    using: Settings,
    stop: threading.Event,
    ended: threading.Event,
    lease: Lease,
    on_story: Callable[[StoryEvent], None],
    once_ready: Callable[[], None],
) -> Iterator["Parts"]:
    """Join the parts of a daemon, or of one request in the foreground, for as long as the body lasts.

    stop ends the round under way, ended the whole. Raises ConfigError, OutsideError or StoreError.
    """
    from agent import watch
    from agent.adapters import own_limits
    from agent.adapters.retention import OldFiles
    from agent.adapters.service_manager import ServiceManager
    from agent.departing import FleetWatch
    from agent.distress import Distress
    from agent.engine import SOLE_EXECUTOR, DbosEngine, StoppableClock
    from agent.housekeeping import Housekeeping
    from agent.metrics import Tally
    from agent.sweep import Sweep
    from heartbeat.pulse import Pulse
    from heartbeat.schedule import Heartbeat

    own_limits.raise_open_files()
    with worlds.build(using, ended.is_set, lease) as built, cloud.opened(using, built) as fleet:
        world = replace(built, fleet=fleet)
        healing = replace(world, clock=StoppableClock(clock.CLOCK, stop.is_set))
        engine = DbosEngine(
            using.engine_url,
            lambda incident, steps: _body(incident, steps, healing, fleet),
            clock.CLOCK,
            world.redact,
            executor=f"term-{lease.lead.term}" if isinstance(lease, KeptLease) else SOLE_EXECUTOR,
        )
        hosts = [host.name for host in using.hosts]
        tally = Tally()
        sweep = Sweep(world, engine, hosts, discover=using.discover_labels, control=_control(using), tally=tally)
        notifiers = {channel.name: _notifier(channel, world.redact) for channel in using.channels}
        distress = Distress(notifiers, clock.CLOCK)
        manager = ServiceManager(using.supervision.socket)
        pulse = Pulse(
            using.interval,
            using.state_dir / "beat",
            stuck=lambda: os._exit(STUCK),
            alive=manager.alive,
            silence=using.supervision.silence,
        )
        yield watch.Parts(
            world=world,
            engine=engine,
            sweep=sweep,
            heartbeat=Heartbeat(using.interval, lambda slot: watch.one_beat(sweep, distress, tally, slot), pulse),
            distress=distress,
            notifiers=notifiers,
            hosts=[host.name for host in using.hosts if host.docker is not None],
            fleet=None if fleet is None else FleetWatch(fleet, world, engine, lambda: cloud.sync_and_compare(using)),
            housekeeping=Housekeeping(world.store, OldFiles(using.state_dir), engine, using.retention, clock.CLOCK),
            tally=tally,
            stop=stop,
            on_story=on_story,
            once_ready=once_ready,
        )


def _body(incident: IncidentId, steps: "Engine", world: World, fleet: Fleet | None) -> "Ending":
    """What the engine carries through for one incident: a drain where it tells of a host that goes, else a heal."""
    from agent import drain, heal

    if fleet is not None and drain.is_due(incident, world.store):
        return drain.drain(incident, steps, world, fleet)
    return heal.heal(incident, steps, world)


@contextlib.contextmanager
def _metrics(using: Settings, parts: "Parts") -> Iterator[None]:
    """Serve what Prometheus asks for while the daemon runs. A port that is taken is said, and keeps nobody from being healed."""
    if using.metrics_port is None:
        yield
        return
    from importlib import metadata

    from agent import exposition
    from agent.adapters.metrics_server import MetricsServer
    from agent.metrics import Metrics

    version = metadata.version("medic-agent")
    numbers = Metrics(
        parts.world.store,
        parts.tally,
        clock.CLOCK,
        beat_age=lambda: parts.heartbeat.age,
        version=version,
        money_per_day=None if using.model is None else using.model.limits.money_per_day,
    )
    try:
        server = MetricsServer(using.metrics_port, numbers.text, exposition.CONTENT_TYPE)
    except OutsideError as exc:
        logger.error("healing goes on without metrics", extra={"cause": str(exc)})
        yield
        return
    try:
        yield
    finally:
        server.stop()


def _control(using: Settings) -> tuple[ProbeRequest, ...]:
    """Return the questions to the control targets, each with a short time of its own."""
    return tuple(
        HttpRequest(url=target, timeout=CONTROL_WITHIN)
        if "://" in target
        else TcpRequest(address=target, timeout=CONTROL_WITHIN)
        for target in using.control
    )


def _notifier(channel: Channel, redact: Callable[[str], str]) -> Notifier:
    """Return the notifier of one channel. Raises ConfigError."""
    from agent.adapters.apprise_notifier import AppriseNotifier
    from agent.adapters.file_notifier import FileNotifier
    from agent.adapters.webhook_notifier import WebhookNotifier

    match channel:
        case AppriseChannel():
            return AppriseNotifier(channel.name, channel.url, redact=redact)
        case WebhookChannel():
            return WebhookNotifier(channel.name, channel.url, secret=channel.secret, redact=redact)
        case FileChannel():
            return FileNotifier(channel.name, channel.path, redact=redact)
