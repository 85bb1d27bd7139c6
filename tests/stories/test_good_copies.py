"""The last good configuration: only what the service really runs with is kept as good."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.model import ConfigFile, ServiceName
from agent.redact import Redactor
from tests.stories.world import Ward, service

WEB = ServiceName("web")
CONF = "/etc/web.conf"


def ward_with_config(folder: Path, content: bytes) -> Ward:
    declared = replace(service("web"), config_file=ConfigFile(path=CONF))
    ward = Ward(folder, (declared,), redact=Redactor(["open-sesame-4711"]))
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


@pytest.mark.parametrize(
    "content",
    [
        b"workers = 4\ndb_password = Xk29sjwLq81z\n",
        b"requirepass Xk29sjwLq81z\n",
        b"upstream = http://app:Xk29sjwLq81z@db/\n",
        b"greeting = the word that medic.yaml names as a secret: open-sesame-4711\n",
        b"x" * 70_000 + b"\n",
        b"a=1\n" + b"password=abc\n" * 1_000,
    ],
    ids=["setting", "redis", "url", "known", "a line too long to tell", "many small ones"],
)
def test_of_a_file_with_a_secret_only_the_hash_is_kept(tmp_path: Path, content: bytes) -> None:
    ward = ward_with_config(tmp_path, b"workers = 4")
    ward.machine.files[CONF] = (content, ward.clock.now())
    ward.clock.move(timedelta(seconds=1))
    ward.machine.start("web")
    ward.beat(3)
    assert kept(ward) is None, "the older copy is not how the service runs now"
    record = ward.store.services.record(WEB)
    assert record is not None
    assert record.config_hash == hashlib.sha256(content).hexdigest(), "what changed is still told"
    assert not any(content in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
