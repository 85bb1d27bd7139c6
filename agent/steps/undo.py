"""undo: take back a remedy that made things worse, where its runbook declares how, and see that it did.

In: an attempt with its harm. Out: the attempt with how its undo ended and what was seen after it. A row of its own, never an
attempt. Entered again after a crash, it first finds out what really ran. Halted or stopped in the middle, nothing is written:
the undo is still owed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from agent import look, parameters
from agent.errors import ConfigError, OutsideError, StoreError
from agent.gate import Gate
from agent.model import Attempt, Plan, PlaybookRun, Rerun, RunEnd, Service, StoryKind, TaskResult, Verdict
from agent.policy import neighbours
from agent.ports import AttemptStore, Catalogue, Clock, Playbooks, Prober, StoryStore

STARTS = 3
"""How often one undo may be started: once, and twice more after it was cut, by a crash or by people. Then it is handed over."""


def take_back(
    attempt: Attempt,
    service: Service,
    catalogue: Catalogue,
    before: Verdict,
    harmed: Sequence[Service],
    *,
    prober: Prober,
    playbooks: Playbooks,
    attempts: AttemptStore,
    story: StoryStore,
    gate: Gate,
    clock: Clock,
) -> Attempt:
    """Run the undo runbook of the attempt's plan, look until it has done its work or time is up, and write both.

    before: the patient before the attempt. harmed: the neighbours that the attempt harmed.
    The attempt comes back without an undo when people or a shutdown stopped it: it is owed then.
    """
    if attempt.undo_seen:
        return attempt
    run = attempt.undo or _run(attempt, service, catalogue, playbooks, attempts, gate, _teller(attempt, service, story, clock))
    if run is None:
        return attempt
    attempts.undone(attempt.incident, attempt.number, run, now=clock.now())
    seen = _until_taken_back(service, before, harmed, prober, clock)
    attempts.undo_seen(attempt.incident, attempt.number, seen)
    ended = f"{run.end.value}{': ' + run.message if run.message else ''}"
    text = f"{attempt.plan.undo} {ended}; {'; '.join(_saw(verdict) for verdict in seen)}"
    story.tell(attempt.incident, service.name, StoryKind.UNDONE, text, now=clock.now(), key=f"undone {attempt.number}")
    return replace(attempt, undo=run, undo_seen=seen)


def _run(
    attempt: Attempt,
    service: Service,
    catalogue: Catalogue,
    playbooks: Playbooks,
    attempts: AttemptStore,
    gate: Gate,
    on_task: Callable[[TaskResult], None],
) -> PlaybookRun | None:
    """Return how the undo ended; None where it was told to stop, before it began or in the middle. Raises LeaseLost."""
    if gate.halted() is not None or gate.stopping():
        return None
    runbook = next((runbook for runbook in catalogue.runbooks() if runbook.id == attempt.plan.undo), None)
    if runbook is None:
        return PlaybookRun(end=RunEnd.NOT_RUN, message=f"cannot undo: there is no runbook {attempt.plan.undo!r}")
    run_id = f"{attempt.incident}-{attempt.number}-undo"
    try:
        plan = parameters.plan(runbook, service, good_copy=None, settings={}, why=f"takes back {attempt.plan.runbook}")
        changed = catalogue.changed(plan)
        if changed is not None:
            return PlaybookRun(end=RunEnd.NOT_RUN, message=f"cannot undo: {changed}")
        here = gate.lease.place
        left = _what_a_crash_left(plan, run_id, playbooks, elsewhere=attempt.started_at_place not in (None, here))
        if left is None and attempts.undo_started(attempt.incident, attempt.number, place=here) > STARTS:
            left = PlaybookRun(end=RunEnd.LOST, message=f"it was cut {STARTS} times; how far it came is not known")
        run = left or playbooks.run(plan, run_id=run_id, check=False, on_task=on_task, should_stop=gate.should_stop)
    except StoreError:
        raise
    except (ConfigError, OutsideError) as exc:
        return PlaybookRun(end=RunEnd.FAILED, message=str(exc))
    return None if run.end in (RunEnd.CANCELLED, RunEnd.INTERRUPTED) else run


def _what_a_crash_left(plan: Plan, run_id: str, playbooks: Playbooks, *, elsewhere: bool) -> PlaybookRun | None:
    """Return how an undo that was cut ended, as far as that can be known; None to run it, again or for the first time.

    elsewhere: another Medic began this attempt, and may have begun its undo: what markers there are lie with it.
    """
    finished = playbooks.finished(plan, run_id=run_id)
    if finished:
        return PlaybookRun(end=RunEnd.COMPLETED, message="Medic died during it; the marker on the target says it finished")
    if (finished is False or elsewhere) and plan.rerun is Rerun.NEVER:
        return PlaybookRun(end=RunEnd.LOST, message="Medic died during it; how far it came is not known")
    return None


def _until_taken_back(
    service: Service, before: Verdict, harmed: Sequence[Service], prober: Prober, clock: Clock
) -> tuple[Verdict, ...]:
    """Look until everything is as it was, so many times in a row as make a steady WELL, or until `verify_within` is over."""
    everyone = (service, *harmed)
    needed = max(look.looks_needed(each) for each in everyone)
    end = clock.monotonic() + service.limits.verify_within.total_seconds()
    in_a_row = 0
    while True:
        seen = tuple(look.at(each, prober, clock) for each in everyone)
        in_a_row = in_a_row + 1 if neighbours.taken_back(before, seen[0], seen[1:]) else 0
        if in_a_row >= needed or clock.monotonic() >= end:
            return seen
        clock.sleep(look.PAUSE)


def _saw(verdict: Verdict) -> str:
    reasons = f" ({'; '.join(verdict.reasons)})" if verdict.reasons else ""
    return f"{verdict.service} is {verdict.health.value}{reasons}"


def _teller(attempt: Attempt, service: Service, story: StoryStore, clock: Clock) -> Callable[[TaskResult], None]:
    def tell(task: TaskResult) -> None:
        if task.status != "skipped":
            said = f" - {task.message}" if task.message else ""
            text = f"{task.status}: {task.name}{said}"
            key = f"undo task {task.name} {attempt.number}"
            story.tell(attempt.incident, service.name, StoryKind.TASK, text, now=clock.now(), key=key)

    return tell
