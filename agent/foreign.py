"""Keeps the restarts that others made: of a service just looked at, from Docker's events and the container's own count."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import ContainerEvent, ContainerFacts, Service
from agent.policy import restarts
from agent.ports import Store

EVENTS_OF = timedelta(hours=1)
"""How far back events are read: as far as `steps/diagnose.py` does."""


def note(
    service: Service, events: Sequence[ContainerEvent], container: ContainerFacts | None, *, store: Store, now: datetime
) -> None:
    """Write the restarts of a service's container by others that are not known yet.

    An attempt's intent is durable before its first change, so the ledger knows every restart of our own.
    """
    if container is None:
        return  # without its restart count, nobody can say who restarted it
    ours = [a for a in store.attempts.actions_since(now - 2 * EVENTS_OF) if a.service == service.name]
    store.foreign_restarts.keep(service.host, restarts.by_others(events, container, ours))
