"""What is harm, and what takes it back: what holds for any health of any service."""

from hypothesis import given
from hypothesis import strategies as st

from agent.model import Health, Judgement, Plane, ServiceName, Verdict
from agent.policy import neighbours
from tests.fakes import START


def verdict(name: str, *healths: Health) -> Verdict:
    judged = tuple(
        Judgement(check=f"c{i}", plane=Plane.DIRECT, health=health, detail="as seen") for i, health in enumerate(healths)
    )
    worst = next((h for h in (Health.SICK, Health.UNKNOWN) if h in healths), Health.WELL)
    return Verdict(service=ServiceName(name), health=worst, at=START, judgements=judged)


HEALTHS = st.lists(st.sampled_from(Health), min_size=1, max_size=4)


@given(before=HEALTHS, after=HEALTHS)
def test_a_patient_is_worse_only_by_a_check_that_was_well_and_is_sick(before: list[Health], after: list[Health]) -> None:
    pairs = list(zip(before, after, strict=False))
    expected = [f"c{i}: as seen" for i, pair in enumerate(pairs) if pair == (Health.WELL, Health.SICK)]
    assert list(neighbours.worse(verdict("web", *before), verdict("web", *after))) == expected


@given(before=HEALTHS, after=HEALTHS)
def test_only_a_neighbour_that_was_well_as_a_whole_turns_sick(before: list[Health], after: list[Health]) -> None:
    was, is_ = verdict("api", *before), verdict("api", *after)
    turned = neighbours.turned_sick((was,), (is_,))
    assert turned == ((is_,) if was.health is Health.WELL and is_.health is Health.SICK else ())


@given(before=HEALTHS, after=HEALTHS, others=st.lists(HEALTHS, max_size=3))
def test_nothing_unknown_counts_as_taken_back(before: list[Health], after: list[Health], others: list[list[Health]]) -> None:
    was, is_ = verdict("web", *before), verdict("web", *after)
    seen = tuple(verdict(f"n{i}", *healths) for i, healths in enumerate(others))
    if neighbours.taken_back(was, is_, seen):
        assert is_.health is not Health.UNKNOWN
        assert not neighbours.worse(was, is_)
        assert all(each.health is Health.WELL for each in seen)


def test_a_neighbour_that_nobody_looked_at_before_cannot_be_harmed() -> None:
    assert neighbours.turned_sick((), (verdict("api", Health.SICK),)) == ()
