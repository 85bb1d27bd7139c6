"""undo: take back a remedy that made things worse, where its runbook declares how. A row of its own, never an attempt.

In: an attempt after which a check that was WELL is SICK. Out: the attempt with how its undo ended.
"""

from collections.abc import Callable
from dataclasses import replace

from agent import look, parameters
from agent.errors import ConfigError, OutsideError
from agent.model import Attempt, PlaybookRun, Runbook, RunEnd, Service, StoryKind
from agent.ports import AttemptStore, Clock, KillSwitch, Playbooks, Prober, StoryStore


def take_back(
    attempt: Attempt,
    service: Service,
    runbooks: tuple[Runbook, ...],
    *,
    prober: Prober,
    playbooks: Playbooks,
    attempts: AttemptStore,
    story: StoryStore,
    kill_switch: KillSwitch,
    clock: Clock,
    stopping: Callable[[], bool],
) -> Attempt:
    """Run the undo runbook of the attempt's plan once, look, and write how it ended. Safe to enter again after a crash."""
    if attempt.undo is not None:
        return attempt
    run = _run(attempt, service, runbooks, playbooks, kill_switch, stopping)
    attempts.undone(attempt.incident, attempt.number, run, now=clock.now())
    seen = look.at(service, prober, clock)
    text = f"{attempt.plan.undo} {run.end.value}: the service is {seen.health.value}"
    story.tell(attempt.incident, service.name, StoryKind.UNDONE, text, now=clock.now(), key=f"undone {attempt.number}")
    return replace(attempt, undo=run)


def _run(
    attempt: Attempt,
    service: Service,
    runbooks: tuple[Runbook, ...],
    playbooks: Playbooks,
    kill_switch: KillSwitch,
    stopping: Callable[[], bool],
) -> PlaybookRun:
    runbook = next((runbook for runbook in runbooks if runbook.id == attempt.plan.undo), None)
    if runbook is None:
        return PlaybookRun(end=RunEnd.NOT_RUN, message=f"cannot undo: there is no runbook {attempt.plan.undo!r}")
    if (halted := kill_switch.halted()) is not None:
        return PlaybookRun(end=RunEnd.NOT_RUN, message=f"halted: {halted}")
    try:
        plan = parameters.plan(runbook, service, good_copy=None, settings={}, why=f"takes back {attempt.plan.runbook}")
        return playbooks.run(
            plan,
            run_id=f"{attempt.incident}-{attempt.number}-undo",
            check=False,
            on_task=lambda _task: None,
            should_stop=lambda: "halt" if kill_switch.halted() else ("stopping" if stopping() else None),
        )
    except (ConfigError, OutsideError) as exc:
        return PlaybookRun(end=RunEnd.FAILED, message=str(exc))
