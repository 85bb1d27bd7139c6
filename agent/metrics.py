"""What Medic tells Prometheus of itself. In: the store, and what this process has counted. Out: families of numbers.

Incidents, attempts and everything else that the ledger holds are counted there at each scrape, so that a restart changes no
number. What nobody keeps (looks, stumbles, how fast a death was noticed) is counted here and begins at zero.

Labels are bounded: words of closed lists, and names of services that medic.yaml declares, `MOST_SERVICES` of them at most. No
text that a container chose becomes a label.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal

from agent import exposition, labels
from agent.errors import MedicError
from agent.exposition import Family
from agent.model import Health, IncidentState, Ledger, Outcome, Recorded, SpendingKind, Streak
from agent.ports import Clock, Store

MOST_SERVICES = 1_000
"""Services with a line of their own. The rest is in the sums."""

DAY = timedelta(hours=24)

DETECT_BOUNDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
REPAIR_BOUNDS = (3.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1800.0, 3600.0)
"""Seconds. The quickest remedy starts Ansible (2 s) and settles; the longest budgets of an attempt are hours."""


class Tally:
    """What one process counts for itself. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.looks: Counter[Health] = Counter()
        """Judgements of single checks, before thresholds."""
        self.stumbles: Counter[str] = Counter({"beat": 0, "inbox": 0, "outbox": 0, "nudge": 0})
        """What was given up because the store or something else outside was away."""
        self._detected: list[float] = []

    def looked(self, healths: Sequence[Health]) -> None:
        """Count the judgements of one look."""
        with self._lock:
            self.looks.update(healths)

    def stumbled(self, at: str) -> None:
        """Count one piece of the daemon's work that could not be done."""
        with self._lock:
            self.stumbles[at] += 1

    def detected(self, after: timedelta) -> None:
        """Count a death that has become an incident `after` it happened, as Docker tells it."""
        with self._lock:
            self._detected.append(max(0.0, after.total_seconds()))

    def detections(self) -> tuple[float, ...]:
        """Return the seconds of each, in the order they came."""
        with self._lock:
            return tuple(self._detected)


