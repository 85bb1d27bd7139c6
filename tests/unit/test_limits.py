"""The limits as rules: tables for the edges, and what must hold whatever the order of events."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model import (
    Action,
    Breaker,
    BreakerRule,
    Budget,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    ForeignRestart,
    Health,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Limits,
    Network,
    Origin,
    Others,
    Plane,
    RestartedBy,
    RunbookId,
    Service,
    ServiceName,
    TcpCheck,
    Thresholds,
    Verdict,
)
from agent.policy import breaker, limits, restarts
from tests.fakes import START

SECOND = timedelta(seconds=1)
HERE, THERE = HostName("here"), HostName("there")


def action(at: datetime, *, host: HostName = HERE, by_person: bool = False) -> Action:
    return Action(
        incident=IncidentId("I1"),
        number=1,
        service=ServiceName("web"),
        host=host,
        runbook=RunbookId("restart-container"),
        at=at,
        until=at + SECOND,
        failed=False,
        by_person=by_person,
    )


def service(name: str, *, host: HostName = HERE, group: str | None = None) -> Service:
    return Service(name=ServiceName(name), host=host, container=name, checks=(), group=group)


# ------------------------------------------------------------------------------------------------------------- backoff


@pytest.mark.parametrize(("before", "seconds"), [(0, 0), (1, 30), (2, 60), (3, 120), (6, 960), (7, 1800), (1000, 1800)])
def test_the_wait_doubles_up_to_the_longest(before: int, seconds: int) -> None:
    assert limits.backoff(before, Limits()) == seconds * SECOND


def test_a_first_wait_of_nothing_never_waits_and_one_over_the_longest_is_the_longest() -> None:
    assert limits.backoff(9, Limits(first_wait=0 * SECOND)) == 0 * SECOND
    assert limits.backoff(1, Limits(first_wait=9 * SECOND, longest_wait=5 * SECOND)) == 5 * SECOND


def test_refuses_to_count_below_nothing() -> None:
    with pytest.raises(ValueError, match="-1"):
        limits.backoff(-1, Limits())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 500), st.integers(1, 86_400), st.integers(1, 604_800))
def test_no_wait_is_shorter_than_the_one_before_or_longer_than_the_longest(before: int, first: int, longest: int) -> None:
    rule = Limits(first_wait=first * SECOND, longest_wait=longest * SECOND)
    waits = [limits.backoff(each, rule) for each in (before, before + 1)]
    assert waits[0] <= waits[1] <= rule.longest_wait


# ------------------------------------------------------------------------------------------------------------- budgets

ASKED = st.lists(st.tuples(st.integers(0, 600), st.sampled_from((HERE, THERE)), st.booleans()), max_size=60)


@pytest.mark.abuse("34")
@settings(max_examples=40, deadline=None)
@given(ASKED, st.integers(1, 5), st.integers(1, 8), st.integers(1, 300))
def test_never_more_actions_in_any_window_than_the_budget_whatever_is_asked(
    asked: list[tuple[int, HostName, bool]], on_host: int, in_fleet: int, window: int
) -> None:
    budget = Budget(host_actions=on_host, fleet_actions=in_fleet, window=window * SECOND)
    done: list[Action] = []
    for second, host, by_person in sorted(asked, key=lambda each: each[0]):
        now = START + second * SECOND
        if by_person or limits.budget_hold(done, host, budget, now) is None:
            done.append(action(now, host=host, by_person=by_person))
    for first in done:
        ours = [a for a in done if not a.by_person and first.at <= a.at < first.at + budget.window]
        assert len(ours) <= in_fleet
        assert all(sum(a.host == host for a in ours) <= on_host for host in (HERE, THERE))


UNDER_WAY = replace(action(START), under_way=True)


@pytest.mark.parametrize(
    ("actions", "hold"),
    [
        ([UNDER_WAY] * 2, True),
        ([UNDER_WAY], False),
        ([UNDER_WAY, action(START)], False),
        ([UNDER_WAY, replace(UNDER_WAY, host=THERE)], False),
        ([UNDER_WAY, replace(UNDER_WAY, by_person=True)], False),
        ([], False),
    ],
)
def test_so_many_playbooks_run_on_one_host_at_one_moment(actions: list[Action], hold: bool) -> None:
    found = limits.no_room(actions, service("api"), Budget(host_at_once=2), START)
    assert (found is not None) is hold
    if found is not None:
        assert (found.code, found.because) == (HoldCode.BUDGET_SPENT, "2 playbooks are under way on host here")


@pytest.mark.parametrize(("done", "hold"), [(2, False), (3, True)])
def test_a_service_has_no_room_for_more_than_its_own_actions(done: int, hold: bool) -> None:
    web = replace(service("web"), limits=Limits(actions_per_service=3))
    assert (limits.no_room([action(START)] * done, web, Budget(), START + SECOND) is not None) is hold
    assert limits.no_room([action(START)] * done, service("api"), Budget(), START + SECOND) is None


@settings(max_examples=40, deadline=None)
@given(ASKED, st.integers(1, 5), st.integers(1, 300))
def test_a_budget_that_holds_is_free_when_it_says(asked: list[tuple[int, HostName, bool]], most: int, window: int) -> None:
    budget = Budget(host_actions=most, fleet_actions=1000, window=window * SECOND)
    done = [action(START + second * SECOND, host=host, by_person=person) for second, host, person in asked]
    now = START + 600 * SECOND
    hold = limits.budget_hold(done, HERE, budget, now)
    if hold is not None:
        assert 0 * SECOND < hold.look_again <= budget.window
        assert limits.budget_hold(done, HERE, budget, now + hold.look_again) is None
        assert limits.budget_hold(done, HERE, budget, now + hold.look_again - timedelta(microseconds=1)) is not None


# ------------------------------------------------------------------------------------------------------------- the breaker

FLEETS = st.lists(
    st.tuples(
        st.sampled_from((HERE, THERE)), st.sampled_from((None, "shop", "search")), st.one_of(st.none(), st.integers(0, 600))
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40, deadline=None)
@given(FLEETS, st.integers(2, 6), st.floats(0.1, 1), st.integers(1, 600), st.integers(0, 600))
def test_a_breaker_opens_exactly_where_enough_fail_together(
    fleet: list[tuple[HostName, str | None, int | None]], least: int, share: float, window: int, second: int
) -> None:
    rule = BreakerRule(share=share, least=least, window=window * SECOND)
    services = [service(f"s{n}", host=host, group=group) for n, (host, group, _) in enumerate(fleet)]
    now = START + second * SECOND
    turned = {
        each.name: START + at * SECOND
        for each, (_, _, at) in zip(services, fleet, strict=True)
        if at is not None and at <= second
    }
    trips = {trip.scope: trip for trip in breaker.tripped(services, turned, {}, rule, now)}
    hosts = len({each.host for each in services})
    for scope in {scope for each in services for scope in breaker.scopes(each, hosts)}:
        members = [each.name for each in services if scope in breaker.scopes(each, hosts)]
        failing = {name for name in members if name in turned and turned[name] >= now - rule.window}
        enough = len(failing) >= least and len(failing) >= share * len(members)
        assert (scope in trips) == enough
        if enough:
            assert set(trips[scope].failing) == failing


@settings(max_examples=40, deadline=None)
@given(FLEETS, st.integers(0, 600))
def test_what_turned_sick_before_a_reset_opens_nothing(
    fleet: list[tuple[HostName, str | None, int | None]], second: int
) -> None:
    services = [service(f"s{n}", host=host, group=group) for n, (host, group, _) in enumerate(fleet)]
    now = START + second * SECOND
    turned = {each.name: START + (at or 0) * SECOND for each, (_, _, at) in zip(services, fleet, strict=True)}
    turned = {name: min(at, now) for name, at in turned.items()}
    resets = {scope: now for each in services for scope in breaker.scopes(each, hosts=2)}
    assert breaker.tripped(services, turned, resets, BreakerRule(least=2, share=0.1, window=3600 * SECOND), now) == ()


Looks = list[tuple[HostName, str | None, int | None, bool]]
"""Of each service: host, group, how many seconds ago it turned SICK, and whether it looks bad and is not judged."""
LOOKS: st.SearchStrategy[Looks] = st.lists(
    st.tuples(
        st.sampled_from((HERE, THERE)),
        st.sampled_from((None, "shop", "search")),
        st.one_of(st.none(), st.integers(0, 100)),
        st.booleans(),
    ),
    min_size=1,
    max_size=16,
)


def gathered(
    fleet: Looks, rule: BreakerRule, reset: int | None
) -> tuple[list[Service], dict[ServiceName, datetime], set[ServiceName], dict[str, datetime]]:
    services = [service(f"s{n}", host=host, group=group) for n, (host, group, _, _) in enumerate(fleet)]
    turned = {each.name: START - ago * SECOND for each, (_, _, ago, _) in zip(services, fleet, strict=True) if ago is not None}
    doubtful = {each.name for each, (*_, bad) in zip(services, fleet, strict=True) if bad and each.name not in turned}
    resets = {} if reset is None else {breaker.FLEET: START - reset * SECOND}
    return services, turned, doubtful, resets


@settings(max_examples=60, deadline=None)
@given(LOOKS, st.integers(1, 5), st.floats(0.1, 1), st.one_of(st.none(), st.integers(0, 100)))
def test_a_wait_is_for_a_breaker_that_those_waited_for_would_open_and_for_no_other(
    fleet: Looks, least: int, share: float, reset: int | None
) -> None:
    rule = BreakerRule(share=share, least=least)
    services, turned, doubtful, resets = gathered(fleet, rule, reset)
    would = breaker.tripped(services, turned | dict.fromkeys(doubtful, START), resets, rule, START)
    for each in services:
        awaited = breaker.gathering(each, services, turned, doubtful, resets, rule, START)
        assert set(awaited) <= doubtful
        mine = [trip for trip in would if each.name in trip.failing and doubtful & set(trip.failing)]
        assert bool(awaited) == bool(mine)
        assert set(awaited) == {name for trip in mine for name in trip.failing} & doubtful


@settings(max_examples=40, deadline=None)
@given(LOOKS, st.integers(2, 5))
def test_a_fault_of_one_alone_never_waits(fleet: Looks, least: int) -> None:
    alone = [(host, group, 0 if n == 0 else None, False) for n, (host, group, *_) in enumerate(fleet)]
    services, turned, doubtful, resets = gathered(alone, BreakerRule(least=least), None)
    assert breaker.gathering(services[0], services, turned, doubtful, resets, BreakerRule(least=least), START) == ()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.integers(1, 9), st.integers(-100, 1_000), st.booleans())
def test_a_wait_spends_no_time_beyond_what_a_verdict_takes(every: int, sick_after: int, second: int, bad: bool) -> None:
    check = TcpCheck(
        name="tcp",
        every=every * SECOND,
        thresholds=Thresholds(sick_after=sick_after),
        plane=Plane.DIRECT,
        address="container:1",
        timeout=SECOND,
    )
    within = breaker.judged_within([replace(service("api"), checks=(check,))])
    assert min(every * sick_after * SECOND, breaker.LONGEST_WAIT) <= within <= breaker.LONGEST_WAIT
    others = Others(doubtful=(ServiceName("api"),) if bad else (), judged_within=within)
    hold = breaker.wait(opened(START), others, START + second * SECOND)
    assert (hold is not None) == (bad and 0 <= second < within.total_seconds())
    assert hold is None or (hold.code is HoldCode.OTHERS_FAILING and hold.look_again == within - second * SECOND)


def opened(at: datetime) -> Incident:
    return Incident(
        id=IncidentId("I1"),
        service=ServiceName("web"),
        host=HERE,
        origin=Origin.HEARTBEAT,
        state=IncidentState.OPEN,
        opened_at=at,
        first=Verdict(service=ServiceName("web"), health=Health.SICK, at=at, judgements=()),
        fingerprint="web",
    )


def test_the_nearest_come_first() -> None:
    near = [
        service("far", host=THERE),
        service("here"),
        service("kin", host=THERE, group="shop"),
        service("twin", group="shop"),
    ]
    assert [each.name for each in breaker.nearest(service("web", group="shop"), near)] == ["twin", "here", "kin", "far"]


def test_one_trouble_is_one_breaker_the_widest_or_of_equals_the_narrowest() -> None:
    def trip(scope: str, *failing: str) -> breaker.Trip:
        return breaker.Trip(scope=scope, failing=tuple(ServiceName(name) for name in failing), members=9)

    narrow, wide = trip("group:shop", "a", "b", "c"), trip("fleet", "a", "b", "c", "d")
    assert breaker.outermost((narrow, wide)) == (wide,)
    assert breaker.outermost((narrow, trip("fleet", "a", "b", "c"))) == (narrow,)
    assert breaker.outermost((narrow, trip("group:search", "x", "y", "z"))) == (narrow, trip("group:search", "x", "y", "z"))


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        ("fleet", True),
        ("fleet:here", True),
        ("group:shop", True),
        ("fleet:there", False),
        ("group:search", False),
        ("runbook:restart-container", False),
    ],
)
def test_a_breaker_holds_what_is_in_its_scope(scope: str, holds: bool) -> None:
    row = Breaker(scope=scope, opened_at=START, because="x", services=())
    assert (breaker.over(service("web", group="shop"), (row,)) is row) is holds


def member(name: str, *, sick: bool, image: str = "app:1", network: str = "net") -> breaker.Member:
    facts = ContainerFacts(
        name=name, id=name, state=ContainerState.RUNNING, image=image, networks=(Network(name=network, address="10.0.0.2"),)
    )
    return breaker.Member(service=service(name), container=facts, sick=sick)


@pytest.mark.parametrize(
    ("members", "factor"),
    [
        (
            (member("a", sick=True, image="new:2"), member("b", sick=True, image="new:2"), member("c", sick=False)),
            "image new:2",
        ),
        (
            (member("a", sick=True, network="back"), member("b", sick=True, network="back"), member("c", sick=False)),
            "network back",
        ),
        ((member("a", sick=True), member("b", sick=True)), "host here and network net and image app:1"),
        (
            (
                breaker.Member(service=service("a", host=HERE), container=None, sick=True),
                breaker.Member(service=service("b", host=THERE), container=None, sick=True),
            ),
            "nothing that Medic knows of",
        ),
    ],
)
def test_names_what_the_failing_share_and_the_well_do_not(members: tuple[breaker.Member, ...], factor: str) -> None:
    assert breaker.common_factor(members) == factor


# ------------------------------------------------------------------------------------------------------------- restarts


def events(*words: str) -> tuple[ContainerEvent, ...]:
    """`die`, `kill/15`, `start` ..., one second apart."""
    return tuple(
        ContainerEvent(
            container="web", action=word.partition("/")[0], at=START + n * SECOND, signal=word.partition("/")[2] or None
        )
        for n, word in enumerate(words)
    )


def facts(count: int = 0, policy: str = "no") -> ContainerFacts:
    return ContainerFacts(name="web", id="1", state=ContainerState.RUNNING, restart_count=count, restart_policy=policy)


API, POLICY = RestartedBy.DOCKER_API, RestartedBy.RESTART_POLICY


@pytest.mark.parametrize(
    ("said", "now", "by"),
    [
        (("start",), facts(), []),
        (("create", "start"), facts(), []),
        (("die", "start"), facts(), [API]),
        (("die", "start"), facts(1, "always"), [POLICY]),
        (("die", "start"), facts(0, "always"), [API]),
        (("kill/15", "die", "stop", "start", "restart"), facts(0, "always"), [API]),
        (("die", "start", "die", "start", "kill/15", "die", "stop", "start"), facts(0, "always"), [POLICY, POLICY, API]),
        (("kill/1", "die", "start"), facts(1, "on-failure:3"), [POLICY]),
        (("die", "start", "die", "destroy", "create", "start"), facts(), []),
        (("health_status: unhealthy", "exec_create: die", "oom"), facts(), []),
    ],
)
def test_tells_who_restarted_it(said: tuple[str, ...], now: ContainerFacts, by: list[RestartedBy]) -> None:
    assert [each.by for each in restarts.by_others(events(*said), now, ())] == by


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(("die", "start", "kill/9", "stop", "restart", "destroy", "create", "oom")), max_size=30))
def test_no_start_while_an_attempt_of_ours_runs_is_somebody_elses(words: list[str]) -> None:
    ours = action(START - SECOND)
    unfinished = Action(**{**{name: getattr(ours, name) for name in Action.__slots__}, "until": None})
    assert restarts.by_others(events(*words), facts(), (unfinished,)) == ()
    assert len(restarts.by_others(events(*words), facts(), ())) <= sum(word == "start" for word in words)


def test_a_start_after_our_attempt_is_somebody_elses() -> None:
    said = events("die", "start", *["oom"] * 10, "die", "start")
    assert [each.at for each in restarts.by_others(said, facts(), (action(START),))] == [said[-1].at]


def restarted(minutes_ago: int, by: RestartedBy) -> ForeignRestart:
    return ForeignRestart(container="web", at=START - timedelta(minutes=minutes_ago), by=by)


@pytest.mark.parametrize(
    ("seen", "stands_down"),
    [
        ([restarted(n, API) for n in (1, 2)], False),
        ([restarted(n, API) for n in (1, 2, 9)], True),
        ([restarted(n, API) for n in (1, 2, 10)], False),
        ([restarted(n, POLICY) for n in range(9)], False),
    ],
)
def test_three_restarts_by_others_in_ten_minutes_are_another_healer(seen: list[ForeignRestart], stands_down: bool) -> None:
    assert (restarts.keeps_restarting(seen, START) is not None) is stands_down


def test_says_who_restarted_it_how_often() -> None:
    seen = [*(restarted(n, POLICY) for n in range(5)), restarted(1, API), restarted(60, API)]
    said = restarts.sentence(seen, 0, START)
    assert said == "restarted 6 times in 10 min, 5 by its restart policy, 1 by somebody through Docker's API"
    assert restarts.sentence([restarted(11, API)], 1, START) is None
