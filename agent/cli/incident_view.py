"""One incident for a person: its facts as rows, its timeline, its whole as JSON, its archive."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from rich.console import Console

from agent import codec
from agent.cli import screen
from agent.errors import OutsideError
from agent.model import AuditRow, Diagnosis, Incident, IncidentId, IncidentState, Receipt, StoryEvent, Verdict
from agent.policy import neighbours
from agent.ports import Clock, Store

REPORTS = {"md": "report.md", "json": "report.json", "html": "report.html", "script": "recheck.sh"}

_PAUSE = timedelta(milliseconds=250)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An incident with its timeline."""

    incident: Incident
    story: tuple[StoryEvent, ...]


def whole(incident: Incident, story: Sequence[StoryEvent]) -> Whole:
    """Join an incident and its timeline."""
    return Whole(incident=incident, story=tuple(story))


def rows(incident: Incident, now: datetime) -> list[tuple[str, str]]:
    """Return the facts of one incident as (name, value)."""
    diagnosis = incident.diagnosis
    found = [
        ("incident", f"{incident.id}, {incident.closing.value if incident.closing else incident.state.value}"),
        ("service", f"{incident.service} on {incident.host}"),
        ("opened", f"{incident.opened_at.astimezone():%Y-%m-%d %H:%M:%S} ({screen.ago(incident.opened_at, now)} ago)"),
        *(("seen", reason) for reason in incident.first.reasons),
    ]
    if diagnosis is not None:
        found += [("cause", f"{diagnosis.cause.value} ({diagnosis.sureness.value}, {diagnosis.said_by}): {diagnosis.summary}")]
        found += [("facts", ", ".join(f"{name}={value}" for name, value in diagnosis.facts))] if diagnosis.facts else []
        found += [("log", f"{line.id}: {line.text}") for line in diagnosis.lines]
        found += [("advice", diagnosis.advice)] if diagnosis.advice else []
        found += _second_opinion(diagnosis)
    for attempt in incident.attempts:
        outcome = attempt.outcome.value if attempt.outcome else "under way"
        found += [(f"attempt {attempt.number}", f"{attempt.plan.runbook}: {outcome}; {attempt.plan.why}")]
        found += [("", attempt.run.message)] if attempt.run and attempt.run.message else []
        found += [("harm", neighbours.named(attempt.harm))] if attempt.harm else []
        found += [("undo", f"{attempt.plan.undo}: {attempt.undo.end.value}")] if attempt.undo else []
        found += [("", f"{seen.service} is {seen.health.value} after it") for seen in attempt.undo_seen]
    if incident.hold is not None and incident.state is IncidentState.HELD:
        found += [("held", f"{incident.hold.code.value}: {incident.hold.because}; until {incident.hold.until}")]
    if incident.refusal is not None:
        found += [("refused", f"{incident.refusal.code.value}: {incident.refusal.because}")]
    if incident.closed_at is not None:
        found += [("closed", f"{incident.closed_at.astimezone():%Y-%m-%d %H:%M:%S} by {incident.closed_by}")]
    return found


def _second_opinion(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    asked = diagnosis.consultation
    if asked is None:
        return []
    spent = f"{asked.calls} calls, {asked.input_tokens + asked.output_tokens} tokens, ${asked.cost:.4f}"
    reused = ", answered before" if asked.reused else ""
    return [
        ("model", f"{asked.came_of_it} ({spent}{reused}; bundle {asked.bundle})"),
        *(("unproven", claim) for claim in asked.unproven),
    ]


def print_story(id_: IncidentId, store: Store, to: Console, clock: Clock, *, follow: bool) -> None:
    """Print the timeline; with `follow`, go on as it grows until the incident is closed or handed over."""
    told = 0
    while True:
        now = store.incidents.get(id_)
        events = store.story.since(told, incident=id_)
        screen.print_story(events, to)
        told = events[-1].id if events else told
        if events:
            continue
        if not follow or now is None or now.state in (IncidentState.CLOSED, IncidentState.ESCALATED):
            return
        clock.sleep(_PAUSE)


def readable(text: str) -> str:
    """Return a report with its lines, without control characters."""
    return "\n".join(screen.plain(line, 10_000) for line in text.split("\n"))


def export(content: Whole, folder: Path, target: Path, now: datetime) -> None:
    """Write `incident.json` and the plain files of the incident's folder into one archive. Raises OutsideError."""
    record = json.dumps(codec.as_dict(content), indent=2, ensure_ascii=False).encode()
    entry = tarfile.TarInfo(f"{content.incident.id}/incident.json")
    entry.size, entry.mtime, entry.mode = len(record), int(now.timestamp()), 0o600
    try:
        with tarfile.open(target, "w:gz") as archive:
            archive.addfile(entry, io.BytesIO(record))
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.is_symlink():
                    archive.add(path, f"{content.incident.id}/{path.relative_to(folder)}", recursive=False)
    except OSError as exc:
        raise OutsideError(f"cannot write {target}: {exc.strerror or exc}", transient=False) from exc


def receipt_text(row: AuditRow, receipt: Receipt | None) -> str:
    """Return a receipt for a person: what was red, what was done, and each look after it."""
    lines = [f"audit row {row.id}, {row.hash[:16]}, written {row.at}"]
    if receipt is not None:
        did = f"{receipt.runbook} (hash {receipt.runbook_hash[:16]}), attempt {receipt.attempt}"
        lines += [f"before  {_at(receipt.before.at)}  {_look(receipt.before)}", f"did     {did}"]
        lines += [
            f"settled {receipt.settle.total_seconds():g} s, then {receipt.looks_made} looks; steady is {receipt.looks_needed}"
        ]
        lines += [f"after   {_at(look.at)}  {_look(look)}" for look in receipt.looks]
    return "\n".join(screen.plain(line) for line in lines)


def _at(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _look(seen: Verdict) -> str:
    return "; ".join(f"{each.check} {each.health.value}: {each.detail}" for each in seen.judgements)
