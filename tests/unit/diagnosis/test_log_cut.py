"""A log of any size and kind becomes a bounded, readable one that still holds what matters."""

import pytest

from agent.diagnosis import log_cut


def cut(raw: bytes) -> log_cut.LogCut:
    return log_cut.cut(log_cut.readable(raw))


def size(lines: tuple[str, ...]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def test_a_small_log_is_kept_whole() -> None:
    assert cut(b"one\r\ntwo\n\nthree\n\n") == log_cut.LogCut(lines=("one", "two", "", "three"), note="whole")


def test_an_empty_log_says_so() -> None:
    assert cut(b"\n\n").note == "the log is empty"


@pytest.mark.abuse("40")
@pytest.mark.parametrize(
    "raw",
    [
        b"x" * 100_000_000,
        b"\xff\x00" * 5_000_000,
        b"x\n" * 10_000_000,
        b"\r" * 2_000_000,
        b"\x1b[31m" * 1_000_000,
        b"\x1b]" + b"a" * 3_000_000,
        "ошибка: нет места\n".encode() * 200_000,
        b"ERROR boom\n" * 500_000,
        b"".join(b"ERROR %d of kind %s\n  at x\n" % (n, bytes([97 + n % 26]) * (n % 90)) for n in range(20_000)),
    ],
    ids=[
        "one line",
        "binary",
        "ten million lines",
        "carriage returns",
        "colours",
        "open escape",
        "wide",
        "same error",
        "many errors",
    ],
)
def test_any_log_stays_within_its_caps(raw: bytes) -> None:
    lines = cut(raw).lines

    assert len(lines) <= log_cut.LINES
    assert size(lines) <= log_cut.BYTES
    assert all(len(line) <= log_cut.LINE_CHARACTERS for line in lines)


def test_a_line_that_was_cut_says_how_long_it_was() -> None:
    assert cut(b"y" * 5_000).lines[0].endswith("[... 5000 characters in all]")


@pytest.mark.parametrize(
    ("raw", "seen"),
    [
        (b"\x1b[1;31mERROR\x1b[0m boom", "ERROR boom"),
        (b"\x1b]0;title\x07after", "after"),
        (b"a\x00b\x08c\x7f", "abc"),
        ("pay\u202eload\u200b\ufeff".encode(), "payload"),
        ("tag\U000e0041ged".encode(), "tagged"),
        (b"caf\xe9", "caf\ufffd"),
        (b"tab\tstays", "tab\tstays"),
    ],
)
def test_what_would_deceive_a_reader_is_taken_out(raw: bytes, seen: str) -> None:
    assert cut(raw).lines == (seen,)


def test_head_tail_and_each_distinct_error_are_kept() -> None:
    quiet = [f"INFO request {number} served in good order and good time" for number in range(20_000)]
    quiet[0] = "starting version 7"
    quiet[9_000] = "ERROR disk sdb1 is gone"
    quiet[12_000] = "ERROR disk sdb2 is gone"
    quiet[-1] = "exiting"

    lines = cut("\n".join(quiet).encode()[-log_cut.RAW_BYTES :]).lines
    assert lines[-1] == "exiting"

    lines = log_cut.cut("\n".join(quiet)).lines
    assert lines[0] == "starting version 7"
    assert "ERROR disk sdb1 is gone" in lines
    assert "ERROR disk sdb2 is gone" not in lines, "the same error with another number tells nothing new"
    at = lines.index("ERROR disk sdb1 is gone")
    assert lines[at - 1] == quiet[8_999]
    assert lines[at - log_cut.BEFORE - 1].startswith("[... ")


def test_a_trace_over_many_lines_stays_whole() -> None:
    trace = [
        "Traceback (most recent call last):",
        *(f'  File "m{n}.py", line {n}, in f' for n in range(40)),
        "ValueError: odd shape",
    ]
    quiet = [f"INFO all is well with request number {number}" for number in range(4_000)]

    lines = log_cut.cut("\n".join([*quiet, *trace, *quiet])).lines

    start = lines.index(trace[0])
    assert list(lines[start : start + len(trace)]) == trace


@pytest.mark.parametrize("end", [b"\n", b""], ids=["lines", "one line"])
def test_the_line_that_the_read_began_in_is_dropped(end: bytes) -> None:
    half = b"bcdef0123456789"  # of a token whose beginning was not read
    text = log_cut.readable(half + end + b"x" * (log_cut.RAW_BYTES - len(half + end)))
    assert half.decode() not in text
    assert text.startswith("[... earlier lines not read]\nx")


def test_clean_makes_one_bounded_line_of_any_text() -> None:
    assert log_cut.clean("a\nb\x1b[31mc\u202e") == "a bc"
    assert len(log_cut.clean("z" * 1_000_000)) <= log_cut.LINE_CHARACTERS
