"""What the rules take to name a cause: every diagnosis case of the tests, whole logs and all."""

import time
from collections.abc import Iterator

from agent import wiring
from agent.diagnosis import match
from bench.figure import Figure, percentile
from bench.ground import Ground
from tests.cases import test_diagnosis

ROUNDS = 3


def figures(_on: Ground) -> Iterator[Figure]:
    """Measure one diagnosis at the 95th percentile of all cases."""
    rules = wiring.rules()
    evidence = [test_diagnosis.evidence(case.told) for case in test_diagnosis.read()]
    took = []
    for _ in range(ROUNDS):
        for each in evidence:
            began = time.perf_counter()
            match.diagnose(each, rules)
            took.append((time.perf_counter() - began) * 1000)
    yield Figure(
        name="rules-diagnosis",
        what=f"rules diagnosis of one incident, p95 of {len(evidence)} cases",
        value=percentile(took, 0.95),
        unit="ms",
        bar=50,
        limit="reading every line of the log for every rule whose needle is in it",
        more={"tokens": 0, "slowest_ms": round(max(took), 1)},
    )
