"""The last step of `heal`: hand the incident to people, with everything that was seen, tried and refused.

In: the incident and why no plan may run. Out: an `Escalation`; the incident is ESCALATED, its service ERROR with a
diagnostic, the report lies in the incident's folder, and the notice is in the outbox. Safe to repeat after a crash at any
point: the state moves by compare-and-set, everything after it has a natural key or is written anew.

The notice is what must not be lost, so it goes out even when the report cannot be made, and says so.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from agent import codec, notices
from agent.errors import OutsideError
from agent.model import (
    Escalation,
    Evidence,
    Incident,
    IncidentState,
    Origin,
    Recorded,
    Refusal,
    RefusalCode,
    Service,
    StoryEvent,
    StoryKind,
)
from agent.ports import Clock, EvidenceFiles, Reports, Store

logger = logging.getLogger(__name__)

REPORT = "report.md"
STORY_LINES = 500


def hand_over(
    incident: Incident,
    service: Service | None,
    refusal: Refusal,
    *,
    store: Store,
    bundles: EvidenceFiles,
    reports: Reports,
    channels: tuple[str, ...],
    clock: Clock,
) -> Escalation:
    """Escalate one incident. An incident that a person closed meanwhile stays closed, and nobody is called.

    service: None when it is no longer declared. Raises StoreError when the store itself cannot be written: the engine
    repeats the step then.
    """
    now = clock.now()
    escalation = Escalation(
        incident=incident.id,
        at=now,
        because=refusal.because,
        next_step=next_step(incident, refusal),
        report=f"incidents/{incident.id}/{REPORT}",
    )
    moved = store.incidents.escalate(incident.id, refusal)
    if not moved and _is_closed(incident, store):
        return escalation
    _record_error(incident, refusal, store, escalation)
    text = f"{refusal.because}; next: {escalation.next_step}"
    store.story.tell(incident.id, incident.service, StoryKind.ESCALATED, text, now=now, key="escalated")
    escalation, missing_report = _report(
        replace(incident, state=IncidentState.ESCALATED, refusal=refusal), service, escalation, store, bundles, reports
    )
    notice = notices.escalated(incident, refusal, escalation, missing_report=missing_report, now=now)
    store.outbox.post(notice, channels)
    logger.info("incident escalated", extra={"service": incident.service, "incident": incident.id, "code": refusal.code.value})
    return escalation


def next_step(incident: Incident, refusal: Refusal) -> str:  # noqa: C901 -- one case per code, and mypy says when one is missing
    """Return the one thing a person should do first, as a sentence, from the refusal and the diagnosis."""
    advice = incident.diagnosis.advice if incident.diagnosis else ""
    show = f"`medic incident show {incident.id}`"
    match refusal.code:
        case RefusalCode.ATTEMPTS_SPENT:
            return advice or f"Read in {show} why no attempt was enough, then mend {incident.service} by hand."
        case RefusalCode.NOTHING_KNOWN_HELPS:
            return advice or f"Read the log lines in {show}: no rule knows this cause and no runbook treats it."
        case RefusalCode.CHRONIC:
            return f"Find out why {incident.service} keeps falling over instead of mending it once more. {advice}".rstrip()
        case RefusalCode.CANNOT_SEE:
            return f"Give Medic its sight back on host {incident.host} (`medic doctor` says what is missing), then look at {incident.service} yourself."
        case RefusalCode.NO_TARGET:
            return f"Declare {incident.service} again, or close this with `medic incident close {incident.id}`."
        case RefusalCode.NO_EVIDENCE:
            return f"Make Medic's state folder writable (space, permissions): nothing is changed while evidence cannot be kept. {advice}".rstrip()
        case RefusalCode.NO_REPLACEMENT:
            return f"Bring another host into the fleet: {refusal.because}."
        case RefusalCode.REPLACEMENT_LOOP:
            return f"Find out what breaks the hosts before another one is bought: {refusal.because}. {advice}".rstrip()
        case RefusalCode.LAST_HOST:
            return f"Bring another host of the fleet into service first: {refusal.because}. {advice}".rstrip()
        case RefusalCode.IN_USE:
            return f"Nothing is to be done unless the host is to go all the same: {refusal.because}. `medic incident close {incident.id}` ends this."
        case RefusalCode.NO_MONEY:
            return f"Raise `fleet.money_per_day` or replace the host by hand: {refusal.because}. {advice}".rstrip()
        case RefusalCode.HARMED:
            return f"Put right what the attempt did first: {refusal.because}. {show} has what was seen before and after it."
        case RefusalCode.SAME_SIGNATURE:
            return f"Find out why the same trouble of {incident.service} comes back; {show} names the signs. {advice}".rstrip()
        case RefusalCode.ACTIONS_SPENT:
            return f"Find out what keeps {incident.service} from staying up before anybody restarts it again. {advice}".rstrip()
        case RefusalCode.OTHER_HEALER:
            return f"Decide who heals {incident.service}: stop the other healer, or leave it to that one and tell Medic to only observe."
        case RefusalCode.LAST_REPLICA:
            return f"Bring another member of its group back first, then mend {incident.service}. {advice}".rstrip()
        case RefusalCode.FAILED_TOGETHER:
            return f"Mend what they have in common, then `medic breaker reset {incident.service} --why ...`."
        case RefusalCode.QUARANTINED:
            return f"Drain host {incident.host}, replace or mend it, then remove the file: {refusal.because}. {advice}".rstrip()
        case RefusalCode.RUNBOOK_CHANGED:
            return f"Read what was edited, then ask again with `medic runbook run`: {refusal.because}."
        case RefusalCode.DENIED:
            return advice or f"Mend {incident.service} another way: what Medic would have done was denied."
        case RefusalCode.APPROVAL_EXPIRED:
            return (
                f"Look at what Medic asked for in {show}, and if it is right run it with `medic runbook run`. {advice}".rstrip()
            )
        case RefusalCode.UNEXPECTED:
            return f"Look at {incident.service} yourself: Medic met a bug and stopped, and its log has the trace. {advice}".rstrip()


def _is_closed(incident: Incident, store: Store) -> bool:
    current = store.incidents.get(incident.id)
    return current is not None and current.state is IncidentState.CLOSED


def _record_error(incident: Incident, refusal: Refusal, store: Store, escalation: Escalation) -> None:
    """Record that people own this service now. Not for one that Medic could not see, nor for one that a person stopped."""
    record = store.services.record(incident.service)
    if record is None or record.status is not Recorded.RUNNING:
        return
    if refusal.code is RefusalCode.CANNOT_SEE or incident.origin is Origin.PERSON:
        return
    cause = f"{incident.diagnosis.summary}; " if incident.diagnosis else ""
    diagnostic = f"{cause}{refusal.because} ({incident.id})"
    store.services.set_status(incident.service, Recorded.ERROR, by="medic", diagnostic=diagnostic, now=escalation.at)


def _report(
    incident: Incident, service: Service | None, escalation: Escalation, store: Store, bundles: EvidenceFiles, reports: Reports
) -> tuple[Escalation, str]:
    """Write the report's files; return the escalation with the report's path, and why there is no report, if so."""
    try:
        escalation = replace(escalation, report=str(bundles.folder(incident.id) / REPORT))
        story: Sequence[StoryEvent] = store.story.since(0, incident=incident.id, limit=STORY_LINES)
        for name, content in reports.render(incident, service, _evidence(incident, bundles), story, escalation).items():
            bundles.keep(incident.id, name, content)
    except OutsideError as exc:
        logger.warning("escalation report not written", extra={"incident": incident.id, "error": str(exc)})
        return escalation, str(exc)
    except Exception as bug:
        # The hand-over is what is left when everything else has failed: a bug in the report may not silence it.
        logger.exception("escalation report met a bug", extra={"incident": incident.id})
        return escalation, f"Medic met a bug while writing it: {type(bug).__name__}"
    return escalation, ""


def _evidence(incident: Incident, bundles: EvidenceFiles) -> tuple[Evidence, ...]:
    """Read back what `diagnose` saved for each attempt, and for the one that was refused. A lost file is a gap, no error."""
    looks: list[Evidence] = []
    for number in range(1, len(incident.attempts) + 2):
        try:
            saved = bundles.read(incident.id, f"evidence-{number}.json")
            look = codec.loads(saved.decode()) if saved is not None else None
        except (OutsideError, ValueError) as exc:
            logger.warning("evidence not readable", extra={"incident": incident.id, "number": number, "error": str(exc)})
            continue
        if isinstance(look, Evidence):
            looks.append(look)
    return tuple(looks)
