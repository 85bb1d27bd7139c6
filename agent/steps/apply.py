"""apply: carry out one plan, once. The only step that changes the world.

In: a plan. Out: the attempt, with how its playbook ended (never whether it helped: verify says that).

The order is the product: the intent row is durable and its budgets are reserved with it, then the kill switch, one more look at the patient and one at its
neighbours, then the playbook in its guarded process, then the result row. Entered again after a crash, it first finds out what really ran.
"""

import contextlib
from collections.abc import Callable, Sequence, Set
from dataclasses import replace

from agent import look, neighbourhood
from agent.errors import OutsideError, StoreError
from agent.gate import Gate
from agent.model import (
    Attempt,
    Health,
    Hold,
    Incident,
    IncidentId,
    Outcome,
    Plan,
    PlaybookRun,
    Refusal,
    Rerun,
    RunEnd,
    Service,
    StoryKind,
    TaskResult,
)
from agent.ports import AttemptStore, Clock, Playbooks, Prober, Room, StoryStore

STARTS = 3
"""How often one attempt may start its playbook: once, and twice more after crashes with `rerun: safe`."""


def carry_out(
    incident: Incident,
    number: int,
    plan: Plan,
    service: Service,
    services: Sequence[Service],
    changed: Set[str],
    *,
    prober: Prober,
    playbooks: Playbooks,
    attempts: AttemptStore,
    story: StoryStore,
    gate: Gate,
    clock: Clock,
    room: Room,
    lapsed: Callable[[], str | None],
    hand_over: Callable[[], Hold | Refusal] | None = None,
) -> Attempt | Hold | Refusal:
    """Return the attempt (incident, number) with its run, or ended as SUPERSEDED or CANCELLED before any change.

    A Hold where the budgets have no room for it: others began since it was planned. Nothing is written then.

    services: every service that should run and is not sick; how the neighbours among them are, and how they hang together
    with `changed`, the containers that the plan acts on, is written down before the first change.
    lapsed: why the plan may not run any more: its files were edited, or a person's word has expired. Asked last of all.
    hand_over: for a plan that no playbook carries out: gives it to who does, and says what is waited for, or why not after all;
    the attempt stays unfinished until that one has ended it. Safe to repeat.
    Raises StoreError when the intent cannot be written or another Medic has taken over: then nothing was changed.
    """
    attempt = _begin(incident, number, plan, attempts, room, clock)
    if isinstance(attempt, Hold):
        return attempt
    if attempt.run is not None or attempt.outcome is not None:
        return attempt  # it finished, and the crash came before the engine remembered it

    def tell(kind: StoryKind, text: str, key: str) -> None:
        story.tell(incident.id, service.name, kind, text, now=clock.now(), key=f"{key} {number}")

    standing_down = _stand_down(incident, attempt, service, prober, gate, clock, lapsed)
    if standing_down is not None:
        outcome, why = standing_down
        not_run = PlaybookRun(end=RunEnd.NOT_RUN, message=why)
        attempts.ran(incident.id, number, not_run, now=clock.now())
        attempts.end(incident.id, number, outcome, None, now=clock.now())
        tell(StoryKind.TRIED, f"{plan.runbook}: {outcome.value}, {why}", "tried")
        return replace(attempt, run=not_run, outcome=outcome)

    place = gate.lease.place
    if hand_over is not None:
        return _handed_over(attempt, place, hand_over, attempts, gate, clock, tell)
    run = _what_the_crash_left(attempt, service, prober, playbooks, clock, place, lapsed) if attempt.runs else None
    if run is None:
        if not attempt.runs:
            around, ties = neighbourhood.verdicts(service, changed, services, prober, clock)
            attempts.looked_around(incident.id, number, around, ties)
        tell(StoryKind.TRYING, f"attempt {number}: {plan.title} ({plan.runbook}), {plan.why}", "trying")
        gate.lease.confirm()  # the looks took seconds
        attempts.started(incident.id, number, place=place)
        run = _run(plan, run_id(incident.id, number), playbooks, gate, lambda task: _tell_task(tell, task))
    ended = clock.now()
    attempts.ran(incident.id, number, run, now=ended)
    tell(StoryKind.TRIED, f"{plan.runbook} {run.end.value}{': ' + run.message if run.message else ''}", "tried")
    return replace(attempt, run=run, ran_until=ended)


