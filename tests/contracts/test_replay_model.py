"""`medic replay --model URL` on a real store, through litellm and HTTP: the model is told what was known then, and looks at the recording."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent import codec, golden_file
from agent.adapters.bundles import BundleFiles
from agent.cli import main, options
from agent.model import Closing, IncidentId, Outcome, Plan, RunbookId, ServiceName
from agent.wiring import keeping, reading, shipped
from tests.contracts.test_eval_model import sensible
from tests.model_server import Heard, ModelServer, Says

WEB = ServiceName("web")
DAY = timedelta(days=1)
AT = golden_file.NOW
CASE = """
- name: it answers 500 and says why in words that no rule knows
  container: {state: running}
  planes: {container: well, direct: [http-status]}
  log: |
    web: frobnicator gave up: flux 17 of 12
  plan: restart-container
"""
CONFIG = "state_dir: state\nservices: {web: {}}\nmodel: {ask: doubt, limits: {wall: 10m}, providers: [{model: openai/m, url: 'http://127.0.0.1:9'}]}\n"


def restart() -> Plan:
    (runbook,) = [each for each in shipped.runbooks() if each.id == "restart-container"]
    return Plan(
        runbook=RunbookId(runbook.id),
        runbook_hash=runbook.hash,
        title=runbook.title,
        risk=runbook.risk,
        playbook=runbook.playbook,
        parameters=(),
        timeout=runbook.timeout,
        settle=runbook.settle,
        rerun=runbook.rerun,
        undo=None,
        why="then",
    )


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IncidentId:
    """The second of three incidents of one trouble, with its evidence. The first was healed by a restart, the third was not."""
    (tmp_path / "medic.yaml").write_text(CONFIG)
    (tmp_path / "case.yaml").write_text(CASE)
    monkeypatch.chdir(tmp_path)
    (case,) = golden_file.read(tmp_path / "case.yaml")
    using = reading.settings(tmp_path / "medic.yaml")
    ids = []
    with keeping.open_store(using) as store:
        store.services.enrol(case.service, now=AT - 9 * DAY)
        for when, outcome in (
            (AT - 2 * DAY, Outcome.HEALED),
            (AT - timedelta(minutes=1), None),
            (AT + 2 * DAY, Outcome.INEFFECTIVE),
        ):
            opened, _ = store.incidents.open(case.service, case.evidence.verdict, fingerprint="f", now=when)
            ids.append(opened.id)
            if outcome is not None:
                store.attempts.begin(opened.id, 1, restart(), now=when)
                store.attempts.end(opened.id, 1, outcome, case.evidence.verdict, now=when + timedelta(minutes=1))
            store.incidents.close(opened.id, Closing.RECOVERED, by="medic", now=when + timedelta(hours=1))
        for text, when in (("the licence server was down", AT - DAY), ("it was the cable after all", AT + DAY)):
            store.memory.note("f", WEB, text, by="ada", now=when, until=AT + 900 * DAY)
    BundleFiles(using.state_dir).keep(ids[1], "evidence-1.json", codec.dumps(replace(case.evidence, incident=ids[1])).encode())
    return ids[1]


def replay(incident: IncidentId, *words: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(main.app, ["replay", incident, *words])
    return ended.exit_code, ended.stdout, ended.stderr


def recalls(heard: Heard) -> Says:
    """A model that recalls, reads the log, and then says what it saw in it."""
    if heard.tools and not heard.results:
        return Says(calls=(("recall", '{"service": "web"}'), ("read_logs", '{"service": "web"}')))
    return sensible(heard)


def test_a_model_is_told_what_was_known_then_and_nothing_that_came_since(second: IncidentId, tmp_path: Path) -> None:
    files = sorted((tmp_path / "state" / "incidents").rglob("*"))
    with ModelServer(recalls) as server:
        code, out, said = replay(second, "--model", server.openai_url, "--json")
        first, *_ = told = [heard.text for heard in server.heard]
        assert server.refused == []
    (decided,) = json.loads(out)
    assert (decided["cause"], decided["said_by"].split(":")[0]) == ("application_bug", "model"), said
    assert decided["now"] == "plan restart-container"
    assert code == options.SICK, "nothing was tried then"
    assert "came 1 times, last 2026-02-27 12:00" in first
    assert "restart-container helped 1 of 1" in first
    assert "the licence server was down" in first
    assert "\nH1| I1 2026-02-27 12:00" in first
    searched = told[1]
    assert searched.count("restart-container helped 1 of 1") == 2, "once in the case, once recalled"
    assert "| web: frobnicator gave up" in searched
    for late in ("cable", "I3", "2026-03-03", "helped 1 of 2", "H2|"):
        assert not any(late in text for text in told), late
    assert not any("| I2 " in text for text in told), "the incident itself is no memory"
    with keeping.open_store(reading.settings(tmp_path / "medic.yaml")) as store:
        assert store.spending.of(second) == (), "a replay is on no incident's bill"
        assert len(store.spending.since(AT)) == len(told)
        assert [each.diagnosis for each in store.incidents.recent(service=WEB)] == [None, None, None]
    assert sorted((tmp_path / "state" / "incidents").rglob("*")) == files, "and changes nothing"


def test_the_rules_alone_decide_where_no_model_is_asked_and_the_past_orders_as_it_did(second: IncidentId) -> None:
    code, out, _ = replay(second, "--json")
    (decided,) = json.loads(out)
    assert (code, decided["said_by"], decided["now"]) == (options.SICK, "none", "plan restart-container")


def test_whom_to_ask_must_be_said_rightly(second: IncidentId) -> None:
    code, _, said = replay(second, "--model", "gpt")
    assert (code, "write the URL of an OpenAI-compatible endpoint" in said) == (options.BAD_INPUT, True)


def test_a_remedy_that_is_in_the_catalogue_no_more_is_one_sentence(second: IncidentId, monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = tuple(each for each in shipped.runbooks() if each.id != "restart-container")
    with keeping.open_store(reading.settings(Path("medic.yaml"))) as store:
        bundles = BundleFiles(Path("state"))
        bundles.keep(IncidentId("I1"), "evidence-2.json", bundles.read(second, "evidence-1.json") or b"")
        assert store.incidents.get(IncidentId("I1")) is not None
    monkeypatch.setattr(shipped, "runbooks", lambda: fewer)
    code, _, said = replay(IncidentId("I1"))
    assert (code, "cannot replay I1: case" in said, "which is not in the catalogue" in said) == (options.BAD_INPUT, True, True)
