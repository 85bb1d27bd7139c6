"""What the rules take to name a cause: every diagnosis case of the tests, whole logs and all, and the worst that could be."""

import time
from collections.abc import Iterator
from dataclasses import replace

from agent.diagnosis import match
from agent.model import Evidence, LogLine, Rule
from agent.wiring import shipped
from bench.figure import Figure, percentile
from bench.ground import Ground
from tests.cases import test_diagnosis

ROUNDS = 3
_HOSTILE = (
    "error ", "connection to server ", "invalid value for ", "model ", "exec ", "(", "9", " ", "config invalid unknown fail ",
    "max seq len kv cache memory ", "corrupt wal index segment ",
)  # fmt: skip
"""Words that many rules begin with: the search begins again at each, and none comes to an end."""
_LINES, _LINE = 32, 2_000
"""As much of a log as a diagnosis reads."""


def figures(_on: Ground) -> Iterator[Figure]:
    """Measure one diagnosis at the 95th percentile of all cases, and of the slowest hostile log."""
    rules = shipped.rules()
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
    hostile = {words: _slowest(evidence[0], words, rules) for words in _HOSTILE}
    worst = max(hostile, key=lambda words: hostile[words])
    yield Figure(
        name="rules-diagnosis-hostile",
        what=f"rules diagnosis of a log written to be slow, the worst of {len(hostile)}",
        value=hostile[worst],
        unit="ms",
        bar=150,
        limit="patterns that read on up to their bound at every place where they may begin",
        more={"worst": worst},
    )


def _slowest(like: Evidence, words: str, rules: tuple[Rule, ...]) -> float:
    line = (words * _LINE)[:_LINE]
    hostile = replace(like, log=tuple(LogLine(id=f"L{number}", text=line) for number in range(_LINES)))
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        match.diagnose(hostile, rules)
        took.append((time.process_time() - began) * 1000)
    return min(took)