def _handed_over(
    attempt: Attempt,
    place: str,
    hand_over: Callable[[], Hold | Refusal],
    attempts: AttemptStore,
    gate: Gate,
    clock: Clock,
    tell: Callable[[StoryKind, str, str], None],
) -> Hold | Refusal:
    plan, incident, number = attempt.plan, attempt.incident, attempt.number
    tell(StoryKind.TRYING, f"attempt {number}: {plan.title} ({plan.runbook}), {plan.why}", "trying")
    gate.lease.confirm()  # the looks took seconds
    if not attempt.runs:
        attempts.started(incident, number, place=place)
    came = hand_over()
    if isinstance(came, Refusal):
        attempts.ran(incident, number, PlaybookRun(end=RunEnd.NOT_RUN, message=came.because), now=clock.now())
        attempts.end(incident, number, Outcome.CANCELLED, None, now=clock.now())
        tell(StoryKind.TRIED, f"{plan.runbook}: {Outcome.CANCELLED.value}, {came.because}", "tried")
    return came


def _begin(incident: Incident, number: int, plan: Plan, attempts: AttemptStore, room: Room, clock: Clock) -> Attempt | Hold:
    """Write the intent. What a person asked for is outside the budgets."""
    if incident.requested is not None:
        return attempts.begin(incident.id, number, plan, now=clock.now())
    return attempts.reserve(incident.id, number, plan, room, now=clock.now())


def run_id(incident: IncidentId, number: int) -> str:
    """Return the name of one attempt's run folder and of its marker on the target."""
    return f"{incident}-{number}"


def _stand_down(
    incident: Incident,
    attempt: Attempt,
    service: Service,
    prober: Prober,
    gate: Gate,
    clock: Clock,
    lapsed: Callable[[], str | None],
) -> tuple[Outcome, str] | None:
    """Return why nothing may be changed after all, before the first change; None to go on."""
    if attempt.runs:
        return None  # something may have been changed already: what the crash left decides
    halted = gate.halted()
    if halted is not None:
        return Outcome.CANCELLED, f"halted: {halted}"
    if incident.requested is None:  # what a person asked for runs, well or not
        seen = look.steadily(service, prober, clock)
        if seen.health is Health.WELL:
            return Outcome.SUPERSEDED, "the service is well again"
        if seen.health is Health.UNKNOWN:
            return Outcome.CANCELLED, f"cannot look: {'; '.join(seen.reasons)}"
    why = lapsed()
    return None if why is None else (Outcome.CANCELLED, why)


def _what_the_crash_left(
    attempt: Attempt,
    service: Service,
    prober: Prober,
    playbooks: Playbooks,
    clock: Clock,
    place: str,
    lapsed: Callable[[], str | None],
) -> PlaybookRun | None:
    """Medic died while the playbook ran. Return how it ended as far as that can be known; None to run it again."""
    if look.steadily(service, prober, clock).health is Health.WELL:
        return PlaybookRun(end=RunEnd.LOST, message="Medic died during it; the service is well")
    if attempt.started_at_place not in (None, place):
        # No marker here is no proof that it never started there.
        message = "the Medic that started it is gone, and its marker with it; how far it came is not known"
        return PlaybookRun(end=RunEnd.LOST, message=message)
    try:
        finished = playbooks.finished(attempt.plan, run_id=run_id(attempt.incident, attempt.number))
    except OutsideError as exc:
        return PlaybookRun(end=RunEnd.LOST, message=f"Medic died during it; how far it came is not known: {exc}")
    if finished:
        return PlaybookRun(end=RunEnd.COMPLETED, message="Medic died during it; the marker on the target says it finished")
    may_rerun = finished is None or attempt.plan.rerun is Rerun.SAFE
    why = lapsed() if may_rerun and attempt.runs < STARTS else None
    if why is not None:
        return PlaybookRun(end=RunEnd.LOST, message=f"Medic died during it, and it is not run again: {why}")
    if may_rerun and attempt.runs < STARTS:
        return None
    return PlaybookRun(end=RunEnd.LOST, message=f"Medic died during it ({attempt.runs} starts); how far it came is not known")


def _run(
    plan: Plan,
    run_name: str,
    playbooks: Playbooks,
    gate: Gate,
    on_task: Callable[[TaskResult], None],
) -> PlaybookRun:
    try:
        return playbooks.run(plan, run_id=run_name, check=False, on_task=on_task, should_stop=gate.should_stop)
    except OutsideError as exc:
        end = RunEnd.UNREACHABLE if exc.transient else RunEnd.FAILED
        return PlaybookRun(end=end, message=str(exc))


def _tell_task(tell: Callable[[StoryKind, str, str], None], task: TaskResult) -> None:
    """Tell one task. A store that hiccups must not end a playbook in the middle for the sake of a line."""
    if task.status == "skipped":
        return
    with contextlib.suppress(StoreError):
        tell(StoryKind.TASK, f"{task.status}: {task.name}{' - ' + task.message if task.message else ''}", f"task {task.name}")