class Metrics:
    """Reads the numbers at each scrape; of a store in which nothing changed, only once."""

    def __init__(
        self,
        store: Store,
        tally: Tally,
        clock: Clock,
        *,
        beat_age: Callable[[], float],
        version: str,
        money_per_day: Decimal | None = None,
    ) -> None:
        """beat_age: seconds since a beat last began or ended. money_per_day: for models, US dollars; None without one."""
        self._money_per_day = money_per_day
        self._store = store
        self._tally = tally
        self._clock = clock
        self._beat_age = beat_age
        self._version = version
        self._kept: tuple[int, Ledger] | None = None

    def text(self) -> str:
        """Return everything as Prometheus reads it. What the store cannot tell is left out and said: medic_store_up is 0."""
        return exposition.text(self._families())

    def _families(self) -> Iterator[Family]:
        gauge, counts = exposition.gauge, exposition.counts
        yield gauge("medic_build", "The version that runs.", 1, {"version": self._version})
        yield gauge("medic_beat_age_seconds", "Since a beat last began or ended.", self._beat_age())
        looks = {health.value: float(self._tally.looks[health]) for health in Health}
        yield counts("medic_checks_total", "Checks that were judged, before thresholds.", "health", looks)
        stumbles = {at: float(number) for at, number in self._tally.stumbles.items()}
        yield counts("medic_stumbles_total", "Work given up for now because something outside was away.", "at", stumbles)
        meaning = "From the death of a container, as Docker tells it, to its incident."
        yield exposition.histogram("medic_detect_seconds", meaning, self._tally.detections(), DETECT_BOUNDS)
        try:
            families = [*self._of_services(), *self._of_the_ledger(), *self._of_spending()]
        except MedicError:
            yield gauge("medic_store_up", "Whether the store answers.", 0)
            return
        yield gauge("medic_store_up", "Whether the store answers.", 1)
        yield from families

    def _of_services(self) -> Iterator[Family]:
        services, streaks = self._store.services.services(), self._store.services.all_streaks()
        stopped = {record.service for record in self._store.services.records() if record.status is Recorded.STOPPED}
        watched = [service for service in services if service.name not in stopped]
        healths = {service.name: _health(streaks.get(service.name, ())) for service in watched}
        sums = {health.value: float(sum(each is health for each in healths.values())) for health in Health}
        yield exposition.counts("medic_services", "Watched services by verdict.", "health", sums, counter=False)
        yield exposition.gauge(
            "medic_services_stopped", "Services that people stopped on purpose.", len(services) - len(watched)
        )
        # A label of Docker's is text that somebody's container chose: such a service is in the sums alone.
        named = [service for service in watched if service.origin != labels.ORIGIN][:MOST_SERVICES]
        values = {Health.WELL: 1.0, Health.SICK: 0.0, Health.UNKNOWN: math.nan}
        yield exposition.counts(
            "medic_service_well",
            "1 WELL, 0 SICK, NaN UNKNOWN; services of medic.yaml, a thousand at most.",
            "service",
            {str(service.name): values[healths[service.name]] for service in named},
            counter=False,
        )

    def _of_the_ledger(self) -> Iterator[Family]:
        gauge, counts, ledger, now = exposition.gauge, exposition.counts, self._ledger(), self._clock.now()
        unclosed = self._store.incidents.unclosed()
        states = Counter(incident.state for incident in unclosed)
        open_states = {state.value: float(states[state]) for state in IncidentState if state is not IncidentState.CLOSED}
        held = Counter(i.hold.code.value for i in unclosed if i.state is IncidentState.HELD and i.hold is not None)
        endings = {outcome.value: 0 for outcome in Outcome} | dict(ledger.attempts)
        yield counts("medic_incidents_opened_total", "Incidents, by who opened them.", "origin", dict(ledger.opened))
        yield counts("medic_incidents_closed_total", "Incidents that are over, by how.", "closing", dict(ledger.closed))
        yield counts("medic_incidents", "Incidents that are not over.", "state", open_states, counter=False)
        yield counts("medic_holds", "Incidents about which nothing is done now, by why.", "reason", dict(held), counter=False)
        yield counts("medic_attempts_total", "Attempts that ended, by how.", "outcome", endings)
        yield gauge("medic_attempts_under_way", "Attempts without an outcome yet.", ledger.under_way)
        seconds = [span.total_seconds() for span in ledger.repairs]
        meaning = "From the opening of an incident to its close as healed."
        yield exposition.histogram("medic_repair_seconds", meaning, seconds, REPAIR_BOUNDS)
        yield gauge("medic_approvals_waiting", "Plans that wait for a person.", len(self._store.approvals.waiting(now)))
        yield gauge("medic_requests_waiting", "Requests of commands that the daemon has not taken yet.", ledger.requests)
        yield gauge("medic_notices_undelivered", "Notices on their way, all channels.", self._store.outbox.undelivered())
        yield gauge("medic_breakers_open", "Scopes in which healing stopped.", len(self._store.breakers.standing()))

    def _of_spending(self) -> Iterator[Family]:
        """What the last 24 hours cost: the same window that the limits of models look at. No model's name becomes a label."""
        gauge, counts = exposition.gauge, exposition.counts
        rows = self._store.spending.since(self._clock.now() - DAY)
        spent = {kind.value: float(sum(row.amount for row in rows if row.kind is kind)) for kind in SpendingKind}
        yield counts("medic_spent_usd", "What the last 24 hours cost, reservations included.", "on", spent, counter=False)
        calls = [row for row in rows if row.kind is SpendingKind.MODEL]
        used = [row.usage for row in calls if row.usage is not None]
        ends = {"answered": float(len(used)), "without-answer": float(len(calls) - len(used))}
        yield counts("medic_model_calls", "Calls of models in the last 24 hours.", "end", ends, counter=False)
        tokens = {
            "input": float(sum(each.input_tokens for each in used)),
            "output": float(sum(each.output_tokens for each in used)),
        }
        yield counts("medic_model_tokens", "Tokens of models in the last 24 hours.", "direction", tokens, counter=False)
        if self._money_per_day is not None:
            meaning = "What models may cost in 24 hours (limits.money_per_day)."
            yield gauge("medic_model_usd_per_day", meaning, float(self._money_per_day))

    def _ledger(self) -> Ledger:
        stamp = self._store.changes.stamp()
        if stamp is None or self._kept is None or self._kept[0] != stamp:
            ledger = self._store.ledger.read()
            if stamp is None:
                return ledger
            self._kept = (stamp, ledger)
        return self._kept[1]


def _health(streaks: Sequence[Streak]) -> Health:
    healths = {streak.settled for streak in streaks}
    return next(
        (health for health in (Health.SICK, Health.UNKNOWN) if health in healths), Health.WELL if healths else Health.UNKNOWN
    )
