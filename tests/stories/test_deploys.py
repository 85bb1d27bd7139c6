"""A Compose project is brought up or taken down by others: its services are left alone, and not for ever."""

from datetime import timedelta
from pathlib import Path

import pytest

from agent.model import Closing, HoldCode
from tests.memory_engine import Crash
from tests.stories.world import Ward, service


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    """`web` needs `api` and `db`, which its Compose project replaces under it."""
    ward = Ward(tmp_path, tuple(service(name) for name in ("web", "api", "db")))
    ward.machine.compose("web", "api", "db", project="shop")
    ward.beat(2)
    return ward


def held(ward: Ward, name: str) -> HoldCode | None:
    hold = ward.incident(name).hold
    return hold.code if hold else None


def deployed(ward: Ward) -> None:
    for name in ("api", "db"):
        ward.machine.compose_up(name)
    ward.machine.boxes["web"].answers = False


def test_a_service_of_the_project_is_left_alone_until_it_is_quiet(ward: Ward) -> None:
    deployed(ward)
    ward.beat(3)
    assert held(ward, "web") is HoldCode.DEPLOY_IN_PROGRESS
    ward.machine.boxes["web"].answers = True
    ward.beat_until(lambda: ward.incident("web").closing is Closing.RECOVERED)
    assert ward.machine.played == []


def test_what_is_still_sick_after_the_deploy_is_healed(ward: Ward) -> None:
    deployed(ward)
    ward.beat_until(lambda: ward.incidents() != () and ward.incident("web").closing is Closing.HEALED)
    assert [played.split()[0] for played in ward.machine.played] == ["restart-container"]


def test_a_deploy_that_never_ends_is_sick_after_ten_minutes(ward: Ward) -> None:
    ward.machine.boxes["web"].answers = False
    began = ward.clock.now()
    while not ward.machine.played and ward.clock.now() - began < timedelta(minutes=20):
        for name in ("api", "db"):
            ward.machine.compose_up(name)
        ward.beat(2)
    assert timedelta(minutes=9) < ward.clock.now() - began < timedelta(minutes=12)


def test_a_project_that_was_taken_down_is_stopped_on_purpose(ward: Ward) -> None:
    for name in ("web", "api", "db"):
        ward.machine.remove(name)
    ward.beat(5)
    assert {held(ward, name) for name in ("web", "api", "db")} == {HoldCode.STOPPED_ON_PURPOSE}
    assert ward.machine.played == []


def test_a_crash_in_the_hold_decides_afresh(ward: Ward) -> None:
    deployed(ward)
    ward.engine.crash_before = "hold 1"
    with pytest.raises(Crash):
        ward.beat(3)
    ward.reboot()
    assert held(ward, "web") is HoldCode.DEPLOY_IN_PROGRESS
    assert ward.machine.played == []
