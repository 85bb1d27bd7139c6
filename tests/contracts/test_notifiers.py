"""Every channel, against the real thing: a file on disk, and an HTTP receiver that is slow, down, wrong, and back again."""

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent import notices, outbox
from agent.adapters.apprise_notifier import AppriseNotifier
from agent.adapters.deadline import Deadline
from agent.adapters.file_notifier import FileNotifier
from agent.adapters.webhook_notifier import WebhookNotifier
from agent.errors import ConfigError, OutsideError
from agent.model import LONGEST_WAIT, Notice
from agent.ports import Notifier
from agent.redact import Redactor
from tests import escalated
from tests.fakes import START, FakeClock
from tests.memory_store import memory_store
from tests.receiver import Receiver, receiving

REDACT = Redactor(["s3cr3t-of-ours"])
SHORT = timedelta(seconds=0.6)
ESCALATION = escalated.escalation()
NOTICE = notices.escalated(
    escalated.incident(), escalated.REFUSAL, ESCALATION, missing_report="it holds s3cr3t-of-ours", now=START
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as running:
        yield running


def webhook(receiver: Receiver, secret: str | None = "key") -> WebhookNotifier:
    return WebhookNotifier("ops", receiver.url(), secret=secret, redact=REDACT, deadline=SHORT)


def chat(receiver: Receiver) -> AppriseNotifier:
    return AppriseNotifier("ops", receiver.url("json"), redact=REDACT, deadline=SHORT)


Make = Callable[[Receiver], Notifier]
HTTP_CHANNELS = pytest.mark.parametrize("make", [webhook, chat], ids=["webhook", "apprise"])

# ------------------------------------------------------------------------------------------------ both http channels


@HTTP_CHANNELS
def test_delivers_title_and_key_without_secrets(make: Make, receiver: Receiver) -> None:
    make(receiver).send(NOTICE)
    (body,) = receiver.bodies
    assert b"checkout needs a person (I7)" in body
    assert b"I7:escalated" in body
    assert b"s3cr3t-of-ours" not in body
    assert b"[REDACTED:known]" in body


@pytest.mark.abuse("77")
@HTTP_CHANNELS
@pytest.mark.parametrize("mood", [500, 503, 404, 429, "cut"])
def test_anything_but_a_yes_is_an_error(make: Make, receiver: Receiver, mood: int | str) -> None:
    receiver.mood = mood
    with pytest.raises(OutsideError, match="cannot send to channel 'ops'"):
        make(receiver).send(NOTICE)


@HTTP_CHANNELS
@pytest.mark.parametrize("mood", ["hang", "drip"])
def test_a_receiver_that_never_finishes_is_left_in_time(make: Make, receiver: Receiver, mood: str) -> None:
    receiver.mood = mood
    start = time.monotonic()
    with pytest.raises(OutsideError, match="ops"):
        make(receiver).send(NOTICE)
    assert time.monotonic() - start < 20  # and not for ever


@pytest.mark.abuse("77")
@HTTP_CHANNELS
def test_slow_down_wrong_and_back_again_loses_nothing(make: Make) -> None:
    store, clock, receiver = memory_store().outbox, FakeClock(), Receiver()
    with receiving(receiver):
        channel = make(receiver)
        store.post(NOTICE, ["ops"])
        for mood in ("hang", 500):
            receiver.mood = mood
            assert outbox.deliver_due(store, {"ops": channel}, clock) == 0
            clock.sleep(LONGEST_WAIT)
            receiver.released.set()
            time.sleep(0.1)  # the receiver's own thread lets go of the hung request
    assert outbox.deliver_due(store, {"ops": channel}, clock) == 0  # down
    clock.sleep(LONGEST_WAIT)
    receiver.mood = 200
    with receiving(receiver):
        assert outbox.deliver_due(store, {"ops": channel}, clock) == 1
        assert outbox.deliver_due(store, {"ops": channel}, clock) == 0
    assert len(receiver.bodies) == 1
    assert b"I7:escalated" in receiver.bodies[0]
    assert store.undelivered() == 0


@HTTP_CHANNELS
def test_a_real_slow_channel_does_not_keep_a_file_waiting(make: Make, receiver: Receiver, tmp_path: Path) -> None:
    store, clock = memory_store().outbox, FakeClock()
    receiver.mood = "hang"
    log = FileNotifier("log", tmp_path / "notices.jsonl", redact=REDACT)
    store.post(NOTICE, ["ops", "log"])
    assert outbox.deliver_due(store, {"ops": make(receiver), "log": log}, clock) == 1
    assert store.undelivered() == 1


# ----------------------------------------------------------------------------------------------------------- webhook


def test_the_webhook_carries_every_field_and_signs_what_it_sends(receiver: Receiver) -> None:
    webhook(receiver).send(NOTICE)
    (notice,), (headers,), (body,) = receiver.notices, receiver.headers, receiver.bodies
    assert {name: notice[name] for name in ("dedup_key", "kind", "incident", "service")} == {
        "dedup_key": "I7:escalated",
        "kind": "escalated",
        "incident": "I7",
        "service": "checkout",
    }
    assert headers["Idempotency-Key"] == "I7:escalated"
    assert headers["X-Medic-Signature"] == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()


def test_a_webhook_without_a_secret_does_not_pretend_to_sign(receiver: Receiver) -> None:
    webhook(receiver, secret=None).send(NOTICE)
    assert "X-Medic-Signature" not in receiver.headers[0]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_webhook_refuses_to_be_sent_elsewhere(receiver: Receiver, status: int) -> None:
    receiver.mood = status
    with pytest.raises(OutsideError, match=f"it answered {status}"):
        webhook(receiver).send(NOTICE)
    assert receiver.bodies == []


def test_a_webhook_serves_again_after_a_receiver_that_dripped(receiver: Receiver) -> None:
    channel = webhook(receiver)
    receiver.mood = "drip"
    with pytest.raises(OutsideError):
        channel.send(NOTICE)
    receiver.mood = 200
    _until(lambda: not _refused(channel))
    assert receiver.notices[-1]["dedup_key"] == "I7:escalated"


def _refused(channel: Notifier) -> bool:
    try:
        channel.send(NOTICE)
    except OutsideError:
        return True
    return False


def _until(claim: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x", "https:///x", "nonsense", "", "http://user:pw@h/x", "http://h:port/x", "http://h/a b", "http://h/\r\nX: y", "http://h/ü", "http://[::1",
    ],
)  # fmt: skip
def test_a_wrong_webhook_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigError, match="cannot use channel 'ops'") as refused:
        WebhookNotifier("ops", url, secret=None, redact=REDACT)
    assert not url or url not in str(refused.value)


