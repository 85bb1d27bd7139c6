"""What the crash driver counts: where each signal hit, and what the ledger says beside what really happened.

lost         an attempt without an outcome, an incident that never ended, a daemon that would not end when it had to
repeated     a container changed more often than the ledger counts starts of playbooks, an attempt started from two places,
             an incident with more than two counted attempts
overlapping  two playbooks of one service at work in the same moment
survivors    a process of a killed run that is still there after the time a guard has to sweep
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.model import AuditKind, HoldCode, Incident, IncidentState
from agent.ports import Store
from tests.lab.crash_cuts import MOMENTS, SIGNALS
from tests.lab.crash_ground import Ground

STEPS = (
    *("read the incident", "read the service", "diagnose", "plan", "propose", "hold"),
    *("apply", "settle", "verify", "weigh", "close", "escalate"),
)
"""The steps of `agent/heal.py` that these services bring about. Those of an undo, `recovered` and the hand-over after a bug are cut
in `tests/stories`, at every boundary."""

Cell = tuple[str, str, str]
"""Step, moment, signal."""
CELLS: tuple[Cell, ...] = tuple((step, moment, signal) for step in STEPS for moment in MOMENTS for signal in SIGNALS)


@dataclass
class Tally:
    """What is printed at the end."""

    store: str
    kills: int = 0
    hits: Counter[Cell] = field(default_factory=Counter)
    at_random: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(step under way, signal) of the kills at a random moment; `between` where no heal was at work."""
    takeovers: list[float] = field(default_factory=list)
    """Seconds from the end of one daemon to the lead of the other."""
    fenced: int = 0
    """Daemons that were stopped, lost the lead, were let go on, and ended by themselves."""
    attempts: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)

    def added(self, other: "Tally") -> "Tally":
        """Return the counts of two nights on the same kind of store."""
        return Tally(
            self.store,
            self.kills + other.kills,
            self.hits + other.hits,
            self.at_random + other.at_random,
            self.takeovers + other.takeovers,
            self.fenced + other.fenced,
            self.attempts + other.attempts,
            self.lost + other.lost,
            self.repeated + other.repeated,
            self.overlapping + other.overlapping,
            self.survivors + other.survivors,
        )

    @property
    def never_hit(self) -> list[Cell]:
        return [cell for cell in CELLS if not self.hits[cell]]

    @property
    def clean(self) -> bool:
        """Nothing lost, repeated, overlapping or surviving, and something was really tested: with kills enough, every cell."""
        trouble = self.lost or self.repeated or self.overlapping or self.survivors
        return self.kills > 0 and self.attempts > 0 and not trouble and not (self.kills >= 2 * len(CELLS) and self.never_hit)

    def __str__(self) -> str:
        lines = [
            f"{self.store}: kills {self.kills} ({self.kills - self.hits.total()} at random), attempts {self.attempts}, "
            f"attempts lost {len(self.lost)}, repeated {len(self.repeated)}, "
            f"overlapping {len(self.overlapping)}, survivors {len(self.survivors)}"
        ]
        if self.takeovers:
            lines.append(
                f"  takeovers {len(self.takeovers)}, longest {max(self.takeovers):.1f} s; zombies fenced {self.fenced}"
            )
        for name in ("lost", "repeated", "overlapping", "survivors"):
            lines += [f"  {name}: {what}" for what in getattr(self, name)]
        return "\n".join([*lines, *self._table()])

    def _table(self) -> Iterable[str]:
        head = "".join(f"{f'{signal} before/inside/after':>28}" for signal in SIGNALS)
        yield f"  {'step':<20}{head}{'at random':>12}"
        for step in (*STEPS, *sorted({step for step, _ in self.at_random} - set(STEPS))):
            cells = ["/".join(str(self.hits[step, moment, signal]) for moment in MOMENTS) for signal in SIGNALS]
            random = sum(self.at_random[step, signal] for signal in SIGNALS)
            yield f"  {step:<20}" + "".join(f"{cell:>28}" for cell in cells) + f"{random:>12}"
        if self.never_hit:
            yield f"  cells never hit: {len(self.never_hit)} of {len(CELLS)}"


def ended(incident: Incident) -> bool:
    """Say whether nothing is on its way any more: closed, with people, waiting for a person's word, or for minutes of steadiness.

    The driver lets what hangs go on again as a person would, which to Medic is a service that comes and goes by itself.
    """
    waits = incident.hold is not None and incident.hold.code in (HoldCode.AWAITING_APPROVAL, HoldCode.FLAPPING)
    return incident.state in (IncidentState.CLOSED, IncidentState.ESCALATED) or (incident.state is IncidentState.HELD and waits)


def judge(tally: Tally, ground: Ground, store: Store) -> None:
    """Hold the ledger against what Docker and the process table said."""
    incidents = store.incidents.recent(limit=100_000)
    starts: Counter[str] = Counter()
    for incident in incidents:
        _judge_one(tally, incident)
        tally.attempts += len(incident.attempts)
        starts[incident.service] += sum(attempt.runs for attempt in incident.attempts)
    for service, changes in ground.changes.items():
        if changes > starts[service]:
            tally.repeated.append(f"{service} was started {changes} times, the ledger counts {starts[service]} playbooks")
    _judge_places(tally, store)
    service_of = {str(incident.id): str(incident.service) for incident in incidents}
    for marks in ground.together:
        at_work = Counter(service_of[mark.partition("-")[0]] for mark in marks if not mark.startswith("dry-"))
        tally.overlapping += [f"{service}: {sorted(marks)}" for service, number in at_work.items() if number > 1]


def _judge_one(tally: Tally, incident: Incident) -> None:
    if not ended(incident):
        tally.lost.append(f"{incident.id} of {incident.service} is still {incident.state.value}")
    numbers = [attempt.number for attempt in incident.attempts]
    if numbers != list(range(1, len(numbers) + 1)):
        tally.lost.append(f"{incident.id} counts {numbers}")
    tally.lost += [f"{incident.id}-{a.number} has no outcome" for a in incident.attempts if a.outcome is None]
    counted = sum(attempt.outcome is not None and attempt.outcome.counts for attempt in incident.attempts)
    if counted > 2:
        tally.repeated.append(f"{incident.id} counts {counted} attempts")


def _judge_places(tally: Tally, store: Store) -> None:
    """An attempt that one Medic started is never started again by another, whatever its runbook allows."""
    places: dict[tuple[str, object], set[object]] = {}
    last = 0
    while page := store.audit.rows(after=last, limit=5_000):
        last = page[-1].id
        for row in page:
            if row.kind == AuditKind.STARTED.value:
                payload = json.loads(row.payload)
                if "start" not in payload:
                    continue  # of an undo: its runbook says whether it may run again
                places.setdefault((row.incident, payload["attempt"]), set()).add(payload["place"])
    tally.repeated += [f"{key} was started from {sorted(map(str, found))}" for key, found in places.items() if len(found) > 1]
