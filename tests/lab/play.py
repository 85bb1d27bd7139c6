"""One run of one scenario, apart from every other: raise the services, let a player watch, inject the fault, wait, judge, strike.

In: a scenario and who plays it, Medic or a rival. Out: a `Row`. Nothing is left running, however it ends.
"""

import dataclasses
import json
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console

from agent.model import StoryEvent, StoryKind
from tests.lab import faults, fleet_ground, ground, score
from tests.lab.ground import Site
from tests.lab.rivals import Rival
from tests.lab.scenario import End, Scenario
from tests.lab.score import Row
from tests.lab.socket_proxy import SocketProxy
from tests.lab.stage import StageError
from tests.lab.watching import ENDS, Watching

BEGIN = timedelta(seconds=90)
"""For everything to be well before the fault; it takes 5 s, and a minute on a machine that is busy with other things."""
RIVAL_BEGIN = 4.0
"""Seconds a rival gets to see everything well before the fault."""
RIVAL_WITHIN = 30.0
"""Seconds a rival gets at most: the slowest looks every 5 s, believes what it saw twice, and restarts in one."""


class CutShortError(Exception):
    """Somebody pressed ^C."""


def play(scenario: Scenario, rival: Rival | None, quit_: threading.Event, *, patience: float = 1, keep: bool = False) -> Row:
    """Run one scenario and judge it. A site that cannot be raised, or a fault that cannot be done, is a row that says so.

    patience: what the times a scenario gives for an end are multiplied by.
    """
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="medic-lab-"))
    folder.chmod(0o755)  # the containers read their files here, whatever user they run as
    site = ground.plan(scenario, secrets.token_hex(3), folder, rival.flags if rival else None)
    try:
        ground.raise_all(site)
        wait_until_well(scenario, site, quit_, patience)
        row = _with_rival(scenario, site, rival, quit_, patience) if rival else _with_medic(scenario, site, quit_, patience)
    except StageError as error:
        row = Row(
            scenario=scenario.id,
            title=scenario.title,
            player=rival.name if rival else score.MEDIC,
            expected=scenario.expect.end.value,
            ended="not run",
            as_expected=False,
            is_well=False,
            wrong=(str(error),),
        )
    finally:
        left = _strike(site)
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if left:
        row = dataclasses.replace(row, as_expected=False, wrong=(*row.wrong, *left))
    if keep and row.wrong:
        row = dataclasses.replace(row, wrong=(*row.wrong, f"kept in {folder}"))
    return dataclasses.replace(row, run=site.run, took=round(time.monotonic() - begun, 1))


def _strike(site: Site) -> tuple[str, ...]:
    """Remove everything of a run. Returns what of it is still there: one engine that hangs must not cost the rows of a whole lab."""
    try:
        ground.strike_all(site)
        return fleet_ground.left_over(site.hosts) if site.hosts else ()
    except StageError as error:
        return (f"something of it may still be there: {error}",)


def _with_medic(scenario: Scenario, site: Site, quit_: threading.Event, patience: float) -> Row:
    proxied = "docker.sock" in json.dumps(scenario.medic)
    with SocketProxy(site.folder) if proxied else nullcontext():
        before = score.containers(site)
        if not scenario.quiet_first:
            at, before = _break(scenario, site, before)
        with (
            (site.folder / "timeline.txt").open("w") as timeline,
            Watching(site, Console(file=timeline, width=200)) as watching,
        ):
            if scenario.quiet_first:
                watching.wait_for_quiet_sweep(BEGIN * patience)
                at, before = _break(scenario, site, before)
            _wait_for_end(scenario, watching, at, quit_, patience)
            row = score.of_medic(scenario, site, before, at, watching)
        if watching.exit_code != 0:
            ended = f"medic watch ended with {watching.exit_code} after SIGTERM"
            row = dataclasses.replace(row, as_expected=False, wrong=(*row.wrong, ended))
        if broken := (*score.of_audit(site), *score.of_secrets(site)):
            row = dataclasses.replace(row, as_expected=False, harmful=(*row.harmful, *broken))
    return row


def _with_rival(scenario: Scenario, site: Site, rival: Rival, quit_: threading.Event, patience: float) -> Row:
    with rival.at_work(site) as acts:
        _sleep(RIVAL_BEGIN * patience, quit_)
        at, before = _break(scenario, site, score.containers(site))
        repaired = None
        if scenario.expect.end in (End.HEALED, End.RECOVERED):
            within = min(scenario.expect.within, RIVAL_WITHIN) * patience
            if _until(lambda: ground.is_well(site, scenario.expect.service), within, quit_):
                repaired = round((datetime.now(UTC) - at).total_seconds(), 2)
                _sleep(6, quit_)  # well is what stays so
        else:
            _sleep(
                (scenario.expect.watch_for + 7) * patience, quit_
            )  # it looks every 5 s at most, and believes what it saw twice
        return score.of_rival(scenario, site, rival.name, before, repaired, [each for each in acts() if each >= at], at)


def _break(scenario: Scenario, site: Site, before: score.Containers) -> tuple[datetime, score.Containers]:
    """Inject the fault. Returns when its last step began, and the containers: as they were, those it was done to as they are."""
    at = datetime.now(UTC)
    for step in scenario.inject:
        if step["do"] != "wait":
            at = datetime.now(UTC)
        faults.inject(site, ground.filled(step, scenario, site), scenario.expect.service)
    hit = {str(step.get("to", scenario.expect.service)) for step in scenario.inject} | {
        str(step["other"]) for step in scenario.inject if "other" in step
    }
    now = score.containers(site)
    return at, {name: now[name] if name in hit else before[name] for name in before}


def _wait_for_end(scenario: Scenario, watching: Watching, at: datetime, quit_: threading.Event, patience: float) -> None:
    """Wait until the story of the scenario's service has come to its end, or to where nothing more may happen."""
    service = scenario.expect.service

    def last() -> StoryEvent | None:
        events = [event for event in watching.events_of(service) if event.kind is not StoryKind.TASK and event.at >= at]
        return events[-1] if events else None

    def is_over() -> bool:
        if quit_.is_set():
            raise CutShortError
        latest = last()
        if latest is None:
            return False
        return latest.kind in ENDS or (scenario.expect.end is End.HELD and latest.kind is StoryKind.HELD)

    if scenario.expect.end is not End.NOTHING:
        watching.wait(f"an end of {scenario.id}", is_over, scenario.within * patience)
    if scenario.expect.end.is_restraint:
        _sleep(scenario.expect.watch_for, quit_)


def wait_until_well(scenario: Scenario, site: Site, quit_: threading.Event, patience: float = 1) -> None:
    """Wait until every service that should be well before the fault is. Raises StageError when it takes too long."""
    names = [part.name for part in site.parts if part.is_declared]
    within = BEGIN.total_seconds() * patience
    if scenario.quiet_first and not _until(lambda: all(ground.is_well(site, name) for name in names), within, quit_):
        raise StageError(f"cannot start the services of {scenario.id}: they are not all well after {within:.0f} s")


def _until(is_so: Callable[[], bool], seconds: float, quit_: threading.Event) -> bool:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            return False
        _sleep(0.3, quit_)
    return True


def _sleep(seconds: float, quit_: threading.Event) -> None:
    if quit_.wait(seconds):
        raise CutShortError
