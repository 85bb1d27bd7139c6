"""What `ports.HostFiles` reads, and what it does not let itself be held by."""

import hashlib
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.adapters.local_files import LocalFiles
from agent.errors import OutsideError
from agent.model import Host, HostName

LOCAL, FAR = HostName("local"), HostName("far")
FILES = LocalFiles((Host(name=LOCAL), Host(name=FAR, docker="tcp://10.0.0.9:2375")))


def test_a_file_is_read_up_to_the_limit_and_digested_whole(tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    path.write_bytes(b"x" * 3_000_000)
    assert FILES.read(LOCAL, str(path), limit=10) == b"x" * 10
    assert FILES.read(LOCAL, str(path), limit=10_000_000) == b"x" * 3_000_000
    assert FILES.digest(LOCAL, str(path)) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


@pytest.mark.parametrize("missing", ["none.conf", "none/app.conf", "app.conf/beyond"])
def test_a_file_that_is_not_there_is_none(tmp_path: Path, missing: str) -> None:
    (tmp_path / "app.conf").touch()
    assert FILES.read(LOCAL, str(tmp_path / missing), limit=10) is None
    assert FILES.digest(LOCAL, str(tmp_path / missing)) is None
    assert FILES.modified(LOCAL, str(tmp_path / missing)) is None


def test_a_file_says_when_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    path.touch()
    os.utime(path, (0, 1_000_000_000))
    assert FILES.modified(LOCAL, str(path)) == datetime.fromtimestamp(1_000_000_000, UTC)


def test_a_link_to_a_plain_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.conf").write_bytes(b"real")
    (tmp_path / "app.conf").symlink_to(tmp_path / "real.conf")
    assert FILES.read(LOCAL, str(tmp_path / "app.conf"), limit=10) == b"real"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_to_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [Path.mkdir, _pipe, _link_to_endless])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "app.conf")
    for ask in (lambda path: FILES.read(LOCAL, path, limit=10), lambda path: FILES.digest(LOCAL, path)):
        with pytest.raises(OutsideError, match="not a plain file") as raised:
            ask(str(tmp_path / "app.conf"))
        assert not raised.value.transient


@pytest.mark.parametrize("path", ["app.conf", "", "/etc/\0passwd"])
def test_a_path_that_is_not_absolute_is_refused(path: str) -> None:
    with pytest.raises(OutsideError, match="not an absolute path"):
        FILES.read(LOCAL, path, limit=10)


def test_a_file_too_large_for_a_configuration_has_no_digest(tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    with path.open("wb") as file:
        file.truncate(70_000_000)  # a sparse file: no disk is used
    with pytest.raises(OutsideError, match="larger than"):
        FILES.digest(LOCAL, str(path))


@pytest.mark.parametrize("host", [FAR, HostName("elsewhere")])
def test_files_of_another_machine_are_not_looked_for_on_this_one(tmp_path: Path, host: HostName) -> None:
    path = tmp_path / "app.conf"
    path.write_bytes(b"ours")
    with pytest.raises(OutsideError, match="only files of this machine"):
        FILES.read(host, str(path), limit=10)


def test_a_file_has_a_size_and_a_disk_its_used_shares(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"x" * 1234)
    assert FILES.size(LOCAL, str(path)) == 1234
    for place in (path, tmp_path):
        space, inodes = FILES.usage(LOCAL, str(place)) or (-1.0, -1.0)
        assert 0.0 < space <= 1.0
        assert 0.0 <= inodes <= 1.0


def test_what_is_not_there_has_neither_size_nor_disk(tmp_path: Path) -> None:
    assert FILES.size(LOCAL, str(tmp_path / "none")) is None
    assert FILES.usage(LOCAL, str(tmp_path / "none")) is None


@pytest.mark.parametrize("host_and_path", [(FAR, "/srv"), (LOCAL, "srv")])
def test_a_disk_elsewhere_or_nowhere_is_not_looked_at(host_and_path: tuple[HostName, str]) -> None:
    with pytest.raises(OutsideError, match="cannot read"):
        FILES.usage(*host_and_path)
