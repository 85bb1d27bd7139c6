"""The messages that people get, from opened to resolved. Pure; bounded; one per edge of an incident's story.

In: values of the model. Out: a `Notice` whose dedup key is the same however often the edge is told. Texts name facts and
never quote logs: a log line in a chat channel is how secrets travel. Every notifier redacts what it sends all the same.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from agent.model import (
    MEDIC,
    Approval,
    Attempt,
    AuditHead,
    Closing,
    Escalation,
    Health,
    Incident,
    IncidentId,
    Notice,
    NoticeKind,
    Outcome,
    Plan,
    Refusal,
)

TITLE_LIMIT = 120
"""Characters. What a phone's lock screen and an e-mail subject show."""
BODY_LIMIT = 1_500
"""Characters. Under the smallest limit of the usual chat channels (Discord: 2 000)."""


AUDIT = "Audit: "
"""What the head of the audit stands behind, in the last line of every notice."""


def opened(incident: Incident, *, now: datetime) -> Notice:
    """Return the notice that an incident was opened: what is wrong, where, since when."""
    symptoms = ", ".join(dict.fromkeys(symptom.word for symptom in incident.first.symptoms))
    unseen = incident.first.health is Health.UNKNOWN
    title = (
        f"{incident.service} cannot be looked at" if unseen else f"{incident.service} is sick: {symptoms or 'a check is red'}"
    )
    body = [*incident.first.reasons, f"On host {incident.host}, seen at {_at(incident.opened_at)}. Medic is on it."]
    return _notice(incident, NoticeKind.OPENED, title, body, now)


def escalated(incident: Incident, refusal: Refusal, escalation: Escalation, *, missing_report: str, now: datetime) -> Notice:
    """Return the notice that an incident is handed to people: what to do first, why, what was tried, where the report is.

    missing_report: why there is no report; empty when it was written.
    """
    body = [f"Do first: {escalation.next_step}", f"Why a person: {refusal.because} ({refusal.code.value})."]
    if incident.diagnosis is not None:
        diagnosis = incident.diagnosis
        body.append(
            f"Likely cause: {diagnosis.cause.value} ({diagnosis.sureness.value}, says {diagnosis.said_by}): {diagnosis.summary}"
        )
    body += [f"Attempt {attempt.number}: {attempt.plan.title}: {_outcome(attempt.outcome)}." for attempt in incident.attempts]
    body.append(f"No report: {missing_report}" if missing_report else f"Report: {escalation.report}")
    return _notice(incident, NoticeKind.ESCALATED, f"{incident.service} needs a person", body, now)


def asked(incident: Incident, approval: Approval, *, now: datetime) -> Notice:
    """Return the notice that a request for approval waits: what would be done, why, how far it goes, until when."""
    plan = approval.plan
    body = [
        f"{plan.title} ({plan.runbook}), {plan.why}.",
        f"Impact: {approval.impact}.",
        f"`medic approvals` shows what it would change; then `medic approve {approval.id}` or `medic deny {approval.id} --why ...`.",
        f"No answer by {_at(approval.expires_at)} is a no.",
    ]
    title = f"{incident.service} waits for your word: {plan.runbook}"
    return _notice(incident, NoticeKind.ASKED, title, body, now, edge=approval.id)


def suggested(incident: Incident, plan: Plan, digest: str, *, now: datetime) -> Notice:
    """Return the notice of what Medic would do and leaves to people. digest: of the plan; another plan is another notice."""
    body = [f"{plan.title} ({plan.runbook}), {plan.why}.", f"`medic runbook run {plan.runbook} {incident.service}` does it."]
    title = f"{incident.service}: Medic suggests {plan.runbook}"
    return _notice(incident, NoticeKind.SUGGESTED, title, body, now, edge=digest[:12])


def acted(incident: Incident, attempt: Attempt, *, now: datetime) -> Notice:
    """Return the notice that a remedy that is not merely safe was carried out."""
    plan = attempt.plan
    ended = attempt.run.end.value if attempt.run else "unfinished"
    body = [f"{plan.title} ({plan.runbook}, {plan.risk.value}), {plan.why}.", f"The playbook {ended}; what came of it follows."]
    return _notice(
        incident, NoticeKind.ACTED, f"{incident.service}: {plan.runbook} was run", body, now, edge=str(attempt.number)
    )


