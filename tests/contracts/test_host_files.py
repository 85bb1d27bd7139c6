"""The contract of `ports.HostFiles`, on this machine, over SSH and through SSM: what it reads, and what cannot hold it.

SSM is a stand-in: moto's wire before a real shell.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.adapters.aws_clients import AwsClients
from agent.adapters.far_machine import FarMachine
from agent.adapters.host_files import MachineFiles
from agent.adapters.local_machine import LocalMachine
from agent.adapters.ssh_ways import SshWays
from agent.adapters.ssm_link import SsmLink
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.errors import OutsideError
from agent.model import HostName
from agent.ports import HostFiles
from tests import ssm_hosts
from tests.far_hosts import far_host

LOCAL, UNKNOWN = HostName("local"), HostName("unknown")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostFiles]:
    """Files of a host that is reached over SSH: this machine plays it, under the same name."""
    with far_host(tmp_path_factory.mktemp("files") / "sshd", "127.0.1.4") as host:
        over = SshWays([host.host(LOCAL)])
        yield MachineFiles(Ways(machines=over.machines, engines=over.engines, doors=over.doors).machine_of)
        over.close()


@pytest.fixture(scope="module")
def behind_ssm() -> Iterator[HostFiles]:
    """Files of an instance behind SSM: this machine plays it, too."""
    with ssm_hosts.ssm():
        link = SsmLink(LOCAL, ssm_hosts.instance().access(), AwsClients(ssm_hosts.REGION))
        # Longer than the real way's patience: a machine that is busy with other things takes its time.
        machine = FarMachine(LOCAL, link, SystemClock(), patience=timedelta(seconds=60))
        yield MachineFiles(Ways(machines={LOCAL: machine}, engines={}, doors={}).machine_of)


@pytest.fixture(params=["here", "over SSH", "through SSM"])
def files(request: pytest.FixtureRequest) -> HostFiles:
    if request.param == "through SSM":
        behind: HostFiles = request.getfixturevalue("behind_ssm")
        return behind
    if request.param == "here":
        return MachineFiles(Ways(machines={LOCAL: LocalMachine()}, engines={}, doors={}).machine_of)
    found: HostFiles = request.getfixturevalue("far")
    return found


def test_a_file_is_read_up_to_the_limit_and_digested_whole(files: HostFiles, tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    path.write_bytes(b"x" * 3_000_000)
    assert files.read(LOCAL, str(path), limit=10) == b"x" * 10
    assert files.read(LOCAL, str(path), limit=10_000_000) == b"x" * 3_000_000
    assert files.digest(LOCAL, str(path)) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


@pytest.mark.parametrize("missing", ["none.conf", "none/app.conf", "app.conf/beyond"])
def test_a_file_that_is_not_there_is_none(files: HostFiles, tmp_path: Path, missing: str) -> None:
    (tmp_path / "app.conf").touch()
    assert files.read(LOCAL, str(tmp_path / missing), limit=10) is None
    assert files.digest(LOCAL, str(tmp_path / missing)) is None
    assert files.modified(LOCAL, str(tmp_path / missing)) is None


def test_a_file_says_when_it_was_written(files: HostFiles, tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    path.touch()
    os.utime(path, (0, 1_000_000_000))
    assert files.modified(LOCAL, str(path)) == datetime.fromtimestamp(1_000_000_000, UTC)


def test_a_link_to_a_plain_file_is_followed(files: HostFiles, tmp_path: Path) -> None:
    (tmp_path / "real.conf").write_bytes(b"real")
    (tmp_path / "app.conf").symlink_to(tmp_path / "real.conf")
    assert files.read(LOCAL, str(tmp_path / "app.conf"), limit=10) == b"real"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_to_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [Path.mkdir, _pipe, _link_to_endless])
def test_what_is_no_plain_file_is_refused_at_once(files: HostFiles, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "app.conf")
    for ask in (lambda path: files.read(LOCAL, path, limit=10), lambda path: files.digest(LOCAL, path)):
        with pytest.raises(OutsideError, match="not a plain file") as raised:
            ask(str(tmp_path / "app.conf"))
        assert not raised.value.transient


@pytest.mark.parametrize("path", ["app.conf", "", "/etc/\0passwd"])
def test_a_path_that_is_not_absolute_is_refused(files: HostFiles, path: str) -> None:
    with pytest.raises(OutsideError, match="not an absolute path"):
        files.read(LOCAL, path, limit=10)


def test_a_file_too_large_for_a_configuration_has_no_digest(files: HostFiles, tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    with path.open("wb") as file:
        file.truncate(70_000_000)  # a sparse file: no disk is used
    with pytest.raises(OutsideError, match="larger than"):
        files.digest(LOCAL, str(path))


def test_files_of_a_host_that_cannot_be_reached_are_not_looked_for_on_this_machine(files: HostFiles, tmp_path: Path) -> None:
    path = tmp_path / "app.conf"
    path.write_bytes(b"ours")
    for ask in (files.digest, files.size, files.usage, files.modified):
        with pytest.raises(OutsideError, match="no way to its files"):
            ask(UNKNOWN, str(path))


@pytest.mark.parametrize("name", ["a b.conf", "$(id).conf", "it's.conf", "-n", "new\nline", "é.conf", "back\\slash", "*"])
def test_a_path_is_a_name_and_nothing_else_whatever_it_holds(files: HostFiles, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"found")
    path = str(tmp_path / name)
    assert files.read(LOCAL, path, limit=10) == b"found"
    assert files.digest(LOCAL, path) == hashlib.sha256(b"found").hexdigest()
    assert files.size(LOCAL, path) == 5
    assert files.usage(LOCAL, path) is not None


def test_a_file_of_any_bytes_is_read_as_it_is(files: HostFiles, tmp_path: Path) -> None:
    content = bytes(range(256)) * 2_000
    (tmp_path / "binary").write_bytes(content)
    assert files.read(LOCAL, str(tmp_path / "binary"), limit=1_000_000) == content
    (tmp_path / "empty").touch()
    assert files.read(LOCAL, str(tmp_path / "empty"), limit=10) == b""


def test_a_file_has_a_size_and_a_disk_its_used_shares(files: HostFiles, tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_bytes(b"x" * 1234)
    assert files.size(LOCAL, str(path)) == 1234
    for place in (path, tmp_path):
        space, inodes = files.usage(LOCAL, str(place)) or (-1.0, -1.0)
        assert 0.0 < space <= 1.0
        assert 0.0 <= inodes <= 1.0


def test_what_is_not_there_has_neither_size_nor_disk(files: HostFiles, tmp_path: Path) -> None:
    assert files.size(LOCAL, str(tmp_path / "none")) is None
    assert files.usage(LOCAL, str(tmp_path / "none")) is None


def test_a_disk_of_a_path_that_is_not_absolute_is_not_looked_at(files: HostFiles) -> None:
    with pytest.raises(OutsideError, match="not an absolute path"):
        files.usage(LOCAL, "srv")
