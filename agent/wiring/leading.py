"""Who leads: the daemon of a state folder, or one of several that share a store."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

from agent.adapters.lease import SoleLease
from agent.errors import LeaseLost
from agent.model import Lead
from agent.ports import Lease
from agent.settings import Settings
from agent.wiring import clock, keeping


def watch_is_running(using: Settings) -> int | None:
    """Return the pid of the daemon that owns the state folder, or None."""
    from agent.adapters.watch_lock import WatchLock

    return WatchLock(using.state_dir).owner()


def leader(using: Settings) -> Lead | None:
    """Return the Medic that leads on a store that several share; None where nobody does, or the store is a file."""
    if keeping.is_file(using):
        return None
    with keeping.open_store(using) as store:
        standing = store.leads.standing()
    return standing[0] if standing is not None and standing[1] else None


def leader_elsewhere(using: Settings) -> Lead | None:
    """Return the Medic that leads from another state folder than ours, if there is one."""
    from agent.adapters import state_folder

    lead = leader(using)
    return None if lead is None or lead.place == state_folder.place(using.state_dir) else lead


@contextlib.contextmanager
def lead(using: Settings, stop: threading.Event, *, waiting_for: Callable[[Lead], None]) -> Iterator[Lease | None]:
    """Lead for as long as the body lasts; `stop` is set when another takes over meanwhile. None if `stop` came first.

    waiting_for: called where another leads; it may raise rather than stand by. Raises LeaseLost after the body.
    The state folder must be ours: that is why one that an earlier process of it held is taken back at once.
    """
    from agent.adapters import lease, state_folder
    from agent.adapters.service_manager import ServiceManager
    from heartbeat.pulse import Pulse

    if keeping.is_file(using):
        yield SoleLease()
        return
    seconds = using.interval.total_seconds()
    pulse = Pulse(using.interval, using.state_dir / "beat", stuck=lambda: None)

    def alive() -> None:  # who stands by lives as well
        pulse.end(int(clock.CLOCK.now().timestamp() // seconds))
        ServiceManager(using.supervision.socket).alive()

    with keeping.open_store(using) as store:
        kept = lease.stand_by(
            store.leads,
            f"{socket.gethostname()} (pid {os.getpid()})",
            state_folder.place(using.state_dir),
            using.lease,
            stop=stop,
            waiting_for=waiting_for,
            alive=alive,
        )
        if kept is None:
            yield None
            return
        kept.keep(on_lost=stop.set)
        try:
            yield kept
        finally:
            kept.end()
        if kept.lost:
            raise LeaseLost("go on", "another Medic has taken over; start this one again to stand by")
