"""What an escalation report says, before it is Markdown or HTML: sentences and rows made of the model's values. Pure.

In: one incident with its attempts, evidence and story, redacted already. Out: a `View` whose every field is text to show.
Texts that came from outside (logs, task messages, details) stay plain data here; the templates quote or escape them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent import notices, spans
from agent.model import (
    Attempt,
    Change,
    ContainerFacts,
    ContainerState,
    Diagnosis,
    Escalation,
    Evidence,
    Health,
    Incident,
    Judgement,
    LogLine,
    Outcome,
    RefusalCode,
    RunEnd,
    Service,
    StoryEvent,
    Sureness,
    Verdict,
)

LOG_LINES = 160
"""Log lines shown per look. All of them are in the evidence file; nobody reads more at three in the morning."""
LINE_LIMIT = 600
"""Characters of a shown log line."""
TEXT_LIMIT = 4_000
"""Characters of any other text."""
STORY_LINES = 300

_SURENESS = {
    Sureness.CONFIRMED: "confirmed: facts agree",
    Sureness.SUSPECTED: "suspected: no structural fact agrees",
    Sureness.NONE: "not known",
}


_CAME_TO = {
    None: "unfinished",
    Outcome.HEALED: "healed",
    Outcome.INEFFECTIVE: "did not help",
    Outcome.PERMANENT: "cannot work here",
    Outcome.TRANSIENT: "the target was not ready",
    Outcome.AMBIGUOUS: "nobody saw how it ended",
    Outcome.INTERRUPTED: "was interrupted",
    Outcome.SUPERSEDED: "was not needed",
    Outcome.CANCELLED: "was called off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneRow:
    """One check, on its plane, when the incident opened and when Medic looked last."""

    plane: str
    check: str
    first: str
    first_detail: str
    last: str
    last_detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """One Ansible task."""

    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One attempt: what was tried, what Ansible said, and why it was not enough."""

    number: int
    title: str
    runbook: str
    outcome: str
    why_chosen: str
    why_not_enough: str
    parameters: tuple[tuple[str, str], ...]
    began: str
    took: str
    ended_as: str
    tasks: tuple[TaskRow, ...]
    harm: tuple[str, ...]
    """What it made worse: checks of the patient, then neighbours."""
    undo: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLine:
    """One log line, and whether the diagnosis rests on it."""

    id: str
    text: str
    cited: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """One look's evidence."""

    at: str
    facts: tuple[tuple[str, str], ...]
    events: tuple[str, ...]
    changes: tuple[tuple[str, str, str], ...]
    log: tuple[ShownLine, ...]
    log_note: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The whole report."""

    service: str
    incident: str
    host: str
    opened: str
    escalated: str
    open_for: str
    what_is_wrong: str
    symptoms: tuple[str, ...]
    what_was_done: str
    do_first: str
    next_steps: tuple[str, ...]
    refusal: str
    refusal_code: str
    planes: tuple[PlaneRow, ...]
    cause: str
    sureness: str
    said_by: str
    plane: str
    summary: str
    advice: str
    consulted: tuple[str, ...]
    """What asking a model brought."""
    facts: tuple[tuple[str, str], ...]
    cited: tuple[LogLine, ...]
    attempts: tuple[AttemptView, ...]
    evidence: tuple[EvidenceView, ...]
    story: tuple[tuple[str, str, str, str], ...]
    """(clock time, time since opened, kind, text)."""
    gaps: tuple[str, ...]
    declared_in: str


def make(
    incident: Incident,
    service: Service | None,
    evidence: Sequence[Evidence],
    story: Sequence[StoryEvent],
    escalation: Escalation,
) -> View:
    """Return everything that the report of this incident says."""
    diagnosis = incident.diagnosis
    cited = frozenset((line.id, line.text) for line in diagnosis.lines) if diagnosis else frozenset()
    return View(
        service=incident.service,
        incident=incident.id,
        host=incident.host,
        opened=when(incident.opened_at),
        escalated=when(escalation.at),
        open_for=notices.span(escalation.at - incident.opened_at),
        what_is_wrong=_what_is_wrong(incident),
        symptoms=tuple(dict.fromkeys(symptom.word for symptom in incident.first.symptoms)),
        what_was_done=_what_was_done(incident),
        do_first=text(escalation.next_step),
        next_steps=_next_steps(incident, escalation),
        refusal=text(escalation.because),
        refusal_code=incident.refusal.code.value if incident.refusal else "",
        planes=_planes(incident.first, _last_verdict(incident, evidence)),
        cause=diagnosis.cause.value.replace("_", " ") if diagnosis else "no diagnosis",
        sureness=_SURENESS[diagnosis.sureness] if diagnosis else "nothing was diagnosed",
        said_by=_said_by(diagnosis),
        plane=diagnosis.plane.value if diagnosis and diagnosis.plane else "",
        summary=text(diagnosis.summary) if diagnosis else "",
        advice=text(diagnosis.advice) if diagnosis else "",
        consulted=second_opinion(diagnosis),
        facts=tuple((name, text(value)) for name, value in diagnosis.facts) if diagnosis else (),
        cited=tuple(LogLine(id=line.id, text=line_text(line.text)) for line in diagnosis.lines[:LOG_LINES])
        if diagnosis
        else (),
        attempts=tuple(_attempt(attempt) for attempt in incident.attempts),
        evidence=tuple(_evidence(seen, cited) for seen in evidence),
        story=tuple(
            (e.at.strftime("%H:%M:%S"), since(e.at - incident.opened_at), e.kind.value, text(e.text))
            for e in story[-STORY_LINES:]
        ),
        gaps=_gaps(evidence, incident),
        declared_in=service.origin if service else "no longer declared",
    )


def second_opinion(diagnosis: Diagnosis | None) -> tuple[str, ...]:
    """Return what asking a model brought, one sentence each; nothing where none was asked."""
    asked = diagnosis.consultation if diagnosis else None
    if asked is None:
        return ()
    spent = f"{asked.calls} calls, {asked.input_tokens} tokens in, {asked.output_tokens} out, ${asked.cost:.4f}"
    again = "; the answer was given before on the same evidence" if asked.reused else ""
    return (
        text(f"Asked because {asked.doubt}: {asked.came_of_it} ({spent}{again})."),
        *(text(f"Unproven, a ground for nothing: {claim}") for claim in asked.unproven),
        f"Bundle {asked.bundle}.",
    )


# ----------------------------------------------------------------------------------------------------------- the top


def _what_is_wrong(incident: Incident) -> str:
    if incident.diagnosis and incident.diagnosis.sureness is not Sureness.NONE:
        return text(incident.diagnosis.summary)
    seen = "; ".join(incident.first.reasons)
    return text(f"The cause is not known. Seen: {seen}" if seen else "The cause is not known.")


def _what_was_done(incident: Incident) -> str:
    if not incident.attempts:
        return "Nothing was changed: no attempt was made."
    tried = "; ".join(f"{attempt.plan.title}: {_CAME_TO[attempt.outcome]}" for attempt in incident.attempts)
    counted = sum(attempt.outcome is None or attempt.outcome.counts for attempt in incident.attempts)
    return text(f"{counted} counted attempt{'' if counted == 1 else 's'}. {tried}.")


def _next_steps(incident: Incident, escalation: Escalation) -> tuple[str, ...]:
    steps = [escalation.next_step, f"Look again, changing nothing, with `sh recheck.sh` on {incident.host}: is it still so?"]
    unclear = [a for a in incident.attempts if a.outcome is Outcome.AMBIGUOUS]
    steps += [f"Find out how far attempt {a.number} ({a.plan.title}) got: nobody saw how it ended." for a in unclear]
    if incident.refusal and incident.refusal.code is RefusalCode.UNEXPECTED:
        steps.append("Send the trace in Medic's own log, and this folder, to whoever looks after Medic.")
    steps.append(
        f"Once {incident.service} is steadily well, Medic closes the incident by itself; `medic incident close {incident.id}` does it now. "
        "Until then it is watched and left alone."
    )
    return tuple(text(step) for step in steps if step)


# ------------------------------------------------------------------------------------------------------------ planes


def _last_verdict(incident: Incident, evidence: Sequence[Evidence]) -> Verdict | None:
    seen = [attempt.verdict for attempt in incident.attempts if attempt.verdict] + [e.verdict for e in evidence]
    return max(seen, key=lambda verdict: verdict.at, default=None)


def _planes(first: Verdict, last: Verdict | None) -> tuple[PlaneRow, ...]:
    later = {judgement.check: judgement for judgement in last.judgements} if last else {}
    rows = [_plane_row(judgement, later.pop(judgement.check, None)) for judgement in first.judgements]
    # A check that was not due when the incident opened was looked at later all the same.
    return (*rows, *(_plane_row(None, judgement) for judgement in later.values()))


def _plane_row(first: Judgement | None, last: Judgement | None) -> PlaneRow:
    known = first or last
    return PlaneRow(
        plane=known.plane.value if known else "",
        check=known.check if known else "",
        first=first.health.value if first else "unasked",
        first_detail=text(first.detail) if first else "",
        last=last.health.value if last else "unasked",
        last_detail=text(last.detail) if last else "",
    )


def _said_by(diagnosis: Diagnosis | None) -> str:
    if diagnosis is None or diagnosis.said_by == "none":
        return "no rule spoke"
    kind, _, name = diagnosis.said_by.partition(":")
    return f"{kind} {name}".strip()


# ---------------------------------------------------------------------------------------------------------- attempts


def _attempt(attempt: Attempt) -> AttemptView:
    end = attempt.ended_at or attempt.ran_until
    return AttemptView(
        number=attempt.number,
        title=text(attempt.plan.title),
        runbook=attempt.plan.runbook,
        outcome=_word(attempt),
        why_chosen=text(attempt.plan.why),
        why_not_enough=text(why_not_enough(attempt)),
        parameters=tuple((name, text(value)) for name, value in attempt.plan.parameters),
        began=when(attempt.intent_at),
        took=notices.span(end - attempt.intent_at) if end else "unfinished",
        ended_as=text(f"{attempt.run.end.value}: {attempt.run.message}".rstrip(": "))
        if attempt.run
        else "no result was written",
        tasks=tuple(TaskRow(name=text(t.name), status=t.status, message=text(t.message)) for t in attempt.run.tasks)
        if attempt.run
        else (),
        harm=tuple(text(worse) for worse in _harm(attempt)),
        undo=text(f"{attempt.undo.end.value}: {attempt.undo.message}".rstrip(": ")) if attempt.undo else "",
    )


_NOTHING_SEEN = {
    None: "It has no result yet: it was cut off in the middle.",
    Outcome.HEALED: "It was: the failing checks were well again when Medic looked afterwards.",
    Outcome.SUPERSEDED: "It was not needed: the service was well again just before the first change. It does not count.",
    Outcome.CANCELLED: "It was called off before the first change. It does not count.",
}


def why_not_enough(attempt: Attempt) -> str:
    """Return the sentence that says why an attempt did not mend it, from its outcome, its run and what verify saw."""
    still = "; ".join(attempt.verdict.reasons) if attempt.verdict else "nobody looked afterwards"
    match attempt.outcome:
        case None | Outcome.HEALED | Outcome.SUPERSEDED | Outcome.CANCELLED:
            return _NOTHING_SEEN[attempt.outcome]
        case Outcome.INEFFECTIVE if attempt.run and attempt.run.end is RunEnd.COMPLETED:
            return f"The playbook ran to its end, and it was not the remedy. Still wrong: {still}."
        case Outcome.INEFFECTIVE:
            return f"The playbook did not finish{_failed_task(attempt)}. Still wrong: {still}."
        case Outcome.PERMANENT:
            return f"The playbook cannot work here{_failed_task(attempt)}. Still wrong: {still}."
        case Outcome.TRANSIENT:
            return f"The target was not ready for it{_failed_task(attempt)}. Still wrong: {still}."
        case Outcome.AMBIGUOUS:
            return f"Nobody saw how the playbook ended, so it is not run again blindly. Afterwards: {still}."
        case Outcome.INTERRUPTED:
            return f"Medic was stopped in the middle. Afterwards: {still}."


def _failed_task(attempt: Attempt) -> str:
    failed = [task for task in attempt.run.tasks if task.status in ("failed", "unreachable")] if attempt.run else []
    return f': task "{failed[-1].name}" {failed[-1].status}: {failed[-1].message}' if failed else ""


def _word(attempt: Attempt) -> str:
    return attempt.outcome.value if attempt.outcome else "unfinished"


# ---------------------------------------------------------------------------------------------------------- evidence


def _what(change: Change, evidence: Evidence) -> str:
    """Return what changed, and how long before the service ended, or before it was seen sick where it never ended."""
    container = evidence.container
    ended = container.finished_at if container is not None and container.state is not ContainerState.RUNNING else None
    sick_at = ended or evidence.at
    if change.at is None or change.at > sick_at:
        return change.what  # nobody knows when, or it was changed only afterwards
    before = spans.text(timedelta(seconds=round((sick_at - change.at).total_seconds())))
    return f"{change.what}, {before} before it {'ended' if ended else 'was seen sick'}"


def _evidence(evidence: Evidence, cited: frozenset[tuple[str, str]]) -> EvidenceView:
    # The same id names another line in another look's bundle: a citation is the id and the text together.
    lines = [ShownLine(id=line.id, text=line_text(line.text), cited=(line.id, line.text) in cited) for line in evidence.log]
    shown = set(range(len(lines))[-LOG_LINES:]) | {index for index, line in enumerate(lines) if line.cited}
    left_out = len(lines) - len(shown)
    return EvidenceView(
        at=when(evidence.at),
        facts=_facts(evidence.container) if evidence.container else (),
        events=tuple(_event(evidence, index) for index in range(len(evidence.events))[-40:]),
        changes=tuple((_what(change, evidence), text(change.before), text(change.after)) for change in evidence.changes),
        log=tuple(line for index, line in enumerate(lines) if index in shown),
        log_note=text(evidence.log_note) + (f"; {left_out} more lines in the evidence file" if left_out else ""),
        files=evidence.files,
    )


def _facts(facts: ContainerFacts) -> tuple[tuple[str, str], ...]:
    rows: tuple[tuple[str, object], ...] = (
        ("container", facts.name),
        ("id", facts.id[:12]),
        ("state", facts.state.value),
        ("Docker says", facts.status),
        ("exit code", facts.exit_code),
        ("killed for memory", None if facts.oom_killed is None else ("yes" if facts.oom_killed else "no")),
        ("restarts", facts.restart_count),
        ("restart policy", facts.restart_policy),
        ("health check", facts.health),
        ("image", facts.image),
        ("image digest", facts.image_id),
        ("error", facts.error),
        ("started", when(facts.started_at) if facts.started_at else None),
        ("finished", when(facts.finished_at) if facts.finished_at else None),
        ("networks", ", ".join(f"{network.name} {network.address}".strip() for network in facts.networks)),
        ("ports", ", ".join(f"{inside} -> host {outside}" for inside, outside in facts.ports)),
    )
    return tuple((name, text(str(value))) for name, value in rows if value not in (None, ""))


def _event(evidence: Evidence, index: int) -> str:
    event = evidence.events[index]
    code = f", exit code {event.exit_code}" if event.exit_code is not None else ""
    signal = f", signal {event.signal}" if event.signal else ""
    return text(f"{event.at.strftime('%H:%M:%S')} {event.container}: {event.action}{code}{signal}")


def _gaps(evidence: Sequence[Evidence], incident: Incident) -> tuple[str, ...]:
    gaps = [gap for seen in evidence for gap in seen.gaps]
    if not evidence:
        gaps.append("No evidence could be read for this report; what the store holds is all there is.")
    places = sorted({attempt.started_at_place for attempt in incident.attempts if attempt.started_at_place})
    if len(places) > 1 or (places and len(evidence) < len(incident.attempts)):
        gaps.append(f"Medics at {', '.join(places)} carried out attempts: what each saved of its own lies there only.")
    blind = [judgement for judgement in incident.first.judgements if judgement.health is Health.UNKNOWN]
    gaps += [f"Could not look: {judgement.check}: {judgement.detail}" for judgement in blind]
    return tuple(text(gap) for gap in dict.fromkeys(gaps))


# -------------------------------------------------------------------------------------------------------------- words


def text(value: str, limit: int = TEXT_LIMIT) -> str:
    """Return one paragraph of at most `limit` characters. The full text is in the JSON twin or the evidence file."""
    flat = " ".join(value.split())
    return flat if len(flat) <= limit else f"{flat[:limit]} [... {len(flat) - limit} more characters]"


def line_text(value: str) -> str:
    """Return a log line as shown: its indentation kept, one line, bounded."""
    flat = value.replace("\r", " ").replace("\n", " ").replace("\t", "    ").rstrip()
    return flat if len(flat) <= LINE_LIMIT else f"{flat[:LINE_LIMIT]} [... {len(flat) - LINE_LIMIT} more characters]"


def when(at: datetime) -> str:
    """Return a time of day for people."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def since(length: timedelta) -> str:
    """Return time since the incident opened: `+4.2 s`; what came before it has a minus."""
    return f"-{notices.span(-length)}" if length < timedelta(0) else f"+{notices.span(length)}"


def _harm(attempt: Attempt) -> tuple[str, ...]:
    """Return what an attempt made worse, and what was seen of it after the undo."""
    if attempt.harm is None:
        return ()
    neighbours = tuple(f"neighbour {seen.service}: {'; '.join(seen.reasons)}" for seen in attempt.harm.neighbours)
    after = tuple(f"after the undo {seen.service} is {seen.health.value}" for seen in attempt.undo_seen)
    return (*attempt.harm.patient, *neighbours, *after)
