"""The cases of docs/abuse.md and the tests behind them: none without the other."""

import functools
import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "abuse.md"

_CASE = re.compile(r"\| (\d+) \| .+ \| (tested|comes with [a-z ]+) \|")
_MARK = re.compile(r"\bmark\.abuse\(([^)]*)\)")


def cases() -> dict[str, str]:
    """Every case of the page by its number: `tested`, or what it comes with."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| no.")]
    found = [_CASE.fullmatch(row) for row in rows]
    assert all(found), [row for row, case in zip(rows, found, strict=True) if case is None]
    numbers = [case[1] for case in found if case]
    assert sorted(numbers, key=int) == numbers, "in order, and each once"
    assert len(set(numbers)) == len(numbers)
    return {case[1]: case[2] for case in found if case}


@functools.cache
def marked() -> dict[str, list[str]]:
    """The files whose tests bear a number, by that number."""
    files = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        if path != Path(__file__):
            for arguments in _MARK.findall(path.read_text()):
                for number in re.findall(r'"([^"]*)"', arguments):
                    files[number].append(str(path.relative_to(TESTS)))
    return files


def test_every_case_that_says_so_is_tested() -> None:
    assert [number for number, state in cases().items() if state == "tested" and number not in marked()] == []


def test_no_test_bears_the_number_of_no_case_or_of_one_that_is_to_come() -> None:
    tested = {number for number, state in cases().items() if state == "tested"}
    assert {number: files for number, files in marked().items() if number not in tested} == {}