def resolved(incident: Incident, how: Closing, *, now: datetime, in_stack: str = "") -> Notice:
    """Return the notice that an incident is over: how it ended, after how long, after which attempts.

    in_stack: what it changed of what Pulumi owns, with the commands that keep it; empty where nothing of a stack was touched.
    """
    counted = [attempt for attempt in incident.attempts if attempt.outcome is not None and attempt.outcome.counts]
    tried = "; ".join(f"{attempt.plan.title}: {_outcome(attempt.outcome)}" for attempt in counted)
    match how:
        case Closing.HEALED:
            title = f"{incident.service} is well again: healed"
        case Closing.RECOVERED:
            title = f"{incident.service} is well again: it recovered by itself"
        case Closing.BY_PERSON:
            title = f"{incident.service}: incident closed by a person"
        case Closing.CARRIED_OUT:
            title = f"{incident.service}: what a person asked for was carried out"
    body = [f"Open for {span(now - incident.opened_at)}.", f"Attempts: {tried}." if tried else "No attempt was needed."]
    body += [f"{in_stack}."] if in_stack else []
    return _notice(incident, NoticeKind.RESOLVED, title, body, now)


def distress(since: datetime, cause: str, *, over: bool, now: datetime) -> Notice:
    """Return the notice that Medic itself cannot do its work, or can again. It belongs to no incident: none can be kept.

    cause: the sentence of the error that ends its beats.
    """
    kind = NoticeKind.RESOLVED if over else NoticeKind.ESCALATED
    body = (
        [f"Beats end again. Medic was away since {_at(since)}: {cause}."]
        if over
        else [
            "Do first: see to that cause on Medic's own machine; `medic doctor` there says what is missing.",
            f"Since {_at(since)}: {cause}.",
            "Nothing is healed and no incident is opened meanwhile. Medic goes on by itself where that can be.",
        ]
    )
    return Notice(
        dedup_key=f"medic:distress:{since.isoformat()}:{kind.value}",
        kind=kind,
        incident=IncidentId(""),
        service=MEDIC,
        at=now,
        title="Medic works again" if over else "Medic itself needs a person: its beats fail",
        body=_bounded("\n".join(body), BODY_LIMIT),
    )


def spent(money: Decimal, cap: Decimal, *, now: datetime) -> Notice:
    """Return the notice that models cost much of what a day may cost. One a day (UTC), however often it is told."""
    share = f"{money / cap:.0%}" if cap > 0 else "all"
    body = [
        f"Models cost ${money:.2f} within 24 hours; ${cap:.2f} are allowed (model.limits.money_per_day).",
        "At that point no model is asked any more and the rules decide alone; healing goes on.",
        "`medic cost --by incident` says for what.",
    ]
    return Notice(
        dedup_key=f"medic:spent:{now:%Y-%m-%d}",
        kind=NoticeKind.SPENT,
        incident=IncidentId(""),
        service=MEDIC,
        at=now,
        title=f"Medic has spent {share} of a day's money for models",
        body=_bounded("\n".join(body), BODY_LIMIT),
    )


def redacted(notice: Notice, redact: Callable[[str], str]) -> Notice:
    """Return the notice as it may leave the machine."""
    return replace(notice, title=redact(notice.title), body=redact(notice.body))


def stamped(notice: Notice, head: AuditHead | None) -> Notice:
    """Return the notice with the head of the audit under it, outside its bound: who kept the notice can check the whole chain.

    head: as `medic audit verify --head` takes it; None while nothing was kept yet.
    """
    return notice if head is None else replace(notice, body=f"{notice.body}\n{AUDIT}{head.id}:{head.hash}")


def _notice(
    incident: Incident, kind: NoticeKind, title: str, body: list[str], now: datetime, *, edge: str | None = None
) -> Notice:
    """edge: tells edges of one kind apart, where an incident can have several."""
    # The id stands outside the bounded part: a title may lose its end, never what it is about.
    suffix = f" ({incident.id})"
    return Notice(
        dedup_key=f"{incident.id}:{kind.value}" + (f":{edge}" if edge else ""),
        kind=kind,
        incident=incident.id,
        service=incident.service,
        at=now,
        title=_bounded(title, TITLE_LIMIT - len(suffix)) + suffix,
        body=_bounded("\n".join(body), BODY_LIMIT),
    )


def _bounded(text: str, limit: int) -> str:
    """Cut at a blank, never inside a word: half a secret is one that no rule of the redactor knows."""
    if len(text) <= limit:
        return text
    return re.sub(r"\S*$", "", text[: limit - 3]).rstrip() + " ..."


def _outcome(outcome: Outcome | None) -> str:
    return "unfinished" if outcome is None else outcome.value


def _at(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def span(length: timedelta) -> str:
    """Return a span as people say it: `4.2 s`, `3 min 5 s`, `2 h 10 min`."""
    seconds = length.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
