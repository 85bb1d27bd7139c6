"""`medic approvals`, `approve`, `deny` and `edit` as a person types them: what they print, and their exit codes."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import main, options
from agent.model import (
    Answer,
    Approval,
    Closing,
    Health,
    HostName,
    Plan,
    Rerun,
    Risk,
    RunbookId,
    Service,
    ServiceName,
    StoryKind,
    Verdict,
)
from agent.ports import Store
from agent.wiring import clock, keeping, reading, shipped

Medic = Callable[..., tuple[int, str, str]]
WEB = Service(name=ServiceName("web"), host=HostName("local"), container="web", checks=())


@pytest.fixture
def medic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Medic:
    """Run one command in a folder of its own; return its exit code, stdout and stderr."""
    (tmp_path / "medic.yaml").write_text("state_dir: state\nservices: {web: {}}\n")
    monkeypatch.chdir(tmp_path)
    for variable in [key for key in os.environ if key.startswith("MEDIC_")]:
        monkeypatch.delenv(variable)

    def run(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(main.app, list(words))
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def store(medic: Medic) -> Iterator[Store]:
    with keeping.open_store(reading.settings(Path("medic.yaml"))) as opened:
        yield opened


@pytest.fixture
def asked(store: Store) -> Approval:
    """A request that waits, for a shipped runbook."""
    now = clock.CLOCK.now()
    runbook = next(each for each in shipped.runbooks() if each.id == "start-container")
    plan = Plan(
        runbook=RunbookId("start-container"),
        runbook_hash=runbook.hash,
        title=runbook.title,
        risk=Risk.SAFE,
        playbook=runbook.playbook,
        parameters=(("container", '"web"'),),
        timeout=timedelta(minutes=1),
        settle=timedelta(seconds=1),
        rerun=Rerun.SAFE,
        undo=None,
        why="treats container-exited",
    )
    verdict = Verdict(service=WEB.name, health=Health.SICK, at=now, judgements=())
    incident, _ = store.incidents.open(WEB, verdict, fingerprint="web:x", now=now)
    diff = "-exited\n+running \x1b[2J[red]"
    expires = now + timedelta(hours=1)
    return store.approvals.ask(incident.id, 1, "d1", plan, impact="safe: one container", diff=diff, now=now, expires_at=expires)


def answer(store: Store, asked: Approval) -> Answer | None:
    now = store.approvals.get(asked.id)
    return now.answer if now else None


def test_lists_what_waits_with_its_diff_and_without_what_a_terminal_would_obey(medic: Medic, asked: Approval) -> None:
    code, out, _ = medic("approvals")
    assert code == options.WELL
    for shown in (
        "A1, attempt 1 of I1",
        "start-container",
        "treats container-exited",
        "safe: one container",
        "-exited",
        "+running",
    ):
        assert shown in out
    assert "\x1b" not in out
    assert "[red]" in out
    (listed,) = json.loads(medic("approvals", "--json")[1])
    assert (listed["id"], listed["diff"]) == ("A1", asked.diff)


def test_says_when_nothing_waits(medic: Medic) -> None:
    assert medic("approvals")[:2] == (options.WELL, "nothing waits for your word\n")


def test_an_approval_is_written_down_with_who_and_why(medic: Medic, store: Store, asked: Approval) -> None:
    code, out, _ = medic("approve", "A1", "--why", "it is night")
    assert (code, out) == (options.WELL, "A1 approved: start-container on web (I1)\n")
    now = store.approvals.get("A1")
    assert now is not None
    assert (now.answer, now.answered_by, now.why) == (Answer.APPROVED, options.login(), "it is night")
    (event,) = store.story.since(0, incident=asked.incident)
    assert (event.kind, event.text) == (StoryKind.ANSWERED, f"A1 approved by {options.login()}: it is night")


def test_a_denial_needs_a_reason(medic: Medic, store: Store, asked: Approval) -> None:
    assert medic("deny", "A1")[0] == options.BAD_INPUT
    code, _, err = medic("deny", "A1", "--why", " ")
    assert (code, err) == (options.BAD_INPUT, "medic: cannot deny 'A1' without a reason: give --why TEXT\n")
    assert answer(store, asked) is None
    assert medic("deny", "A1", "--why", "not now")[0] == options.WELL
    assert answer(store, asked) is Answer.DENIED


@pytest.mark.parametrize("words", [("approve", "A1"), ("deny", "A1", "--why", "x")])
def test_what_is_answered_or_over_is_refused(medic: Medic, store: Store, asked: Approval, words: tuple[str, ...]) -> None:
    store.incidents.close(asked.incident, Closing.RECOVERED, by="medic", now=clock.CLOCK.now())
    code, out, err = medic(*words)
    assert (code, out, err) == (options.REFUSED, "", f"medic: cannot {words[0]} 'A1': I1 is closed\n")
    assert answer(store, asked) is None


@pytest.mark.parametrize(
    "words", [("approve", "A9"), ("deny", "A9", "--why", "x"), ("edit", "A9", "--set", "keep=1"), ("approve", "../A1")]
)
def test_an_id_that_there_is_not_is_bad_input(medic: Medic, store: Store, words: tuple[str, ...]) -> None:
    code, _, err = medic(*words)
    assert code == options.BAD_INPUT
    assert err == f"medic: cannot find approval {words[1]!r}: `medic approvals` lists what waits\n"


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [("keep=1", "cannot set 'keep' for runbook 'start-container': it takes no settings"), ("keep", "write NAME=VALUE")],
)
def test_an_edit_keeps_to_what_the_runbook_takes(
    medic: Medic, store: Store, asked: Approval, setting: str, sentence: str
) -> None:
    code, _, err = medic("edit", "A1", "--set", setting)
    assert code == options.BAD_INPUT
    assert sentence in err
    assert answer(store, asked) is None


def test_a_mode_for_a_runbook_that_there_is_not_is_refused(medic: Medic, tmp_path: Path) -> None:
    (tmp_path / "medic.yaml").write_text("services: {web: {runbooks: {restart-contaner: {mode: ask}}}}\n")
    code, _, err = medic("config", "--check")
    assert code == options.BAD_INPUT
    assert "services.web.runbooks: there is no runbook 'restart-contaner' (did you mean 'restart-container'?)" in err
