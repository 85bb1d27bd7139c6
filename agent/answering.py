"""Answering a request for approval: `medic approve`, `medic deny`, `medic edit`.

In: the request's id and who says what, why. Out: a `RequestAnswer` with one sentence. The answer is a row of the store, so it
works with and without a running daemon; the next sweep starts the round in which `plan` makes of it what it is worth then.
"""

from collections.abc import Mapping, Sequence

from agent import parameters
from agent.errors import ConfigError
from agent.model import Answer, Approval, IncidentState, RequestAnswer, Runbook, StoryKind
from agent.policy import permission
from agent.ports import Clock, Store

LONGEST_WHY = 300
"""Characters of a reason that are kept."""


def approve(id_: str, *, by: str, why: str, store: Store, clock: Clock) -> RequestAnswer:
    """Say yes. Raises ConfigError for an id that there is not."""
    return _answer(id_, Answer.APPROVED, by=by, why=why, store=store, clock=clock)


def deny(id_: str, *, by: str, why: str, store: Store, clock: Clock) -> RequestAnswer:
    """Say no: the incident goes to people. Raises ConfigError for an id that there is not, and for no reason given."""
    if not why.strip():
        raise ConfigError(f"cannot deny {id_[:40]!r} without a reason: give --why TEXT")
    return _answer(id_, Answer.DENIED, by=by, why=why, store=store, clock=clock)


def edit(
    id_: str,
    settings: Mapping[str, str],
    *,
    by: str,
    why: str,
    runbooks: Sequence[Runbook],
    store: Store,
    clock: Clock,
) -> RequestAnswer:
    """Say yes to the plan with other parameters; the request itself is void. Raises ConfigError for what may not be set."""
    asked = _get(id_, store)
    runbook = next((each for each in runbooks if each.id == asked.plan.runbook), None)
    if runbook is None or runbook.hash != asked.plan.runbook_hash:
        return _refused(asked, "edit", f"runbook {asked.plan.runbook!r} is not what it was when this was asked")
    plan = parameters.edited(asked.plan, runbook, settings)
    if plan == asked.plan:
        raise ConfigError(f"cannot edit {asked.id!r}: nothing would change; `medic approve {asked.id}` says yes to it as it is")
    why, now = why.strip()[:LONGEST_WHY], clock.now()
    approved = store.approvals.edit(asked.id, permission.digest(plan), plan, by=by, why=why, now=now)
    if approved is None:
        return _refused(asked, "edit", _why_not(asked, store))
    changed = ", ".join(f"{name}={value}" for name, value in plan.parameters if (name, value) not in asked.plan.parameters)
    _tell(approved, f"{asked.id} edited to {approved.id} ({changed}) and approved by {by}", why, store, clock)
    return _accepted(approved, f"{approved.id} approved: {plan.runbook} on {approved.service} with {changed}")


def _answer(id_: str, answer: Answer, *, by: str, why: str, store: Store, clock: Clock) -> RequestAnswer:
    asked, why = _get(id_, store), why.strip()[:LONGEST_WHY]
    verb = "approve" if answer is Answer.APPROVED else "deny"
    if not store.approvals.answer(asked.id, answer, by=by, why=why, now=clock.now()):
        return _refused(asked, verb, _why_not(asked, store))
    _tell(asked, f"{asked.id} {answer.value} by {by}", why, store, clock)
    return _accepted(asked, f"{asked.id} {answer.value}: {asked.plan.runbook} on {asked.service} ({asked.incident})")


def _get(id_: str, store: Store) -> Approval:
    asked = store.approvals.get(id_)
    if asked is None:
        raise ConfigError(f"cannot find approval {id_[:40]!r}: `medic approvals` lists what waits")
    return asked


def _why_not(asked: Approval, store: Store) -> str:
    """Return why a request no longer waits for an answer."""
    now = store.approvals.get(asked.id) or asked
    if now.answer is not None:
        return f"{now.answered_by} has {now.answer.value} it already"
    incident = store.incidents.get(asked.incident)
    if incident is None or incident.state in (IncidentState.CLOSED, IncidentState.ESCALATED):
        return f"{asked.incident} is {incident.state.value if incident else 'gone'}"
    return f"it expired at {asked.expires_at:%Y-%m-%d %H:%M:%S} UTC"


def _tell(asked: Approval, text: str, why: str, store: Store, clock: Clock) -> None:
    text += f": {why}" if why else ""
    store.story.tell(asked.incident, asked.service, StoryKind.ANSWERED, text, now=clock.now(), key=f"answered {asked.id}")


def _accepted(asked: Approval, sentence: str) -> RequestAnswer:
    return RequestAnswer(request=asked.id, accepted=True, incident=asked.incident, sentence=sentence)


def _refused(asked: Approval, verb: str, because: str) -> RequestAnswer:
    sentence = f"cannot {verb} {asked.id!r}: {because}"
    return RequestAnswer(request=asked.id, accepted=False, incident=asked.incident, sentence=sentence)
