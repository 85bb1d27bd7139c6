"""`medic eval --model URL` asks a real endpoint through the whole stack: litellm, history, budget, and a strict provider."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import main, options
from agent.wiring import clock, keeping, reading
from tests.model_server import Fails, Heard, ModelServer, Says


def sensible(heard: Heard) -> Says:
    """A model that looks once, and then names what it saw in the log, or nothing."""
    if heard.tools and not heard.results:
        return Says(calls=(("read_logs", '{"service": "web"}'),))
    if heard.tools:
        return Says("The log shows it: L1.")
    shown = re.search(r"^(L\d+)\| .*frobnicator", heard.text, re.MULTILINE)
    return Says(
        json.dumps(
            {
                "cause": "application_bug" if shown else "inconclusive",
                "runbook": "inconclusive",
                "parameters": [],
                "evidence": [shown[1]] if shown else [],
                "confidence": 0.8,
                "summary": "The frobnicator gave up." if shown else "Nothing shows it.",
            }
        )
    )


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_the_golden_set_with_a_model_in_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str) -> None:
    (tmp_path / "medic.yaml").write_text(
        "state_dir: state\nmodel:\n  providers: [{model: openai/small, url: 'http://127.0.0.1:1'}]\n"
    )
    monkeypatch.chdir(tmp_path)
    with ModelServer(sensible) as server:
        url = server.openai_url if provider == "openai" else server.url
        name = f"{provider}/claude-small" if provider == "anthropic" else "openai/small"
        ended = CliRunner().invoke(main.app, ["eval", "--model", url, "--model-name", name, "--json"])
        heard, refused = len(server.heard), server.refused
    told = json.loads(ended.stdout)
    assert (ended.exit_code, refused) == (options.WELL, [])
    assert heard == told["figures"]["calls"] > 0
    assert told["figures"]["unsafe"] == 0
    unknown = next(each for each in told["cases"] if each["case"].startswith("nothing known about it"))
    assert unknown["right"]
    with keeping.open_store(reading.settings(tmp_path / "medic.yaml")) as store:  # what it cost is on the ledger
        assert len(store.spending.since(clock.CLOCK.now().replace(year=2020))) == heard


CASES = '{"id": "odd", "log": "web: frobnicator gave up: flux 17 of 12", "class": "application_bug", "exit_code": 1}\n'


def diagnose(folder: Path, url: str, limits: str = "") -> tuple[int, str, str]:
    (folder / "medic.yaml").write_text(
        f"state_dir: state\nmodel:\n  providers: [{{model: openai/small, url: '{url}'}}]\n  limits: {{{limits}}}\n"
    )
    (folder / "cases.jsonl").write_text(CASES)
    words = ["--config", str(folder / "medic.yaml"), "eval", "diagnose", "--cases", str(folder / "cases.jsonl")]
    ended = CliRunner().invoke(main.app, [*words, "--model", url, "--model-name", "openai/small"])
    return ended.exit_code, ended.stdout, ended.stderr


def test_labelled_logs_with_a_model_in_the_loop(tmp_path: Path) -> None:
    with ModelServer(sensible) as server:
        code, out, said = diagnose(tmp_path, server.openai_url)
        assert (server.refused, len(server.heard) > 1) == ([], True)
    assert (code, "correct 1/1" in out, said) == (options.WELL, True, "")


def test_a_model_that_does_not_answer_was_not_measured_and_that_is_said(tmp_path: Path) -> None:
    code, out, said = diagnose(tmp_path, "http://127.0.0.1:1")
    assert (code, "correct" in out) == (options.CANNOT_LOOK, True)
    assert "a model was asked 1 times, and 1 times in vain" in said


def test_a_provider_that_refuses_every_question_is_said(tmp_path: Path) -> None:
    with ModelServer(lambda _heard: Fails(400, "no such model")) as server:
        code, _, said = diagnose(tmp_path, server.openai_url)
    assert (code, "in vain" in said) == (options.CANNOT_LOOK, True)


def test_a_budget_that_is_spent_is_said(tmp_path: Path) -> None:
    with ModelServer(sensible) as server:
        code, _, said = diagnose(tmp_path, server.openai_url, "calls_per_incident: 1")
    assert (code, "calls for this incident" in said) == (options.CANNOT_LOOK, True)
