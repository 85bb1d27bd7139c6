"""`python -m tests.lab`: run the fault lab and print the score. `make lab` runs it on the project's own scenarios.

Exit 0: nothing harmful, and 95 % or more ended as expected. 1: not so. 2: a scenario file is wrong. 3: it cannot be set up.
"""

import argparse
import random
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console

from tests.lab import fleet_ground, images, play, rivals, scenario, score
from tests.lab.images import LabError
from tests.lab.rivals import Rival
from tests.lab.scenario import Scenario, ScenarioError
from tests.lab.score import Row

OWN = Path(__file__).with_name("scenarios")
WIDE = 160
"""Columns of the tables where there is no terminal to ask."""
console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDE)


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, play, print. Returns the exit code."""
    wish = _arguments().parse_args(words)
    try:
        found = scenario.read_all(wish.scenarios, wish.only)
        _make_ready(found)
        others: tuple[Rival, ...] = (
            (rivals.RestartPolicy(), rivals.Autoheal(), rivals.Monit(wish.patience)) if wish.compare else ()
        )
    except ScenarioError as error:
        console.print(str(error), style="red")
        return 2
    except LabError as error:
        console.print(str(error), style="red")
        return 3
    begun = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a lab that is told to end cleans up as after ^C
    rows, is_whole = _play_all(found, others, wish)
    by_id = {each.id: each for each in found}
    for table in score.tables(rows, by_id):
        console.print(table)
    for row in rows:
        if row.player == score.MEDIC:
            for sentence in (*row.wrong, *row.harmful):
                console.print(f"{row.scenario}: {sentence}", style="red", soft_wrap=True)
    console.print(f"{len(rows)} runs in {time.monotonic() - begun:.0f} s, {wish.jobs} at a time, seed {wish.seed}")
    if wish.json:
        score.write(wish.json, rows, by_id, seed=wish.seed)
    if not is_whole:
        console.print("interrupted")
        return 130
    return 0 if score.is_good(rows) else 1


def _make_ready(found: Sequence[Scenario]) -> None:
    """Build what the scenarios need, or raise LabError with what is missing."""
    for image in (images.TINY, images.BASE):
        images.ensure(image, console.print)
    if any(each.hosts for each in found):
        fleet_ground.needs_tools()


def _play_all(found: Sequence[Scenario], others: Sequence[Rival], wish: argparse.Namespace) -> tuple[list[Row], bool]:
    """Play every scenario with every player, `jobs` at once, in an order that the seed gives. False: cut short by ^C."""
    runs: list[tuple[Scenario, Rival | None]] = [(each, None) for each in found]
    runs += [(each, rival) for each in found if each.is_for_rivals for rival in others]
    runs = [(each, rival) for each, rival in runs if _plays(rival.name if rival else score.MEDIC, wish.players)]
    random.Random(wish.seed).shuffle(runs)
    quit_ = threading.Event()
    rows: list[Row] = []
    is_whole = True
    with ThreadPoolExecutor(wish.jobs) as pool:
        futures: list[Future[Row]] = [
            pool.submit(play.play, each, rival, quit_, patience=wish.patience, keep=wish.keep) for each, rival in runs
        ]
        try:
            for future in as_completed(futures):
                row = future.result()
                rows.append(row)
                mark = "✓" if row.as_expected else "✗"
                console.print(f"{len(rows)}/{len(runs)} {mark} {row.scenario} ({row.player}): {row.ended}, {row.took:.0f} s")
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second ^C must not cut the clean-up
            is_whole = False
        finally:
            quit_.set()  # after a bug of the lab's own, too, the runs that are under way end through their clean-up
            pool.shutdown(cancel_futures=True)
    return sorted(rows, key=lambda row: (row.player != score.MEDIC, row.player, row.scenario)), is_whole


def _plays(player: str, globs: str) -> bool:
    return any(fnmatch(player.lower(), each.strip().lower()) for each in globs.split(","))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab", description="Break services for real and score what Medic does."
    )
    parser.add_argument(
        "--scenarios", type=Path, default=OWN, metavar="DIR", help="folder of scenario files; default: the lab's own"
    )
    parser.add_argument(
        "--only", default="*", metavar="GLOBS", help="only scenarios whose file name matches; several with commas"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every row and the totals here")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="so many at once (default 2)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="gives the order they run in (default 1)")
    parser.add_argument(
        "--compare", action="store_true", help="let Docker's restart policy, an autoheal loop and Monit play too"
    )
    parser.add_argument(
        "--players", default="*", metavar="GLOBS", help="only players whose name matches: medic, Monit, autoheal*, restart*"
    )
    parser.add_argument(
        "--patience", type=float, default=1, metavar="X", help="wait X times as long: a busy machine is no fault"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder of each run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
