"""`make demo-fleet`: three hosts over real SSH; break one thing on each, and watch `medic watch` deal with it.

One has a service whose engine is dead behind a healthy `/health`, one loses its GPU inside the container (a stand-in for
`nvidia-smi` says what the real one says), one loses its network. The table is read back from `medic incident ... --json` and from each
host's own Docker. Nothing is left.
"""

import secrets
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any  # a step as a scenario file gives it

from rich.console import Console
from rich.rule import Rule

from agent.model import StoryKind
from tests.lab import demo, faults, fleet_ground, ground, images, outcome, play, scenario, watching
from tests.lab.ground import Site
from tests.lab.outcome import Ended
from tests.lab.scenario import Scenario
from tests.lab.stage import StageError
from tests.lab.watching import Watching

console = Console(highlight=False, markup=False)

BEGIN = timedelta(seconds=90)
END = timedelta(seconds=120)
STANDS_ON = Path(__file__).with_name("demo_fleet.yaml")


def main() -> int:
    """Run the demo. Returns 0 when everything ended as it should, 1 when not, 3 when it cannot be set up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, demo._interrupt)
    try:
        fleet_ground.needs_tools()
        images.ensure(images.TINY, demo.say)
    except images.LabError as error:
        console.print(str(error), style="red")
        return 3
    folder = Path(tempfile.mkdtemp(prefix="medic-fleet-"))
    folder.chmod(0o755)
    told = scenario.read(STANDS_ON)
    site = ground.plan(told, secrets.token_hex(3), folder)
    try:
        try:
            ended = show(told, site)
        finally:
            demo.say("removing the hosts")
            ground.strike_all(site)
    except StageError as error:
        console.print(str(error), style="red")
        return 3
    except KeyboardInterrupt:
        demo.say(f"interrupted; left running: {', '.join(left_running(site)) or 'nothing'}")
        return 130
    return demo.report(ended, left_running(site))


def left_running(site: Site) -> tuple[str, ...]:
    """Return every namespace, link, mount and process of this run that is still there."""
    return (*fleet_ground.left_over(site.hosts), *outcome.processes_of(site))


def show(told: Scenario, site: Site) -> tuple[Ended, ...]:
    """Raise the hosts, start Medic, break one thing on each, and return how each ended."""
    demo.say("making three hosts, each with a network, an sshd and a Docker engine of its own")
    ground.raise_all(site)
    play.wait_until_well(told, site, threading.Event())
    dead, lost, cut = (ground.filled(step, told, site) for step in told.inject)
    with Watching(site, console) as seen:
        demo.say(f"medic watch runs (process {seen.process.pid}) on {site.medic_yaml}")
        seen.wait_for_quiet_sweep(BEGIN)
        rows = [
            healed(site, dead, "dead engine, /health says ok", "restart-container", seen),
            healed(site, lost, "GPU lost in the container", "regain-gpu", seen),
            left_alone(site, cut, "web", seen),
        ]
    return (*rows, outcome.of_watch(seen.exit_code))


def healed(site: Site, step: Mapping[str, Any], what: str, runbook: str, seen: Watching) -> Ended:
    """Break a service, and read back the incident that Medic should have healed with one run of this runbook over SSH."""
    name = str(step["to"])
    host = site.host(site.part(name).host)
    console.print(Rule(f"{name} on {host.name}: {what}", align="left", style="dim"))
    begun = datetime.now(UTC)
    faults.inject(site, step, name)
    seen.wait_for_end(name, END)
    listed = watching.ask(site, "incident", "list", "--service", name)
    if len(listed) != 1:
        counted = (f"{len(listed)} incidents",)
        return Ended(service=f"{name} on {host.name}", what=what, expected="healed", ended="?", wrong=counted)
    incident = watching.ask(site, "incident", "show", listed[0]["id"])["incident"]
    attempts, ended = incident["attempts"], incident["closing"] or incident["state"]
    wrong = [] if ended == "healed" else [f"it ended as {ended}"]
    if (done := [(each["plan"]["runbook"], each["plan"]["host"]) for each in attempts]) != [(runbook, host.name)]:
        wrong.append(f"what was done: {done}")
    if not list((host.sshd.target_state / "markers").glob(f"*/{incident['id']}-1/finished")):
        wrong.append("there is no marker on the host")
    if list((host.sshd.target_state / "locks").glob("[!.]*")):
        wrong.append("a lock is left on the host")
    return Ended(
        service=f"{name} on {host.name}",
        what=what,
        expected=f"healed by {runbook}",
        ended=ended,
        wrong=tuple(wrong),
        attempts=len(attempts),
        noticed=datetime.fromisoformat(incident["opened_at"]) - begun,
        repaired=datetime.fromisoformat(incident["closed_at"]) - begun if incident["closed_at"] else None,
    )


def left_alone(site: Site, step: Mapping[str, Any], bystander: str, seen: Watching) -> Ended:
    """Cut a host off, put it back, and read back that it was one incident of its own, and its service left alone."""
    host = site.host(str(step["to"]))
    console.print(Rule(f"{host.name}: its network is gone", align="left", style="dim"))
    name = f"host:{host.name}"
    before = site.part(bystander).inspect()["State"]["StartedAt"]
    begun = datetime.now(UTC)
    faults.inject(site, step, name)
    seen.wait(f"word that {host.name} is lost", lambda: _has(seen, name, StoryKind.ESCALATED), END)
    noticed = datetime.now(UTC) - begun
    time.sleep(5)  # five beats in which it could be treated as sick
    host.mend()
    seen.wait(f"the end of {name}", lambda: _has(seen, name, StoryKind.RECOVERED, StoryKind.CLOSED), END)
    incidents = watching.ask(site, "incident", "list", "--service", name)
    wrong = [] if len(incidents) == 1 else [f"{len(incidents)} incidents of the host"]
    wrong += [f"{each['id']} is {each['closing'] or each['state']}" for each in incidents if each["closing"] != "recovered"]
    wrong += [
        f"an incident of its service: {each['id']}" for each in watching.ask(site, "incident", "list", "--service", bystander)
    ]
    if site.part(bystander).inspect()["State"]["StartedAt"] != before:
        wrong.append("its container was touched")
    return Ended(
        service=f"{host.name}, with {bystander}",
        what="network lost",
        expected="escalated once, left alone",
        ended="one incident, service left alone" if not wrong else "?",
        wrong=tuple(wrong),
        attempts=0,
        noticed=noticed,
    )


def _has(seen: Watching, service: str, *kinds: StoryKind) -> bool:
    return any(event.kind in kinds for event in seen.events_of(service))


if __name__ == "__main__":
    sys.exit(main())
