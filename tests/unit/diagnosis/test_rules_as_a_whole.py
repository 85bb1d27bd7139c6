"""What holds for every rule that ships: patterns that cannot run away, and an order of files that decides nothing."""

import json
import random
import re._constants as opcodes
import re._parser as parser
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent import rule_file
from agent.diagnosis import log_lines, match, score
from agent.model import Cause, Health, Judgement, Plane

ROOT = Path(__file__).parents[3]
RULES = rule_file.load_rules(ROOT / "agent" / "rules")
LOGS = ROOT / "tests" / "cases" / "diagnosis" / "logs"
MOST_WAYS = 60_000
"""Ways to cut one match out of a line; times the 2 000 places a line has, a search stays within some 10 ms a line."""


def ways(pattern: Any) -> int:
    """Return in how many ways the repeats of a parsed pattern can share out one text, at most."""
    total = 1
    for opcode, value in pattern:
        if opcode in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT):
            least, most, inner = value
            assert most != opcodes.MAXREPEAT, "an unbounded repeat"
            total *= (most - least + 1) * ways(inner)
        elif opcode is opcodes.SUBPATTERN:
            total *= ways(value[-1])
        elif opcode is opcodes.BRANCH:
            total *= max(ways(branch) for branch in value[1])
        elif opcode in (opcodes.ASSERT, opcodes.ASSERT_NOT):
            total *= ways(value[1])
    return total


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_pattern_of_a_rule_can_run_away(rule: Any) -> None:
    costs = {pattern: ways(parser.parse(pattern)) for pattern in (*rule.log, *rule.not_log, *rule.cleared_by)}
    assert {pattern: cost for pattern, cost in costs.items() if cost > MOST_WAYS} == {}


def cases() -> list[score.Case]:
    return [case for file in sorted(LOGS.glob("*.jsonl")) for case in score.read_cases(file.read_text().splitlines())]


def answer(case: score.Case, log: str, rules: tuple[Any, ...] = RULES) -> Cause:
    return match.diagnose(score.evidence(case, log), rules).cause


def a_few(seed: int) -> list[score.Case]:
    return random.Random(seed).sample([case for case in cases() if len(case.log) < 6_000], 40)


def test_the_order_of_rule_files_decides_nothing() -> None:
    for seed, case in enumerate(a_few(1)):
        shuffled = list(RULES)
        random.Random(seed).shuffle(shuffled)
        assert answer(case, case.log, tuple(shuffled)) is answer(case, case.log), case.id


def test_lines_that_are_there_twice_change_nothing() -> None:
    for case in a_few(2):
        twice = "\n".join(line for line in case.log.splitlines() for _ in range(2))
        assert answer(case, twice) is answer(case, case.log), case.id


def padded(seed: int) -> Iterator[tuple[score.Case, Cause, str]]:
    """Yield cases that a rule knew for certain, the cause it named, and their log with a calm life before and after it."""
    calm = "\n".join(f"2026-01-01 10:00:0{n} INFO order {n} served in 3 ms" for n in range(9))
    by_id = {f"rule:{rule.id}": rule for rule in RULES}
    for case in a_few(seed):
        said = match.diagnose(score.evidence(case, case.log), RULES)
        if said.said_by in by_id and by_id[said.said_by].order < match.GUESSES:
            yield case, said.cause, f"{calm}\n{case.log}\n{calm}"


def test_calm_lines_before_and_after_change_no_cause_of_a_service_that_a_plane_calls_sick() -> None:
    for case, cause, log in padded(3):
        evidence = score.evidence(case, log)
        sick = Judgement(check="http", plane=Plane.DIRECT, health=Health.SICK, detail="503")
        evidence = replace(evidence, verdict=replace(evidence.verdict, health=Health.SICK, judgements=(sick,)))
        # Noise is no answer for a sick service, whatever was said before it was.
        assert cause is Cause.BENIGN_NOISE or match.diagnose(evidence, RULES).cause is cause, case.id


def test_a_life_that_goes_on_may_end_a_complaint_and_never_makes_another_of_it() -> None:
    for case, cause, log in padded(4):
        assert answer(case, log) in (cause, Cause.BENIGN_NOISE, Cause.INCONCLUSIVE), case.id


STAMP = "2026-01-01T10:00:00.100200300Z"
CARRIERS: dict[str, Callable[[str], str]] = {
    "compose": lambda line: f"my-inference-server-gpu-1  | {line}",
    "CRI": lambda line: f"{STAMP} stderr F {line}",
    "docker logs --timestamps": lambda line: f"{STAMP} {line}",
    "json-file": lambda line: json.dumps({"log": f"{line}\n", "stream": "stderr", "time": STAMP}, separators=(",", ":")),
    "syslog": lambda line: f"Jan  1 10:00:00 gpu-7 web[12]: {line}",
    "journald": lambda line: f"2026-01-01T10:00:00+0000 gpu-7 dockerd[12]: {line}",
    "kubectl": lambda line: f"[pod/web-5d8f/web] {line}",
    "Google Cloud": lambda line: f"ERROR {STAMP} {line}",
    "colours": lambda line: f"\x1b[31m{line}\x1b[0m",
    "carriage returns": lambda line: f"{line}\r",
}


@pytest.mark.parametrize("carrier", CARRIERS)
def test_what_carries_a_log_changes_no_cause(carrier: str) -> None:
    for case in a_few(5):
        carried = "\n".join(CARRIERS[carrier](line) for line in case.log.splitlines())
        assert answer(case, carried) is answer(case, case.log), case.id


def test_a_level_before_a_bar_is_the_programs_own() -> None:
    assert log_lines.bare(["INFO     | app | ready", "ERROR    | app | refused"])[1].startswith("ERROR")


def test_a_program_named_before_its_level_is_no_host() -> None:
    line = "May 01 08:00:00 imap-login: Info: Login: user=<bob>"
    assert log_lines.bare([line]) == [line]
