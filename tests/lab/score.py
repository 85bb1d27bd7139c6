"""How a scenario ended, and what that is worth: read back from `medic incident ... --json`, Docker and the lab's own eyes.

In: a scenario, its site, what its containers were before. Out: a `Row` per run, and the table and JSON of all rows.
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any  # JSON of medic and Docker

from rich import box
from rich.table import Table
from rich.text import Text

from tests import canaries
from tests.lab import ground, watching
from tests.lab.ground import Site
from tests.lab.scenario import End, Scenario
from tests.lab.stage import Part, Stage, StageError
from tests.lab.watching import Watching

ENOUGH = 0.95
"""Share of scenarios that must end as expected. Source: issue 3."""
MEDIC = "medic"
DECIDES_IN = 3.0
"""Seconds of its own after which it is looked at again."""
DECIDES_WITHIN = 30.0
"""Seconds for what is being decided to be decided: under one, more where the machine is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of one scenario by one player."""

    scenario: str
    title: str
    player: str
    expected: str
    ended: str
    as_expected: bool
    is_well: bool
    wrong: tuple[str, ...] = ()
    """What is not as it should be, as sentences."""
    harmful: tuple[str, ...] = ()
    """Actions that should not have been: on what may not be touched, or with a runbook that is not for this."""
    cause: str | None = None
    cause_is_right: bool | None = None
    """None: the scenario does not score it."""
    attempts: int = 0
    """Playbooks that ran, or restarts by a rival."""
    noticed: float | None = None
    """Seconds from the fault to the incident, or for a rival to the first thing it did."""
    repaired: float | None = None
    """Seconds from the fault to the closed incident, or for a rival to the first well look."""
    run: str = ""
    """What the labels of its containers said."""
    took: float = 0
    """Seconds of the whole run."""


Containers = Mapping[str, tuple[Any, ...] | None]


def containers(site: Site) -> Containers:
    """Return for each service what changes when somebody touches its container; None where there is none."""
    with site.seen():
        return {part.name: _identity(part) for part in site.parts}


def _identity(part: Part) -> tuple[Any, ...] | None:
    try:
        seen = part.inspect()
    except StageError:
        return None
    state = seen["State"]
    return (seen["Id"], state["StartedAt"], state["Status"], state["Paused"], seen["RestartCount"])


def touched(scenario: Scenario, before: Containers, site: Site) -> tuple[str, ...]:
    """Name every container that was changed and may not be."""
    after = containers(site)
    return tuple(
        f"{name} was touched: {_shown(before[name])} -> {_shown(after[name])}"
        for name in before
        if name not in scenario.expect.touchable and before[name] != after[name]
    )


def of_medic(scenario: Scenario, site: Site, before: Containers, at: datetime, watched: Watching) -> Row:
    """Read back what Medic made of a scenario."""
    expect = scenario.expect
    incidents = _incidents(site, watched)
    ours = [incident for incident in incidents if incident["service"] == expect.service]
    # After the incidents were read: while the lab looks at its containers, Medic sees what an engine says that hangs.
    harmful = (*touched(scenario, before, site), *_wrong_acts(scenario, incidents))
    is_well = _is_well(site, expect.service)
    row = Row(
        scenario=scenario.id,
        title=scenario.title,
        player=MEDIC,
        expected=_expectation(scenario),
        ended="nothing",
        as_expected=False,
        is_well=is_well,
        harmful=harmful,
    )
    wrong = _leaks(scenario, site)
    if ours:
        latest = ours[0]
        diagnosis = latest["diagnosis"]
        cause = diagnosis["cause"] if diagnosis else None
        row = dataclasses.replace(
            row,
            ended=_end(latest),
            cause=cause,
            cause_is_right=(cause in expect.causes) if expect.causes and cause else None,
            attempts=sum(len(_carried_out(incident)) for incident in ours),
            noticed=_seconds(at, latest["opened_at"]),
            repaired=_seconds(at, latest["closed_at"]) if latest["closing"] == "healed" else None,
        )
        if row.attempts > expect.most_attempts:
            wrong = (*wrong, f"{row.attempts} attempts, {expect.most_attempts} at most were expected")
    kind, _, reason = row.ended.partition(": ")
    asked_reason = expect.hold if expect.end is End.HELD else expect.refusal
    is_right = kind == expect.end.value and asked_reason in (None, reason)
    if not is_right and kind not in {end.value for end in expect.also_right}:
        wrong = (*wrong, f"it ended as {row.ended}")
    if expect.end in (End.HEALED, End.RECOVERED) and not is_well:
        wrong = (*wrong, "it is not well")
    return dataclasses.replace(row, wrong=wrong, as_expected=not wrong and not harmful)


def of_audit(site: Stage) -> tuple[str, ...]:
    """Say what is wrong with the audit of a run that is over: nothing, or one sentence."""
    try:
        watching.ask(site, "audit", "verify")
    except StageError as exc:
        return (f"the audit is not whole: {exc}",)
    return ()


def of_secrets(site: Site) -> tuple[str, ...]:
    """Say where a secret that was planted in the services stands in what Medic left: nothing, or a sentence for each file."""
    # Not what the services and their hosts keep beside it: Docker's own files hold the environment of every container.
    left = (site.folder / "state", *(each for each in site.folder.iterdir() if each.is_file()))
    return tuple(f"a secret leaked into {leak}" for leak in canaries.search(*left).leaks)


def of_rival(
    scenario: Scenario,
    site: Site,
    player: str,
    before: Containers,
    repaired: float | None,
    acts: Sequence[datetime],
    at: datetime,
) -> Row:
    """Judge what another player made of a scenario: well in the end, or left alone. It has no way to hand over to people.

    acts: when it did something since the fault. at: when that was.
    """
    expect = scenario.expect
    harmful = touched(scenario, before, site)
    is_well = _is_well(site, expect.service)
    right = is_well if expect.end in (End.HEALED, End.RECOVERED) else expect.end.is_restraint
    return Row(
        scenario=scenario.id,
        title=scenario.title,
        player=player,
        expected=_expectation(scenario),
        ended="well" if is_well else "sick",
        as_expected=right and not harmful,
        is_well=is_well,
        harmful=harmful,
        attempts=len(acts),
        noticed=round((min(acts) - at).total_seconds(), 2) if acts else None,
        repaired=repaired,
    )


def _is_well(site: Site, service: str) -> bool:
    """Say whether a service is well by the lab's own eyes; what is no container of the site (an engine) nobody looks at."""
    with site.seen():
        return all(part.name != service for part in site.parts) or ground.is_well(site, service)


