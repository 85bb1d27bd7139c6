"""How Medic looks in a terminal: tables, timelines, one sentence. 80 columns are enough; colours only where they are wanted.

All text from outside (logs, labels, names, answers) passes `plain` and travels as `rich.text.Text`, never as markup: neither
`[red]` nor an escape sequence of a container reaches the terminal. Rich honours NO_COLOR and a stdout that is no terminal.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent import codec, spans
from agent.model import (
    Breaker,
    Found,
    Health,
    HostSeen,
    Incident,
    IncidentState,
    Judgement,
    Recorded,
    Rehearsal,
    Runbook,
    RunbookId,
    Service,
    ServiceName,
    ServiceRecord,
    Silence,
    StoryEvent,
    StoryKind,
    SweepReport,
    Verdict,
)

if TYPE_CHECKING:  # types only: a fast command must not pay for them
    from agent.evaluation import Judged
    from agent.model import Episode, ShadowLine
    from agent.spending import BillLine

LONGEST = 500
"""Characters of one text from outside on one line."""

_HEALTH = {Health.WELL: ("✓", "green"), Health.SICK: ("✗", "red"), Health.UNKNOWN: ("?", "yellow")}

_STORY = {
    StoryKind.SEEN: ("●", "red"),
    StoryKind.RECALLED: ("↺", "magenta"),
    StoryKind.EXPLAINED: ("?", "magenta"),
    StoryKind.HELD: ("‖", "yellow"),
    StoryKind.PROPOSED: ("→", "cyan"),
    StoryKind.ASKED: ("?", "bold yellow"),
    StoryKind.ANSWERED: ("→", "bold cyan"),
    StoryKind.TRYING: ("▶", "cyan"),
    StoryKind.TASK: ("·", "dim"),
    StoryKind.TRIED: ("■", "cyan"),
    StoryKind.SEEN_AGAIN: ("○", "blue"),
    StoryKind.HARMED: ("✗", "bold red"),
    StoryKind.DEMOTED: ("↓", "yellow"),
    StoryKind.UNDONE: ("↶", "yellow"),
    StoryKind.HEALED: ("✓", "bold green"),
    StoryKind.RECOVERED: ("✓", "green"),
    StoryKind.ESCALATED: ("!", "bold red"),
    StoryKind.CLOSED: ("✓", "dim"),
}

_STATE = {
    IncidentState.OPEN: "cyan",
    IncidentState.HELD: "yellow",
    IncidentState.ESCALATED: "bold red",
    IncidentState.CLOSED: "green",
}

_RECORDED = {Recorded.RUNNING: "", Recorded.STOPPED: "yellow", Recorded.ERROR: "bold red"}


def console(*, stderr: bool = False) -> Console:
    """Return a console on stdout (or stderr) that reads no markup and guesses no colours."""
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)


def plain(text: str, limit: int = LONGEST) -> str:
    """Return text from outside as one bounded line without control, bidirectional and other invisible characters."""
    shown = "".join(" " if character in "\n\r\t" else character for character in text[: limit + 1])
    shown = "".join(character for character in shown if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    return shown if len(text) <= limit else f"{shown[: limit - 1]}…"


def say(sentence: str) -> None:
    """Print one sentence for a person on stderr."""
    print(f"medic: {plain(sentence, 2000)}", file=sys.stderr)  # noqa: T201  no Rich: an error must be quick and always readable


def print_json(value: object) -> None:
    """Print a value of the model, or a plain mapping, as JSON on stdout."""
    shown = value if isinstance(value, dict) else codec.as_dict(value)
    print(json.dumps(shown, indent=2, ensure_ascii=True))  # noqa: T201  Rich would wrap it


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago something was, in its largest unit: `3s`, `12m`, `5h`, `4d`."""
    seconds = max(0, int((now - then).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def clock(at: datetime) -> str:
    """Return the time of day where the person is."""
    return at.astimezone().strftime("%H:%M:%S")


def story_line(event: StoryEvent, width: int = 8) -> Text:
    """Return one line of a timeline: `12:00:03  web       ● seen        container exited (137), oom-killed`.

    width: columns of the service's name.
    """
    symbol, style = _STORY[event.kind]
    line = Text(f"{clock(event.at)}  {plain(event.service, 32):<{width}}  ")
    line.append(f"{symbol} {event.kind.value:<11}", style=style)
    line.append(f" {plain(event.text)}", style="dim" if event.kind is StoryKind.TASK else "")
    return line


def print_story(events: Iterable[StoryEvent], to: Console) -> None:
    """Print a timeline; a pipe gets whole lines, a terminal wraps them."""
    for event in events:
        to.print(story_line(event), soft_wrap=not to.is_terminal)


def services_table(
    verdicts: Sequence[Verdict], services: Sequence[Service], records: Sequence[ServiceRecord] | None, now: datetime
) -> Table:
    """Return one row per verdict: what each plane says, and what is wrong.

    records: what the store has recorded, which adds the columns `status` and `since`; None leaves them out.
    """
    hosts = {service.name: service.host for service in services}
    recorded = {record.service: record for record in records or ()}
    with_host, with_record = len(set(hosts.values())) > 1, records is not None
    columns = {
        "service": True,
        "host": with_host,
        "status": with_record,
        "health": True,
        "planes": True,
        "since": with_record,
        "what": True,
    }
    table = _table(*(name for name, shown in columns.items() if shown))
    for verdict in verdicts:
        record = recorded.get(verdict.service)
        symbol, style = _HEALTH[verdict.health]
        cells = {
            "service": _text(verdict.service),
            "host": _text(hosts.get(verdict.service, "")),
            "status": Text(record.status.value, style=_RECORDED[record.status]) if record else Text("new", style="dim"),
            "health": Text(f"{symbol} {verdict.health.value}", style=style),
            "planes": _planes(verdict.judgements),
            "since": _text(ago(record.since, now) if record else "-"),
            "what": _text("; ".join(wrong(verdict)) or (record.diagnostic if record else "")),
        }
        table.add_row(*(cells[name] for name, shown in columns.items() if shown))
    return table


def _planes(judgements: Sequence[Judgement]) -> Text:
    """Return each plane with the worst that its checks say."""
    order = [Health.WELL, Health.UNKNOWN, Health.SICK]
    planes: dict[str, Health] = {}
    for judgement in judgements:
        planes[judgement.plane.value] = max(planes.get(judgement.plane.value, Health.WELL), judgement.health, key=order.index)
    text = Text()
    for plane, health in planes.items():
        symbol, style = _HEALTH[health]
        text.append(f"{symbol} {plane}\n", style=style)
    text.rstrip()
    return text


def wrong(verdict: Verdict) -> list[str]:
    """Return what was seen by the checks that are not well; the planes beside it say where."""
    return [judgement.detail for judgement in verdict.judgements if judgement.health is not Health.WELL]


def incidents_table(incidents: Sequence[Incident], now: datetime) -> Table:
    """Return one line per incident: a list is for finding the one to look at with `incident show`."""
    table = _table("id", "service", "state", "opened", "tries", "cause", "what")
    table.expand = True
    for column in table.columns:
        column.no_wrap = True
    table.columns[-1].ratio, table.columns[-1].overflow = 1, "ellipsis"  # the others keep the width they need
    for incident in incidents:
        cause = incident.diagnosis.cause.value if incident.diagnosis else "-"
        table.add_row(
            _text(incident.id),
            _text(incident.service),
            Text(_standing(incident), style=_STATE[incident.state]),
            _text(f"{ago(incident.opened_at, now)} ago"),
            _text(str(sum(1 for attempt in incident.attempts if attempt.outcome is None or attempt.outcome.counts))),
            _text(cause),
            _text("; ".join(wrong(incident.first)) or "asked for by a person"),
        )
    return table


def _standing(incident: Incident) -> str:
    if incident.state is IncidentState.HELD and incident.hold is not None:
        return f"held: {incident.hold.code.value}"
    return incident.closing.value if incident.closing else incident.state.value


def silences_table(silences: Sequence[Silence], now: datetime) -> Table:
    """Return one row per silence."""
    table = _table("id", "service", "for another", "by", "why")
    for silence in silences:
        cells = (str(silence.id), silence.service or "(every service)", ago(now, silence.until), silence.by, silence.why)
        table.add_row(*(_text(cell) for cell in cells))
    return table


def costs_table(by: str, lines: "Sequence[BillLine]") -> Table:
    """Return one row per line of a bill."""
    table = _table(by, "calls", "no answer", "tokens in", "tokens out", "USD")
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines:
        usd = f"{'~' if line.estimated else ''}{line.usd:.4f}"
        cells = (line.of, str(line.calls), str(line.without_answer), f"{line.input_tokens:,}", f"{line.output_tokens:,}", usd)
        table.add_row(*(_text(cell) for cell in cells))
    return table


def shadow_table(lines: "Sequence[ShadowLine]") -> Table:
    """Return one row per decision that was not carried out."""
    from agent.policy import restarts

    table = _table("at", "incident", "service", "would have run", "said by", "others", "", "sooner by")
    for line in lines:
        sooner = "-" if line.saved is None else f"{'~' if line.guessed else ''}{restarts.span(line.saved)}"
        told = f"{line.would}{' (told)' if line.told else ''}"
        cells = (line.incident, line.service, told, line.said_by, line.did, line.agreement.value, sooner)
        table.add_row(_text(f"{line.at:%Y-%m-%d %H:%M}"), *(_text(cell) for cell in cells))
    return table


def judged_table(judged: "Sequence[Judged]") -> Table:
    """Return one row per golden case; what is right says little, what is wrong says why."""
    asked, wrong = any(each.calls for each in judged), not all(each.right for each in judged)
    table = _table("", "case", "cause", "decided", *(("expected",) if wrong else ()), *(("calls", "USD") if asked else ()))
    table.columns[1].min_width = 22
    for column in (table.columns[0], table.columns[2]):
        column.no_wrap = True
    for each in judged:
        mark = Text("✗ unsafe", style="bold red") if each.unsafe else _right(right=each.right)
        bill = (_text(str(each.calls)), _text(f"{each.cost:.4f}")) if asked else ()
        expected = ("" if each.right else each.expected,) if wrong else ()
        told = (each.case, each.cause, f"{each.decided.value} {each.word}", *expected)
        table.add_row(mark, *(_text(text) for text in told), *bill)
    return table


def _right(*, right: bool) -> Text:
    return Text("✓", style="green") if right else Text("✗", style="red")


def as_plain(value: object) -> codec.JSON:
    """Return values of the model for `print_json` inside something else."""
    return codec.as_dict(value)


def episodes_table(episodes: "Sequence[Episode]") -> Table:
    """Return one row per trouble that came."""
    table = _table("last", "service", "signs", "cause", "times", "person", "best remedy")
    for each in episodes:
        best = each.remedies[0] if each.remedies else None
        remedy = (
            "none was tried"
            if best is None
            else f"{best.runbook} {best.chance:.0%} ({best.helped}/{best.helped + best.did_not})"
        )
        cause = each.cause.value if each.cause is not None else "-"
        cells = (each.incidents[-1], each.service, ", ".join(each.signs), cause, str(each.times), str(each.handed_over), remedy)
        table.add_row(*(_text(cell) for cell in cells))
    return table


def sweeps_table(reports: Sequence[SweepReport]) -> Table:
    """Return one row per sweep report."""
    table = _table("at", "took", "checked", "issues", "opened", "healed", "not as recorded")
    for report in reports:
        held = dict(report.held)
        issues = [f"{name} sick" + (f" (held: {held.pop(name).value})" if name in held else "") for name in report.sick]
        issues += [f"{name} unknown" for name in report.unknown] + [f"{name} held: {code.value}" for name, code in held.items()]
        astray = [*(f"{name} missing" for name in report.missing), *(f"{name} unrecorded" for name in report.unrecorded)]
        table.add_row(
            _text(clock(report.at)),
            _text(f"{report.took / timedelta(milliseconds=1):.0f} ms"),
            _text(str(len(report.checked))),
            Text(plain(", ".join(issues) or "none"), style="red" if report.sick else "yellow" if issues else "green"),
            _text(", ".join(report.opened)),
            _text(", ".join(report.healed)),
            _text(", ".join(astray)),
        )
    return table


def runbooks_table(
    runbooks: Sequence[Runbook],
    out_of_service: Mapping[RunbookId, str],
    asks_first: Mapping[RunbookId, Sequence[tuple[ServiceName | None, str]]],
) -> Table:
    """Return one row per runbook. out_of_service: why, for those that nobody gets at this time.

    asks_first: for those that were demoted, on which service (None: on every one) and why.
    """
    demoted = {
        id_: "; ".join(f"on {name or 'every service'}: {why}" for name, why in where) for id_, where in asks_first.items()
    }
    said = {title: why for title, why in (("out of service", out_of_service), ("asks first", demoted)) if why}
    table = _table("id", "risk", "rung", "title", *said)
    for runbook in runbooks:
        why = (_text(column.get(runbook.id, "")) for column in said.values())
        table.add_row(_text(runbook.id), _text(runbook.risk.value), _text(str(runbook.rung)), _text(runbook.title), *why)
    return table


def rehearsals_table(results: Sequence[Rehearsal]) -> Table:
    """Return one row per runbook that was put to the test: how it ended, how long it took, and where it first failed."""
    table = _table("runbook", "ended", "took", "first that did not pass")
    for done in results:
        wrong = next((f"{step.name}: {step.said}" for step in done.steps if not step.passed), "-")
        ended, took = "passed" if done.passed else "did not pass", f"{done.took.total_seconds():.1f} s"
        table.add_row(_text(done.runbook), _text(ended), _text(took), _text(wrong))
    return table


def breakers_table(breakers: Sequence[Breaker], now: datetime) -> Table:
    """Return one row per open breaker."""
    table = _table("scope", "open for", "incident", "because")
    for breaker in breakers:
        since = _text(ago(breaker.opened_at, now))
        table.add_row(_text(breaker.scope), since, _text(breaker.incident or "-"), _text(breaker.because))
    return table


def found_line(found: Found) -> Text:
    """Return one answer about a machine as a line."""
    word, style = ("ok", "green") if found.well else ("missing", "red") if found.needed else ("note", "yellow")
    line = Text(f"{word:<8}", style=style)
    line.append(f"{plain(found.what):<18} {plain(found.found)}", style="")
    if not found.well and found.how:
        line.append(f"  ({plain(found.how)})", style="dim")
    return line


def hosts_table(hosts: Sequence[HostSeen]) -> Table:
    """Return the hosts, one a row."""
    table = _table("host", "reached", "engine", "containers", "from")
    for each in hosts:
        engine = Text("answers", style="green") if each.answers else Text(plain(each.trouble), style="red")
        count = "" if each.containers is None else str(each.containers)
        table.add_row(_text(each.name), _text(each.reached), engine, _text(count), _text(each.origin))
    return table


def pairs(rows: Iterable[tuple[str, str]]) -> Table:
    """Return names and values, one pair per row, without a frame."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(_text(key), _text(value))
    return table


def span(value: timedelta) -> str:
    """Return a span of time as medic.yaml writes it."""
    return spans.text(value)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _text(text: str) -> Text:
    return Text(plain(text))
