"""Streaks, settling, moments and fingerprints."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import (
    ContainerCheck,
    Health,
    HostName,
    Judgement,
    Plane,
    Service,
    ServiceName,
    Streak,
    Symptom,
    Thresholds,
)
from agent.policy import streaks as streak_rules

W, S, U = Health.WELL, Health.SICK, Health.UNKNOWN
NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
SYMPTOM = Symptom(word="http-status", plane=Plane.DIRECT, detail="GET / answered 500")

healths = st.sampled_from(Health)
thresholds = st.builds(Thresholds, sick_after=st.integers(1, 4), well_after=st.integers(1, 4), unknown_after=st.integers(1, 6))


def check(name: str = "up", limits: Thresholds | None = None, every: float = 5) -> ContainerCheck:
    return ContainerCheck(name=name, every=timedelta(seconds=every), thresholds=limits or Thresholds())


def judgement(health: Health, name: str = "up") -> Judgement:
    return Judgement(
        check=name, plane=Plane.CONTAINER, health=health, detail="seen", symptoms=(SYMPTOM,) if health is S else ()
    )


def run(seen: list[Health], limits: Thresholds | None = None) -> list[Streak]:
    """The streak after each judgement."""
    streaks: tuple[Streak, ...] = ()
    after = []
    for number, health in enumerate(seen):
        now = NOW + number * timedelta(seconds=5)
        streaks = streak_rules.advance(streaks, (check(limits=limits),), [judgement(health)], now)
        after.append(streaks[0])
    return after


@pytest.mark.parametrize(
    ("seen", "settled"),
    [
        ([W], [W]),
        ([S], [U]),
        ([S, S], [U, S]),
        ([W, S], [W, W]),
        ([W, S, S], [W, W, S]),
        ([W, S, W, S, W, S], [W, W, W, W, W, W]),
        ([S, S, W], [U, S, S]),
        ([S, S, W, W], [U, S, S, W]),
        ([W, U, U, U, U], [W, W, W, W, W]),
        ([W, U, U, U, U, U], [W, W, W, W, W, U]),
        ([S, S, U, U], [U, S, S, S]),
        ([U, S, U, S, U, S], [U, U, U, U, U, U]),
        ([W, S, U, S, U, S], [W, W, W, W, W, W]),
        ([S, S, U, U, U, U, U, W], [U, S, S, S, S, S, U, U]),
    ],
)
def test_a_judgement_counts_once_its_streak_is_long_enough(seen: list[Health], settled: list[Health]) -> None:
    assert [streak.settled for streak in run(seen, Thresholds(sick_after=2, well_after=2, unknown_after=5))] == settled


@pytest.mark.abuse("21")
@given(well=st.integers(1, 10), limits=thresholds)
def test_one_failed_probe_among_good_ones_is_never_sick(well: int, limits: Thresholds) -> None:
    settled = [streak.settled for streak in run([W] * well + [S] + [W] * well, limits)]
    assert (S in settled) is (limits.sick_after == 1)


@given(seen=st.lists(healths, max_size=30), unknown=st.integers(1, 20), limits=thresholds)
def test_unknown_never_turns_into_sick_by_itself(seen: list[Health], unknown: int, limits: Thresholds) -> None:
    before = run(seen, limits)
    after = run(seen + [U] * unknown, limits)[len(seen) :]
    if not before or before[-1].settled is not S:
        assert S not in [streak.settled for streak in after]


@given(seen=st.lists(healths, min_size=1, max_size=40), limits=thresholds)
def test_sick_begins_only_with_a_whole_streak_of_sick(seen: list[Health], limits: Thresholds) -> None:
    streaks = run(seen, limits)
    for n, streak in enumerate(streaks):
        if streak.settled is S and (n == 0 or streaks[n - 1].settled is not S):
            assert seen[n + 1 - limits.sick_after : n + 1] == [S] * limits.sick_after


@given(sick=st.integers(1, 3), rounds=st.integers(1, 10), other=st.sampled_from([W, U]))
def test_flapping_shorter_than_the_threshold_never_settles_sick(sick: int, rounds: int, other: Health) -> None:
    limits = Thresholds(sick_after=sick + 1, well_after=1, unknown_after=1)
    assert all(streak.settled is not S for streak in run(([other] + [S] * sick) * rounds, limits))


@pytest.mark.abuse("16", "18")
@pytest.mark.parametrize(
    ("every", "pause", "length"),
    [
        (5, timedelta(seconds=5), 2),
        (5, timedelta(seconds=119), 2),
        (5, timedelta(seconds=121), 1),
        (60, timedelta(seconds=179), 2),
        (60, timedelta(seconds=181), 1),
        (5, timedelta(hours=8), 1),
        (5, timedelta(hours=-1), 1),
        (5, timedelta(days=3650), 1),
    ],
)
def test_looks_that_a_sleep_or_a_clock_step_parts_are_not_in_a_row(every: float, pause: timedelta, length: int) -> None:
    checks = (check(every=every),)
    before = streak_rules.advance((), checks, [judgement(S)], NOW)
    (after,) = streak_rules.advance(before, checks, [judgement(S)], NOW + pause)
    assert after.length == length
    assert (after.settled is S) is (length == 2)
    (again,) = streak_rules.advance((after,), checks, [judgement(S)], NOW + pause + timedelta(seconds=every))
    assert again.settled is S, "two looks after the pause are in a row"


def test_a_streak_that_goes_on_stays_as_it_is_so_that_a_well_beat_writes_nothing() -> None:
    limits = Thresholds(sick_after=2, well_after=3, unknown_after=5)
    assert [streak.length for streak in run([W] * 5, limits)] == [1, 2, 3, 3, 3]
    assert [streak.length for streak in run([S] * 4 + [W], limits)] == [1, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("asked_before", "goes_on"),
    [
        pytest.param(timedelta(seconds=5), True, id="asked a moment ago"),
        pytest.param(timedelta(seconds=119), True, id="asked two minutes ago"),
        pytest.param(timedelta(seconds=121), False, id="asked before a sleep"),
        pytest.param(timedelta(hours=-1), False, id="asked in the future: the clock was set back"),
        pytest.param(None, False, id="never asked since Medic started"),
    ],
)
def test_a_full_streak_of_long_ago_goes_on_where_the_looks_in_between_are_remembered(
    asked_before: timedelta | None, goes_on: bool
) -> None:
    full, now = run([S] * 2)[-1], NOW + timedelta(hours=3)
    asked = {} if asked_before is None else {"up": now - asked_before}
    (after,) = streak_rules.advance((full,), (check(),), [judgement(S)], now, asked)
    assert (after == full) is goes_on, "a streak that goes on is not written again"
    assert after.length == (2 if goes_on else 1)
    assert after.settled is S, "what it settled stays in any case"


def test_a_check_that_was_not_due_keeps_its_streak_and_one_that_is_gone_loses_it() -> None:
    kept = Streak(check="kept", health=S, length=3, settled=S)
    gone = Streak(check="gone", health=S, length=3, settled=S)
    assert streak_rules.advance((kept, gone), (check("kept"), check("new")), [], NOW) == (kept,)


def test_the_verdict_counts_what_settled_and_keeps_symptoms_of_sick_checks_only() -> None:
    service = Service(
        name=ServiceName("web"),
        host=HostName("here"),
        container="web",
        checks=(check("first"), check("second"), check("third")),
    )
    streaks = (
        Streak(check="first", health=S, length=2, settled=S),
        Streak(check="second", health=S, length=1, settled=W),
        Streak(check="third", health=W, length=1, settled=S),
    )
    judgements = [judgement(S, "first"), judgement(S, "second"), judgement(W, "third")]

    verdict = streak_rules.settled(service, streaks, judgements, NOW)

    assert verdict.health is S
    assert [each.health for each in verdict.judgements] == [S, W, S]
    assert verdict.symptoms == (SYMPTOM,)
    assert verdict.judgements[1].detail == "seen (sick 1 of 2 in a row, so still well)"
    assert verdict.judgements[2].detail == "seen (well 1 of 2 in a row, so still sick)"


@pytest.mark.parametrize(("settled", "health"), [([W, W], W), ([W, U], U), ([U, S], S), ([], W)])
def test_the_worst_check_gives_the_health_of_the_service(settled: list[Health], health: Health) -> None:
    checks = tuple(check(str(n)) for n in range(len(settled)))
    service = Service(name=ServiceName("web"), host=HostName("here"), container="web", checks=checks)
    streaks = [Streak(check=each.name, health=s, length=9, settled=s) for each, s in zip(checks, settled, strict=True)]
    seen = [judgement(s, each.name) for each, s in zip(checks, settled, strict=True)]
    assert streak_rules.settled(service, streaks, seen, NOW).health is health


def test_equal_troubles_have_one_fingerprint_whatever_was_said_and_in_which_order() -> None:
    other = Symptom(word="oom-killed", plane=Plane.CONTAINER, detail="x")
    again = Symptom(word="http-status", plane=Plane.NGINX, detail="another sentence, another time")
    name = ServiceName("web")
    assert streak_rules.fingerprint(name, [SYMPTOM, other]) == streak_rules.fingerprint(name, [other, again, SYMPTOM])
    assert streak_rules.fingerprint(name, [SYMPTOM]).startswith("web:http-status:")
    different = {streak_rules.fingerprint(ServiceName(s), w) for s in ("web", "api") for w in ([], [SYMPTOM], [SYMPTOM, other])}
    assert len(different) == 6


def test_a_check_never_asked_or_asked_in_the_future_is_due() -> None:
    assert streak_rules.due(check(), None, NOW)
    assert streak_rules.due(check(), NOW + timedelta(hours=1), NOW)


@given(service=st.text(max_size=8), jitter=st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=20))
def test_a_check_as_frequent_as_the_beat_is_due_at_every_beat_however_it_jitters(service: str, jitter: list[float]) -> None:
    beats = [NOW + timedelta(seconds=5 * n + late) for n, late in enumerate(jitter)]
    for last, now in itertools.pairwise(beats):
        assert streak_rules.due(check(every=5), last, now, spread_by=service)


@given(service=st.text(max_size=8), start=st.integers(0, 10**6), beat=st.integers(1, 20))
def test_a_check_is_asked_at_least_once_per_interval_and_not_at_every_beat(service: str, start: int, beat: int) -> None:
    last = now = NOW + timedelta(seconds=start)
    asked = []
    for _ in range(60 * 10 // beat):
        now += timedelta(seconds=beat)
        if streak_rules.due(check(every=60), last, now, spread_by=service):
            asked.append(now - last)
            last = now
    assert max(asked) < timedelta(seconds=60 + beat)
    assert len(asked) <= 11


@pytest.mark.abuse("20")
def test_five_hundred_services_are_not_asked_in_one_instant() -> None:
    last = dict.fromkeys(range(500), NOW)
    per_second = []
    for second in range(1, 181):
        now = NOW + timedelta(seconds=second)
        asked = [n for n in last if streak_rules.due(check(every=60), last[n], now, spread_by=f"service-{n}")]
        last.update(dict.fromkeys(asked, now))
        per_second.append(len(asked))
    assert max(per_second) < 30  # 8.3 on average
