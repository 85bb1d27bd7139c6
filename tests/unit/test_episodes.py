"""What past incidents teach is counted from the ledger, and what is old weighs less."""

from dataclasses import replace
from datetime import timedelta

from agent import episodes
from agent.model import Incident, IncidentId, Outcome
from tests import escalated
from tests.fakes import START

DAY = timedelta(days=1)


def case(number: int, days_ago: float, *ended: tuple[str, Outcome], fingerprint: str = "f") -> Incident:
    made = escalated.attempts()[0]
    at = START - days_ago * DAY
    attempts = tuple(
        replace(made, number=n, plan=replace(made.plan, runbook=runbook), outcome=outcome, intent_at=at)
        for n, (runbook, outcome) in enumerate(ended, start=1)
    )
    return replace(
        escalated.incident(),
        id=IncidentId(f"I{number}"),
        opened_at=at,
        attempts=attempts,
        fingerprint=fingerprint,
        refusal=None,
    )


def test_one_trouble_is_one_episode_and_the_latest_comes_first() -> None:
    found = episodes.remember([case(1, 9), case(2, 5, fingerprint="g"), case(3, 1)], START)
    assert [(each.fingerprint, each.times, each.incidents) for each in found] == [("f", 2, ("I1", "I3")), ("g", 1, ("I2",))]


def test_results_that_count_are_counted_and_others_are_not() -> None:
    restart, recreate = ("restart-container", Outcome.INEFFECTIVE), ("recreate-container", Outcome.HEALED)
    (episode,) = episodes.remember([case(1, 2, restart, recreate), case(2, 1, ("start-container", Outcome.SUPERSEDED))], START)
    assert [(each.runbook, each.helped, each.did_not, each.chance) for each in episode.remedies] == [
        ("recreate-container", 1, 0, 1.0),
        ("restart-container", 0, 1, 0.0),
    ]


def test_an_old_result_weighs_less_than_a_new_one() -> None:
    old, new = case(1, 60, ("restart-container", Outcome.HEALED)), case(2, 0, ("restart-container", Outcome.INEFFECTIVE))
    (episode,) = episodes.remember([old, new], START)
    assert episode.remedies[0].chance == 0.2  # 1/4 against 1
    (turned,) = episodes.remember([replace(old, opened_at=START), replace(new, opened_at=START - 60 * DAY)], START)
    assert turned.remedies == episode.remedies


def test_how_often_a_person_was_needed_is_remembered() -> None:
    (episode,) = episodes.remember([replace(case(1, 3), refusal=escalated.incident().refusal), case(2, 1)], START)
    assert (episode.times, episode.handed_over) == (2, 1)
    assert episode.cause is not None
