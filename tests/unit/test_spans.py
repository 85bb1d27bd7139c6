"""Spans of time as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import spans


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("1.5s", timedelta(seconds=1.5)),
        (" 2m ", timedelta(minutes=2)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("0s", timedelta(0)),
    ],
)
def test_reads_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert spans.parse(text) == span


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-1s", "1e3s", "5sec", "1h30m", "\u0665s", "9999999999s", "inf", "5s\n6s"]
)
def test_refuses_what_is_no_span(text: str) -> None:
    with pytest.raises(ValueError, match="is no span of time"):
        spans.parse(text)


@given(st.integers(min_value=0, max_value=999_999_999))
def test_what_is_written_reads_back(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert spans.parse(spans.text(span)) == span
