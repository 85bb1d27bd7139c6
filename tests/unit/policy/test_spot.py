"""What the cloud's events amount to, how a drain fits into the time left, and when a replacement counts."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.model import (
    Departure,
    DepartureStage,
    FleetEvent,
    FleetEventKind,
    FleetSize,
    HoldCode,
    HostName,
    Member,
)
from agent.policy import spot
from tests.fakes import START

MEMBER = Member(instance="i-1", group="g", address="10.0.0.1", kind="g5.xlarge", zone="a", spot=True, state="InService")
OTHER = replace(MEMBER, instance="i-2")
AT_RISK, DOOMED = DepartureStage.AT_RISK, DepartureStage.DOOMED


def event(kind: FleetEventKind, seconds: float = 0, **more: object) -> FleetEvent:
    return FleetEvent(kind=kind, instance="i-1", at=START + timedelta(seconds=seconds), **more)  # type: ignore[arg-type]


NOTICE = event(FleetEventKind.INTERRUPTION, action="terminate")
FROM_HOST = event(FleetEventKind.INTERRUPTION, 2, action="terminate", deadline=START + timedelta(seconds=110))
HINT = event(FleetEventKind.REBALANCE, -600)
HOOK = event(FleetEventKind.TERMINATE_HOOK, 5, group="g", hook="drain")


def after(*events: FleetEvent, member: Member | None = MEMBER) -> Departure | None:
    known: Departure | None = None
    for each in events:
        known = spot.heard(known, each, member, "drain", START)
    return known


@pytest.mark.parametrize(
    ("events", "stage", "seconds"),
    [
        ((HINT,), AT_RISK, None),
        ((NOTICE,), DOOMED, 120),
        ((HINT, NOTICE), DOOMED, 120),
        ((NOTICE, HINT), DOOMED, 120),
        ((NOTICE, NOTICE), DOOMED, 120),
        ((NOTICE, FROM_HOST), DOOMED, 110),
        ((FROM_HOST, NOTICE), DOOMED, 110),
        ((HOOK,), DOOMED, 125),
        ((HOOK, NOTICE), DOOMED, 120),
        ((event(FleetEventKind.INTERRUPTION, action="hibernate"),), DOOMED, 0),
        ((HINT, event(FleetEventKind.STATE, 30, action="shutting-down")), DOOMED, 30),
        ((event(FleetEventKind.HEALTH, action="AWS_EC2_INSTANCE_RETIREMENT"),), AT_RISK, None),
    ],
    ids=str,
)
def test_a_host_goes_forward_only_and_its_earliest_end_stands(
    events: tuple[FleetEvent, ...], stage: DepartureStage, seconds: float | None
) -> None:
    known = after(*events)

    assert known is not None
    assert known.stage is stage
    assert known.deadline == (None if seconds is None else START + timedelta(seconds=seconds))


def test_the_same_said_twice_changes_nothing() -> None:
    once = after(HINT, NOTICE, HOOK)

    assert after(HINT, NOTICE, HOOK, HOOK, NOTICE, HINT) == once
    assert once is not None
    assert once.why == "rebalance, interruption, terminate-hook"


def test_a_drained_host_stays_drained_whatever_comes_late() -> None:
    known = after(NOTICE)
    assert known is not None
    drained = replace(known, stage=DepartureStage.DRAINED)

    assert spot.heard(drained, NOTICE, None, "drain", START) == drained


@pytest.mark.parametrize(
    "said",
    [
        NOTICE,
        HINT,
        HOOK,
        event(FleetEventKind.STATE, action="terminated"),
    ],
    ids=str,
)
def test_another_fleets_host_is_none_of_ours(said: FleetEvent) -> None:
    assert after(said, member=None) is None


@pytest.mark.parametrize(
    "said",
    [
        event(FleetEventKind.INTERRUPTION, -601, action="terminate"),
        event(FleetEventKind.LAUNCH_HOOK, group="g", hook="warm-up"),
        event(FleetEventKind.TERMINATE_HOOK, group="g", hook="forensics"),
        event(FleetEventKind.STATE, action="shutting-down"),
    ],
    ids=str,
)
def test_what_is_old_or_about_something_else_makes_no_departure(said: FleetEvent) -> None:
    assert after(said) is None


def cut(seconds: float, *, balanced: bool = True) -> list[float]:
    times = spot.timetable(START + timedelta(seconds=seconds), START, balanced=balanced)
    return [
        round((each - START).total_seconds(), 1) for each in (times.leave, times.finish, times.stop, times.keep, times.complete)
    ]


@pytest.mark.parametrize(
    ("seconds", "balanced", "expected"),
    [
        (120, True, [4, 40, 82.4, 97.4, 110]),
        (120, False, [0, 0, 45, 60, 110]),
        (20, True, [4, 6.4, 8.8, 9.7, 10]),
        (20, False, [0, 0, 8, 9.5, 10]),
        (8, True, [0, 0, 0, 0, 0]),
        (-30, True, [0, 0, 0, 0, 0]),
        (7200, True, [4, 40, 85, 100, 7190]),
    ],
)
def test_a_drain_is_cut_to_fit_the_time_there_is(seconds: float, balanced: bool, expected: list[float]) -> None:
    assert cut(seconds, balanced=balanced) == expected


@pytest.mark.parametrize("seconds", range(-10, 200, 7))
def test_every_part_of_a_drain_ends_in_order_and_before_the_host_does(seconds: int) -> None:
    times = cut(seconds)

    assert times == sorted(times)
    assert times[-1] <= max(seconds - 10, 0)


GOING = replace(after(NOTICE), wanted=2) if after(NOTICE) else None


@pytest.mark.parametrize(
    ("members", "hook", "needed"),
    [
        ((MEMBER, OTHER), "", True),
        ((MEMBER, replace(OTHER, state="Pending:Wait")), "", False),
        ((MEMBER, replace(OTHER, state="Pending:Wait", group="other")), "", True),
        ((replace(MEMBER, state="Terminating:Wait"), OTHER), "", False),
        ((MEMBER, OTHER), "drain", False),
        ((OTHER,), "", False),
    ],
)
def test_a_replacement_is_asked_for_once(members: tuple[Member, ...], hook: str, needed: bool) -> None:
    assert GOING is not None
    assert spot.needs_replacement(replace(GOING, hook=hook), members) is needed


@pytest.mark.parametrize(
    ("members", "replaced"),
    [
        ((MEMBER, OTHER), False),
        ((OTHER, replace(OTHER, instance="i-3", state="Pending:Wait")), False),
        ((OTHER, replace(OTHER, instance="i-3", healthy=False)), False),
        ((OTHER, replace(OTHER, instance="i-3", group="burst")), False),
        ((OTHER, replace(OTHER, instance="i-3")), True),
        ((MEMBER, OTHER, replace(OTHER, instance="i-3")), True),
    ],
)
def test_a_host_is_replaced_once_as_many_others_are_warm_as_there_are_to_be(
    members: tuple[Member, ...], replaced: bool
) -> None:
    assert GOING is not None
    assert spot.is_replaced(GOING, members) is replaced


def test_nothing_is_mended_in_place_on_a_host_that_ends() -> None:
    assert GOING is not None
    hold = spot.doomed((GOING,), HostName("i-1"))

    assert hold is not None
    assert hold.code is HoldCode.HOST_DOOMED
    assert spot.doomed((GOING,), HostName("i-2")) is None
    assert spot.doomed((replace(GOING, stage=AT_RISK),), HostName("i-1")) is None


@pytest.mark.parametrize(
    ("size", "to"),
    [
        (FleetSize(wanted=3, largest=4, on_demand_base=1, on_demand_percent=0), 2),
        (FleetSize(wanted=3, largest=4, on_demand_base=3, on_demand_percent=0), None),
        (FleetSize(wanted=0, largest=4, on_demand_base=0, on_demand_percent=0), None),
    ],
)
def test_the_on_demand_base_grows_by_one_and_never_past_what_is_wanted(size: FleetSize, to: int | None) -> None:
    assert spot.raised_base(size) == to
