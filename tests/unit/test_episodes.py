"""What past incidents teach is counted from the ledger, and what is old weighs less."""

from dataclasses import replace
from datetime import datetime, timedelta

from agent import episodes
from agent.model import Episode, Incident, IncidentId, MemoryRule, Outcome
from tests import escalated
from tests.fakes import START

DAY = timedelta(days=1)
RULE = MemoryRule()


def remember(
    incidents: list[Incident], now: datetime = START, forgotten: dict[str, datetime] | None = None
) -> tuple[Episode, ...]:
    return episodes.remember(incidents, now, RULE, forgotten or {})


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
    found = remember([case(1, 9), case(2, 5, fingerprint="g"), case(3, 1)])
    assert [(each.fingerprint, each.times, each.incidents) for each in found] == [("f", 2, ("I1", "I3")), ("g", 1, ("I2",))]


def test_results_that_count_are_counted_and_others_are_not() -> None:
    restart, recreate = ("restart-container", Outcome.INEFFECTIVE), ("recreate-container", Outcome.HEALED)
    (episode,) = remember([case(1, 2, restart, recreate), case(2, 1, ("start-container", Outcome.SUPERSEDED))])
    assert [(each.runbook, each.helped, each.did_not, each.chance) for each in episode.remedies] == [
        ("recreate-container", 1, 0, 1.0),
        ("restart-container", 0, 1, 0.0),
    ]


def test_an_old_result_weighs_less_than_a_new_one() -> None:
    old, new = case(1, 60, ("restart-container", Outcome.HEALED)), case(2, 0, ("restart-container", Outcome.INEFFECTIVE))
    (episode,) = remember([old, new])
    assert episode.remedies[0].chance == 0.2  # 1/4 against 1
    (turned,) = remember([replace(old, opened_at=START), replace(new, opened_at=START - 60 * DAY)])
    assert turned.remedies == episode.remedies


def test_how_often_a_person_was_needed_is_remembered() -> None:
    (episode,) = remember([replace(case(1, 3), refusal=escalated.incident().refusal), case(2, 1)])
    assert (episode.times, episode.handed_over) == (2, 1)
    assert episode.cause is not None


def test_failures_in_a_row_are_counted_from_the_last_help_on() -> None:
    vain, helps = ("restart-container", Outcome.INEFFECTIVE), ("restart-container", Outcome.HEALED)
    (episode,) = remember([case(1, 9, vain), case(2, 7, helps), case(3, 5, vain), case(4, 1, vain)])
    (remedy,) = episode.remedies
    assert (remedy.helped, remedy.did_not, remedy.vain, round(remedy.vain_weight, 2)) == (1, 3, 2, 1.87)


def test_what_says_nothing_of_a_runbook_is_not_held_against_it() -> None:
    (episode,) = remember([case(1, 1, ("restart-container", Outcome.TRANSIENT), ("recreate-container", Outcome.INTERRUPTED))])
    assert episode.remedies == ()


def test_a_runbook_that_was_changed_is_another_remedy() -> None:
    old, new = case(1, 2, ("restart-container", Outcome.INEFFECTIVE)), case(2, 1, ("restart-container", Outcome.HEALED))
    made = new.attempts[0]
    new = replace(new, attempts=(replace(made, plan=replace(made.plan, runbook_hash="new")),))
    (episode,) = remember([old, new])
    assert [(each.hash == "new", each.helped, each.did_not) for each in episode.remedies] == [(True, 1, 0), (False, 0, 1)]


def test_what_is_older_than_memory_keeps_is_gone_and_so_is_what_a_person_wants_forgotten() -> None:
    assert remember([case(1, 181)]) == ()
    assert remember([case(1, 9), case(2, 5)], forgotten={"f": START - 4 * DAY}) == ()
    (episode,) = remember([case(1, 9), case(2, 5), case(3, 1, fingerprint="g")], forgotten={"f": START - 7 * DAY, "x": START})[
        1:
    ]
    assert episode.incidents == ("I2",)


def test_nothing_is_remembered_where_people_say_so_and_nothing_of_a_time_to_come() -> None:
    assert episodes.remember([case(1, 1)], START, MemoryRule(keeps=timedelta(0)), {}) == ()
    assert remember([case(1, -1)]) == ()


def test_a_result_of_ages_ago_is_still_a_number() -> None:
    rule = MemoryRule(keeps=100_000 * DAY, half_life=DAY)
    (episode,) = episodes.remember([case(1, 90_000, ("restart-container", Outcome.HEALED))], START, rule, {})
    assert episode.remedies[0].chance == 1.0
