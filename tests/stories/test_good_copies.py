"""The last good configuration: only what the service really runs with is kept as good."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from agent.model import ConfigFile, ServiceName
from tests.stories.world import Ward, service

WEB = ServiceName("web")
CONF = "/etc/web.conf"


def ward_with_config(folder: Path, content: bytes) -> Ward:
    ward = Ward(folder, (replace(service("web"), config_file=ConfigFile(path=CONF)),))
    ward.machine.files[CONF] = (content, ward.clock.now() - timedelta(days=1))
    ward.beat(3)
    return ward


def kept(ward: Ward) -> bytes | None:
    latest = ward.world.good_copies.latest(WEB)
    return latest[1].read_bytes() if latest else None


def test_the_configuration_of_a_well_service_is_kept(tmp_path: Path) -> None:
    assert kept(ward_with_config(tmp_path, b"workers = 4")) == b"workers = 4"


def test_an_edit_that_nothing_has_read_yet_is_not_good(tmp_path: Path) -> None:
    ward = ward_with_config(tmp_path, b"workers = 4")
    ward.machine.files[CONF] = (b"workers = four", ward.clock.now())
    ward.beat(5)
    assert kept(ward) == b"workers = 4"
    record = ward.store.services.record(WEB)
    assert record is not None
    assert record.config_hash == ward.world.good_copies.latest(WEB)[0]  # type: ignore[index]


def test_an_edit_becomes_good_once_the_service_is_well_with_it(tmp_path: Path) -> None:
    ward = ward_with_config(tmp_path, b"workers = 4")
    ward.machine.files[CONF] = (b"workers = 8", ward.clock.now())
    ward.clock.move(timedelta(seconds=1))
    ward.machine.start("web")
    ward.beat(3)
    assert kept(ward) == b"workers = 8"


def test_a_file_too_large_to_keep_whole_is_not_kept_in_part(tmp_path: Path) -> None:
    assert kept(ward_with_config(tmp_path, b"x" * 1_100_000)) is None
