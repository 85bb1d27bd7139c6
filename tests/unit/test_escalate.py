"""The hand-over: every part of it happens, in any world, and happening twice is happening once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent import codec
from agent.errors import OutsideError, StoreError
from agent.model import (
    Closing,
    Escalation,
    Evidence,
    Incident,
    IncidentId,
    IncidentState,
    Origin,
    Recorded,
    Refusal,
    RefusalCode,
    Service,
    StoryEvent,
    StoryKind,
)
from agent.ports import Store
from agent.steps import escalate
from tests import escalated
from tests.fakes import START, FakeClock
from tests.memory_store import memory_store


class FakeBundles:
    """Bundles in a dictionary; `broken` is a disk that takes nothing."""

    def __init__(self, *, broken: bool = False) -> None:
        self.kept: dict[str, bytes] = {}
        self.broken = broken

    def keep(self, incident: IncidentId, name: str, content: bytes) -> str:
        if self.broken:
            raise StoreError(f"cannot keep {name}: no space left on device", transient=True)
        self.kept[name] = content
        return name

    def read(self, incident: IncidentId, name: str) -> bytes | None:
        return self.kept.get(name)

    def folder(self, incident: IncidentId) -> Path:
        return Path("/state/incidents") / incident


class FakeReports:
    """Writes down what it was given."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises

    def render(
        self,
        incident: Incident,
        service: Service | None,
        evidence: Sequence[Evidence],
        story: Sequence[StoryEvent],
        escalation: Escalation,
    ) -> Mapping[str, bytes]:
        if self.raises:
            raise self.raises
        looks = ", ".join(str(look.at) for look in evidence)
        told = ", ".join(event.kind.value for event in story)
        return {"report.md": f"{incident.state.value}; looks: {looks}; told: {told}".encode()}


def opened(store: Store) -> Incident:
    """Put the sick service and its incident into a store, as the sweep leaves them."""
    store.services.enrol(escalated.service(), now=START)
    incident, _ = store.incidents.open(escalated.service(), escalated.verdict(0), fingerprint="f", now=START)
    store.incidents.keep_diagnosis(incident.id, escalated.diagnosis())
    return replace(incident, diagnosis=escalated.diagnosis(), attempts=escalated.attempts())


def hand_over(
    store: Store,
    incident: Incident,
    *,
    bundles: FakeBundles | None = None,
    reports: FakeReports | None = None,
    refusal: Refusal | None = None,
) -> Escalation:
    return escalate.hand_over(
        incident,
        escalated.service(),
        refusal or escalated.REFUSAL,
        store=store,
        bundles=bundles or FakeBundles(),
        reports=reports or FakeReports(),
        channels=("ops", "log"),
        clock=FakeClock(),
    )


def test_hands_over_state_record_story_report_and_notice() -> None:
    store, bundles = memory_store(), FakeBundles()
    incident = opened(store)
    escalation = hand_over(store, incident, bundles=bundles)

    kept = store.incidents.get(incident.id)
    assert kept is not None
    assert (kept.state, kept.refusal) == (IncidentState.ESCALATED, escalated.REFUSAL)
    record = store.services.record(escalated.NAME)
    assert record is not None
    assert record.status is Recorded.ERROR
    assert "refuses its own configuration" in record.diagnostic
    assert [event.kind for event in store.story.since(0)] == [StoryKind.ESCALATED]
    assert bundles.kept["report.md"].startswith(b"escalated")
    assert escalation.report == f"/state/incidents/{incident.id}/report.md"
    assert escalation.next_step == escalated.ADVICE
    rows = store.outbox.due(START)
    assert sorted(row.channel for row in rows) == ["log", "ops"]
    assert {row.notice.dedup_key for row in rows} == {f"{incident.id}:escalated"}


def test_a_repeated_hand_over_tells_nobody_twice() -> None:
    store = memory_store()
    incident = opened(store)
    first, second = hand_over(store, incident), hand_over(store, incident)
    assert first == second
    assert len(store.story.since(0)) == 1
    assert store.outbox.undelivered() == 2


