"""`make bench`: every figure of Medic's budgets beside its bar, in one run; all of it also as JSON.

    python -m bench [--json bench.json] [--only NAME ...]

One machine, one run: numbers of two machines, or of a machine that is busy with something else, say nothing about each other.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench import beat, commands, containers, death, diagnosis, figure, hosts, idle, redaction
from bench.ground import Ground

GROUPS: dict[str, Callable[[Ground], Iterable[figure.Figure]]] = {
    "commands": commands.figures,
    "diagnosis": diagnosis.figures,
    "redaction": redaction.figures,
    "containers": containers.figures,
    "hosts": hosts.figures,
    "death": death.figures,
    "beat": beat.figures,
    "idle": idle.figures,
}


def main() -> int:
    """Measure, print, write; return 0 where every bar is met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the figures go as JSON")
    parser.add_argument("--only", nargs="*", choices=GROUPS, default=list(GROUPS), help="only these groups")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {load:.1f}", flush=True)
    if load > 0.5:
        print("This machine is busy: what follows is no measurement.", flush=True)
    measured = []
    ground = Ground()
    try:
        for name in options.only:
            for each in GROUPS[name](ground):
                measured.append(each)
                print(figure.line(each), flush=True)
    finally:
        ground.close()
        options.json.write_text(json.dumps(_document(measured, load), indent=2) + "\n")
    return 0 if all(each.is_met for each in measured) else 1


def _document(measured: list[figure.Figure], load: float) -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "medic": metadata.version("medic-agent"),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "load_at_start": round(load, 2),
        "figures": [figure.document(each) for each in measured],
    }


if __name__ == "__main__":
    sys.exit(main())
