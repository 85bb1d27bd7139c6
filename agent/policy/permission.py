"""Whether a plan may be carried out by itself: modes, the risk table, dry run, and a person's word. Pure.

In: a plan, and what people allow. Out: the plan to carry out, a `Hold` that names the plan it holds back, or a `Refusal`.
What is not an input cannot raise permission: no diagnosis, no log text and no confidence comes in here.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent.model import (
    Answer,
    Approval,
    Decision,
    FleetAct,
    Hold,
    HoldCode,
    HostName,
    Incident,
    Mode,
    Permissions,
    Plan,
    Refusal,
    RefusalCode,
    Risk,
    Runbook,
    RunbookId,
    Service,
    Standing,
)

LOOK_AGAIN = timedelta(minutes=10)
"""How often a service is diagnosed afresh while its mode lets nothing be done; `medic heal` does it at once."""

_CAREFUL = tuple(Mode)
"""From the most careful on: the order in which the modes are written down."""


def granted(plan: Plan, service: Service, number: int, standing: Standing, at_most: Mode = Mode.ACT) -> Decision:
    """Return the plan if it may be carried out now as attempt `number`, else why not.

    at_most: of whoever chose the plan; it can only make Medic more careful.

    The plan that comes back may be another than `plan` in its parameters: the one that a person edited it into.
    """
    mode = most_careful((mode_of(plan.runbook, plan.risk, service, standing.permissions), at_most))
    if plan.runbook in standing.demoted:
        mode = most_careful((mode, Mode.ASK))
    if service.host in standing.permissions.look_only:
        mode = most_careful((mode, Mode.SUGGEST))
    dry_run = service.dry_run or standing.permissions.dry_run
    match mode:
        case Mode.OBSERVE:
            because, until = f"would run {plan.runbook}; the mode is observe", "its mode is raised in medic.yaml"
            return Hold(code=HoldCode.OBSERVING, because=because, until=until, look_again=LOOK_AGAIN, would=plan)
        case Mode.SUGGEST:
            return _suggest(plan, service, standing, at_most)
        case Mode.ASK | Mode.ACT if dry_run:
            would = "dry run, else it would be asked for" if mode is Mode.ASK else "dry run"
            return _hold(HoldCode.DRY_RUN, plan, would, "dry_run is taken out of medic.yaml")
        case Mode.ASK:
            return _by_word(plan, number, standing)
        case Mode.ACT:
            return plan


def _suggest(plan: Plan, service: Service, standing: Standing, at_most: Mode) -> Hold:
    if service.host in standing.permissions.look_only:
        why, until = cannot_act(service.host), f"a person does it, or `ssh:` is declared for {service.host}"
        return _hold(HoldCode.SUGGESTED, plan, why, until)
    because = plan.why if at_most is Mode.SUGGEST else "the mode is suggest"
    return _hold(HoldCode.SUGGESTED, plan, because, "a person does it, or its mode is raised in medic.yaml")


def cannot_act(host: HostName) -> str:
    """Return why nothing can be carried out on a host of `Permissions.look_only`."""
    return f"host {host!r} is reached through SSM, over which Medic looks and does not act"


def mode_of(runbook: RunbookId, risk: Risk, service: Service, permissions: Permissions) -> Mode:
    """Return how far Medic may go: the most careful of the mode of all, the service's and the runbook's.

    A runbook that no mode names has that of its risk (DESIGN section 4), so that a service's mode alone never lets a
    destructive one run unasked: only naming the runbook does.
    """
    named = [mode for id_, mode in (*permissions.runbook_modes, *service.runbook_modes) if id_ == runbook]
    return most_careful((permissions.mode, service.mode, *(named or [by_risk(risk)])))


def by_risk(risk: Risk) -> Mode:
    """Return the mode of a runbook that no configuration names. Source: DESIGN section 4, docs/flow.md."""
    match risk:
        case Risk.SAFE | Risk.DISRUPTIVE:
            return Mode.ACT
        case Risk.DESTRUCTIVE:
            return Mode.ASK


def most_careful(modes: Iterable[Mode]) -> Mode:
    """Return the mode that lets the least be done. Raises ValueError for none at all."""
    return min(modes, key=_CAREFUL.index)


def digest(plan: Plan) -> str:
    """Return the sha256 over what an approval is bound to: the runbook, the hash of its files, every parameter, and the host."""
    bound = json.dumps([plan.runbook, plan.runbook_hash, plan.parameters, plan.host], ensure_ascii=True)
    return hashlib.sha256(bound.encode()).hexdigest()


def asked_for(incident: Incident, runbooks: Sequence[Runbook]) -> Plan | Refusal | None:
    """Return what a person asked for, as long as it is what they asked for; None where nobody did."""
    plan = incident.requested
    if plan is None or any((each.id, each.hash) == (plan.runbook, plan.runbook_hash) for each in runbooks):
        return plan
    because = f"{plan.runbook} is not what it was when it was asked for"
    return Refusal(code=RefusalCode.RUNBOOK_CHANGED, because=because)


def confirmed(decision: Plan | Refusal | None, incident: Incident, standing: Standing) -> Decision | None:
    """Return what was asked for, or a Hold that waits for a person's word where that kind of plan is never done without one."""
    if isinstance(decision, Plan) and decision.fleet is FleetAct.RETIRE:
        return _by_word(decision, len(incident.attempts) + 1, standing)
    return decision