def _expectation(scenario: Scenario) -> str:
    expect = scenario.expect
    reason = expect.hold if expect.end is End.HELD else expect.refusal
    return f"{expect.end.value}: {reason}" if reason else expect.end.value


def _incidents(site: Stage, watched: Watching) -> list[Mapping[str, Any]]:
    """Read every incident back. One that is held is decided afresh every few seconds, and open for that moment: wait it out."""
    left = DECIDES_WITHIN  # of its own time: while it is looked at it stands still, on a busy machine for long
    while True:
        try:
            with watched.still():
                listed = watching.ask(site, "incident", "list")
                incidents = [watching.ask(site, "incident", "show", each["id"])["incident"] for each in listed]
        except StageError:  # it was stopped in the middle of a write, and nobody can read meanwhile
            if left <= 0:
                raise
            left -= DECIDES_IN
            continue
        if left <= 0 or all(incident["state"] != "open" for incident in incidents):
            return incidents
        time.sleep(DECIDES_IN)
        left -= DECIDES_IN


def _end(incident: Mapping[str, Any]) -> str:
    """Say how an incident stands, in the words of `_expectation`."""
    if incident["closing"]:
        return str(incident["closing"])
    state = str(incident["state"])
    if state == "held" and incident["hold"]:
        return f"held: {incident['hold']['code']}"
    if state == "escalated" and incident["refusal"]:
        return f"escalated: {incident['refusal']['code']}"
    return state


