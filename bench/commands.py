"""How long a person waits for the two commands that are typed most."""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.figure import Figure
from bench.ground import MEDIC, Ground, environment

ROUNDS = 9


def figures(on: Ground) -> Iterator[Figure]:
    """Measure `medic --version`, and `medic check` over one service."""
    name = on.containers(1)[0]
    with tempfile.TemporaryDirectory(prefix="medic-bench-") as folder:
        config = Path(folder, "medic.yaml")
        config.write_text(
            f"{{state_dir: {folder}/state, discover_labels: false, services: {{{name}: {{checks: [{{kind: container}}]}}}}}}"
        )
        for words, bar in ((("--version",), 0.3), (("--config", str(config), "check"), 0.8)):
            yield Figure(
                name=f"command-{words[-1].strip('-')}",
                what=f"`medic {words[-1]}`",
                value=_median([_seconds(words) for _ in range(ROUNDS)]),
                unit="s",
                bar=bar,
                limit="starting Python and importing what the command uses",
            )


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _seconds(words: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run((MEDIC, *words), check=True, capture_output=True, timeout=60, env=environment())
    return time.perf_counter() - began
