"""The runbooks on disk while the daemon runs: edited, broken, put back."""

import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agent import catalogue, errors
from agent.model import Plan, Risk, Runbook
from tests.stories.world import START as ANY

ROOT = Path(catalogue.__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped runbooks and of what they run."""
    shutil.copytree(ROOT / "runbooks", tmp_path / "runbooks")
    shutil.copytree(ROOT / "ansible", tmp_path / "ansible")
    return tmp_path


@pytest.fixture
def files(folder: Path) -> catalogue.RunbookFiles:
    return catalogue.RunbookFiles(folder / "runbooks", folder / "ansible" / "playbooks")


def restart(files: catalogue.RunbookFiles) -> Runbook:
    return next(runbook for runbook in files.runbooks() if runbook.id == "restart-container")


def plan(runbook: Runbook) -> Plan:
    return Plan(
        runbook=runbook.id,
        runbook_hash=runbook.hash,
        title=runbook.title,
        risk=runbook.risk,
        playbook=runbook.playbook,
        parameters=(),
        timeout=runbook.timeout,
        settle=runbook.settle,
        rerun=runbook.rerun,
        undo=None,
        why="",
    )


EDITED = ("runbooks/restart-container/runbook.yaml", "ansible/playbooks/restart-container.yml")


@pytest.mark.parametrize("file", EDITED)
def test_an_edit_is_taken_up_and_voids_what_was_planned(folder: Path, files: catalogue.RunbookFiles, file: str) -> None:
    before = restart(files)
    assert files.changed(plan(before)) is None
    (folder / file).write_text((folder / file).read_text() + "# edited\n")
    assert "is not what it was" in (files.changed(plan(before)) or "")
    after = restart(files)
    assert (after.hash != before.hash, after.tested) == (True, False)
    assert files.changed(plan(after)) is None


def test_an_edit_that_keeps_size_and_time_is_seen_all_the_same(folder: Path, files: catalogue.RunbookFiles) -> None:
    before, file = restart(files), folder / EDITED[0]
    stat, text = file.stat(), file.read_text()
    file.write_text(text.replace("Restart", "restart", 1))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_size == stat.st_size
    assert restart(files).hash != before.hash


def test_a_role_that_a_runbook_uses_is_part_of_it(folder: Path, files: catalogue.RunbookFiles) -> None:
    before = restart(files)
    role = next(path for path in sorted((folder / "ansible" / "roles").rglob("*.yml")))
    role.write_text(role.read_text() + "# edited\n")
    touched = [runbook.id for runbook in files.runbooks() if not runbook.tested]
    assert touched
    assert (files.changed(plan(before)) is not None) is ("restart-container" in touched)


def test_an_edit_that_cannot_be_read_keeps_the_last_good_ones_and_says_so_once(
    folder: Path, files: catalogue.RunbookFiles, caplog: pytest.LogCaptureFixture
) -> None:
    before = files.runbooks()
    broken = folder / EDITED[0]
    text = broken.read_text()
    broken.write_text("id: [")
    with caplog.at_level(logging.ERROR):
        assert files.runbooks() == before
        assert files.runbooks() == before
    assert [str(broken) in getattr(record, "cause", "") for record in caplog.records] == [True]
    assert files.changed(plan(restart(files))) is not None, "nobody approved what stands there now"
    broken.write_text(text)
    assert files.runbooks() == before
    assert files.changed(plan(restart(files))) is None


def test_a_runbook_that_went_away_cannot_run(folder: Path, files: catalogue.RunbookFiles) -> None:
    gone = plan(restart(files))
    shutil.rmtree(folder / "runbooks" / "restart-container")
    assert "is not what it was" in (files.changed(gone) or "")
    assert "restart-container" not in [runbook.id for runbook in files.runbooks()]


def test_a_catalogue_that_is_broken_at_the_start_is_refused(folder: Path) -> None:
    (folder / EDITED[0]).write_text("id: [")
    with pytest.raises(errors.ConfigError, match="restart-container"):
        catalogue.RunbookFiles(folder / "runbooks", folder / "ansible" / "playbooks")


def test_a_plan_of_a_runbook_that_there_never_was_is_void(files: catalogue.RunbookFiles) -> None:
    assert files.changed(plan(replace(ANY, id="no-such", playbook="no-such.yml"))) is not None  # type: ignore[arg-type]


def test_what_deletes_or_goes_back_for_a_cause_needs_a_fact_that_no_log_can_say() -> None:
    """A rule may confirm a cause by a log line and the mere fact that the container is down; nothing is deleted upon that."""
    runbooks = catalogue.RunbookFiles(ROOT / "runbooks", ROOT / "ansible" / "playbooks").runbooks()
    destructive = [each for each in runbooks if each.risk is Risk.DESTRUCTIVE and each.treats_causes]
    assert len(destructive) >= 5
    assert [each.id for each in destructive if not [name for name, _ in each.facts if name != "container_state"]] == []
