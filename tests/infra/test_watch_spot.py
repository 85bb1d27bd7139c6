"""What a GPU host hears of its own end: the watcher against a metadata double with tokens, 401, 404, 503 and a hang."""

import json
import runpy
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WATCHER = runpy.run_path(str(ROOT / "infra/host/watch_spot.py"))
NOTICE = json.dumps({"action": "terminate", "time": "2026-11-20T12:26:32Z"})


class Metadata(ThreadingHTTPServer):
    """IMDSv2 as AWS's own mock of it answers; says: path -> body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.says = {"instance-id": "i-0aa1"}
        self.tokens: set[str] = set()
        self.given = 0
        self.status: int | None = None
        self.hangs = False
        self.token_status: int | None = None


class _Answers(BaseHTTPRequestHandler):
    server: Metadata

    def log_message(self, *words: Any) -> None:
        pass

    def do_PUT(self) -> None:
        if self.server.token_status:
            self._say(self.server.token_status, "<html>Service Unavailable</html>")
            return
        seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not seconds.isdigit() or not 1 <= int(seconds) <= 21600:
            self._say(400, "<html>400 - Bad Request</html>")
            return
        token = secrets.token_urlsafe(40)
        self.server.tokens.add(token)
        self.server.given += 1
        self._say(200, token)

    def do_GET(self) -> None:
        if self.server.hangs:
            time.sleep(0.8)
            return
        if self.server.status:
            self._say(self.server.status, "<html>Service Unavailable</html>")
        elif self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            self._say(401, "<html>401 - Unauthorized</html>")
        else:
            body = self.server.says.get(self.path.removeprefix("/latest/meta-data/"))
            self._say(404 if body is None else 200, body or "<html>404 - Not Found</html>")

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def imds(metadata: Metadata, patience: float = 2.0) -> Any:
    made = WATCHER["Imds"](f"http://127.0.0.1:{metadata.server_address[1]}")
    made.get.__globals__["PATIENCE"] = patience
    return made


def test_a_calm_host_says_nothing_with_one_token(metadata: Metadata) -> None:
    asked = imds(metadata)

    assert [asked.get("spot/instance-action") for _ in range(5)] == [""] * 5
    assert metadata.given == 1


def test_a_notice_is_read(metadata: Metadata) -> None:
    metadata.says["spot/instance-action"] = NOTICE

    assert imds(metadata).get("spot/instance-action") == NOTICE


def test_a_token_that_was_taken_back_is_renewed_at_once(metadata: Metadata) -> None:
    metadata.says["spot/instance-action"] = NOTICE
    asked = imds(metadata)
    asked.get("instance-id")
    metadata.tokens.clear()

    assert asked.get("spot/instance-action") == NOTICE
    assert metadata.given == 2


@pytest.mark.parametrize("status", [500, 503])
def test_metadata_that_fails_is_no_notice_and_is_asked_again(metadata: Metadata, status: int) -> None:
    metadata.says["spot/instance-action"] = NOTICE
    metadata.status = status
    asked = imds(metadata)
    assert asked.get("spot/instance-action") == ""

    metadata.status = None

    assert asked.get("spot/instance-action") == NOTICE


def test_metadata_that_hangs_or_is_gone_is_no_notice(metadata: Metadata) -> None:
    metadata.hangs = True
    asked = imds(metadata, patience=0.2)
    assert asked.get("spot/instance-action") == ""

    assert WATCHER["Imds"]("http://127.0.0.1:9").get("spot/instance-action") == ""


@pytest.mark.parametrize("status", [403, 503])
def test_without_a_token_nothing_is_said_and_one_is_asked_for_again(metadata: Metadata, status: int) -> None:
    metadata.says["spot/instance-action"] = NOTICE
    metadata.token_status = status
    asked = imds(metadata)
    assert asked.get("spot/instance-action") == ""

    metadata.token_status = None

    assert asked.get("spot/instance-action") == NOTICE


def test_a_token_that_is_never_taken_ends_after_two_tries(metadata: Metadata) -> None:
    asked = imds(metadata)
    asked.get("instance-id")
    metadata.status = 401

    assert asked.get("spot/instance-action") == ""
    assert metadata.given == 2


def test_a_token_life_that_aws_refuses_is_refused_by_the_double_too(metadata: Metadata) -> None:
    made = imds(metadata)
    made.renew.__globals__["TOKEN_LIVES"] = 21_601
    try:
        assert made.get("instance-id") == ""
    finally:
        made.renew.__globals__["TOKEN_LIVES"] = 300


def test_the_program_tells_the_queue_until_it_is_heard_and_then_goes_on(metadata: Metadata, tmp_path: Path) -> None:
    """The whole of it as a process, with the AWS command line for a double: the first message does not go through."""
    heard = tmp_path / "heard"
    (tmp_path / "aws").write_text(
        '#!/bin/sh\nfor word; do said="$word"; done\n'
        f'printf "%s\\n" "$said" >> {heard}\n[ "$(wc -l < {heard})" -gt 1 ] || {{ echo no network >&2; exit 1; }}\n'
    )
    (tmp_path / "aws").chmod(0o755)
    config = {"imds": f"http://127.0.0.1:{metadata.server_address[1]}", "region": "r", "queue_url": "q", "watch_every": 0.02}
    (tmp_path / "config").write_text(json.dumps(config))
    metadata.says["spot/instance-action"] = NOTICE

    def messages(least: int) -> list[str]:
        for _ in range(1500):
            lines = heard.read_text().splitlines() if heard.exists() else []
            if len(lines) >= least:
                break
            time.sleep(0.02)
        return [json.loads(each)["detail-type"] for each in lines]

    words = [sys.executable, str(ROOT / "infra/host/watch_spot.py"), str(tmp_path / "config")]
    with subprocess.Popen(words, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, stdout=subprocess.DEVNULL) as program:
        try:
            first = messages(2)
            metadata.says["events/recommendations/rebalance"] = json.dumps({"noticeTime": "2026-11-20T12:24:32Z"})
            after = messages(3)
        finally:
            program.kill()

    interruption, rebalance = "EC2 Spot Instance Interruption Warning", "EC2 Instance Rebalance Recommendation"
    assert first == [interruption, interruption]
    assert after == [interruption, interruption, rebalance], "what was heard is not said again at once"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (NOTICE, {"instance-id": "i-0aa1", "instance-action": "terminate", "deadline": "2026-11-20T12:26:32Z"}),
        (json.dumps({"noticeTime": "2026-11-20T12:24:32Z"}), {"instance-id": "i-0aa1"}),
        ("<html>", {"instance-id": "i-0aa1"}),
        ('{"action": "terminate"}', {"instance-id": "i-0aa1"}),
    ],
)
def test_what_is_said_is_an_envelope_that_the_agent_reads(text: str, detail: dict[str, str]) -> None:
    from agent.adapters import aws_events

    said = WATCHER["envelope"]("i-0aa1", "EC2 Spot Instance Interruption Warning", text)

    assert said["detail"] == detail
    received = aws_events.read("r", json.dumps(said), "AROASTANDIN:i-0aa1")
    assert (received.why, len(received.events)) == ("", 1)
