"""`make demo-fleet`: three hosts over real SSH; break one thing on each, and watch `medic watch` deal with it.

One has a service whose engine is dead behind a healthy `/health`, one loses its GPU inside the container (a stand-in for
`nvidia-smi` says what the real one says), one loses its network. The table is read back from `medic incident ... --json` and from each
host's own Docker. Nothing is left.
"""

import json
import secrets
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.rule import Rule

from agent.model import StoryKind
from tests.lab import demo, fleet_ground, ground, images, outcome, watching
from tests.lab.fleet_ground import FleetHost
from tests.lab.outcome import Ended
from tests.lab.stage import Part, Stage, StageError
from tests.lab.watching import Watching

console = Console(highlight=False, markup=False)

BEGIN = timedelta(seconds=90)
END = timedelta(seconds=120)

SLOW = {"timeout": "8s"}
"""Three engines start beside Medic: on two cores an answer may take its time, and late is not what is shown here."""
COMPLETION = SLOW | {"kind": "completion", "url": "http://container:8080/cgi-bin/completions", "model": "m", "stream": False}
HEALTH = SLOW | {"kind": "http", "plane": "direct", "url": "http://container:8080/cgi-bin/health", "body": "ok"}
GPU = SLOW | {"kind": "command", "name": "gpu", "command": ["nvidia-smi", "-L"]}
SERVICES = {"web": 1, "llm": 2, "embed": 3}
"""Each service and the number of its host."""


def main() -> int:
    """Run the demo. Returns 0 when everything ended as it should, 1 when not, 3 when it cannot be set up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, demo._interrupt)
    folder = Path(tempfile.mkdtemp(prefix="medic-fleet-"))
    folder.chmod(0o755)
    run = secrets.token_hex(3)
    hosts = tuple(FleetHost(run=run, number=number, folder=folder / f"gpu-{number}") for number in (1, 2, 3))
    site = plan(run, folder)
    try:
        images.ensure(images.TINY, demo.say)
        try:
            ended = play(site, hosts)
        finally:
            demo.say("removing the hosts")
            fleet_ground.strike_all(hosts)
    except (images.LabError, StageError) as error:
        console.print(str(error), style="red")
        return 3
    except KeyboardInterrupt:
        demo.say(f"interrupted; left running: {', '.join(left_running(site, hosts)) or 'nothing'}")
        return 130
    return demo.report(ended, left_running(site, hosts))


def left_running(site: Stage, hosts: tuple[FleetHost, ...]) -> tuple[str, ...]:
    """Return every namespace, link, mount and process of this run that is still there."""
    return (*fleet_ground.left_over(hosts), *outcome.processes_of(site))


def play(site: Stage, hosts: tuple[FleetHost, ...]) -> tuple[Ended, ...]:
    """Raise the hosts, start Medic, break one thing on each, and return how each ended."""
    one, two, three = hosts
    demo.say("making three hosts, each with a network, an sshd and a Docker engine of its own")
    fleet_ground.raise_all(hosts, site.folder)
    for host in hosts:
        create(site, host)
    for host in hosts:
        wait_until_it_answers(site, host)
    site.medic_yaml.write_text(yaml.safe_dump(medic_yaml(site, hosts), sort_keys=False, width=120))
    with Watching(site, console) as seen:
        demo.say(f"medic watch runs (process {seen.process.pid}) on {site.medic_yaml}")
        seen.wait_for_quiet_sweep(BEGIN)
        rows = []
        for host, service, what, broken in (
            (two, "llm", "dead engine, /health says ok", "kill -9 $(cat /run/engine)"),
            (three, "embed", "GPU lost in the container", "rm /run/gpu/nvidia0"),
        ):
            console.print(Rule(f"{service} on {host.name}: {what}", align="left", style="dim"))
            begun = datetime.now(UTC)
            host.docker("exec", container(site, service), "sh", "-c", broken)
            seen.wait_for_end(service, END)
            rows.append(healed(site, host, service, what, begun))
        console.print(Rule(f"{one.name}: its network is gone", align="left", style="dim"))
        before = started(site, one, "web")
        begun = datetime.now(UTC)
        one.cut()
        name = f"host:{one.name}"
        seen.wait(f"word that {one.name} is lost", lambda: _has(seen, name, StoryKind.ESCALATED), END)
        noticed = datetime.now(UTC) - begun
        time.sleep(5)  # five beats in which it could be treated as sick
        one.mend()
        seen.wait(f"the end of {name}", lambda: _has(seen, name, StoryKind.RECOVERED, StoryKind.CLOSED), END)
        rows.append(left_alone(site, one, before, noticed))
    return (*rows, outcome.of_watch(seen.exit_code))


def healed(site: Stage, host: FleetHost, service: str, what: str, begun: datetime) -> Ended:
    """Read back an incident that Medic should have healed with one restart over SSH."""
    incidents = watching.ask(site, "incident", "list", "--service", service)
    if len(incidents) != 1:
        return Ended(
            service=f"{service} on {host.name}", what=what, expected="healed", ended="?", wrong=(f"{len(incidents)} incidents",)
        )
    incident = watching.ask(site, "incident", "show", incidents[0]["id"])["incident"]
    attempts = incident["attempts"]
    wrong = []
    if incident["closing"] != "healed":
        wrong.append(f"{incident['id']} is {incident['closing'] or incident['state']}")
    if [attempt["plan"]["host"] for attempt in attempts] != [host.name]:
        wrong.append(f"attempts on {[attempt['plan']['host'] for attempt in attempts]}")
    if not list((host.target_state / "markers").glob(f"*/{incident['id']}-1/finished")):
        wrong.append("there is no marker on the host")
    if list((host.target_state / "locks").glob("[!.]*")):
        wrong.append("a lock is left on the host")
    return Ended(
        service=f"{service} on {host.name}",
        what=what,
        expected="healed",
        ended=incident["closing"] or incident["state"],
        wrong=tuple(wrong),
        attempts=len(attempts),
        noticed=datetime.fromisoformat(incident["opened_at"]) - begun,
        repaired=datetime.fromisoformat(incident["closed_at"]) - begun if incident["closed_at"] else None,
    )


def left_alone(site: Stage, host: FleetHost, before: str, noticed: timedelta) -> Ended:
    """Read back that a host out of reach was one incident of its own, and that nothing was done to its service."""
    incidents = watching.ask(site, "incident", "list", "--service", f"host:{host.name}")
    wrong = [] if len(incidents) == 1 else [f"{len(incidents)} incidents of the host"]
    wrong += [f"{each['id']} is {each['closing'] or each['state']}" for each in incidents if each["closing"] != "recovered"]
    wrong += [
        f"an incident of its service: {each['id']}" for each in watching.ask(site, "incident", "list", "--service", "web")
    ]
    if started(site, host, "web") != before:
        wrong.append("its container was touched")
    ended = "one incident, service left alone" if not wrong else "?"
    return Ended(
        service=f"{host.name}, with web",
        what="network lost",
        expected="escalated once, left alone",
        ended=ended,
        wrong=tuple(wrong),
        attempts=0,
        noticed=noticed,
    )


def _has(seen: Watching, service: str, *kinds: StoryKind) -> bool:
    return any(event.kind in kinds for event in seen.events_of(service))


def started(site: Stage, host: FleetHost, service: str) -> str:
    """Return when a container was started last."""
    return host.docker("inspect", "--format", "{{.State.StartedAt}}", container(site, service))


def container(site: Stage, service: str) -> str:
    """Return the name of a service's container."""
    return f"medic-fleet-{site.run}-{service}"


