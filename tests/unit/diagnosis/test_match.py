"""How rules are weighed against one another, with rules of its own; what ships is tested in tests/cases."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import rule_file
from agent.diagnosis import facts, match
from agent.model import (
    Cause,
    ContainerFacts,
    ContainerState,
    Evidence,
    Health,
    IncidentId,
    Judgement,
    LogLine,
    Plane,
    Rule,
    ServiceName,
    Sureness,
    Verdict,
)
from tests import regex_steps

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHIPPED = rule_file.load_rules(Path(__file__).parents[3] / "agent" / "rules")


def evidence(*lines: str, exit_code: int | None = None, sick: Plane | None = None) -> Evidence:
    judgements = () if sick is None else (Judgement(check="c", plane=sick, health=Health.SICK, detail="sick"),)
    container = (
        None if exit_code is None else ContainerFacts(name="web", id="c", state=ContainerState.EXITED, exit_code=exit_code)
    )
    return Evidence(
        incident=IncidentId("I1"),
        at=NOW,
        verdict=Verdict(service=ServiceName("web"), health=Health.SICK, at=NOW, judgements=judgements),
        container=container,
        log=tuple(LogLine(id=f"L{number}", text=text) for number, text in enumerate(lines, start=1)),
        log_note="whole",
        events=(),
        changes=(),
    )


def rule(name: str, cause: Cause, order: int = 100, **parts: tuple[object, ...]) -> Rule:
    return Rule(id=name, cause=cause, order=order, summary=name, advice="look", **parts)  # type: ignore[arg-type]


REFUSED = rule(
    "refused", Cause.DEPENDENCY_UNREACHABLE, log=("refused",), cleared_by=("connected",), agree=(("exit_code", "1|2"),)
)
UNNAMED = rule("unnamed", Cause.DNS_RESOLUTION_FAILURE, log=("unnamed",))
DISK = rule("disk", Cause.DISK_FULL, order=50, log=("no space",), not_log=("inode",))
NOISE = rule("noise", Cause.BENIGN_NOISE, order=900, log=("scanner", "ready"))


def test_a_lower_order_speaks_first_wherever_its_line_stands() -> None:
    assert match.diagnose(evidence("refused", "no space"), (REFUSED, DISK)).said_by == "rule:disk"


@pytest.mark.parametrize(
    ("lines", "said_by"), [(("unnamed", "refused"), "rule:unnamed"), (("refused", "unnamed"), "rule:refused")]
)
def test_of_one_order_the_first_line_in_the_log_speaks(lines: tuple[str, ...], said_by: str) -> None:
    assert match.diagnose(evidence(*lines), (REFUSED, UNNAMED)).said_by == said_by


def test_a_line_that_not_log_knows_does_not_count_and_others_do() -> None:
    assert match.diagnose(evidence("no space for inode", exit_code=1), (DISK,)).cause is Cause.INCONCLUSIVE
    found = match.diagnose(evidence("no space for inode", "NO SPACE"), (DISK,))
    assert [line.id for line in found.lines] == ["L2"]


def test_text_alone_is_suspected_and_a_fact_confirms_it() -> None:
    assert match.diagnose(evidence("refused"), (REFUSED,)).sureness is Sureness.SUSPECTED
    confirmed = match.diagnose(evidence("refused", exit_code=2), (REFUSED,))
    assert confirmed.sureness is Sureness.CONFIRMED
    assert confirmed.facts == (("exit_code", "2"),)


def test_every_fact_of_a_rule_must_hold() -> None:
    both = rule("both", Cause.APPLICATION_BUG, facts=(("exit_code", "139"), ("container_state", "exited")))
    assert match.diagnose(evidence(exit_code=139), (both,)).sureness is Sureness.CONFIRMED
    assert match.diagnose(evidence(exit_code=1), (both,)).cause is Cause.INCONCLUSIVE
    assert match.diagnose(evidence(), (both,)).cause is Cause.INCONCLUSIVE


def test_what_is_over_does_not_count() -> None:
    assert match.diagnose(evidence("refused", "connected", exit_code=3), (REFUSED,)).cause is Cause.INCONCLUSIVE
    assert match.diagnose(evidence("refused", "connected", "refused"), (REFUSED,)).lines[0].id == "L3"


def test_lines_that_noise_knows_count_for_no_other_rule() -> None:
    assert match.diagnose(evidence("scanner was refused"), (REFUSED, NOISE)).cause is Cause.BENIGN_NOISE


def test_noise_explains_nothing_on_a_sick_plane_nor_beside_unknown_trouble() -> None:
    assert match.diagnose(evidence("ready", sick=Plane.DIRECT), (NOISE,)).cause is Cause.INCONCLUSIVE
    assert match.diagnose(evidence("ready", "fatal: zorkmids"), (NOISE,)).cause is Cause.INCONCLUSIVE
    assert match.diagnose(evidence("ready", "0 errors"), (NOISE,)).cause is Cause.BENIGN_NOISE


@pytest.mark.parametrize(
    "line", ["INFO refused", "2026-01-01 [debug] refused", 'level=info msg="refused"', '{"level":"info","msg":"refused"}']
)
def test_a_line_that_is_calm_by_its_own_level_names_no_cause(line: str) -> None:
    assert match.diagnose(evidence(line), (REFUSED,)).cause is Cause.BENIGN_NOISE


def test_calm_lines_are_read_again_when_something_is_wrong_and_nothing_else_names_it() -> None:
    assert match.diagnose(evidence("INFO refused", exit_code=1), (REFUSED,)).said_by == "rule:refused"
    assert match.diagnose(evidence("INFO refused", "no space", exit_code=1), (REFUSED, UNNAMED, DISK)).said_by == "rule:disk"


def test_a_log_without_a_word_of_trouble_is_noise_unless_something_else_says_otherwise() -> None:
    assert match.diagnose(evidence("served 7"), ()).cause is Cause.BENIGN_NOISE
    assert match.diagnose(evidence("served 7", exit_code=143), ()).cause is Cause.BENIGN_NOISE
    assert match.diagnose(evidence("served 7", exit_code=1), ()).cause is Cause.INCONCLUSIVE
    assert match.diagnose(evidence("served 7", sick=Plane.DIRECT), ()).cause is Cause.INCONCLUSIVE
    assert match.diagnose(evidence("fatal zorkmids"), ()).cause is Cause.INCONCLUSIVE
    assert match.diagnose(evidence(), ()).cause is Cause.INCONCLUSIVE


def test_a_guess_rests_on_the_last_words_of_a_program_only() -> None:
    guess = rule("guess", Cause.DISK_FULL, order=match.GUESSES, log=("odd disk",))
    assert match.diagnose(evidence("INFO up", "ERROR odd disk"), (guess,)).said_by == "rule:guess"
    assert match.diagnose(evidence("ERROR odd disk", "INFO order 7 served"), (guess,)).said_by != "rule:guess"
    assert match.diagnose(evidence("ERROR odd disk", "INFO bye", exit_code=1), (guess,)).said_by == "rule:guess"
    assert match.diagnose(evidence("WARN odd disk", "fatal: gone"), (guess,)).said_by == "none"


def test_the_root_of_a_java_chain_comes_before_what_it_brought_about() -> None:
    log = (
        "ERROR request was refused",
        "\tat a.b(C.java:1)",
        "Caused by: x.Y: refused by the pool",
        "\tat a.c(C.java:2)",
        "Caused by: java.net.U: unnamed",
    )
    assert match.diagnose(evidence(*log), (REFUSED, UNNAMED)).said_by == "rule:unnamed"


def test_a_python_trace_is_noise_when_its_exception_is() -> None:
    log = ("Traceback (most recent call last):", '  File "a.py", line 1, in f', "    raise Error", "Cancelled: scanner went")
    assert match.diagnose(evidence(*log), (NOISE,)).cause is Cause.BENIGN_NOISE


def test_the_first_level_of_a_line_is_its_own() -> None:
    assert match.diagnose(evidence("ERROR refused, set level=info to see more"), (REFUSED,)).said_by == "rule:refused"


def test_a_diagnosis_carries_five_lines_at_most() -> None:
    kinds = [f"{word} refused" for word in ("one", "two", "three", "four", "five", "six", "seven")]
    assert len(match.diagnose(evidence(*kinds * 9), (REFUSED,)).lines) == match.CITED_LINES


def test_the_same_complaint_is_cited_once() -> None:
    found = match.diagnose(evidence("refused by 10.0.0.1:80", "refused by 10.0.0.2:81", "all refused"), (REFUSED,))
    assert [line.id for line in found.lines] == ["L1", "L3"]


def test_without_a_cause_the_planes_are_told_apart() -> None:
    seen = evidence(sick=Plane.NGINX)
    well = Judgement(check="d", plane=Plane.DIRECT, health=Health.WELL, detail="well")
    seen = replace(seen, verdict=replace(seen.verdict, judgements=(*seen.verdict.judgements, well)))

    found = match.diagnose(seen, ())

    assert found.plane is Plane.NGINX
    assert "Well: direct." in found.summary
    assert "Sick: nginx." in found.summary


def test_a_plane_nobody_asked_about_is_unasked() -> None:
    found = facts.facts(evidence(sick=Plane.DIRECT))
    assert found["plane.direct"] == {"sick"}
    assert found["plane.public"] == {"unasked"}
    assert "exit_code" not in found


@pytest.mark.parametrize(
    ("pattern", "needle"),
    [
        ("connection refused", "connection refused"),
        (r"\bXid .{0,40}: (?:48|79),", "xid "),
        (r"errno 98\]", "errno 98]"),
        (r"colou?r", "colo"),
        (r"x{0,2}abc", "abc"),
        (r"ab+cd", "ab"),
        (r"[abc]defg[^\n]", "defg"),
        ("one|other", ""),
        ("(?:one|other) way", " way"),
        (r"C:\\temp", "c:\\temp"),
    ],
)
def test_a_needle_is_in_every_match(pattern: str, needle: str) -> None:
    assert match.needle(pattern) == needle


SAMPLES = [
    "connection refused", "Xid 1234: 79,", "errno 98]", "color", "xxabc", "abbcd", "bdefgh", "other way", "C:\\temp", "no space left on device",
    "CUDA out of memory", "permission denied", "nginx: [emerg] unknown directive", "certificate verify failed", "too many open files",
]  # fmt: skip


def test_no_shipped_pattern_misses_a_match_for_want_of_its_needle() -> None:
    patterns = {pattern for rule in SHIPPED for pattern in (*rule.log, *rule.not_log, *rule.cleared_by)}
    for pattern in patterns:
        for text in SAMPLES:
            if re.search(pattern, text, re.IGNORECASE | re.ASCII):
                assert match.needle(pattern) in text.lower(), pattern


MOST_WAYS = 60_000
"""What a pattern may cost at one place of a line at the very worst; the time it takes in truth is in bench/diagnosis.py."""


def test_no_shipped_pattern_can_run_away() -> None:
    ways = {pattern: regex_steps.ways(pattern) for each in SHIPPED for pattern in (*each.log, *each.not_log, *each.cleared_by)}
    assert {pattern: most for pattern, most in ways.items() if most > MOST_WAYS} == {}


@pytest.mark.parametrize(
    ("pattern", "most"),
    [("plain", 1), ("colou?r", 2), ("a.{0,80}b", 81), ("a.{0,9}(?:x|y.{0,4})", 60), ("a.*b", math.inf), (r"a\s+b", math.inf), ("(?:ab{0,1}){3}", 8)],
)  # fmt: skip
def test_ways_are_told_apart(pattern: str, most: float) -> None:
    assert regex_steps.ways(pattern) == most
