"""What people are told at each edge of an incident, and that it stays short and says the same thing once."""

from datetime import timedelta

import pytest

from agent import notices
from agent.model import Closing, Health, NoticeKind
from tests import escalated
from tests.fakes import START

NOW = START + timedelta(seconds=106)


def test_opened_says_what_is_wrong_and_where() -> None:
    notice = notices.opened(escalated.incident(), now=NOW)
    assert notice.kind is NoticeKind.OPENED
    assert notice.title == "checkout is sick: container-exited, port-closed (I7)"
    assert "127.0.0.1:18080 refuses connections" in notice.body
    assert "On host local, seen at 2026-03-01 03:00:00 UTC" in notice.body


def test_an_incident_about_being_blind_does_not_call_the_service_sick() -> None:
    notice = notices.opened(escalated.incident(first=escalated.verdict(0, Health.UNKNOWN)), now=NOW)
    assert notice.title == "checkout cannot be looked at (I7)"


def test_escalated_says_first_what_to_do_and_where_the_report_is() -> None:
    notice = notices.escalated(escalated.incident(), escalated.REFUSAL, escalated.escalation(), missing_report="", now=NOW)
    lines = notice.body.splitlines()
    assert lines[0] == f"Do first: {escalated.ADVICE}"
    assert "bad_configuration (confirmed, says rule:config-rejected)" in notice.body
    assert "Attempt 2: Recreate the container from its declared spec: ineffective." in lines
    assert lines[-1] == "Report: /var/lib/medic/incidents/I7/report.md"


def test_escalated_says_so_when_there_is_no_report() -> None:
    notice = notices.escalated(
        escalated.incident(), escalated.REFUSAL, escalated.escalation(), missing_report="the disk is full", now=NOW
    )
    assert notice.body.endswith("No report: the disk is full")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Closing.HEALED, "is well again: healed (I7)"),
        (Closing.RECOVERED, "it recovered by itself (I7)"),
        (Closing.BY_PERSON, "closed by a person (I7)"),
    ],
)
def test_resolved_says_how_it_ended(how: Closing, words: str) -> None:
    notice = notices.resolved(escalated.incident(), how, now=NOW)
    assert notice.title.endswith(words)
    assert notice.body.startswith("Open for 1 min 46 s.")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7800, "2 h 10 min")]
)
def test_spans_read_as_people_say_them(seconds: float, words: str) -> None:
    notice = notices.resolved(escalated.incident(attempts=()), Closing.HEALED, now=START + timedelta(seconds=seconds))
    assert notice.body == f"Open for {words}.\nNo attempt was needed."


def test_each_edge_has_one_key_however_often_it_is_told() -> None:
    incident = escalated.incident()
    keys = {notices.resolved(incident, Closing.HEALED, now=NOW + timedelta(seconds=later)).dedup_key for later in range(3)}
    assert keys == {"I7:resolved"}
    assert notices.opened(incident, now=NOW).dedup_key == "I7:opened"


@pytest.mark.abuse("80")
def test_long_texts_are_cut_between_words_so_that_no_half_secret_is_left() -> None:
    secret = "ghp_" + "a1B2" * 9
    for pad in range(40):
        incident = escalated.incident(diagnosis=None, attempts=())
        refusal = escalated.Refusal(
            code=escalated.REFUSAL.code, because="x " * (notices.BODY_LIMIT // 2 - 110 + pad) + secret + " y" * 900
        )
        notice = notices.escalated(incident, refusal, escalated.escalation(), missing_report="", now=NOW)
        assert len(notice.body) <= notices.BODY_LIMIT
        assert secret in notice.body or "ghp_" not in notice.body


def test_a_title_may_lose_its_end_but_not_its_incident() -> None:
    notice = notices.opened(escalated.incident(service="s " * 300), now=NOW)
    assert len(notice.title) <= notices.TITLE_LIMIT
    assert notice.title.endswith(" ... (I7)")