def plan(run: str, folder: Path) -> Stage:
    """Describe the site: three services, one on each host."""
    (folder / "program.sh").write_bytes(ground.FAR_APP.read_bytes())
    (folder / "program.sh").chmod(0o755)
    parts = tuple(
        Part(
            name=name,
            container=f"medic-fleet-{run}-{name}",
            run={
                "image": images.TINY,
                "command": ["sh", "/program.sh"],
                "volumes": [f"{folder}/program.sh:/program.sh:ro"],
                "stop_timeout": "1s",
            },
            checks={"web": (HEALTH,), "llm": (HEALTH, COMPLETION), "embed": (HEALTH, COMPLETION, GPU)}[name],
        )
        for name in SERVICES
    )
    return Stage(run=run, folder=folder, port=0, parts=parts)


def create(site: Stage, host: FleetHost) -> None:
    """Start the host's service on its own engine."""
    name = next(service for service, number in SERVICES.items() if number == host.number)
    part = site.part(name)
    words = ("--volume", part.run["volumes"][0], "--stop-timeout", "1")
    host.docker("run", "--detach", "--name", part.container, *words, part.run["image"], *part.run["command"])


def wait_until_it_answers(site: Stage, host: FleetHost) -> None:
    """Wait until the host's service answers inside its container."""
    name = next(service for service, number in SERVICES.items() if number == host.number)
    end = time.monotonic() + BEGIN.total_seconds()
    while True:
        try:
            host.docker("exec", container(site, name), "wget", "-q", "-O", "-", "http://127.0.0.1:8080/cgi-bin/health")
        except StageError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)
        else:
            return


def medic_yaml(site: Stage, hosts: tuple[FleetHost, ...]) -> dict[str, Any]:
    """Return the configuration: every host over SSH, its key pinned."""
    limits = {"start_grace": "2s", "verify_within": "20s"}
    declared = {}
    for host in hosts:
        declared[host.name] = {"docker": f"unix://{host.socket}", "ssh": host.access()}
    document = {
        "interval": "1s",
        "state_dir": str(site.folder / "state"),
        "discover_labels": False,
        "channels": {"notices": {"kind": "file", "path": str(site.folder / "notices.jsonl")}},
        "hosts": declared,
        "services": {
            part.name: {
                "host": f"gpu-{SERVICES[part.name]}",
                "container": part.container,
                "checks": list(part.checks),
                "run": part.run,
                "limits": limits,
            }
            for part in site.parts
        },
    }
    copied: dict[str, Any] = json.loads(json.dumps(document))  # values used twice would come out as YAML aliases
    return copied


if __name__ == "__main__":
    sys.exit(main())
