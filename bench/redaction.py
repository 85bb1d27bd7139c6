"""What the choke point for secrets costs: an ordinary log, and the worst that a program can print."""

import random
import time
from collections.abc import Iterator

from agent.redact import LONGEST_LINE, Redactor
from bench.figure import Figure
from bench.ground import Ground
from tests.unit import test_redact

ROUNDS = 3


def figures(_on: Ground) -> Iterator[Figure]:
    """Measure the pace on a log with a secret in every tenth line, and the slowest of the hostile texts."""
    redact = Redactor()
    rng = random.Random(6)
    lines = [make(rng) for make in test_redact.BENIGN for _ in range(200)] + [line for _, line, _ in test_redact.labelled(8)]
    rng.shuffle(lines)
    text = "\n".join(f"2026-03-01T03:00:00.123456Z stdout {line} worker=3 model=llama latency_ms=12" for line in lines)
    yield Figure(
        name="redaction-pace",
        what="redaction of a mixed log",
        value=len(text) / _seconds(redact, text) / 1e6,
        unit="MB/s",
        bar=5,
        at_least=True,
        limit="a substring test for every rule on every line",
    )
    hostile = {name: _seconds(redact, (part * LONGEST_LINE)[: LONGEST_LINE - 1]) for name, part in test_redact.HOSTILE.items()}
    slowest = max(hostile, key=lambda name: hostile[name])
    yield Figure(
        name="redaction-hostile",
        what=f"redaction of one hostile line of 64 KB, the slowest of {len(hostile)}",
        value=hostile[slowest] * 1000,
        unit="ms",
        bar=100,
        limit="a search that begins again at every place, and reads on up to its bound",
        more={"slowest": slowest},
    )


def _seconds(redact: Redactor, text: str) -> float:
    spent = []
    for _ in range(ROUNDS):
        began = time.process_time()
        redact(text)
        spent.append(time.process_time() - began)
    return min(spent)
