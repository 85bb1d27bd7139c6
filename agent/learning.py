"""What the sweep learns of a service while it looks: how long its starts take, and how often it changes.

In: each settled verdict with the container's facts. Out: rows in the store. What is remembered here may be lost in a
restart: the start under way at that moment is then not learned, and nothing wrong is.
"""

from collections.abc import Sequence
from datetime import datetime

from agent.model import Blind, ContainerFacts, ContainerState, Health, Judgement, Service, ServiceName, Start, Verdict
from agent.ports import StartStore


class Learning:
    """The memory of one daemon's sweeps."""

    def __init__(self, starts: StartStore) -> None:
        self._starts = starts
        self._watched_since: dict[ServiceName, datetime] = {}
        self._ready: dict[ServiceName, datetime] = {}
        """The start of the life of its container that each service was last seen ready in."""
        self._health: dict[ServiceName, Health] = {}

    def seen(
        self,
        service: Service,
        verdict: Verdict,
        facts: ContainerFacts | Blind,
        latest: Sequence[tuple[Judgement, datetime]],
        now: datetime,
    ) -> None:
        """Take in one look. latest: the newest judgement of each check, and when it was asked."""
        self._count_flip(service.name, verdict.health, now)
        since = self._watched_since.setdefault(service.name, now)
        started = facts.started_at if isinstance(facts, ContainerFacts) and facts.state is ContainerState.RUNNING else None
        if started is None or isinstance(facts, Blind) or self._ready.get(service.name) == started:
            return
        asked = len(latest) == len(service.checks) and all(at >= started for _, at in latest)
        if facts.health == "starting" or not asked or any(judgement.health is not Health.WELL for judgement, _ in latest):
            return
        self._ready[service.name] = started
        if started >= since:  # a life that began before anybody watched may have been ready for hours
            self._starts.learn(service.name, Start(image_id=facts.image_id, started_at=started, took=now - started))

    def _count_flip(self, service: ServiceName, health: Health, now: datetime) -> None:
        if health is Health.UNKNOWN:
            return
        before = self._health.get(service)
        self._health[service] = health
        if before is not None and before is not health:
            self._starts.flip(service, now=now)
