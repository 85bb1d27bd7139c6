"""`medic infra`: what it says of a stack file, and of one that is wrong."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.main import app

IMAGE = "registry.example/vllm@sha256:" + "a" * 64


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["infra", *words])
    return result.exit_code, result.output


def stack(folder: Path, text: str) -> str:
    path = folder / "Pulumi.dev.yaml"
    path.write_text(f"config:\n{text}")
    return str(path)


def test_an_estimate_says_what_a_month_costs_and_of_when_its_prices_are(tmp_path: Path) -> None:
    code, printed = run("estimate", stack(tmp_path, f"  medic:image: {IMAGE}\n"))

    assert code == 0
    assert "at its smallest" in printed
    assert "prices of 2025-06-30" in printed


def test_an_estimate_is_there_as_json(tmp_path: Path) -> None:
    code, printed = run("estimate", stack(tmp_path, f"  medic:image: {IMAGE}\n"), "--json")

    assert code == 0
    assert json.loads(printed)["smallest"] > 0


@pytest.mark.parametrize("command", ["estimate", "describe"])
def test_a_setting_that_is_wrong_is_one_sentence_and_exit_code_2(tmp_path: Path, command: str) -> None:
    code, printed = run(command, stack(tmp_path, "  medic:image: vllm\n"))

    assert code == 2
    assert "cannot use setting medic:image: 'vllm' is not pinned; write NAME@sha256:DIGEST" in " ".join(printed.split())


def test_a_stack_file_that_is_missing_is_exit_code_2(tmp_path: Path) -> None:
    code, printed = run("estimate", str(tmp_path / "Pulumi.dev.yaml"))

    assert code == 2
    assert "cannot read stack file" in printed
