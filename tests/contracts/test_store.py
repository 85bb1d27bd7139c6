"""The contract of every query group of `ports.Store`: one suite for the memory twin, SQLite and a real Postgres."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from agent.errors import StoreError
from agent.model import (
    LONGEST_WAIT,
    Answer,
    Approval,
    Cause,
    Closing,
    Diagnosis,
    ForeignRestart,
    Health,
    Hold,
    HoldCode,
    HostName,
    HttpCheck,
    IncidentId,
    IncidentState,
    Judgement,
    Ledger,
    LogLine,
    Notice,
    NoticeKind,
    Origin,
    Outcome,
    Plan,
    Plane,
    PlaybookRun,
    Recorded,
    Refusal,
    RefusalCode,
    Request,
    RequestAnswer,
    RequestKind,
    Rerun,
    RestartedBy,
    Risk,
    RunbookId,
    RunEnd,
    RunSpec,
    Service,
    ServiceName,
    Start,
    StoryKind,
    Streak,
    Sureness,
    SweepReport,
    Symptom,
    TaskResult,
    Thresholds,
    Verdict,
)
from agent.ports import Store
from agent.store.store import OpenStore, open_store
from tests.fakes import START, FakeClock
from tests.memory_store import memory_store

T = TypeVar("T")
SECOND = timedelta(seconds=1)

WEB = Service(
    name=ServiceName("web"),
    host=HostName("here"),
    container="web-1",
    checks=(
        HttpCheck(
            name="page",
            every=5 * SECOND,
            thresholds=Thresholds(),
            plane=Plane.HOST_PORT,
            url="http://127.0.0.1:8080/",
            timeout=2 * SECOND,
        ),
    ),
    spec=RunSpec(image="web:1", env=(("MODE", "fast"),)),
)
API = replace(WEB, name=ServiceName("api"), container="api-1")
SICK = Verdict(
    service=WEB.name,
    health=Health.SICK,
    at=START,
    judgements=(
        Judgement(
            check="page",
            plane=Plane.HOST_PORT,
            health=Health.SICK,
            detail="connection refused",
            symptoms=(Symptom(word="http-refused", plane=Plane.HOST_PORT, detail="connection refused"),),
        ),
    ),
)
WELL = replace(SICK, health=Health.WELL, at=START + 40 * SECOND, judgements=())
RESTART = Plan(
    runbook=RunbookId("restart-container"),
    runbook_hash="ab12",
    title="Restart the container",
    risk=Risk.SAFE,
    playbook="restart.yml",
    parameters=(("container", '"web-1"'),),
    timeout=60 * SECOND,
    settle=5 * SECOND,
    rerun=Rerun.SAFE,
    undo=None,
    why="http-refused",
)
RECREATE = replace(RESTART, runbook=RunbookId("recreate-container"))
DIAGNOSIS = Diagnosis(
    cause=Cause.APPLICATION_BUG,
    sureness=Sureness.CONFIRMED,
    said_by="rule:crash",
    summary="it crashed",
    plane=Plane.CONTAINER,
    facts=(("exit_code", "1"),),
    lines=(LogLine(id="L1", text='Traceback "☠" \x00 %s {0}'),),
)
RUN = PlaybookRun(end=RunEnd.COMPLETED, message="done", tasks=(TaskResult(name="restart", status="changed"),), swept=1)
WARMING = Hold(code=HoldCode.WARMING, because="3 s old", until="it is 10 s old", look_again=7 * SECOND)
SPENT = Refusal(code=RefusalCode.ATTEMPTS_SPENT, because="two attempts did not help")
NOTICE = Notice(
    dedup_key="I1:opened",
    kind=NoticeKind.OPENED,
    incident=IncidentId("I1"),
    service=WEB.name,
    at=START,
    title="web is sick",
    body="connection refused",
)


# ------------------------------------------------------------------------------------------------- the implementations


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.live)])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Open one more store over the same, at first empty, database."""
    if request.param == "memory":
        shared = memory_store()
        yield lambda: shared
        return
    url = f"sqlite:///{tmp_path}/medic.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened: list[OpenStore] = []

    def connect_once_more() -> Store:
        opened.append(open_store(url, FakeClock(), redact=str))
        return opened[-1]

    yield connect_once_more
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Callable[[], Store]) -> Store:
    return connect()


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Start every call in a thread of its own at one moment; return what each made of it."""
    line = threading.Barrier(len(calls))

    def start(call: Callable[[], T]) -> T:
        line.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(start, calls))


def opened(store: Store, service: Service = WEB) -> IncidentId:
    return store.incidents.open(service, SICK, fingerprint="web http-refused", now=START)[0].id


# ------------------------------------------------------------------------------------------------------------- services


def test_a_new_service_is_enrolled_as_running(store: Store) -> None:
    store.services.enrol(WEB, now=START)
    record = store.services.record(WEB.name)
    assert record is not None
    assert (record.status, record.since, record.by) == (Recorded.RUNNING, START, "medic")
    assert (record.host, record.container) == (WEB.host, WEB.container)
    assert store.services.service(WEB.name) == WEB


def test_enrolling_again_keeps_the_status_and_takes_the_new_declaration(store: Store) -> None:
    store.services.enrol(WEB, now=START)
    store.services.set_status(WEB.name, Recorded.STOPPED, by="ann", diagnostic="", now=START + SECOND)
    moved = replace(WEB, container="web-2")
    store.services.enrol(moved, now=START + 2 * SECOND)
    record = store.services.record(WEB.name)
    assert record is not None
    assert (record.status, record.by, record.since) == (Recorded.STOPPED, "ann", START + SECOND)
    assert record.container == "web-2"
    assert store.services.services() == (moved,)


def test_services_come_back_ordered_by_name(store: Store) -> None:
    names = ("web", "Api", "api", "a-b", "ab")
    for name in names:
        store.services.enrol(replace(WEB, name=ServiceName(name)), now=START)
    assert [record.service for record in store.services.records()] == sorted(names)
    assert [service.name for service in store.services.services()] == sorted(names)


def test_remembers_how_a_service_looked_when_well(store: Store) -> None:
    store.services.enrol(WEB, now=START)
    store.services.seen_well(
        WEB.name, image_id="sha256:1", config_hash="c", container_id="id", environment="1a2b", now=START + SECOND
    )
    record = store.services.record(WEB.name)
    assert record is not None
    assert (record.image_id, record.config_hash, record.container_id, record.environment) == ("sha256:1", "c", "id", "1a2b")
    assert (record.well_at, record.since) == (START + SECOND, START)


def test_an_error_keeps_its_diagnostic(store: Store) -> None:
    store.services.enrol(WEB, now=START)
    store.services.set_status(WEB.name, Recorded.ERROR, by="medic", diagnostic="exit 1: bad \x00 config", now=START)
    record = store.services.record(WEB.name)
    assert record is not None
    assert record.status is Recorded.ERROR
    assert record.diagnostic.startswith("exit 1: bad ")


def test_a_forgotten_service_is_gone_and_can_be_told_nothing(store: Store) -> None:
    store.services.enrol(WEB, now=START)
    store.services.keep_streaks(WEB.name, [Streak(check="page", health=Health.WELL, length=1, settled=Health.WELL)])
    store.services.forget(WEB.name)
    store.services.set_status(WEB.name, Recorded.ERROR, by="medic", diagnostic="late", now=START)
    store.services.seen_well(WEB.name, image_id=None, config_hash=None, container_id=None, now=START)
    assert store.services.record(WEB.name) is None
    assert store.services.service(WEB.name) is None
    assert store.services.streaks(WEB.name) == ()


def test_streaks_are_replaced_as_a_whole(store: Store) -> None:
    first = (
        Streak(check="page", health=Health.SICK, length=1, settled=Health.WELL),
        Streak(check="port", health=Health.WELL, length=9, settled=Health.WELL),
    )
    assert store.services.streaks(WEB.name) == ()
    store.services.keep_streaks(WEB.name, first)
    assert store.services.streaks(WEB.name) == first
    store.services.keep_streaks(WEB.name, first[:1])
    assert store.services.streaks(WEB.name) == first[:1]


def test_the_streaks_of_all_services_come_in_one_look(store: Store) -> None:
    one = (Streak(check="page", health=Health.SICK, length=1, settled=Health.WELL),)
    assert store.services.all_streaks() == {}
    store.services.keep_streaks(WEB.name, one)
    store.services.keep_streaks(API.name, ())
    assert store.services.all_streaks() == {WEB.name: one, API.name: ()}


def test_the_ledger_counts_what_ever_happened(store: Store) -> None:
    assert store.ledger.read() == Ledger()
    healed, under_way = opened(store), opened(store, API)
    store.attempts.begin(healed, 1, RESTART, now=START)
    store.attempts.end(healed, 1, Outcome.HEALED, None, now=START)
    store.incidents.close(healed, Closing.HEALED, by="medic", now=START + 60 * SECOND)
    store.attempts.begin(under_way, 1, RESTART, now=START)
    store.requests.ask(Request(id="r1", kind=RequestKind.HEAL, service=WEB.name, by="ann", at=START))
    ledger = store.ledger.read()
    assert ledger.repairs == (60 * SECOND,)
    assert replace(ledger, repairs=()) == Ledger(
        opened=(("heartbeat", 2),), closed=(("healed", 1),), attempts=(("healed", 1),), under_way=1, requests=1
    )


def test_a_stamp_differs_once_anybody_has_written_or_says_that_one_must_look(connect: Callable[[], Store]) -> None:
    store, other = connect(), connect()
    for writer, service in ((store, WEB), (other, API)):
        before = store.changes.stamp()
        writer.services.enrol(service, now=START)
        after = store.changes.stamp()
        assert (before is None and after is None) or before != after
        store.services.records()
        assert store.changes.stamp() == after


# ------------------------------------------------------------------------------------------------- silences and starts


def test_a_silence_is_in_force_until_its_end(store: Store) -> None:
    one = store.silences.begin(WEB.name, why="deploy", by="ann", now=START, until=START + 60 * SECOND)
    every = store.silences.begin(None, why="rack \x00 move", by="bob", now=START, until=START + 10 * SECOND)
    assert (one.service, one.why, one.by, one.since) == (WEB.name, "deploy", "ann", START)
    assert [each.id for each in store.silences.active(START)] == [one.id, every.id]
    assert store.silences.active(START + 10 * SECOND) == (one,)
    assert store.silences.active(START + 60 * SECOND) == ()


def test_a_silence_can_be_ended_once_and_only_while_it_lasts(store: Store) -> None:
    silence = store.silences.begin(None, why="deploy", by="ann", now=START, until=START + 60 * SECOND)
    assert not store.silences.end(silence.id + 1, by="ann", now=START)
    assert store.silences.end(silence.id, by="ann", now=START + SECOND)
    assert store.silences.active(START + SECOND) == ()
    assert not store.silences.end(silence.id, by="ann", now=START + 2 * SECOND)
    late = store.silences.begin(None, why="deploy", by="ann", now=START, until=START + SECOND)
    assert not store.silences.end(late.id, by="ann", now=START + SECOND)


def test_the_latest_fifty_starts_of_a_service_stay(store: Store) -> None:
    made = [Start(image_id="sha256:1", started_at=START + n * SECOND, took=n * SECOND / 7) for n in range(53)]
    for each in made:
        store.starts.learn(WEB.name, each)
    store.starts.learn(WEB.name, made[-1])
    store.starts.learn(API.name, made[0])
    assert store.starts.of(WEB.name) == tuple(made[-50:])
    assert store.starts.of(API.name) == (made[0],)


def test_the_latest_twenty_changes_of_a_service_stay(store: Store) -> None:
    for n in range(23):
        store.starts.flip(WEB.name, now=START + n * SECOND)
    assert store.starts.flips(WEB.name) == tuple(START + n * SECOND for n in range(3, 23))
    assert store.starts.flips(API.name) == ()


# ------------------------------------------------------------------------------------------------------------ incidents


def test_a_second_sick_verdict_finds_the_incident_that_stands(store: Store) -> None:
    first, is_new = store.incidents.open(WEB, SICK, fingerprint="f", now=START)
    again, is_new_again = store.incidents.open(WEB, WELL, fingerprint="g", now=START + SECOND)
    assert (is_new, is_new_again) == (True, False)
    assert again == first
    assert first.id == "I1"
    assert first.first == SICK
    assert (first.state, first.origin, first.round, first.attempts) == (IncidentState.OPEN, Origin.HEARTBEAT, 1, ())


def test_two_beats_at_once_open_one_incident(connect: Callable[[], Store]) -> None:
    one, two = connect(), connect()
    results = at_once(*[lambda s=s: s.incidents.open(WEB, SICK, fingerprint="f", now=START) for s in (one, two, one, two)])
    assert {incident.id for incident, _ in results} == {"I1"}
    assert sorted(is_new for _, is_new in results) == [False, False, False, True]


def test_a_closed_incident_makes_room_for_the_next(store: Store) -> None:
    first = opened(store)
    assert store.incidents.close(first, Closing.HEALED, by="medic", now=START)
    second, is_new = store.incidents.open(WEB, SICK, fingerprint="f", now=START)
    assert is_new
    assert second.id == "I2"


def test_a_request_stands_beside_the_heartbeats_incident(store: Store) -> None:
    beat = opened(store)
    asked = store.incidents.request(WEB, SICK, RESTART, by="ann", now=START)
    again = store.incidents.request(WEB, SICK, RECREATE, by="ann", now=START)
    assert len({beat, asked.id, again.id}) == 3
    assert (asked.origin, asked.requested) == (Origin.PERSON, RESTART)
    assert opened(store) == beat
    assert [incident.id for incident in store.incidents.unclosed(WEB.name)] == [beat, asked.id, again.id]


@pytest.mark.parametrize("text", ["I2", "I0", "I", "", "1", "X1", "I-1", "I1; DROP TABLE incidents", "I" + "9" * 30, "I²"])
def test_knows_no_incident_by_any_other_text(store: Store, text: str) -> None:
    opened(store)
    assert store.incidents.get(IncidentId(text)) is None
    assert store.incidents.close(IncidentId(text), Closing.BY_PERSON, by="ann", now=START) is False


def test_the_story_of_states_moves_by_compare_and_set(store: Store) -> None:
    incident = opened(store)
    until = START + 7 * SECOND
    assert store.incidents.hold(incident, WARMING, until=until)
    assert not store.incidents.hold(incident, WARMING, until=until)
    held = store.incidents.get(incident)
    assert held is not None
    assert (held.state, held.hold, held.hold_until) == (IncidentState.HELD, WARMING, until)

    assert not store.incidents.next_round(incident, expected=2)
    assert store.incidents.next_round(incident, expected=1)
    assert not store.incidents.next_round(incident, expected=1)
    resumed = store.incidents.get(incident)
    assert resumed is not None
    assert (resumed.state, resumed.round, resumed.hold, resumed.hold_until) == (IncidentState.OPEN, 2, WARMING, None)

    assert store.incidents.escalate(incident, SPENT)
    assert not store.incidents.escalate(incident, SPENT)
    assert not store.incidents.hold(incident, WARMING, until=until)
    assert not store.incidents.next_round(incident, expected=2)
    escalated = store.incidents.get(incident)
    assert escalated is not None
    assert (escalated.state, escalated.refusal) == (IncidentState.ESCALATED, SPENT)

    assert store.incidents.close(incident, Closing.BY_PERSON, by="ann", now=until)
    assert not store.incidents.close(incident, Closing.RECOVERED, by="medic", now=START)
    assert not store.incidents.escalate(incident, SPENT)
    closed = store.incidents.get(incident)
    assert closed is not None
    assert (closed.state, closed.closing, closed.closed_at) == (IncidentState.CLOSED, Closing.BY_PERSON, until)
    assert closed.closed_by == "ann"


def test_an_escalated_incident_still_counts_as_standing(store: Store) -> None:
    incident = opened(store)
    store.incidents.escalate(incident, SPENT)
    assert opened(store) == incident


def test_keeps_the_latest_diagnosis_whatever_the_log_holds(store: Store) -> None:
    incident = opened(store)
    store.incidents.keep_diagnosis(incident, replace(DIAGNOSIS, cause=Cause.DISK_FULL))
    store.incidents.keep_diagnosis(incident, DIAGNOSIS)
    found = store.incidents.get(incident)
    assert found is not None
    assert found.diagnosis == DIAGNOSIS


def test_one_of_two_starts_the_next_round(connect: Callable[[], Store]) -> None:
    one, two = connect(), connect()
    incident = opened(one)
    won = at_once(*[lambda s=s: s.incidents.next_round(incident, expected=1) for s in (one, two)])
    assert sorted(won) == [False, True]


def test_lists_the_unclosed_from_the_oldest_and_the_recent_from_the_newest(store: Store) -> None:
    first, second = opened(store, WEB), opened(store, API)
    store.incidents.close(first, Closing.RECOVERED, by="medic", now=START)
    third = opened(store, WEB)
    assert [i.id for i in store.incidents.unclosed()] == [second, third]
    assert [i.id for i in store.incidents.unclosed(WEB.name)] == [third]
    assert [i.id for i in store.incidents.recent()] == [third, second, first]
    assert [i.id for i in store.incidents.recent(service=WEB.name)] == [third, first]
    assert [i.id for i in store.incidents.recent(limit=1)] == [third]


def test_counts_only_heals_of_the_service_since_then(store: Store) -> None:
    for closing, when in ((Closing.HEALED, 0), (Closing.HEALED, 60), (Closing.RECOVERED, 70), (Closing.BY_PERSON, 80)):
        store.incidents.close(opened(store), closing, by="medic", now=START + when * SECOND)
    store.incidents.close(opened(store, API), Closing.HEALED, by="medic", now=START + 90 * SECOND)
    assert store.incidents.heals_since(WEB.name, START) == 2
    assert store.incidents.heals_since(WEB.name, START + SECOND) == 1
    assert store.incidents.heals_since(WEB.name, START + 61 * SECOND) == 0
    assert store.incidents.healed_since(START + SECOND) == (WEB.name, API.name)
    assert store.incidents.healed_since(START + 91 * SECOND) == ()


# ------------------------------------------------------------------------------------------------------------- attempts


def test_beginning_an_attempt_again_returns_the_row_that_stands(store: Store) -> None:
    incident = opened(store)
    first = store.attempts.begin(incident, 1, RESTART, now=START)
    again = store.attempts.begin(incident, 1, RECREATE, now=START + SECOND)
    assert again == first
    assert (first.plan, first.intent_at, first.runs, first.outcome) == (RESTART, START, 0, None)


@pytest.mark.abuse("4")
def test_two_that_begin_one_attempt_share_one_row(connect: Callable[[], Store]) -> None:
    one, two = connect(), connect()
    incident = opened(one)
    rows = at_once(
        lambda: one.attempts.begin(incident, 1, RESTART, now=START),
        lambda: two.attempts.begin(incident, 1, RECREATE, now=START),
    )
    found = one.incidents.get(incident)
    assert found is not None
    assert rows == [found.attempts[0]] * 2


def test_attempts_come_back_in_order_with_everything_written(store: Store) -> None:
    incident = opened(store)
    store.attempts.begin(incident, 2, RECREATE, now=START + 60 * SECOND)
    store.attempts.begin(incident, 1, RESTART, now=START)
    store.attempts.ran(incident, 1, RUN, now=START + 2 * SECOND)
    store.attempts.end(incident, 1, Outcome.INEFFECTIVE, SICK, now=START + 30 * SECOND)
    store.attempts.undone(incident, 1, RUN, now=START + 40 * SECOND)
    found = store.incidents.get(incident)
    assert found is not None
    first, second = found.attempts
    assert (first.number, second.number) == (1, 2)
    assert (first.run, first.ran_until) == (RUN, START + 2 * SECOND)
    assert (first.outcome, first.verdict, first.ended_at) == (Outcome.INEFFECTIVE, SICK, START + 30 * SECOND)
    assert first.undo == RUN
    assert (second.outcome, second.run, second.undo) == (None, None, None)


def test_every_listing_carries_the_attempts(store: Store) -> None:
    incident = opened(store)
    attempt = store.attempts.begin(incident, 1, RESTART, now=START)
    listings = (
        store.incidents.unclosed(),
        store.incidents.recent(),
        (store.incidents.open(WEB, SICK, fingerprint="f", now=START)[0],),
    )
    assert [found.attempts for listing in listings for found in listing] == [(attempt,)] * 3


def test_every_start_of_the_playbook_is_counted(connect: Callable[[], Store]) -> None:
    one, two = connect(), connect()
    incident = opened(one)
    one.attempts.begin(incident, 1, RESTART, now=START)
    counts = at_once(*[lambda s=s: s.attempts.started(incident, 1, place="") for s in (one, two, one, two)])
    assert sorted(counts) == [1, 2, 3, 4]


def test_the_first_writer_of_a_result_wins(store: Store) -> None:
    incident = opened(store)
    store.attempts.begin(incident, 1, RESTART, now=START)
    late = replace(RUN, end=RunEnd.LOST)
    store.attempts.ran(incident, 1, RUN, now=START)
    store.attempts.ran(incident, 1, late, now=START + SECOND)
    store.attempts.end(incident, 1, Outcome.HEALED, WELL, now=START)
    store.attempts.end(incident, 1, Outcome.AMBIGUOUS, None, now=START + SECOND)
    store.attempts.undone(incident, 1, RUN, now=START)
    store.attempts.undone(incident, 1, late, now=START + SECOND)
    found = store.incidents.get(incident)
    assert found is not None
    (attempt,) = found.attempts
    assert (attempt.run, attempt.ran_until, attempt.undo) == (RUN, START, RUN)
    assert (attempt.outcome, attempt.verdict, attempt.ended_at) == (Outcome.HEALED, WELL, START)


def test_an_attempt_can_end_without_having_run(store: Store) -> None:
    incident = opened(store)
    store.attempts.begin(incident, 1, RESTART, now=START)
    store.attempts.end(incident, 1, Outcome.SUPERSEDED, None, now=START)
    found = store.incidents.get(incident)
    assert found is not None
    assert (found.attempts[0].run, found.attempts[0].outcome) == (None, Outcome.SUPERSEDED)


@pytest.mark.parametrize(
    "write",
    [
        lambda store, incident: store.attempts.started(incident, 1, place=""),
        lambda store, incident: store.attempts.ran(incident, 1, RUN, now=START),
        lambda store, incident: store.attempts.end(incident, 1, Outcome.HEALED, WELL, now=START),
        lambda store, incident: store.attempts.undone(incident, 1, RUN, now=START),
        lambda store, _: store.attempts.begin(IncidentId("I99"), 1, RESTART, now=START),
        lambda store, _: store.attempts.begin(IncidentId("nonsense"), 1, RESTART, now=START),
    ],
)
def test_refuses_to_write_to_an_attempt_that_has_no_row(store: Store, write: Callable[[Store, IncidentId], object]) -> None:
    incident = opened(store)
    with pytest.raises(StoreError, match=r"^cannot ") as refused:
        write(store, incident)
    assert not refused.value.transient


# ------------------------------------------------------------------------------------------------------------ approvals


HOUR = timedelta(hours=1)


def ask(store: Store, incident: IncidentId, plan: Plan = RESTART, *, digest: str = "d1", number: int = 1) -> Approval:
    return store.approvals.ask(
        incident, number, digest, plan, impact="one container", diff="- a\n+ b", now=START, expires_at=START + HOUR
    )


def test_a_request_for_approval_is_written_once(store: Store) -> None:
    incident = opened(store)
    first = ask(store, incident)
    assert ask(store, incident, RECREATE) == first, "the row that stands under the key, whatever is asked again"
    assert store.approvals.get(first.id) == first
    assert (first.incident, first.service, first.plan, first.answer) == (incident, WEB.name, RESTART, None)
    others = ask(store, incident, digest="d2"), ask(store, incident, number=2)
    assert store.approvals.of(incident) == (first, *others)
    assert len({each.id for each in store.approvals.of(incident)}) == 3


def test_a_request_for_approval_needs_its_incident(store: Store) -> None:
    with pytest.raises(StoreError, match="no such incident"):
        ask(store, IncidentId("I99"))


@pytest.mark.parametrize("id_", ["A0", "A99", "I1", "1", "", "A", "A1; DROP TABLE approvals", "A-1"])
def test_knows_no_approval_by_any_other_text(store: Store, id_: str) -> None:
    ask(store, opened(store))
    assert store.approvals.get(id_) is None
    assert not store.approvals.answer(id_, Answer.APPROVED, by="ann", why="", now=START)


def test_an_answer_is_written_once_and_kept_with_who_when_and_why(store: Store) -> None:
    asked_ = ask(store, opened(store))
    assert store.approvals.waiting(START) == (asked_,)
    assert store.approvals.answer(asked_.id, Answer.APPROVED, by="ann", why="it is night", now=START + SECOND)
    assert not store.approvals.answer(asked_.id, Answer.DENIED, by="bob", why="", now=START + SECOND)
    answered = store.approvals.get(asked_.id)
    assert answered == replace(asked_, answer=Answer.APPROVED, answered_by="ann", answered_at=START + SECOND, why="it is night")
    assert store.approvals.waiting(START) == ()


def test_one_of_two_answers_at_once_counts(connect: Callable[[], Store]) -> None:
    one, other = connect(), connect()
    asked_ = ask(one, opened(one))
    said = at_once(
        lambda: one.approvals.answer(asked_.id, Answer.APPROVED, by="ann", why="", now=START),
        lambda: other.approvals.answer(asked_.id, Answer.DENIED, by="bob", why="", now=START),
    )
    assert sorted(said) == [False, True]
    answered = one.approvals.get(asked_.id)
    assert answered is not None
    assert answered.answer is (Answer.APPROVED if said[0] else Answer.DENIED)


@pytest.mark.parametrize("later", [HOUR, HOUR + SECOND])
def test_what_has_expired_waits_no_more(store: Store, later: timedelta) -> None:
    asked_ = ask(store, opened(store))
    assert store.approvals.waiting(START + HOUR - SECOND) == (asked_,)
    assert store.approvals.waiting(START + later) == ()
    assert not store.approvals.answer(asked_.id, Answer.APPROVED, by="ann", why="", now=START + later)


@pytest.mark.parametrize("held", [True, False])
def test_what_belongs_to_an_ended_incident_waits_no_more(store: Store, held: bool) -> None:
    incident = opened(store)
    if held:
        store.incidents.hold(incident, WARMING, until=START)
    asked_ = ask(store, incident)
    assert store.approvals.waiting(START) == (asked_,)
    store.incidents.close(incident, Closing.RECOVERED, by="medic", now=START)
    assert store.approvals.waiting(START) == ()
    assert not store.approvals.answer(asked_.id, Answer.APPROVED, by="ann", why="", now=START)
    escalated = opened(store)
    ask(store, escalated)
    store.incidents.escalate(escalated, Refusal(code=RefusalCode.DENIED, because="no"))
    assert store.approvals.waiting(START) == ()


def test_an_edit_replaces_the_request_by_an_approved_one(store: Store) -> None:
    incident = opened(store)
    asked_ = ask(store, incident)
    other = replace(RESTART, parameters=(("container", '"web-2"'),))
    edited = store.approvals.edit(asked_.id, "d2", other, by="ann", why="that one", now=START + SECOND)
    assert edited is not None
    assert (edited.plan, edited.digest, edited.edit_of, edited.answer) == (other, "d2", "d1", Answer.APPROVED)
    assert (edited.number, edited.expires_at, edited.answered_by, edited.why) == (1, asked_.expires_at, "ann", "that one")
    before, after = store.approvals.of(incident)
    assert (before.answer, after) == (Answer.EDITED, edited)
    assert store.approvals.edit(asked_.id, "d3", other, by="bob", why="", now=START + SECOND) is None
    assert store.approvals.edit(edited.id, "d3", other, by="bob", why="", now=START + SECOND) is None
    assert len(store.approvals.of(incident)) == 2


# ---------------------------------------------------------------------------------------------------- limits of the fleet


def test_finds_the_incidents_with_one_fingerprint_that_were_opened_since_then(store: Store) -> None:
    for minute, fingerprint in enumerate(("web:a", "web:b", "web:a")):
        incident, _ = store.incidents.open(WEB, SICK, fingerprint=fingerprint, now=START + minute * 60 * SECOND)
        store.incidents.close(incident.id, Closing.HEALED, by="medic", now=START + minute * 60 * SECOND)
    store.incidents.request(API, SICK, RESTART, by="ada", now=START)
    assert [i.id for i in store.incidents.opened_since(START)] == ["I1", "I2", "I3"], "a person's run is no trouble"
    assert [i.id for i in store.incidents.opened_since(START, fingerprint="web:a")] == ["I1", "I3"]
    assert [i.id for i in store.incidents.opened_since(START + SECOND, fingerprint="web:a")] == ["I3"]


def test_an_action_is_every_attempt_that_was_not_ended_before_a_change(store: Store) -> None:
    incident = opened(store)
    for number, outcome in enumerate((Outcome.SUPERSEDED, Outcome.CANCELLED, Outcome.INEFFECTIVE, None), start=1):
        store.attempts.begin(incident, number, RESTART, now=START + number * SECOND)
        if outcome is not None:
            store.attempts.ran(incident, number, RUN, now=START + (number + 10) * SECOND)
            store.attempts.end(incident, number, outcome, None, now=START + (number + 20) * SECOND)
    by_ada = store.incidents.request(API, SICK, RECREATE, by="ada", now=START)
    store.attempts.begin(by_ada.id, 1, RECREATE, now=START + 9 * SECOND)
    assert [(a.incident, a.number, a.failed, a.by_person) for a in store.attempts.actions_since(START)] == [
        (incident, 3, True, False),
        (incident, 4, False, False),
        (by_ada.id, 1, False, True),
    ]
    done, under_way, asked_for = store.attempts.actions_since(START)
    assert (done.at, done.until) == (START + 3 * SECOND, START + 13 * SECOND)
    assert under_way.until is None
    assert (asked_for.service, asked_for.host, asked_for.runbook) == (API.name, API.host, RECREATE.runbook)
    assert store.attempts.actions_since(START + 5 * SECOND) == (asked_for,)


def test_an_action_lasts_until_its_undo_has_ended(store: Store) -> None:
    incident = opened(store)
    store.attempts.begin(incident, 1, RESTART, now=START)
    store.attempts.ran(incident, 1, RUN, now=START + SECOND)
    store.attempts.undone(incident, 1, RUN, now=START + 9 * SECOND)
    (action,) = store.attempts.actions_since(START)
    assert action.until == START + 9 * SECOND


def test_a_breaker_opens_once_and_stays_until_a_person_resets_it(connect: Callable[[], Store]) -> None:
    store, other = connect(), connect()
    first, fresh = store.breakers.open("fleet", because="3 of 4", services=(WEB.name, API.name), now=START)
    assert fresh
    assert other.breakers.open("fleet", because="4 of 4", services=(), now=START + SECOND) == (first, False)
    incident = opened(store)
    store.breakers.names("fleet", incident)
    assert other.breakers.standing() == (replace(first, incident=incident),)
    assert store.breakers.last_reset("fleet") is None
    closed = other.breakers.reset("fleet", by="ada", why="the switch is back", now=START + 5 * SECOND)
    assert closed is not None
    assert (closed.reset_at, closed.reset_by, closed.reset_why) == (START + 5 * SECOND, "ada", "the switch is back")
    assert store.breakers.standing() == ()
    assert store.breakers.reset("fleet", by="bob", why="again", now=START + 6 * SECOND) is None
    assert store.breakers.last_reset("fleet") == START + 5 * SECOND


def test_a_breaker_that_was_reset_can_open_again(store: Store) -> None:
    for second in (0, 10):
        store.breakers.open("group:web", because="x", services=(WEB.name,), now=START + second * SECOND)
        store.breakers.reset("group:web", by="ada", why="looked", now=START + (second + 1) * SECOND)
    again, fresh = store.breakers.open("group:web", because="x", services=(), now=START + 20 * SECOND)
    assert fresh
    assert store.breakers.standing() == (again,)
    assert store.breakers.last_reset("group:web") == START + 11 * SECOND
    assert store.breakers.last_reset("fleet") is None


def test_breakers_of_different_scopes_stand_beside_one_another(store: Store) -> None:
    for scope in ("group:web", "fleet", "runbook:restart-container"):
        store.breakers.open(scope, because="x", services=(), now=START)
    assert [breaker.scope for breaker in store.breakers.standing()] == ["group:web", "fleet", "runbook:restart-container"]


def test_two_that_open_one_breaker_share_one_row(connect: Callable[[], Store]) -> None:
    both = at_once(*(partial(connect().breakers.open, "fleet", because="x", services=(), now=START) for _ in range(4)))
    assert sorted(fresh for _, fresh in both) == [False, False, False, True]


def test_a_restart_by_others_is_kept_once_and_its_first_account_stands(store: Store) -> None:
    policy = ForeignRestart(container="web-1", at=START, by=RestartedBy.RESTART_POLICY)
    later = ForeignRestart(container="web-1", at=START + SECOND, by=RestartedBy.DOCKER_API)
    store.foreign_restarts.keep(WEB.host, (later, policy))
    store.foreign_restarts.keep(WEB.host, (replace(policy, by=RestartedBy.DOCKER_API),))
    store.foreign_restarts.keep(WEB.host, (replace(policy, container="web-2"),))
    store.foreign_restarts.keep(HostName("there"), (policy,))
    assert store.foreign_restarts.since(WEB.host, "web-1", START) == (policy, later)
    assert store.foreign_restarts.since(WEB.host, "web-1", START + SECOND) == (later,)
    assert store.foreign_restarts.prune(before=START + SECOND) == 3
    assert store.foreign_restarts.since(WEB.host, "web-1", START) == (later,)


# --------------------------------------------------------------------------------------------------------------- sweeps


def report(slot: int) -> SweepReport:
    return SweepReport(
        slot=slot,
        at=START + slot * SECOND,
        took=timedelta(milliseconds=12),
        checked=(WEB.name, API.name),
        sick=(WEB.name,),
        unknown=(),
        opened=(IncidentId("I1"),),
        healed=(),
        missing=("old-1",),
        unrecorded=(),
    )


def test_the_newest_reports_come_first(store: Store) -> None:
    for slot in (1, 2, 3):
        store.sweeps.keep(report(slot))
    assert store.sweeps.latest() == (report(3), report(2), report(1))
    assert store.sweeps.latest(1) == (report(3),)


def test_pruning_deletes_only_what_is_older(store: Store) -> None:
    for slot in (1, 2, 3):
        store.sweeps.keep(report(slot))
    assert store.sweeps.prune(before=START + 3 * SECOND, most_bytes=10**9) == 2
    assert store.sweeps.latest() == (report(3),)


@pytest.mark.abuse("90")
def test_too_many_bytes_of_reports_take_the_oldest_first(store: Store) -> None:
    for slot in range(40):
        store.sweeps.keep(report(slot))
    cap = store.sweeps.size() // 4
    assert store.sweeps.prune(before=START, most_bytes=cap) >= 29
    kept = store.sweeps.latest(100)
    assert 8 <= len(kept) <= 11, "about: reports of one fleet are about equally long"
    assert kept[0] == report(39)
    assert [each.slot for each in kept] == list(range(39, 39 - len(kept), -1))
    assert store.sweeps.size() <= cap * 1.1
    assert store.sweeps.prune(before=START, most_bytes=cap) <= 1, "nothing more to take"


# ---------------------------------------------------------------------------------------------------------------- story


def test_a_line_with_a_key_is_told_once(store: Store) -> None:
    incident, other = opened(store, WEB), opened(store, API)
    for _ in range(2):
        store.story.tell(incident, WEB.name, StoryKind.SEEN, "sick", now=START, key="1:seen")
        store.story.tell(other, API.name, StoryKind.SEEN, "sick", now=START, key="1:seen")
        store.story.tell(incident, WEB.name, StoryKind.TASK, "restart: changed", now=START)
    events = store.story.since(0)
    assert [(e.incident, e.kind) for e in events] == [
        (incident, StoryKind.SEEN),
        (other, StoryKind.SEEN),
        (incident, StoryKind.TASK),
        (incident, StoryKind.TASK),
    ]
    assert [e.id for e in events] == sorted({e.id for e in events})


def test_a_reader_goes_on_after_the_last_line_it_saw(store: Store) -> None:
    incident, other = opened(store, WEB), opened(store, API)
    for number in range(4):
        store.story.tell((incident, other)[number % 2], WEB.name, StoryKind.TASK, f"line {number}", now=START)
    first, second, *_ = store.story.since(0)
    assert [e.text for e in store.story.since(first.id)] == ["line 1", "line 2", "line 3"]
    assert [e.text for e in store.story.since(0, limit=2)] == ["line 0", "line 1"]
    assert [e.text for e in store.story.since(second.id, incident=incident)] == ["line 2"]


def test_text_from_outside_cannot_break_a_line(store: Store) -> None:
    incident = opened(store)
    store.story.tell(incident, WEB.name, StoryKind.TASK, "'); DROP TABLE story; -- % \x00 \ud800 {0} é", now=START)
    (event,) = store.story.since(0)
    assert event.text.startswith("'); DROP TABLE story; -- % ")
    assert event.text.endswith(" {0} é")


def test_tells_no_story_of_an_incident_that_is_not(store: Store) -> None:
    with pytest.raises(StoreError, match="cannot tell the story of I7"):
        store.story.tell(IncidentId("I7"), WEB.name, StoryKind.SEEN, "sick", now=START)


# --------------------------------------------------------------------------------------------------------------- outbox


def test_the_same_edge_is_queued_once_for_each_channel(store: Store) -> None:
    store.outbox.post(NOTICE, ["file", "webhook", "file"])
    store.outbox.post(replace(NOTICE, title="again"), ["webhook", "mail"])
    due = store.outbox.due(START)
    assert [(row.channel, row.notice.title) for row in due] == [
        ("file", "web is sick"),
        ("webhook", "web is sick"),
        ("mail", "again"),
    ]
    assert store.outbox.undelivered() == 3


def test_a_delivered_notice_is_never_due_again(store: Store) -> None:
    store.outbox.post(NOTICE, ["file"])
    (row,) = store.outbox.due(START)
    store.outbox.delivered(row.id, now=START)
    store.outbox.post(NOTICE, ["file"])
    store.outbox.put_off(row.id, error="late answer", next_try=START)
    assert store.outbox.due(START + timedelta(days=9)) == ()
    assert store.outbox.undelivered() == 0


def test_a_notice_put_off_comes_back_at_its_time(store: Store) -> None:
    store.outbox.post(NOTICE, ["webhook"])
    assert store.outbox.due(START - SECOND) == ()
    (row,) = store.outbox.due(START)
    store.outbox.put_off(row.id, error="503 \x00", next_try=START + 30 * SECOND)
    assert store.outbox.due(START + 29 * SECOND) == ()
    (again,) = store.outbox.due(START + 30 * SECOND)
    assert (again.id, again.tries, again.next_try) == (row.id, 1, START + 30 * SECOND)
    assert again.last_error is not None
    assert again.last_error.startswith("503")
    assert store.outbox.undelivered() == 1


@pytest.mark.abuse("16")
def test_a_notice_put_off_before_the_clock_was_set_back_is_due(store: Store) -> None:
    store.outbox.post(NOTICE, ["webhook"])
    (row,) = store.outbox.due(START)
    store.outbox.put_off(row.id, error="503", next_try=START + LONGEST_WAIT)
    assert store.outbox.due(START) == ()
    assert len(store.outbox.due(START - SECOND)) == 1


def test_a_channel_hears_of_its_edges_in_order(store: Store) -> None:
    store.outbox.post(NOTICE, ["webhook"])
    (row,) = store.outbox.due(START)
    store.outbox.put_off(row.id, error="503", next_try=START + 30 * SECOND)
    store.outbox.post(replace(NOTICE, dedup_key="I1:resolved"), ["webhook", "file"])
    assert [row.channel for row in store.outbox.due(START + SECOND)] == ["file"]
    later = store.outbox.due(START + 30 * SECOND)
    assert [r.notice.dedup_key for r in later if r.channel == "webhook"] == [NOTICE.dedup_key, "I1:resolved"]


def test_the_oldest_notices_are_due_first(store: Store) -> None:
    for number in range(3):
        store.outbox.post(replace(NOTICE, dedup_key=f"I{number}:opened"), ["file"])
    assert [row.notice.dedup_key for row in store.outbox.due(START, limit=2)] == ["I0:opened", "I1:opened"]


# ------------------------------------------------------------------------------------------------------------- requests


def asked(id_: str) -> Request:
    return Request(
        id=id_,
        kind=RequestKind.RUN,
        service=WEB.name,
        by="ann",
        at=START,
        runbook=RESTART.runbook,
        settings=(("stop_timeout", "5"),),
    )


def test_requests_are_claimed_in_order_and_once(store: Store) -> None:
    for id_ in ("z", "a", "z"):
        store.requests.ask(asked(id_))
    assert [store.requests.claim(START) for _ in range(3)] == [asked("z"), asked("a"), None]


def test_a_request_is_claimed_by_one_of_many(connect: Callable[[], Store]) -> None:
    one, two = connect(), connect()
    for number in range(3):
        one.requests.ask(asked(str(number)))
    claimed = at_once(*[lambda s=s: s.requests.claim(START) for s in (one, two) * 3])
    assert sorted(request.id for request in claimed if request) == ["0", "1", "2"]


def test_the_first_answer_stands(store: Store) -> None:
    store.requests.ask(asked("r"))
    assert store.requests.answered("r") is None
    answer = RequestAnswer(request="r", accepted=True, incident=IncidentId("I1"), sentence="healing web")
    store.requests.answer(answer)
    store.requests.answer(replace(answer, accepted=False))
    assert store.requests.answered("r") == answer
    assert store.requests.answered("other") is None


# ----------------------------------------------------------------------------------------------------------- everything


def test_a_store_opened_again_has_kept_everything(connect: Callable[[], Store]) -> None:
    before = connect()
    before.services.enrol(WEB, now=START)
    incident = opened(before)
    before.incidents.keep_diagnosis(incident, DIAGNOSIS)
    before.attempts.begin(incident, 1, RESTART, now=START)
    before.attempts.ran(incident, 1, RUN, now=START)
    before.story.tell(incident, WEB.name, StoryKind.SEEN, "sick", now=START, key="k")
    before.outbox.post(NOTICE, ["file"])
    before.sweeps.keep(report(1))
    before.requests.ask(asked("r"))
    after = connect()
    assert after.services.records() == before.services.records()
    assert after.incidents.get(incident) == before.incidents.get(incident)
    assert after.story.since(0) == before.story.since(0)
    assert after.outbox.due(START) == before.outbox.due(START)
    assert after.sweeps.latest() == (report(1),)
    assert after.requests.claim(START) == asked("r")


def test_all_that_open_a_new_store_at_once_share_one(connect: Callable[[], Store]) -> None:
    stores = at_once(*[connect] * 4)
    assert {opened(store) for store in stores} == {"I1"}
