"""What is kept in the state folder: bundles, good copies, locks, the kill switch. Real files, since files are the point."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters import state_folder
from agent.adapters.bundles import BundleFiles
from agent.adapters.good_copies import GoodCopyFiles
from agent.adapters.kill_file import KillFile
from agent.adapters.watch_lock import WatchLock
from agent.errors import OutsideError, StoreError
from agent.model import IncidentId, ServiceName

INCIDENT = IncidentId("I1")
WEB = ServiceName("web")
NOW = timedelta(0)


# --------------------------------------------------------------------------------------------------------------- bundles


def test_a_kept_file_is_read_back_and_replaced_whole(tmp_path: Path) -> None:
    bundles = BundleFiles(tmp_path)
    assert bundles.keep(INCIDENT, "evidence.json", b"first") == "evidence.json"
    assert bundles.keep(INCIDENT, "attempt-1/stdout", b"\x00\xff") == "attempt-1/stdout"
    bundles.keep(INCIDENT, "evidence.json", b"second")
    assert bundles.read(INCIDENT, "evidence.json") == b"second"
    assert bundles.read(INCIDENT, "attempt-1/stdout") == b"\x00\xff"
    assert bundles.read(INCIDENT, "report.md") is None
    assert sorted(path.name for path in bundles.folder(INCIDENT).iterdir()) == ["attempt-1", "evidence.json"]


def test_what_is_kept_is_private(tmp_path: Path) -> None:
    bundles = BundleFiles(tmp_path / "state")
    bundles.keep(INCIDENT, "attempt-1/stdout", b"secret")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state", *(tmp_path / "state").rglob("*"))}
    assert modes == {"state": 0o700, "incidents": 0o700, "I1": 0o700, "attempt-1": 0o700, "stdout": 0o600}


@pytest.mark.abuse("73")
@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../I2/evidence.json", "/etc/passwd", "a/../b", "a/b/c", "a//b", ".hidden", "a\0b", "a\nb", "x" * 200],
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    bundles = BundleFiles(tmp_path)
    with pytest.raises(StoreError):
        bundles.keep(INCIDENT, name, b"")
    with pytest.raises(StoreError):
        bundles.read(INCIDENT, name)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("incident", ["", "..", "../../etc", "I1/.."])
def test_an_incident_that_leaves_the_folder_is_refused(tmp_path: Path, incident: str) -> None:
    with pytest.raises(StoreError):
        BundleFiles(tmp_path).keep(IncidentId(incident), "evidence.json", b"")
    with pytest.raises(StoreError):
        BundleFiles(tmp_path).folder(IncidentId(incident))


@pytest.mark.abuse("7")
def test_a_disk_that_takes_no_more_is_said_and_leaves_the_older_file_whole(tmp_path: Path) -> None:
    bundles = BundleFiles(tmp_path)
    bundles.keep(INCIDENT, "evidence.json", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead of ending us
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match=f"cannot write .*evidence.json.*{os.strerror(errno.EFBIG)}"):
            bundles.keep(INCIDENT, "evidence.json", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert bundles.read(INCIDENT, "evidence.json") == b"old"
    assert [path.name for path in bundles.folder(INCIDENT).iterdir()] == ["evidence.json"]


def test_a_state_folder_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StoreError, match="cannot make folder"):
        BundleFiles(tmp_path / "state").keep(INCIDENT, "evidence.json", b"")


# ------------------------------------------------------------------------------------------------------------ good copies


def test_the_newest_good_copy_is_the_only_one(tmp_path: Path) -> None:
    copies = GoodCopyFiles(tmp_path)
    assert copies.latest(WEB) is None
    for digest, content in (("a" * 64, b"one"), ("b" * 64, b"two"), ("a" * 64, b"one")):
        copies.keep(WEB, digest, content)
        latest = copies.latest(WEB)
        assert latest is not None
        assert (latest[0], latest[1].read_bytes()) == (digest, content)
    assert [path.name for path in (tmp_path / "good" / "web").iterdir()] == ["a" * 64]


def test_a_good_copy_is_kept_no_more_when_it_is_forgotten(tmp_path: Path) -> None:
    copies = GoodCopyFiles(tmp_path)
    copies.forget(WEB)
    copies.keep(WEB, "a" * 64, b"one")
    copies.forget(WEB)
    assert copies.latest(WEB) is None
    assert list((tmp_path / "good" / "web").iterdir()) == []


@pytest.mark.parametrize(("service", "digest"), [("web", "../x"), ("web", "A" * 64), ("..", "a" * 64), ("a/b", "a" * 64)])
def test_a_good_copy_of_a_strange_name_is_refused(tmp_path: Path, service: str, digest: str) -> None:
    with pytest.raises(StoreError):
        GoodCopyFiles(tmp_path).keep(ServiceName(service), digest, b"")


# ------------------------------------------------------------------------------------------------------------------ locks


HOLD = (
    "import sys; from pathlib import Path; from agent.adapters.watch_lock import WatchLock\n"
    "with WatchLock(Path(sys.argv[1])).held():\n"
    "    print('held', flush=True); sys.stdin.read()\n"
)


@pytest.mark.abuse("4")
def test_a_second_daemon_is_refused_with_the_pid_of_the_first_until_that_is_killed(tmp_path: Path) -> None:
    watch = WatchLock(tmp_path)
    with subprocess.Popen((sys.executable, "-c", HOLD, str(tmp_path)), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == b"held\n"
            with pytest.raises(OutsideError, match=rf"another Medic \(pid {first.pid}\) owns it") as refused, watch.held():
                pytest.fail("two daemons at once")
            assert not refused.value.transient
            assert watch.owner() == first.pid
        finally:
            first.kill()
    assert watch.owner() is None
    with watch.held():
        assert watch.owner() == os.getpid()


@pytest.mark.abuse("82")
def test_the_pid_of_a_dead_medic_in_use_by_another_process_owns_nothing(tmp_path: Path) -> None:
    (tmp_path / "watch.lock").write_text(f"{os.getppid()}\n")  # it lives, and is no Medic
    assert WatchLock(tmp_path).owner() is None
    with WatchLock(tmp_path).held():
        assert WatchLock(tmp_path).owner() == os.getpid()


@pytest.mark.abuse("83")
def test_a_writer_killed_in_the_middle_leaves_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    contents = [letter * 300_000 for letter in (b"a", b"b")]
    state_folder.write(path, contents[0])
    for kill in range(25):
        writer = os.fork()
        if writer == 0:
            while True:
                for content in contents:
                    state_folder.write(path, content)
        time.sleep(0.001 * kill)
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        assert path.read_bytes() in contents


@pytest.mark.abuse("81")
@pytest.mark.parametrize("name", ["halt", "folder/file"])
def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(tmp_path: Path, name: str) -> None:
    outside, path = tmp_path / "outside", tmp_path / "state" / name
    outside.write_bytes(b"theirs")
    path.parent.mkdir(parents=True)
    path.symlink_to(outside)
    state_folder.write(path, b"ours")
    assert outside.read_bytes() == b"theirs"
    assert not path.is_symlink()
    assert path.read_bytes() == b"ours"


def test_asking_for_the_owner_leaves_no_trace(tmp_path: Path) -> None:
    assert WatchLock(tmp_path).owner() is None
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ kill switch


def test_halt_says_who_and_why_until_resume(tmp_path: Path) -> None:
    switch = KillFile(tmp_path, environment=None)
    assert switch.halted() is None
    switch.halt("ada", "maintenance of the\nracks")
    assert switch.halted() == "ada: maintenance of the racks"
    assert len((tmp_path / "halt").read_bytes().splitlines()) == 1
    assert KillFile(tmp_path, environment=None).halted() is not None
    assert switch.resume()
    assert switch.halted() is None
    assert not switch.resume()


def _touch(path: Path) -> None:
    path.touch()


def _binary(path: Path) -> None:
    path.write_bytes(b"\xff\x00" * 100_000)


def _other_json(path: Path) -> None:
    path.write_text("[1, 2]")


def _folder(path: Path) -> None:
    path.mkdir()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_in_a_circle(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.abuse("69")
@pytest.mark.parametrize("make", [_touch, _binary, _other_json, _folder, _pipe, _link_in_a_circle])
def test_whatever_stands_in_place_of_the_halt_file_halts(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "halt")
    said = KillFile(tmp_path, environment=None).halted()
    assert said is not None
    assert len(said) < 1_000


@pytest.mark.parametrize(
    ("value", "halts"), [(None, False), ("", False), ("0", False), (" ", False), ("1", True), ("deploy", True)]
)
def test_the_environment_halts_too(tmp_path: Path, value: str | None, halts: bool) -> None:
    switch = KillFile(tmp_path, environment=value)
    assert (switch.halted() is not None) is halts
    switch.resume()
    assert (switch.halted() is not None) is halts
