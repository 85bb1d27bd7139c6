"""`make demo`: break six services for real, watch `medic watch` take care of them, and check what came of it.

The site is real containers behind a real nginx (`stage`), the faults are real (`faults`), and Medic is the installed command in
a process of its own. What the table says is read back from `medic incident ... --json` and from Docker. Nothing is left running.
"""

import contextlib
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
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
    # SIGTERM ends the demo as ^C does: through the clean-up below.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="medic-demo-"))
    folder.chmod(0o755)  # the containers read their files here, whatever user they run as
    try:
        for image in (images.TINY, images.BASE):
            images.ensure(image, say)
        site = stage.plan(secrets.token_hex(3), folder)
        with cleaned_up(site):
            verdicts = play(site)
        leftovers = (*stage.left_over(site), *outcome.processes_of(site))
    except (images.LabError, StageError) as error:
        console.print(str(error), style="red")
        return 3
    except KeyboardInterrupt:
        say("interrupted; nothing is left running")
        return 130
    console.print(outcome.table(verdicts))
    for verdict in verdicts:
        for wrong in verdict.wrong:
            console.print(f"{verdict.service}: {wrong}", style="red")
    for report in (verdict.report for verdict in verdicts if verdict.report):
        console.print(f"escalation report: {report}", soft_wrap=True)
    console.print(f"left running: {', '.join(leftovers) or 'nothing'}")
    return 0 if not leftovers and all(not verdict.wrong for verdict in verdicts) else 1


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


@contextlib.contextmanager
def cleaned_up(site: Stage) -> Iterator[None]:
    """Remove every container and network of the run when the block is over, however it ends."""
    try:
        yield
    finally:
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second ^C must not cut the clean-up
        say("removing the containers and the network")
        stage.strike_all(site)
        signal.signal(signal.SIGINT, previous)


def say(text: str) -> None:
    """Print one line of the demo's own."""
    console.print(f"demo: {text}", style="bold", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
