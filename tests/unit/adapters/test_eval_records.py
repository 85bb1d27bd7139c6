"""A bundle acts on what was measured of it, and only on that."""

from pathlib import Path

import pytest

from agent.adapters.eval_records import EvalRecords
from tests.fakes import START


@pytest.fixture
def records(tmp_path: Path) -> EvalRecords:
    return EvalRecords(tmp_path)


def test_a_bundle_that_was_never_measured_has_not_passed(records: EvalRecords) -> None:
    assert not records.passed("0123456789abcdef")


def test_the_latest_evaluation_counts(records: EvalRecords) -> None:
    records.keep("0123456789abcdef", passed=True, figures={"correct": 38}, now=START)
    assert records.passed("0123456789abcdef")
    assert not records.passed("fedcba9876543210")
    records.keep("0123456789abcdef", passed=False, figures={"correct": 3}, now=START)
    assert not records.passed("0123456789abcdef")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"passed": true}', b'{"bundle": "x", "passed": "yes"}', b"\xff"])
def test_a_record_that_cannot_be_read_is_none(records: EvalRecords, tmp_path: Path, content: bytes) -> None:
    records.keep("x", passed=True, figures={}, now=START)
    (tmp_path / "evals" / "x.json").write_bytes(content)
    assert not records.passed("x")
