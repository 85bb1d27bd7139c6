"""propose: show people what a plan would change, where permission alone keeps it from being carried out.

In: a `Hold` that names such a plan. Out: what Ansible's check mode says of it in the incident's folder, a line of the story,
and, as the hold's code demands, a request for approval or a suggestion, with its notice. Nothing is changed. Safe to repeat:
the preview is made once per plan and attempt, the request has a natural key, the notice a dedup key.
"""

import json
from collections.abc import Sequence

from agent import notices
from agent.errors import OutsideError
from agent.gate import Gate
from agent.model import (
    Choice,
    Hold,
    HoldCode,
    Incident,
    Permissions,
    Plan,
    PlaybookRun,
    Risk,
    RunEnd,
    Service,
    StoryKind,
    TaskResult,
)
from agent.policy import permission
from agent.ports import Clock, EvidenceFiles, Playbooks, Store

LONGEST_PREVIEW = 20_000
"""Characters of what check mode says that are kept: what a person reads before deciding."""

_UNKNOWN = "What it would change is not known"
_CUT_SHORT = "Check mode"
_MEANS = {
    Risk.SAFE: "touches this service only and can be repeated",
    Risk.DISRUPTIVE: "changes the service's shape or files",
    Risk.DESTRUCTIVE: "deletes, replaces or goes back",
}


def to_people(
    incident: Incident,
    number: int,
    hold: Hold,
    plan: Plan,
    service: Service,
    *,
    store: Store,
    playbooks: Playbooks,
    bundles: EvidenceFiles,
    gate: Gate,
    permissions: Permissions,
    channels: Sequence[str],
    clock: Clock,
    choice: Choice | None = None,
) -> None:
    """Lay `plan`, which would be attempt `number`, open to people. Raises StoreError when it cannot be written down.

    choice: the ways there are, each with its price, where a host of a fleet is in question.
    """
    bound = permission.digest(plan)
    file = preview_file(number, plan)
    saved = bundles.read(incident.id, file)
    if saved is None:
        saved = _shown(plan, f"dry-{incident.id}-{number}", playbooks, gate, choice).encode()
        bundles.keep(incident.id, file, saved)
    diff, now = saved.decode(errors="replace"), clock.now()

    def tell(kind: StoryKind, text: str) -> None:
        store.story.tell(incident.id, service.name, kind, text, now=now, key=f"{kind.value} {number} {bound[:12]}")

    if hold.code is not HoldCode.AWAITING_APPROVAL:
        tell(
            StoryKind.PROPOSED,
            f"would run {plan.runbook}, {plan.why}; incidents/{incident.id}/{file} says what it would change",
        )
        if hold.code is HoldCode.SUGGESTED:
            store.outbox.post(notices.suggested(incident, plan, bound, now=now), channels)
        return
    approval = store.approvals.ask(
        incident.id,
        number,
        bound,
        plan,
        impact=impact(plan, service) if choice is None else _with_options(plan, service, choice),
        diff=diff,
        now=now,
        expires_at=now + permissions.approval_expires,
    )
    tell(StoryKind.ASKED, f"{approval.id}: may {plan.runbook} run? {plan.why}; {approval.impact}")
    store.outbox.post(notices.asked(incident, approval, now=now), channels)


def preview_file(number: int, plan: Plan) -> str:
    """Return the name of the file, in the incident's folder, that says what a plan would change as attempt `number`."""
    return f"proposal-{number}-{permission.digest(plan)[:12]}.txt"


def is_whole(preview: str) -> bool:
    """Say whether check mode came to its end: else a preview begins with why it does not tell all."""
    return bool(preview) and not preview.startswith((_UNKNOWN, _CUT_SHORT))


def impact(plan: Plan, service: Service) -> str:
    """Return what a plan touches and how far that goes, as a sentence."""
    seconds = plan.timeout.total_seconds()
    container = json.loads(dict(plan.parameters).get("container", json.dumps(service.container)))
    return f"{plan.risk.value}: {_MEANS[plan.risk]}; container {container} on {service.host}, {seconds:.0f} s at most"


def _with_options(plan: Plan, service: Service, choice: Choice) -> str:
    """Return the impact of a plan on a host of a fleet: what each way costs is what a person decides by."""
    return f"{plan.risk.value}: {_MEANS[plan.risk]}; host {service.host}; {' | '.join(choice.options)}"


def _shown(plan: Plan, run_id: str, playbooks: Playbooks, gate: Gate, choice: Choice | None) -> str:
    preview = _preview(plan, run_id, playbooks, gate) if plan.playbook else ""
    lines = () if choice is None else ("would be done:", *choice.outlook, "options:", *choice.options)
    return "\n".join(((preview.rstrip("\n"),) if preview and lines else (preview,) if preview else ()) + lines)


def _preview(plan: Plan, run_id: str, playbooks: Playbooks, gate: Gate) -> str:
    """Return what check mode says that the plan would change, or why it does not say."""
    try:
        run = playbooks.run(plan, run_id=run_id, check=True, on_task=_leave_untold, should_stop=gate.should_stop)
    except OutsideError as exc:
        return f"{_UNKNOWN}: {exc}\n"[:LONGEST_PREVIEW]
    return _text(run)[:LONGEST_PREVIEW]


def _text(run: PlaybookRun) -> str:
    ended = "" if run.end is RunEnd.COMPLETED else f"{_CUT_SHORT} {run.end.value}: {run.message}\n"
    tasks = "".join(
        f"{task.status}: {task.name}{f' - {task.message}' if task.message else ''}\n"
        for task in run.tasks
        if task.status != "skipped"
    )
    return "\n".join(f"{ended}{tasks}{run.diff}".splitlines())  # Ansible's diffs come with CRLF


def _leave_untold(_task: TaskResult) -> None:
    """Tasks of a dry run are no events of the story; they stand in the preview."""
