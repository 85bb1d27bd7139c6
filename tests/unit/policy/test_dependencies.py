"""Parents: who they are, when one is not well, and why a circle is refused."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import (
    Health,
    Hold,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Origin,
    Recorded,
    ServiceName,
    ServiceRecord,
    Streak,
)
from agent.policy import dependencies
from tests.fakes import START
from tests.unit.policy.holds_at import MINUTE, WEB, sick, verdict

Graph = dict[ServiceName, list[ServiceName]]
NAMES = [ServiceName(letter) for letter in "abcdef"]
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=4), max_size=6)
RECORD = ServiceRecord(
    service=WEB.name, host=HostName("local"), container="web", status=Recorded.RUNNING, since=START, by="medic"
)
OPEN = Incident(
    id=IncidentId("I7"), service=WEB.name, host=HostName("local"), origin=Origin.HEARTBEAT, state=IncidentState.OPEN,
    opened_at=START, first=verdict(sick("http-timeout")), fingerprint="f",
)  # fmt: skip


def held(code: HoldCode) -> Incident:
    return replace(OPEN, state=IncidentState.HELD, hold=Hold(code=code, because="", until="", look_again=MINUTE))


def streak(latest: Health, settled: Health) -> Streak:
    return Streak(check="http", health=latest, length=1, settled=settled)


def graph(text: str) -> Graph:
    """`a>b a>c` -> a depends on b and c."""
    made: Graph = {}
    for edge in text.split():
        child, parent = edge.split(">")
        made.setdefault(ServiceName(child), []).append(ServiceName(parent))
    return made


@pytest.mark.parametrize(
    ("edges", "parents"),
    [("", ""), ("a>b", "b"), ("a>b b>c", "bc"), ("a>b a>c b>d c>d", "bcd"), ("b>a", ""), ("a>b b>a", "b")],
)
def test_parents_are_found_through_parents_nearest_first(edges: str, parents: str) -> None:
    assert "".join(dependencies.parents(ServiceName("a"), graph(edges))) == parents


@pytest.mark.parametrize(
    ("edges", "circle"), [("", ""), ("a>b b>c", ""), ("a>a", "aa"), ("a>b b>c c>a", "abca"), ("a>b b>c c>b", "bcb")]
)
def test_a_circle_is_named_in_its_order(edges: str, circle: str) -> None:
    assert "".join(dependencies.circle(graph(edges))) == circle


@given(GRAPHS)
def test_a_circle_is_there_exactly_when_somebody_depends_on_himself(depends_on: Graph) -> None:
    circle = dependencies.circle(depends_on)
    assert bool(circle) == any(_reaches(name, name, depends_on) for name in depends_on)
    assert all(parent in depends_on[child] for child, parent in itertools.pairwise(circle))


@given(GRAPHS)
def test_parents_come_before_their_children_where_there_is_no_circle(depends_on: Graph) -> None:
    services = [replace(WEB, name=name, depends_on=tuple(depends_on.get(name, ()))) for name in NAMES]
    order = [service.name for service in dependencies.parents_first(services)]
    assert sorted(order) == sorted(NAMES)
    if not dependencies.circle(depends_on):
        assert all(order.index(parent) < order.index(child) for child in depends_on for parent in depends_on[child])


def _reaches(start: ServiceName, end: ServiceName, depends_on: Graph) -> bool:
    seen: set[ServiceName] = set()
    waiting = list(depends_on.get(start, []))
    while waiting:
        at = waiting.pop()
        if at == end:
            return True
        if at not in seen:
            seen.add(at)
            waiting += depends_on.get(at, [])
    return False


@pytest.mark.parametrize(
    ("record", "streaks", "unclosed", "why"),
    [
        (RECORD, (), (), None),
        (None, (), (), None),
        (RECORD, (streak(Health.WELL, Health.WELL),), (), None),
        (RECORD, (streak(Health.UNKNOWN, Health.UNKNOWN),), (), None),
        (RECORD, (streak(Health.SICK, Health.WELL),), (), "is sick: http"),
        (RECORD, (streak(Health.WELL, Health.SICK),), (), "is sick: http"),
        (RECORD, (), (OPEN,), "has incident I7"),
        (RECORD, (), (held(HoldCode.WARMING),), "has incident I7"),
        (RECORD, (streak(Health.SICK, Health.SICK),), (held(HoldCode.WRONG_PROBE),), None),
        (replace(RECORD, status=Recorded.STOPPED), (), (), "is recorded as stopped"),
        (replace(RECORD, status=Recorded.ERROR), (), (), "is recorded as error"),
    ],
)
def test_a_parent_is_down_when_anything_says_so(
    record: ServiceRecord | None, streaks: tuple[Streak, ...], unclosed: tuple[Incident, ...], why: str | None
) -> None:
    assert dependencies.down(record, streaks, unclosed) == why
