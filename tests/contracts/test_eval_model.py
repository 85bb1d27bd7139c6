"""`medic eval --model URL` asks a real endpoint through the whole stack: litellm, history, budget, and a strict provider."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import main, options
from agent.wiring import clock, keeping, reading
from tests.model_server import Heard, ModelServer, Says


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
