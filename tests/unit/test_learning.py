"""What the sweep learns while it looks: only starts that it saw whole, and only changes between WELL and SICK."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agent.learning import Learning
from agent.model import Blind, ContainerFacts, ContainerState, Health, Judgement, Verdict
from tests.fakes import START
from tests.memory_store import memory_store
from tests.unit.policy.holds_at import CONTAINER, HTTP, RUNS, SECOND, WEB, sick, well

SERVICE = replace(WEB, checks=(CONTAINER, HTTP))
BORN = START + 10 * SECOND
YOUNG = replace(RUNS, started_at=BORN)
OLD = replace(RUNS, started_at=START - 3600 * SECOND)


class Ward:
    """One daemon's learning over a store of its own."""

    def __init__(self) -> None:
        self.store = memory_store().starts
        self.learning = Learning(self.store)

    def look(self, at: float, facts: ContainerFacts | Blind, http: Judgement, asked: datetime | None = None) -> None:
        now = START + timedelta(seconds=at)
        seen = Verdict(service=SERVICE.name, health=http.health, at=now, judgements=(http,))
        latest = ((well("container"), now), (http, asked or now))
        self.learning.seen(SERVICE, seen, facts, latest, now)

    @property
    def took(self) -> list[float]:
        return [start.took.total_seconds() for start in self.store.of(SERVICE.name)]


@pytest.fixture
def ward() -> Ward:
    made = Ward()
    made.look(0, OLD, well())
    return made


def test_a_start_is_learned_at_its_first_well(ward: Ward) -> None:
    ward.look(15, YOUNG, sick("http-refused"))
    ward.look(55, YOUNG, well())
    ward.look(60, YOUNG, well())
    assert ward.took == [45]


def test_a_life_that_began_before_anybody_watched_teaches_nothing(ward: Ward) -> None:
    assert ward.took == []
    fresh = Ward()
    fresh.look(50, YOUNG, well())
    assert fresh.took == []


def test_an_answer_from_before_the_start_is_not_the_first_well(ward: Ward) -> None:
    ward.look(15, YOUNG, well(), asked=START)
    assert ward.took == []


def test_a_healthcheck_that_is_still_starting_is_not_ready(ward: Ward) -> None:
    ward.look(15, replace(YOUNG, health="starting"), well())
    ward.look(70, replace(YOUNG, health="healthy"), well())
    assert ward.took == [60]


def test_what_breaks_and_recovers_within_one_life_is_no_start(ward: Ward) -> None:
    ward.look(20, YOUNG, well())
    ward.look(500, YOUNG, sick("http-timeout"))
    ward.look(900, YOUNG, well())
    assert ward.took == [10]


@pytest.mark.parametrize(
    "facts", [Blind(why="x"), replace(YOUNG, started_at=None), replace(YOUNG, state=ContainerState.EXITED)]
)
def test_without_a_known_start_nothing_is_learned(ward: Ward, facts: ContainerFacts | Blind) -> None:
    ward.look(15, facts, well())
    assert ward.took == []


def test_only_changes_between_well_and_sick_are_counted(ward: Ward) -> None:
    unknown = replace(well(), health=Health.UNKNOWN)
    for at, judgement in enumerate((well(), sick("http-timeout"), unknown, sick("http-timeout"), unknown, well())):
        ward.look(at, OLD, judgement)
    assert ward.store.flips(SERVICE.name) == (START + SECOND, START + 5 * SECOND)
