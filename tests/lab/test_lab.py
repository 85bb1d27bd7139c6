"""The fault lab itself: its files are read strictly, and a few scenarios, one of them from a stranger's folder, run as they say."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from agent.cli import options
from tests.lab import scenario, stage
from tests.lab.scenario import ScenarioError

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).with_name("scenarios")

STRANGERS = """\
title: a stranger's own idea of trouble
services: {app: {}, other: {}}
inject: [{do: crash}]
expect: {end: healed, runbooks: [start-container]}
"""


def lab(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the lab; what it keeps is in `folder`."""
    command = (sys.executable, "-m", "tests.lab", "--patience", "3", *map(str, words))
    environment = {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False, env=environment)


def verify_audit(site: Path, state: Path) -> tuple[int, str]:
    command = (Path(sys.executable).with_name("medic"), "--config", site / "medic.yaml", "audit", "verify")
    environment = {**os.environ, "MEDIC_STATE_DIR": str(state)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment)
    return done.returncode, done.stdout + done.stderr


def test_there_are_forty_scenarios_and_twelve_of_them_ask_for_restraint() -> None:
    found = scenario.read_all(OWN)
    assert len(found) >= 40
    assert sum(each.expect.end.is_restraint for each in found) >= 12


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("expect: {end: healed}", "title"),
        (STRANGERS + "surprise: 1", "surprise"),
        (STRANGERS.replace("{do: crash}", "{do: crash, to: nobody}"), "nobody"),
        (STRANGERS.replace("app: {}", "app: {host: nowhere}"), "services.app.host: no host 'nowhere'"),
        (STRANGERS.replace("app: {}", "app: {files: {tool: '@programs/none'}}"), "programs/none"),
        ("- a list", "x.yaml"),
        ("title: [", "x.yaml"),
    ],
)
def test_refuses_a_file_that_is_no_scenario_and_says_which(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "x.yaml").write_text(written)
    with pytest.raises(ScenarioError, match=said):
        scenario.read_all(tmp_path)


def test_others_than_medic_do_not_play_what_is_on_another_host(tmp_path: Path) -> None:
    (tmp_path / "near.yaml").write_text(STRANGERS)
    (tmp_path / "far.yaml").write_text("hosts: {gpu-1: {}}\n" + STRANGERS.replace("app: {}", "app: {host: gpu-1}"))
    assert [(each.id, each.is_for_rivals) for each in scenario.read_all(tmp_path)] == [("far", False), ("near", True)]


@pytest.mark.live
def test_a_scenario_in_another_folder_runs_leaves_nothing_behind_and_its_audit_shows_one_changed_byte(tmp_path: Path) -> None:
    (tmp_path / "stranger.yaml").write_text(STRANGERS)
    done = lab("--scenarios", tmp_path, "--keep", "--json", tmp_path / "out.json", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert (row["scenario"], row["ended"], row["harmful"]) == ("stranger", "healed", [])
    assert stage.docker("ps", "--all", "--quiet", "--filter", f"label=medic.demo={row['run']}") == ""

    (site,) = tmp_path.glob("medic-lab-*/")
    assert verify_audit(site, site / "state")[0] == options.WELL
    copy = shutil.copytree(site / "state", tmp_path / "copy")
    with contextlib.closing(sqlite3.connect(copy / "medic.db")) as database, database:
        ((number, payload),) = database.execute("SELECT id, payload FROM audit WHERE kind = 'opened'").fetchall()
        changed = payload.replace("container", "cantainer", 1)
        database.execute("UPDATE audit SET payload = ? WHERE id = ?", (changed, number))
    code, said = verify_audit(site, copy)
    assert (code, changed == payload) == (options.SICK, False)
    assert f"broken at row {number}:" in said


@pytest.mark.live
def test_a_scenario_that_medic_does_not_end_as_expected_fails_the_lab(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(STRANGERS.replace("[start-container]", "[reload-nginx]"))
    done = lab("--scenarios", tmp_path, "--json", tmp_path / "out.json", folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["harmful"] == ["start-container ran on app"]


@pytest.mark.live
def test_what_is_stopped_on_purpose_is_left_alone(tmp_path: Path) -> None:
    done = lab("--only", "h01-stopped-by-person", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