# ----------------------------------------------------------------------------------------------------------- apprise


@pytest.mark.parametrize("url", ["", "nonsense", "nosuch://x", "discord://", "mailto://", "slack://only-one-part"])
def test_a_wrong_apprise_url_is_refused_when_the_channel_is_made(url: str) -> None:
    with pytest.raises(ConfigError, match="apprise does not understand"):
        AppriseNotifier("ops", url, redact=REDACT)


def test_an_apprise_error_does_not_hold_the_url() -> None:
    with pytest.raises(ConfigError) as refused:
        AppriseNotifier("ops", "nosuch://s3cr3t-token@host", redact=REDACT)
    assert "s3cr3t-token" not in str(refused.value)


# -------------------------------------------------------------------------------------------------------------- file


def test_a_file_gets_one_json_object_per_line_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "notices.jsonl"
    channel = FileNotifier("log", path, redact=REDACT)
    channel.send(NOTICE)
    channel.send(NOTICE)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["dedup_key"] for line in lines] == ["I7:escalated"] * 2
    assert "s3cr3t-of-ours" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "notices.jsonl"
    path.write_text('{"dedup_key": "I6:op')
    FileNotifier("log", path, redact=REDACT).send(NOTICE)
    assert json.loads(path.read_text().splitlines()[-1])["dedup_key"] == "I7:escalated"


def test_lines_of_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "notices.jsonl"
    writers = [
        threading.Thread(target=lambda: [FileNotifier("log", path, redact=REDACT).send(NOTICE) for _ in range(20)])
        for _ in range(3)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 60


def test_a_writer_that_hangs_is_not_waited_for_without_end(tmp_path: Path) -> None:
    path = tmp_path / "notices.jsonl"
    with path.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(OutsideError, match="another writer has had it locked") as refused:
            FileNotifier("log", path, redact=REDACT, patience=timedelta(seconds=0.05)).send(NOTICE)
    assert refused.value.transient
    assert path.read_text() == ""
    FileNotifier("log", path, redact=REDACT).send(NOTICE)
    assert len(path.read_text().splitlines()) == 1


def test_a_path_that_is_no_file_is_refused_when_the_channel_is_made(tmp_path: Path) -> None:
    for path in (tmp_path, Path("relative.jsonl"), Path("/dev/null")):
        with pytest.raises(ConfigError, match="cannot use channel 'log'"):
            FileNotifier("log", path, redact=REDACT)


def test_a_fifo_put_there_later_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "notices.jsonl"
    channel = FileNotifier("log", path, redact=REDACT)
    os.mkfifo(path)
    with pytest.raises(OutsideError, match="cannot write to channel 'log'"):
        channel.send(NOTICE)


def test_a_folder_that_cannot_be_made_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideError, match="cannot write to channel 'log'"):
        FileNotifier("log", tmp_path / "file" / "notices.jsonl", redact=REDACT).send(NOTICE)


# ---------------------------------------------------------------------------------------------------------- deadline


def test_a_call_that_was_left_behind_does_not_get_company() -> None:
    release, ran = threading.Event(), []
    deadline = Deadline("wait", timedelta(seconds=0.05))
    with pytest.raises(OutsideError, match="no answer within"):
        deadline.run(lambda: release.wait(5) and None)
    with pytest.raises(OutsideError, match="an earlier call has not ended"):
        deadline.run(lambda: ran.append("second"))
    release.set()

    def again() -> bool:
        with contextlib.suppress(OutsideError):
            deadline.run(lambda: ran.append("third"))
        return bool(ran)

    _until(again)
    assert ran[0] == "third"


def test_an_error_of_the_call_is_the_callers() -> None:
    def broken() -> None:
        raise OutsideError("cannot do it: no", transient=False)

    with pytest.raises(OutsideError, match="cannot do it"):
        Deadline("do it", timedelta(seconds=5)).run(broken)


def test_what_is_sent_is_a_notice_and_the_original_is_untouched() -> None:
    sent: Notice = notices.redacted(NOTICE, REDACT)
    assert "s3cr3t-of-ours" in NOTICE.body
    assert "s3cr3t-of-ours" not in sent.body
