"""Reasons to do nothing now: when each speaks, when it keeps silent, and when it is over before its time."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import checks
from agent.model import (
    Change,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    ForeignRestart,
    Hold,
    HoldCode,
    HttpRequest,
    HttpSeen,
    Judgement,
    RestartedBy,
    Service,
    ServiceName,
    Silence,
    Standing,
    TcpRequest,
    TcpSeen,
    Verdict,
)
from agent.policy import alive, control, holds
from tests.fakes import START
from tests.unit.policy.holds_at import (
    CONTAINER,
    HTTP,
    MINUTE,
    RUNS,
    SECOND,
    TCP,
    WEB,
    event,
    findings,
    sick,
    standing,
    verdict,
    well,
)

OTHER = Change(what="container", before="c0", after="c1")
SILENCE = Silence(id=3, service=None, why="rack move", by="ann", since=START, until=START + 2 * MINUTE)


def ago(seconds: float, action: str, **facts: object) -> ContainerEvent:
    return event(action, START - timedelta(seconds=seconds), **facts)


class TestMaintenance:
    def test_a_silence_holds_until_its_end_and_names_who_and_why(self) -> None:
        hold = holds.silenced(standing(silence=SILENCE))
        assert hold is not None
        assert (hold.code, hold.look_again) == (HoldCode.MAINTENANCE, 2 * MINUTE)
        assert "ann" in hold.because
        assert "rack move" in hold.because
        assert "medic silence --end 3" in hold.until

    def test_without_one_nothing_is_held(self) -> None:
        assert holds.silenced(standing()) is None


class TestStoppedOnPurpose:
    """Docker tells `stop` only after it was told to; a crash is a `die` alone, whatever its exit code."""

    @pytest.mark.parametrize(
        ("story", "state", "on_purpose"),
        [
            ("kill:15 die:143 stop", ContainerState.EXITED, True),
            ("kill:15 kill:9 die:137 stop", ContainerState.EXITED, True),
            ("kill:15 die stop", ContainerState.EXITED, True),
            ("kill:15 die:143 stop destroy", ContainerState.MISSING, True),
            ("kill:9 die:137", ContainerState.EXITED, True),
            ("kill:9 die:137 destroy", ContainerState.MISSING, False),
            ("kill:1 die:1", ContainerState.EXITED, False),
            ("die:143", ContainerState.EXITED, False),
            ("die:0", ContainerState.EXITED, False),
            ("die", ContainerState.EXITED, False),
            ("kill:15 die:143 stop start die:1", ContainerState.EXITED, False),
            ("", ContainerState.EXITED, False),
        ],
        ids=[
            "docker stop", "docker stop that had to kill", "a stop without an exit code", "compose down", "docker kill",
            "docker rm -f", "a reload before a crash", "the exit code of a stop", "it ended by itself",
            "a crash without an exit code", "a crash after a stop and a start", "events forgotten",
        ],
    )  # fmt: skip
    def test_tells_a_stop_from_a_crash(self, story: str, state: ContainerState, on_purpose: bool) -> None:
        events = tuple(self.told(word, at) for at, word in enumerate(story.split()))
        found = holds.stop_by_others(events, ours=(), removed=state is ContainerState.MISSING)
        assert (found is not None) is on_purpose

    def told(self, word: str, at: int) -> ContainerEvent:
        action, _, detail = word.partition(":")
        signal, code = (detail or None, None) if action == "kill" else (None, int(detail) if detail else None)
        return event(action, START + at * SECOND, signal=signal, exit_code=code)


class TestDeploy:
    @pytest.mark.parametrize(
        ("events", "held_for"),
        [
            ((ago(30, "destroy"), ago(29, "create"), ago(28, "start")), 32),
            ((ago(30, "destroy"), ago(29, "rename"), ago(28, "start")), 32),
            ((ago(59, "destroy"), ago(1, "create")), 59),
            ((ago(99, "start"), ago(9, "create"), ago(8, "start")), 52),
            ((ago(61, "destroy"), ago(60, "create")), None),
            ((ago(20, "create"), ago(19, "start")), None),
            ((ago(20, "destroy"),), None),
            ((ago(20, "die"), ago(19, "start"), ago(10, "die"), ago(9, "start")), None),
        ],
        ids=[
            "replaced",
            "by compose",
            "slowly",
            "the old one was renamed away",
            "a while ago",
            "new",
            "removed by force",
            "a restart policy at work",
        ],
    )
    def test_a_container_that_was_just_replaced_is_left_alone(
        self, events: tuple[ContainerEvent, ...], held_for: float | None
    ) -> None:
        hold = holds.deploying(findings(verdict(sick("http-refused")), events=events), standing())
        assert (hold and hold.look_again) == (None if held_for is None else timedelta(seconds=held_for))
        assert hold is None or hold.code is HoldCode.DEPLOY_IN_PROGRESS

    @pytest.mark.parametrize(("changes", "held"), [((OTHER,), True), ((), False)])
    def test_a_deploy_that_renames_the_old_container_away_is_seen_by_the_new_one(
        self, changes: tuple[Change, ...], held: bool
    ) -> None:
        seen = findings(verdict(sick("http-refused")), events=(ago(9, "create"), ago(8, "start")), changes=changes)
        assert (holds.deploying(seen, standing()) is not None) is held

    @pytest.mark.parametrize("container", [None, checks.missing("web")])
    def test_where_nothing_took_its_place_it_was_not_replaced(self, container: ContainerFacts | None) -> None:
        events = (ago(30, "create"), ago(29, "start"), ago(9, "die"), ago(8, "destroy"))
        seen = findings(verdict(sick("container-missing", "container")), events=events, container=container)
        assert holds.deploying(seen, standing()) is None

    def test_our_own_replacement_is_no_deploy(self) -> None:
        events = (ago(30, "destroy"), ago(29, "create"))
        ours = standing(own_changes=((START - 31 * SECOND, START - 28 * SECOND),))
        assert holds.deploying(findings(verdict(sick("http-refused")), events=events), ours) is None

    def test_a_lock_holds_for_as_long_as_it_stands(self) -> None:
        hold = holds.deploying(findings(verdict(sick("http-refused")), deploying="the lock stands"), standing())
        assert hold is not None
        assert (hold.code, hold.because) == (HoldCode.DEPLOY_IN_PROGRESS, "the lock stands")


class TestOverload:
    @pytest.mark.parametrize(
        ("judgements", "held_for"),
        [
            ((sick("http-status", retry_after=30 * SECOND),), 30),
            ((sick("http-status", retry_after=SECOND),), 10),
            ((sick("http-status", retry_after=3600 * SECOND),), 300),
            ((sick("http-slow"), well("tcp")), 10),
            ((sick("http-status", retry_after=30 * SECOND), sick("healthcheck-red", "container")), 30),
            ((sick("http-status"),), None),
            ((sick("http-slow"), sick("http-timeout", "other")), None),
            ((sick("http-slow"), sick("healthcheck-red", "container")), None),
            ((well(),), None),
        ],
    )
    def test_what_asks_for_time_or_is_slow_gets_it(self, judgements: tuple[Judgement, ...], held_for: float | None) -> None:
        hold = alive.overload(findings(verdict(*judgements)))
        assert (hold and hold.look_again) == (None if held_for is None else timedelta(seconds=held_for))

    def test_what_does_not_run_is_not_overloaded(self) -> None:
        gone = replace(RUNS, state=ContainerState.EXITED)
        assert alive.overload(findings(verdict(sick("http-slow")), container=gone)) is None


class TestWrongProbe:
    RED = sick("healthcheck-red", "container")

    @pytest.mark.parametrize(
        ("service", "judgements", "wrong"),
        [
            (WEB, (RED, well("http"), well("tcp")), True),
            (WEB, (RED, well("http"), sick("port-closed", "tcp")), False),
            (WEB, (RED, well("http")), False),
            (WEB, (sick("container-exited", "container"), well("http"), well("tcp")), False),
            (WEB, (well("http"), well("tcp")), False),
            (replace(WEB, checks=(CONTAINER,)), (RED,), False),
            (replace(WEB, checks=(CONTAINER, TCP)), (RED, well("tcp")), False),
            (replace(WEB, checks=(CONTAINER, HTTP)), (RED, well("http")), True),
        ],
        ids=[
            "it serves", "one port is closed", "one check was not asked", "it does not run", "green",
            "nothing else is asked", "an open port proves nothing", "http alone is enough",
        ],
    )  # fmt: skip
    def test_a_red_healthcheck_of_a_service_that_serves_is_the_probes_trouble(
        self, service: Service, judgements: tuple[Judgement, ...], wrong: bool
    ) -> None:
        hold = alive.wrong_probe(service, findings(verdict(*judgements)))
        assert (hold is not None) is wrong
        assert hold is None or "mend the HEALTHCHECK" in hold.because


class TestFlapping:
    @given(st.lists(st.integers(0, 1200), max_size=20))
    def test_four_changes_within_ten_minutes_and_not_three(self, seconds: list[int]) -> None:
        flips = tuple(sorted(START - each * SECOND for each in seconds))
        recent = [at for at in flips if at > START - 10 * MINUTE]
        hold = alive.flapping(standing(flips=flips))
        assert (hold is not None) is (len(recent) >= 4)
        if hold is not None:
            later = standing(flips=flips, now=START + hold.look_again)
            assert alive.flapping(later) is None, "when it looks again it is steady, if nothing else happened"

    def test_our_own_remedies_start_the_count_anew(self) -> None:
        flips = tuple(START - each * SECOND for each in (50, 40, 30, 20, 10))
        assert alive.flapping(standing(flips=flips)) is not None
        assert alive.flapping(standing(flips=flips, own_changes=((START - 35 * SECOND, START - 31 * SECOND),))) is None

    @pytest.mark.parametrize(
        ("by", "often", "held"),
        [
            (RestartedBy.RESTART_POLICY, 3, False),
            (RestartedBy.RESTART_POLICY, 2, True),
            (RestartedBy.DOCKER_API, 3, True),
        ],
    )
    def test_a_crash_loop_that_a_restart_policy_hides_is_not_waited_for(self, by: RestartedBy, often: int, held: bool) -> None:
        flips = tuple(START - each * SECOND for each in (40, 30, 20, 10))
        restarts = tuple(ForeignRestart(container="web", at=START - each * SECOND, by=by) for each in range(often))
        assert (alive.flapping(standing(flips=flips, restarts=restarts)) is not None) is held


class TestLooping:
    @pytest.mark.parametrize(
        ("by", "ago_", "held"),
        [
            (RestartedBy.RESTART_POLICY, (90, 50, 20), True),
            (RestartedBy.RESTART_POLICY, (90, 75, 60), False),
            (RestartedBy.RESTART_POLICY, (700, 50, 20), False),
            (RestartedBy.RESTART_POLICY, (700, 50, 9), True),
            (RestartedBy.RESTART_POLICY, (9,), True),
            (RestartedBy.RESTART_POLICY, (10,), False),
            (RestartedBy.DOCKER_API, (90, 50, 2), False),
        ],
        ids=[
            "a loop",
            "it has run for a minute",
            "two of late, and steady since",
            "two of late, a moment ago",
            "one, a moment ago",
            "one, and steady since",
            "somebody else's restarts",
        ],
    )
    def test_what_its_restart_policy_starts_again_and_again_has_not_recovered(
        self, by: RestartedBy, ago_: tuple[int, ...], held: bool
    ) -> None:
        restarts = tuple(ForeignRestart(container="web", at=START - each * SECOND, by=by) for each in ago_)
        hold = alive.looping(standing(restarts=restarts))
        assert (hold is not None) is held
        often = {1: "once", 2: "2 times", 3: "3 times"}[sum(each < 600 for each in ago_)]
        assert hold is None or hold.code is HoldCode.FLAPPING
        assert hold is None or hold.because == f"its restart policy restarted it {often} in 10 min"


class TestMonitorBlind:
    A = HttpRequest(url="http://a/", timeout=SECOND)
    B = TcpRequest(address="b:53", timeout=SECOND)
    DOWN = TcpSeen(connected=False, latency=SECOND, error="timeout")
    MUTE = HttpSeen(status=None, latency=SECOND, error="timeout")

    def test_it_is_our_network_only_when_no_target_answers(self) -> None:
        assert control.silent({self.A: self.MUTE, self.B: self.DOWN}) == "no control target answers either (http://a/, b:53)"
        assert control.silent({self.A: HttpSeen(status=500, latency=SECOND), self.B: self.DOWN}) is None
        assert control.silent({self.A: self.MUTE, self.B: TcpSeen(connected=True, latency=SECOND)}) is None
        assert control.silent({}) is None

    def test_what_only_the_network_says_is_held(self) -> None:
        blind = standing(monitor_blind="no control target answers either")
        hold = holds.blind_network(findings(verdict(sick("http-timeout"), sick("port-closed", "tcp"))), blind)
        assert hold is not None
        assert hold.code is HoldCode.MONITOR_BLIND

    def test_what_docker_says_is_true_all_the_same(self) -> None:
        blind = standing(monitor_blind="no control target answers either")
        seen = verdict(sick("http-timeout"), sick("container-exited", "container"))
        assert holds.blind_network(findings(seen), blind) is None
        assert holds.blind_network(findings(verdict(sick("http-timeout"))), standing()) is None


class TestEndedEarly:
    SLOW, TIMEOUT = verdict(sick("http-slow")), verdict(sick("http-timeout"))
    EXITED = verdict(sick("container-exited", "container"))
    RED = verdict(sick("healthcheck-red", "container"), well("http"), well("tcp"))
    FLIPS = tuple(START - each * SECOND for each in (40, 30, 20, 10))

    @pytest.mark.parametrize(
        ("code", "seen", "now", "over"),
        [
            (HoldCode.MAINTENANCE, TIMEOUT, standing(silence=SILENCE), False),
            (HoldCode.MAINTENANCE, TIMEOUT, standing(), True),
            (HoldCode.HALTED, TIMEOUT, standing(halted="ann"), False),
            (HoldCode.HALTED, TIMEOUT, standing(), True),
            (HoldCode.PARENT_DOWN, TIMEOUT, standing(parents_down=("db is sick: tcp",)), False),
            (HoldCode.PARENT_DOWN, TIMEOUT, standing(), True),
            (HoldCode.WARMING, TIMEOUT, standing(), False),
            (HoldCode.WARMING, EXITED, standing(), True),
            (HoldCode.OVERLOAD, SLOW, standing(), False),
            (HoldCode.OVERLOAD, TIMEOUT, standing(), True),
            (HoldCode.WRONG_PROBE, RED, standing(), False),
            (HoldCode.WRONG_PROBE, TIMEOUT, standing(), True),
            (HoldCode.FLAPPING, TIMEOUT, standing(flips=FLIPS), False),
            (HoldCode.FLAPPING, TIMEOUT, standing(), True),
            (HoldCode.STOPPED_ON_PURPOSE, TIMEOUT, standing(), True),
            (HoldCode.DEPLOY_IN_PROGRESS, TIMEOUT, standing(), False),
        ],
    )
    def test_a_hold_ends_when_its_reason_is_gone(self, code: HoldCode, seen: Verdict, now: Standing, over: bool) -> None:
        hold = Hold(code=code, because="", until="", look_again=MINUTE)
        assert holds.ended_early(hold, WEB, seen, now) is over


def test_a_child_of_a_parent_that_is_down_is_held() -> None:
    hold = holds.parent_down(standing(parents_down=("db has incident I4", "disk is recorded as stopped")))
    assert hold is not None
    assert (hold.code, hold.because) == (HoldCode.PARENT_DOWN, "db has incident I4; disk is recorded as stopped")
    assert holds.parent_down(standing()) is None


def test_a_silence_of_another_service_is_named() -> None:
    hold = holds.silenced(standing(silence=replace(SILENCE, service=ServiceName("web"))))
    assert hold is not None
    assert "silenced web" in hold.because