def lapsed(plan: Plan, number: int, approvals: Sequence[Approval], now: datetime) -> str | None:
    """Return why the person's word that let a plan be chosen does not hold any more; None where it does, or none was asked."""
    bound = digest(plan)
    word = next((a for a in approvals if (a.number, a.digest, a.answer) == (number, bound, Answer.APPROVED)), None)
    return f"{word.id} has expired" if word is not None and has_expired(word, now) else None


def has_expired(approval: Approval, now: datetime) -> bool:
    """Say whether a request has waited too long for its answer, or the answer for its use."""
    return now >= approval.expires_at


def _by_word(plan: Plan, number: int, standing: Standing) -> Decision:
    """Return what a person's word makes of a plan that asks."""
    bound = digest(plan)
    # The latest first: an edit stands beside the request that it replaced.
    asked = next((a for a in reversed(standing.approvals) if a.number == number and bound in (a.digest, a.edit_of)), None)
    if asked is None:
        return _await(plan, standing.permissions.approval_expires, "it asks for a person's word first")
    if asked.answer is Answer.DENIED:
        because = f"{asked.answered_by} denied {plan.runbook}{f': {asked.why}' if asked.why else ''} ({asked.id})"
        return Refusal(code=RefusalCode.DENIED, because=because)
    if has_expired(asked, standing.now):
        because = f"{'nobody answered' if asked.answer is None else 'nothing came of'} {asked.id} in time ({plan.runbook})"
        return Refusal(code=RefusalCode.APPROVAL_EXPIRED, because=because)
    if asked.answer is Answer.APPROVED:
        return replace(asked.plan, why=f"{asked.plan.why}; approved by {asked.answered_by} ({asked.id})")
    return _await(plan, asked.expires_at - standing.now, f"{asked.id} waits for an answer")


def _await(plan: Plan, left: timedelta, because: str) -> Hold:
    return Hold(
        code=HoldCode.AWAITING_APPROVAL,
        because=f"would run {plan.runbook}; {because}",
        until="`medic approve` or `medic deny` (`medic approvals` lists what waits); no answer is a no",
        look_again=left,
        would=plan,
    )


def _hold(code: HoldCode, plan: Plan, because: str, until: str) -> Hold:
    return Hold(code=code, because=f"would run {plan.runbook}; {because}", until=until, look_again=LOOK_AGAIN, would=plan)
