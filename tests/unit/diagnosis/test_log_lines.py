"""What lines of many loggers say of themselves."""

import pytest

from agent.diagnosis import log_lines
from agent.model import LogLine


def entry(text: str) -> log_lines.Entry:
    return log_lines.read([LogLine(id="L1", text=text)])[0]


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01 10:00:00 INFO ready",
        'time=1 level=info msg="ready"',
        '{"level":"info","msg":"ready","err":null}',
        '{"level":30,"msg":"ready"}',
        '{"severity": "NOTICE", "message": "ready"}',
        '{"@timestamp":"1","log.level": "INFO","message":"ready"}',
        '{"t":{"$date":"1"},"s":"I","c":"NETWORK","msg":"ready"}',
        "I0518 17:08:22.180638       1 main.go:12] ready",
        "api-1  | I0518 17:08:22.180638       1 main.go:12] ready",
        "2026-11-21 03:03:35.304525 I | etcdmain: ready",
        "1:M 21 Nov 2026 03:03:35.305 * ready",
        "info: Microsoft.Hosting.Lifetime[14]",
        "2026-11-21  3:06:11 0 [Note] mariadbd: ready",
        "[Sat Nov 21 03:36:36 2026] [mpm_event:notice] [pid 1:tid 1] ready",
        "[1] 2024/05/05 10:00:00.000000 [INF] ready",
        "2026-11-21 03:03:32.08+00:00 [info] <0.223.0> ready",
        "I, [2024-05-05T10:00:00.1 #1]  INFO -- : ready",
    ],
)
def test_it_is_calm_by_its_own_level(text: str) -> None:
    assert entry(text).calm
    assert not entry(text).warning


@pytest.mark.parametrize(
    "text", ["WARN slow", '{"level":40,"msg":"slow"}', "W0518 17:08:22.180638 1 x] slow", "warn: Shop[1]", "[warning] slow"]
)
def test_it_is_a_warning_by_its_own_level(text: str) -> None:
    assert entry(text).warning
    assert not entry(text).calm


@pytest.mark.parametrize(
    "text",
    [
        "ERROR no INFO about it",
        "E0518 17:08:22.180638 1 x] gone",
        '{"level":50,"msg":"gone"}',
        "1:M 21 Nov 2026 03:03:35.305 # gone",
        'time=1 level=INFO msg="failed" error="no route"',
        '{"level":"info","msg":"request failed","err":"no route"}',
        "2026-01-01 UTC [1] LOG:  could not bind",
    ],
)
def test_it_is_neither(text: str) -> None:
    assert not entry(text).calm
    assert not entry(text).warning


def test_equal_complaints_have_one_template() -> None:
    assert log_lines.template("refused by 10.0.0.1:80 (id 0xdeadbeef)") == log_lines.template(
        "refused by 10.0.0.24:8081 (id 0x12)"
    )
    assert log_lines.template("refused") != log_lines.template("denied")


def test_the_deepest_cause_of_a_chain_ranks_before_its_head() -> None:
    lines = ["up", "ERROR a", "\tat a.b(C.java:1)", "Caused by: b", "\t... 4 more", "Caused by: c", "down"]
    entries = log_lines.read([LogLine(id=str(n), text=text) for n, text in enumerate(lines)])
    assert [e.line.text for e in sorted(entries, key=lambda e: e.rank)][:4] == ["up", "Caused by: c", "Caused by: b", "ERROR a"]
