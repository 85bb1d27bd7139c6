"""How each case ended: read back from `medic incident ... --json` and from Docker, never from what the demo meant to happen."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any  # JSON of medic and Docker

import psutil
from rich import box
from rich.table import Table
from rich.text import Text

from tests.lab import stage, watching
from tests.lab.cases import Case, Expected
from tests.lab.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The moment the fault began, and the container as Docker showed it right after."""

    at: datetime
    container: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One row of the table: what was broken, how it should have ended, how it did, and everything that is not as it should be."""

    service: str
    what: str
    expected: str
    ended: str
    wrong: tuple[str, ...]
    attempts: int | None = None
    """Those that count; None where there is nothing to attempt."""
    noticed: timedelta | None = None
    repaired: timedelta | None = None
    report: Path | None = None


def of(case: Case, site: Stage, broken: Broken) -> Ended:
    """Read back how one case ended."""
    listed = watching.ask(site, "incident", "list", "--service", case.service)
    if len(listed) != 1:
        count = f"{len(listed)} incidents where there should be one"
        return Ended(service=case.service, what=case.what, expected=case.expected.value, ended="?", wrong=(count,))
    incident = watching.ask(site, "incident", "show", listed[0]["id"])["incident"]
    counted = [attempt for attempt in incident["attempts"] if attempt["outcome"] not in ("superseded", "cancelled")]
    report = site.folder / "state" / "incidents" / incident["id"] / "report.md"
    ended = incident["closing"] or incident["state"]
    match case.expected:
        case Expected.HEALED:
            wrong = _wrong_for_healed(site, case.service, incident, counted)
        case Expected.ESCALATED:
            wrong = _wrong_for_escalated(site, case.service, incident, counted, report)
        case Expected.LEFT_ALONE:
            wrong = _wrong_for_left_alone(site, case.service, incident, broken)
            ended = ended if wrong else case.expected.value
    return Ended(
        service=case.service,
        what=case.what,
        expected=case.expected.value,
        ended=ended,
        wrong=wrong,
        attempts=len(counted),
        noticed=_since(broken.at, incident["opened_at"]),
        repaired=_since(broken.at, incident["closed_at"]) if incident["closing"] == "healed" else None,
        report=report if report.is_file() else None,
    )


def of_bystanders(names: Sequence[str], site: Stage) -> Ended:
    """Read back that nothing happened to the services that nobody broke."""
    incidents = [incident for name in names for incident in watching.ask(site, "incident", "list", "--service", name)]
    wrong = [f"{incident['service']} has an incident, {incident['id']}" for incident in incidents]
    for name in names:
        state = stage.inspect(site.part(name).container)["State"]
        if state["Status"] != "running":
            wrong.append(f"{name} is {state['Status']}")
    ended = "untouched" if not wrong else "?"
    return Ended(service=", ".join(names), what="nothing", expected="untouched", ended=ended, wrong=tuple(wrong))


def of_watch(exit_code: int | None) -> Ended:
    """Say how the daemon itself ended when it was told to."""
    wrong = () if exit_code == 0 else (f"it ended with {exit_code} after SIGTERM",)
    return Ended(service="(medic)", what="SIGTERM", expected="exit 0", ended=f"exit {exit_code}", wrong=wrong)


def processes_of(site: Stage) -> tuple[str, ...]:
    """Return the processes that this run started and that still live: they carry its mark or name its folder."""
    mark, folder = f"{watching.MARK}={site.run}".encode(), str(site.folder)
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.info["pid"] == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{process.info['pid']}/environ").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile, or another user's
            environment = []
        if mark in environment or any(folder in word for word in process.info["cmdline"] or ()):
            found.append(f"process {process.info['pid']}")
    return tuple(found)


def table(rows: Sequence[Ended]) -> Table:
    """Return what happened, one row per case."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("", "service", "broken by", "expected", "ended as"):
        shown.add_column(column, overflow="fold")
    for column in ("tries", "noticed", "well in"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        mark = Text("✗", style="red") if row.wrong else Text("✓", style="green")
        shown.add_row(
            mark,
            *(row.service, row.what, row.expected, row.ended),
            *("" if row.attempts is None else str(row.attempts), _seconds(row.noticed), _seconds(row.repaired)),
        )
    return shown


def _wrong_for_healed(
    site: Stage, service: str, incident: dict[str, Any], counted: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    wrong = []
    if incident["closing"] != "healed":
        wrong.append(f"{incident['id']} is {incident['closing'] or incident['state']}")
    if not counted or counted[-1]["outcome"] != "healed":
        wrong.append("no attempt of Medic's healed it")
    if not stage.answers(site.url(service)):
        wrong.append("it does not answer through nginx")
    return tuple(wrong)


def _wrong_for_escalated(
    site: Stage, service: str, incident: dict[str, Any], counted: Sequence[dict[str, Any]], report: Path
) -> tuple[str, ...]:
    wrong = []
    if incident["state"] != "escalated":
        wrong.append(f"{incident['id']} is {incident['state']}")
    if len(counted) != 2:
        wrong.append(f"{len(counted)} attempts instead of two")
    wrong += [
        f"attempt {attempt['number']} did not run to its end: {attempt['run']['message']}"
        for attempt in counted
        if attempt["run"]["end"] != "completed"
    ]
    if len({attempt["plan"]["runbook"] for attempt in counted}) != len(counted):
        wrong.append("one remedy was tried twice")
    if not report.is_file():
        wrong.append("there is no report")
    if stage.answers(site.url(service)):
        wrong.append("it answers, so it was not beyond remedy")
    return tuple(wrong)


def _wrong_for_left_alone(site: Stage, service: str, incident: dict[str, Any], broken: Broken) -> tuple[str, ...]:
    wrong = []
    if incident["state"] != "held" or incident["hold"]["code"] != "stopped-on-purpose":
        wrong.append(f"{incident['id']} is {incident['state']}")
    if incident["attempts"]:
        wrong.append("an attempt was made on it")
    now = stage.inspect(site.part(service).container)
    if now["Id"] != broken.container["Id"] or now["State"] != broken.container["State"]:
        wrong.append(f"its container was touched: it is {now['State']['Status']}")
    return tuple(wrong)


def _since(begun: datetime, then: str) -> timedelta:
    return datetime.fromisoformat(then) - begun


def _seconds(span: timedelta | None) -> str:
    return "" if span is None else f"{span.total_seconds():.1f} s"
