"""What goes from a state folder and what stays: by age, by bytes, and never of an incident that is not closed."""

import os
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters.retention import OldFiles
from agent.model import IncidentId
from tests.fakes import START

DAY = timedelta(days=1)
PLENTY = 10**12


def folder(state_dir: Path, name: str, *, age: timedelta, size: int = 100) -> Path:
    """Make one folder with one file of `size` bytes in a folder below, last written `age` before START."""
    path = state_dir / name
    (path / "deep").mkdir(parents=True)
    (path / "deep" / "file").write_bytes(b"x" * size)
    when = (START - age).timestamp()
    for each in (path / "deep" / "file", path / "deep", path):
        os.utime(each, (when, when))
    return path


def prune(state_dir: Path, unclosed: Collection[str] = (), *, keep: timedelta = 90 * DAY, most_bytes: int = PLENTY) -> int:
    ids = [IncidentId(each) for each in unclosed]
    return OldFiles(state_dir).prune(lambda: ids, now=START, keep=keep, most_bytes=most_bytes)


def test_what_is_old_goes_with_its_runs_and_markers(tmp_path: Path) -> None:
    old = [folder(tmp_path, name, age=91 * DAY) for name in ("incidents/I1", "runs/I1-1", "markers/I1-1", "runs/dry-77")]
    new = [folder(tmp_path, name, age=89 * DAY) for name in ("incidents/I2", "runs/I2-1", "runs/dry-78")]
    assert prune(tmp_path) == 4
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in new)


@pytest.mark.abuse("13", "90")
def test_nothing_of_an_unclosed_incident_goes_whatever_its_age_and_size(tmp_path: Path) -> None:
    names = ("incidents/I1", "runs/I1-1", "runs/I1-2", "markers/I1-1-undo")
    kept = [folder(tmp_path, name, age=900 * DAY, size=5_000) for name in names]
    other = folder(tmp_path, "incidents/I11", age=900 * DAY)
    assert prune(tmp_path, ["I1"], most_bytes=1) == 1
    assert all(path.exists() for path in kept)
    assert not other.exists(), "I11 is not I1"


def test_too_many_bytes_take_the_oldest_first_and_no_more_than_needed(tmp_path: Path) -> None:
    for number in range(1, 11):
        folder(tmp_path, f"incidents/I{number}", age=(20 - number) * DAY, size=1_000)
    assert prune(tmp_path, ["I2"], most_bytes=6_500) == 4
    assert sorted(path.name for path in (tmp_path / "incidents").iterdir()) == ["I10", "I2", "I6", "I7", "I8", "I9"]


def test_what_was_just_written_stays_even_over_the_cap(tmp_path: Path) -> None:
    at_work = folder(tmp_path, "runs/dry-1", age=timedelta(minutes=5), size=9_999)
    assert prune(tmp_path, most_bytes=1) == 0
    assert at_work.exists()


def test_the_rest_of_the_state_folder_is_not_touched(tmp_path: Path) -> None:
    good = folder(tmp_path, "good/web", age=900 * DAY)
    (tmp_path / "medic.db").write_bytes(b"x" * 9_999)
    assert prune(tmp_path, most_bytes=0) == 0
    assert good.exists()
    assert (tmp_path / "medic.db").exists()


@pytest.mark.abuse("81")
def test_a_link_is_neither_followed_nor_deleted(tmp_path: Path) -> None:
    elsewhere = folder(tmp_path, "elsewhere/I1", age=900 * DAY)
    (tmp_path / "incidents").mkdir()
    (tmp_path / "incidents" / "I1").symlink_to(elsewhere)
    assert prune(tmp_path, most_bytes=0) == 0
    assert (elsewhere / "deep" / "file").exists()


def test_thousands_of_folders_are_one_look(tmp_path: Path) -> None:
    for number in range(1, 3_001):
        path = tmp_path / "runs" / f"I{number}-1"
        path.mkdir(parents=True)
        when = (START - (100 if number <= 2_000 else 1) * DAY).timestamp()
        os.utime(path, (when, when))
    assert prune(tmp_path, [f"I{number}" for number in range(1, 11)]) == 1_990
    assert len(list((tmp_path / "runs").iterdir())) == 1_010
