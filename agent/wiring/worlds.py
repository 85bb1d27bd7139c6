"""The world: every port joined, for a daemon, a command that acts, or a rehearsal."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agent import labels
from agent.adapters.lease import KeptLease, SoleLease
from agent.model import Closing
from agent.ports import Lease, Store, World
from agent.settings import Settings
from agent.wiring import clock, halting, keeping, looking, opinions, shipped

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.adapters.ansible_playbooks import AnsiblePlaybooks


@contextlib.contextmanager
def build(
    using: Settings,
    stopping: Callable[[], bool] = lambda: False,
    lease: Lease = SoleLease(),  # noqa: B008  it is a constant
) -> Iterator[World]:
    """Build the whole world: every port, joined. Raises ConfigError or OutsideError."""
    from agent.adapters.bundles import BundleFiles
    from agent.adapters.good_copies import GoodCopyFiles
    from agent.adapters.host_files import MachineFiles
    from agent.adapters.reports import ReportFiles
    from agent.catalogue import RunbookFiles
    from agent.redact import Redactor

    redact = Redactor(using.secrets)
    playbooks = ansible(using, lease.until)
    term = lease.lead.term if isinstance(lease, KeptLease) else None
    try:
        with (
            keeping.open_store(using, term) as store,
            looking.ways(using) as reached,
            looking.eyes_by(using, reached) as (docker, prober),
            opinions.advisor(using, store, docker, prober, redact, stopping) as advisor,
        ):
            _enrol(using, store)
            yield World(
                clock=clock.CLOCK,
                prober=prober,
                containers=docker,
                files=MachineFiles(reached.machine_of),
                playbooks=playbooks,
                kill_switch=halting.kill_file(using),
                lease=lease,
                store=store,
                bundles=BundleFiles(using.state_dir),
                good_copies=GoodCopyFiles(using.state_dir),
                catalogue=RunbookFiles(shipped.folder("runbooks"), shipped.folder("ansible") / "playbooks"),
                rules=shipped.rules(),
                reports=ReportFiles(redact),
                redact=redact,
                channels=tuple(channel.name for channel in using.channels),
                permissions=using.permissions,
                fleet_limits=using.fleet_limits,
                stopping=stopping,
                advisor=advisor,
            )
    finally:
        playbooks.close()


def _enrol(using: Settings, store: Store) -> None:
    """Keep what medic.yaml declares; drop what it once declared and no longer does."""
    declared = {service.name for service in using.services}
    going = store.departures.standing()
    for service in using.services:
        store.services.enrol(service, now=clock.CLOCK.now())
    for old in store.services.services():
        if old.name not in declared and old.origin != labels.ORIGIN:
            for incident in store.incidents.unclosed(old.name):
                if any(each.incident == incident.id for each in going):
                    continue  # its host was given up: it ends when the replacement is seen well
                store.incidents.close(
                    incident.id, Closing.BY_PERSON, by="medic.yaml (no longer declared)", now=clock.CLOCK.now()
                )
            store.services.forget(old.name)


def ansible(using: Settings, until: Callable[[], float | None]) -> "AnsiblePlaybooks":
    """Return what runs playbooks on every host. until: as `Lease.until`."""
    from agent.adapters.ansible_playbooks import AnsiblePlaybooks
    from agent.redact import Redactor

    return AnsiblePlaybooks(
        ansible=shipped.folder("ansible"),
        state_dir=using.state_dir,
        redact=Redactor(using.secrets),
        hosts=using.hosts,
        agent_socket=using.ssh_agent,
        until=until,
    )