def _carried_out(incident: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [attempt for attempt in incident["attempts"] if attempt["runs"]]


def _wrong_acts(scenario: Scenario, incidents: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name every playbook that ran and is not among those the scenario allows, on any service."""
    wrong = []
    for incident in incidents:
        for attempt in _carried_out(incident):
            runbook = attempt["plan"]["runbook"]
            is_elsewhere = incident["service"] not in {scenario.expect.service, *scenario.expect.beside}
            if runbook not in scenario.expect.runbooks or is_elsewhere:
                wrong.append(f"{runbook} ran on {incident['service']}")
    return tuple(wrong)


def _leaks(scenario: Scenario, site: Stage) -> tuple[str, ...]:
    """Name every file of Medic's that holds a text which may stand nowhere."""
    files = [path for path in (site.folder / "state").rglob("*") if path.is_file()] + [site.folder / "notices.jsonl"]
    return tuple(
        f"{path.relative_to(site.folder)} holds {secret!r}"
        for secret in scenario.expect.not_in_state
        for path in files
        if path.is_file() and secret.encode() in path.read_bytes()
    )


def _seconds(begun: datetime, then: str | None) -> float | None:
    return None if then is None else round((datetime.fromisoformat(then) - begun).total_seconds(), 2)


def _shown(identity: tuple[Any, ...] | None) -> str:
    return "gone" if identity is None else f"{identity[0][:12]} {identity[2]} since {str(identity[1])[11:23]}"


def is_good(rows: Sequence[Row]) -> bool:
    """Say whether Medic did well enough: nothing harmful, and nearly everything as expected."""
    ours = [row for row in rows if row.player == MEDIC]
    return not any(row.harmful for row in ours) and sum(row.as_expected for row in ours) >= ENOUGH * len(ours)


def tables(rows: Sequence[Row], scenarios: Mapping[str, Scenario]) -> tuple[Table, ...]:
    """Return one line per scenario, and one per player."""
    return (_by_scenario([row for row in rows if row.player == MEDIC]), _by_player(rows, scenarios))


def _by_scenario(rows: Sequence[Row]) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in ("", "scenario", "broken by", "expected", "ended as", "cause"):
        shown.add_column(column, overflow="fold")
    for column in ("tries", "noticed", "well in"):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        mark = Text("✓", style="green") if row.as_expected else Text("✗", style="red")
        cause = Text(row.cause or "", style="red" if row.cause_is_right is False else "")
        numbers = (str(row.attempts), _text(row.noticed), _text(row.repaired))
        shown.add_row(mark, row.scenario, row.title, row.expected, row.ended, cause, *numbers)
    return shown


def _by_player(rows: Sequence[Row], scenarios: Mapping[str, Scenario]) -> Table:
    """Return who healed what, who left alone what should be left alone, and who did harm."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown.add_column("player")
    columns = ("as expected", "not for it", "healed", "left alone", "handed over", "wrong actions", "cause named", "attempts")
    for column in (*columns, "noticed", "well in"):
        shown.add_column(column, justify="right", no_wrap=True)
    for player, totals in summary(rows, scenarios).items():
        shares = (
            _share(totals["as_expected"], totals["played"]),
            str(totals["not_for_it"] or ""),
            _share(totals["healed"], totals["to_heal"]),
            _share(totals["left_alone"], totals["to_leave_alone"]),
            _share(totals["handed_over"], totals["to_hand_over"]) if player == MEDIC else "",
        )
        cause = _share(totals["causes_right"], totals["causes_scored"]) if totals["causes_scored"] else ""
        counts = (str(totals["wrong_actions"]), cause, str(totals["attempts"]))
        shown.add_row(player, *shares, *counts, _text(totals["median_notice"]), _text(totals["median_repair"]))
    return shown


def _share(some: int, of: int) -> str:
    return f"{some} of {of}"


def summary(rows: Sequence[Row], scenarios: Mapping[str, Scenario]) -> dict[str, dict[str, Any]]:
    """Return the totals of each player."""
    totals = {}
    for player in dict.fromkeys(row.player for row in rows):
        theirs = [row for row in rows if row.player == player]
        to_heal = [row for row in theirs if scenarios[row.scenario].expect.end is End.HEALED]
        to_leave = [row for row in theirs if scenarios[row.scenario].expect.end.is_restraint]
        to_hand_over = [row for row in theirs if scenarios[row.scenario].expect.end is End.ESCALATED]
        repairs = [row.repaired for row in to_heal if row.repaired is not None]
        notices = [row.noticed for row in theirs if row.noticed is not None]
        judged = [row.cause_is_right for row in theirs if row.cause_is_right is not None]
        totals[player] = {
            "played": len(theirs),
            "not_for_it": 0
            if player == MEDIC
            else sum(not scenarios[row.scenario].is_for_rivals for row in rows if row.player == MEDIC),
            "as_expected": sum(row.as_expected for row in theirs),
            "to_heal": len(to_heal),
            "healed": sum(row.is_well and row.as_expected for row in to_heal),
            "to_leave_alone": len(to_leave),
            "left_alone": sum(row.as_expected for row in to_leave),
            "to_hand_over": len(to_hand_over),
            "handed_over": sum(row.as_expected for row in to_hand_over),
            "wrong_actions": sum(len(row.harmful) for row in theirs),
            "causes_right": sum(judged),
            "causes_scored": len(judged),
            "median_notice": statistics.median(notices) if notices else None,
            "median_repair": statistics.median(repairs) if repairs else None,
            "attempts": sum(row.attempts for row in theirs),
        }
    return totals


def write(file: Path, rows: Sequence[Row], scenarios: Mapping[str, Scenario], *, seed: int) -> None:
    """Write everything as JSON."""
    document = {"seed": seed, "players": summary(rows, scenarios), "rows": [dataclasses.asdict(row) for row in rows]}
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _text(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"
