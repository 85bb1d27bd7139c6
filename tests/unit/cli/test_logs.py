"""The log of a daemon: one line per record, with its fields and without its secrets."""

import json
import logging
from collections.abc import Iterator

import pytest

from agent import incident_at_hand
from agent.cli import logs
from agent.redact import Redactor
from agent.settings import LogFormat

REDACT = Redactor(["hunter2-secret"])


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Leave the log of the test run as it was."""
    handlers, level, ours = logging.root.handlers[:], logging.root.level, logging.getLogger("agent").level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.getLogger("agent").setLevel(ours)


def written(capsys: pytest.CaptureFixture[str], form: LogFormat, *, verbose: bool = False) -> str:
    logs.configure(form, verbose=verbose, redact=REDACT)
    logger = logging.getLogger("agent.example")
    logger.info("attempt finished", extra={"service": "web", "url": "http://u:hunter2-secret@h/"})
    try:
        int("hunter2-secret")
    except ValueError:
        logger.warning("cannot look\nat it", exc_info=True)
    return capsys.readouterr().err


def test_json_lines_carry_fields_and_trace_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    text = written(capsys, "json")
    info, warning = map(json.loads, text.splitlines())
    assert (info["level"], info["message"], info["service"]) == ("INFO", "attempt finished", "web")
    assert "ValueError" in warning["trace"]
    assert "hunter2" not in text


@pytest.mark.parametrize("form", ["json", "text"])
def test_every_line_written_while_an_incident_is_healed_names_it(capsys: pytest.CaptureFixture[str], form: LogFormat) -> None:
    with incident_at_hand.working_on("I7"):
        inside = written(capsys, form)
    assert inside.count("I7") == len([line for line in inside.splitlines() if "agent.example" in line])
    assert "I7" not in written(capsys, form)


def test_text_is_warnings_only_unless_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = written(capsys, "text")
    assert "attempt finished" not in quiet
    assert "WARNING agent.example: cannot look at it" in quiet
    assert "hunter2" not in quiet
    assert "attempt finished service=web" in written(capsys, "text", verbose=True)