def test_a_crash_between_state_and_notice_still_ends_in_a_notice() -> None:
    store = memory_store()
    incident = opened(store)
    assert store.incidents.escalate(incident.id, escalated.REFUSAL)
    hand_over(store, incident)
    assert store.outbox.undelivered() == 2


def test_an_incident_that_a_person_closed_meanwhile_calls_nobody() -> None:
    store = memory_store()
    incident = opened(store)
    store.incidents.close(incident.id, Closing.BY_PERSON, by="ada", now=START)
    hand_over(store, incident)
    assert store.outbox.undelivered() == 0
    assert store.story.since(0) == ()
    record = store.services.record(escalated.NAME)
    assert record is not None
    assert record.status is Recorded.RUNNING


@pytest.mark.parametrize(
    ("bundles", "reports", "words"),
    [
        (FakeBundles(broken=True), FakeReports(), "No report: cannot keep report.md: no space left on device"),
        (
            FakeBundles(),
            FakeReports(OutsideError("cannot render the report", transient=False)),
            "No report: cannot render the report",
        ),
        (FakeBundles(), FakeReports(KeyError("x")), "No report: Medic met a bug while writing it: KeyError"),
    ],
    ids=["disk full", "template", "bug"],
)
def test_the_notice_goes_out_without_a_report_and_says_so(bundles: FakeBundles, reports: FakeReports, words: str) -> None:
    store = memory_store()
    hand_over(store, opened(store), bundles=bundles, reports=reports)
    assert {row.notice.body.splitlines()[-2] for row in store.outbox.due(START)} == {words}


def test_the_report_gets_the_evidence_of_every_look_that_can_be_read() -> None:
    store, bundles = memory_store(), FakeBundles()
    bundles.kept["evidence-1.json"] = codec.dumps(escalated.evidence(1)).encode()
    bundles.kept["evidence-2.json"] = b"{ torn"
    bundles.kept["evidence-3.json"] = codec.dumps(escalated.evidence(3)).encode()
    hand_over(store, opened(store), bundles=bundles)
    report = bundles.kept["report.md"].decode()
    assert str(escalated.evidence(1).at) in report
    assert str(escalated.evidence(3).at) in report
    assert "told: escalated" in report


@pytest.mark.parametrize(
    ("refusal", "origin", "status"),
    [
        (RefusalCode.CANNOT_SEE, Origin.HEARTBEAT, Recorded.RUNNING),
        (RefusalCode.NO_EVIDENCE, Origin.PERSON, Recorded.RUNNING),
        (RefusalCode.CHRONIC, Origin.HEARTBEAT, Recorded.ERROR),
    ],
)
def test_only_what_medic_saw_sick_is_recorded_as_an_error(refusal: RefusalCode, origin: Origin, status: Recorded) -> None:
    store = memory_store()
    incident = replace(opened(store), origin=origin)
    hand_over(store, incident, refusal=Refusal(code=refusal, because="so"))
    record = store.services.record(escalated.NAME)
    assert record is not None
    assert record.status is status


def test_a_service_that_a_person_stopped_stays_stopped() -> None:
    store = memory_store()
    incident = opened(store)
    store.services.set_status(escalated.NAME, Recorded.STOPPED, by="ada", diagnostic="", now=START)
    hand_over(store, incident)
    record = store.services.record(escalated.NAME)
    assert record is not None
    assert record.status is Recorded.STOPPED


@pytest.mark.parametrize("code", RefusalCode)
def test_every_refusal_ends_in_a_sentence_that_says_what_to_do(code: RefusalCode) -> None:
    for diagnosis in (None, replace(escalated.diagnosis(), advice=""), escalated.diagnosis()):
        sentence = escalate.next_step(escalated.incident(diagnosis=diagnosis), Refusal(code=code, because="so"))
        assert sentence.endswith(".")
        assert len(sentence.split()) > 6


def test_the_advice_of_the_diagnosis_is_what_to_do_first() -> None:
    assert escalate.next_step(escalated.incident(), escalated.REFUSAL) == escalated.ADVICE
