"""Facts about what a service declares on its host: each value, and what cannot be looked at."""

from dataclasses import replace
from datetime import datetime

import pytest

from agent import host_facts
from agent.errors import OutsideError
from agent.model import Artefact, ContainerFacts, ContainerState, HostName, RunSpec, Service, ServiceName
from tests.fakes import FakeClock
from tests.fakes_docker import FakeContainers

LOG = "/var/lib/docker/containers/c1/c1-json.log"
WEB = Service(name=ServiceName("web"), host=HostName("local"), container="web", checks=(), log_most_bytes=1_000_000)
BOX = ContainerFacts(name="web", id="c1", state=ContainerState.RUNNING, log_path=LOG)


class Files:
    """A host with files of known size and digest, and one disk."""

    def __init__(self, *, size: int | None = None, usage: tuple[float, float] | None = None, digest: str | None = None) -> None:
        self._size, self._usage, self._digest = size, usage, digest

    def size(self, host: HostName, path: str) -> int | None:
        return self._size

    def usage(self, host: HostName, path: str) -> tuple[float, float] | None:
        return self._usage

    def digest(self, host: HostName, path: str) -> str | None:
        return self._digest

    def read(self, host: HostName, path: str, *, limit: int) -> bytes | None:
        raise OutsideError("nothing is read for a fact", transient=False)

    def modified(self, host: HostName, path: str) -> datetime | None:
        raise OutsideError("nothing is dated for a fact", transient=False)


def engine(others: str | None) -> FakeContainers:
    """Return an engine with one other container, or without it."""
    made = FakeContainers(FakeClock())
    if others is not None:
        made.start("vpn", id=others)
    return made


def seen(service: Service, box: ContainerFacts | None, files: Files, others: str | None = None) -> list[tuple[str, str]]:
    facts = [look() for look in host_facts.looks(service, box, files, engine(others))]
    return [(fact.name, fact.value) for fact in facts if fact is not None]


class Unreadable(Files):
    def digest(self, host: HostName, path: str) -> str | None:
        raise OutsideError(f"cannot read {path!r}: Permission denied", transient=False)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (Files(digest=None), []),
        (Files(digest="ab" * 32), [("host", "quarantined")]),
        (Unreadable(), [("host", "unsure")]),  # what nobody can see may stand
    ],
)
def test_a_host_is_quarantined_while_the_declared_file_stands(files: Files, expected: list[tuple[str, str]]) -> None:
    assert seen(replace(WEB, quarantine_file="/srv/medic/quarantined"), None, files) == expected
    assert seen(WEB, None, files) == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1_000_000, [("container_log", "small")]), (1_000_001, [("container_log", "oversized")]), (None, [])],
)
def test_a_log_is_oversized_above_what_the_service_allows(size: int | None, expected: list[tuple[str, str]]) -> None:
    assert seen(WEB, BOX, Files(size=size)) == expected
    assert seen(WEB, replace(BOX, log_path=None), Files(size=size)) == []
    assert seen(WEB, None, Files(size=size)) == []


@pytest.mark.parametrize(
    ("usage", "value"), [((0.95, 0.0), "full"), ((0.2, 0.99), "full"), ((0.94, 0.94), "free"), ((1.0, 1.0), "full")]
)
def test_a_disk_is_full_of_bytes_or_of_inodes(usage: tuple[float, float], value: str) -> None:
    web = replace(WEB, cache_paths=("/srv/a", "/srv/b"))
    assert seen(web, None, Files(usage=usage)) == [("cache_disk", value), ("cache_disk", value)]
    assert seen(web, None, Files(usage=None)) == []
    # Where a container's log is, its image is.
    assert seen(WEB, BOX, Files(usage=usage)) == [("docker_disk", value)]
    assert seen(WEB, BOX, Files(usage=None)) == []


@pytest.mark.parametrize(("digest", "value"), [("ab" * 32, "sound"), ("cd" * 32, "damaged"), (None, "damaged")])
def test_an_artefact_is_damaged_when_it_is_not_what_was_declared(digest: str | None, value: str) -> None:
    web = replace(WEB, artefacts=(Artefact(path="/srv/m", source="/mnt/m", sha256="ab" * 32),))
    assert seen(web, None, Files(digest=digest)) == [("artefact", value)]


@pytest.mark.parametrize(
    ("mode", "other", "expected"),
    [
        ("container:v1", "v1", [("namespace", "shared")]),
        ("container:v1", "v2", [("namespace", "lost")]),
        ("container:v1", None, [("namespace", "lost")]),
        ("bridge", "v1", [("namespace", "lost")]),
        (None, "v1", []),
    ],
)
def test_a_shared_network_is_lost_with_the_container_it_was_made_for(
    mode: str | None, other: str | None, expected: list[tuple[str, str]]
) -> None:
    web = replace(WEB, spec=RunSpec(image="app:1", network_of="vpn"))
    box = replace(BOX, log_path=None, network_mode=mode)
    assert seen(web, box, Files(), other) == expected
    assert seen(replace(web, spec=RunSpec(image="app:1")), box, Files(), other) == []
