"""`medic silence` as a person types it: what is kept, and the one sentence for everything that is wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import main, options

Medic = Callable[..., tuple[int, str, str]]


@pytest.fixture
def medic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Medic:
    """Run one command in a folder with two services; return its exit code, stdout and stderr."""
    (tmp_path / "medic.yaml").write_text("state_dir: state\nservices: {web: {}, db: {}}\n")
    monkeypatch.chdir(tmp_path)
    for variable in [key for key in os.environ if key.startswith("MEDIC_")]:
        monkeypatch.delenv(variable)

    def run(*words: str) -> tuple[int, str, str]:
        ended = CliRunner().invoke(main.app, [*words])
        return ended.exit_code, ended.stdout, ended.stderr

    return run


def in_force(medic: Medic) -> list[tuple[str | None, str]]:
    code, out, _ = medic("silences", "--json")
    assert code == options.WELL
    return [(each["service"], each["why"]) for each in json.loads(out)]


def test_a_silence_is_listed_until_it_is_ended(medic: Medic) -> None:
    assert medic("silence", "web", "--for", "2h", "--why", "new disks")[0] == options.WELL
    assert medic("silence", "--all", "--for", "30m")[0] == options.WELL
    assert in_force(medic) == [("web", "new disks"), (None, "no reason given")]
    assert medic("silence", "--end", "1")[0] == options.WELL
    assert in_force(medic) == [(None, "no reason given")]
    assert "(every service)" in medic("silences")[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name one service, or --all, with --for SPAN"),
        (("web",), "name one service, or --all, with --for SPAN"),
        (("web", "--all", "--for", "1h"), "name one service, or --all, with --for SPAN"),
        (("web", "--end", "1"), "name one service, or --all, with --for SPAN"),
        (("--end", "1", "--for", "1h"), "name one service, or --all, with --for SPAN"),
        (("wbe", "--for", "1h"), "cannot find service 'wbe' (did you mean 'web'?)"),
        (("web", "--for", "2"), "did you mean 2s?"),
        (("web", "--for", "0s"), "must be from 1s to 30d, not 0s"),
        (("web", "--for", "31d"), "must be from 1s to 30d, not 31d"),
        (("--end", "7"), "cannot end silence 7: those in force are none"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_silences_nothing(medic: Medic, words: tuple[str, ...], sentence: str) -> None:
    code, _, err = medic("silence", *words)
    assert code == options.BAD_INPUT
    assert sentence in err
    assert in_force(medic) == []
