"""`make demo`: break six services for real, watch `medic watch` take care of them, and check what came of it.

The site is real containers behind a real nginx (`stage`), the faults are real (`faults`), and Medic is the installed command in
a process of its own. What the table says is read back from `medic incident ... --json` and from Docker. Nothing is left running.
"""

import secrets
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from tests.lab import images, outcome, stage
from tests.lab.cases import BYSTANDERS, CASES
from tests.lab.stage import Stage, StageError
from tests.lab.watching import Watching

console = Console(highlight=False, markup=False)

BEGIN = timedelta(seconds=30)
END = timedelta(seconds=75)
"""One case from fault to end; the longest makes two attempts and waits for each to prove itself."""
LEFT_ALONE = timedelta(seconds=5)
"""How long a stopped service is watched for being left alone, beyond what the other cases take: five beats."""


def main() -> int:
    """Run the demo. Returns 0 when every case ended as it should, 1 when one did not, 3 when it cannot be set up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    folder = Path(tempfile.mkdtemp(prefix="medic-demo-"))
    folder.chmod(0o755)  # the containers read their files here, whatever user they run as
    site = stage.plan(secrets.token_hex(3), folder)
    try:
        for image in (images.TINY, images.BASE):
            images.ensure(image, say)
        try:
            ended = play(site)
        finally:
            say("removing the containers and the network")
            stage.strike_all(site)
    except (images.LabError, StageError) as error:
        console.print(str(error), style="red")
        return 3
    except KeyboardInterrupt:
        say(f"interrupted; left running: {', '.join(left_running(site)) or 'nothing'}")
        return 130
    return report(ended, left_running(site))


def report(ended: tuple[outcome.Ended, ...], leftovers: tuple[str, ...]) -> int:
    """Print the table, what is not as it should be, and where the escalation report is. Returns the exit code."""
    console.print(outcome.table(ended))
    for row in ended:
        for wrong in row.wrong:
            console.print(f"{row.service}: {wrong}", style="red")
        if row.report:
            console.print(f"escalation report: {row.report}", soft_wrap=True)
    console.print(f"left running: {', '.join(leftovers) or 'nothing'}")
    return 1 if leftovers or any(row.wrong for row in ended) else 0


def left_running(site: Stage) -> tuple[str, ...]:
    """Return every container, network and process of this run that is still there."""
    return (*stage.left_over(site), *outcome.processes_of(site))


def play(site: Stage) -> tuple[outcome.Ended, ...]:
    """Raise the site, start Medic, break one thing after another, and return how each ended."""
    say(f"starting {len(site.parts)} containers behind nginx on 127.0.0.1:{site.port}")
    stage.raise_all(site)
    wait_until_all_answer(site)
    with Watching(site, console) as watching:
        say(f"medic watch runs (process {watching.process.pid}) on {site.medic_yaml}")
        watching.wait_for_quiet_sweep(BEGIN)
        broken = {}
        for case in CASES:
            console.print(Rule(f"{case.service}: {case.what}", align="left", style="dim"))
            begun = datetime.now(UTC)
            case.fault(site, case.service)
            broken[case.service] = outcome.Broken(at=begun, container=stage.inspect(site.part(case.service).container))
            if not case.slow:
                watching.wait_for_end(case.service, END)
        for case in CASES:
            watching.wait_for_end(case.service, END)
        console.print(Rule("is what should be left alone left alone?", align="left", style="dim"))
        time.sleep(LEFT_ALONE.total_seconds())
        ended = tuple(outcome.of(case, site, broken[case.service]) for case in CASES)
        bystanders = outcome.of_bystanders(BYSTANDERS, site)
    return (*ended, bystanders, outcome.of_watch(watching.exit_code))


def wait_until_all_answer(site: Stage) -> None:
    """Wait until every web service answers through nginx."""
    end = time.monotonic() + BEGIN.total_seconds()
    while not all(stage.answers(site.url(name)) for name in stage.BEHIND_NGINX):
        if time.monotonic() > end:
            raise StageError(f"cannot start the site: not everything answers after {BEGIN.total_seconds():.0f} s")
        time.sleep(0.2)


def _interrupt(*_: object) -> None:
    """End the demo through its clean-up, which a second ^C must not cut."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def say(text: str) -> None:
    """Print one line of the demo's own."""
    console.print(f"demo: {text}", style="bold", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
