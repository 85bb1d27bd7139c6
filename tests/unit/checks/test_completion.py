"""An engine may be dead behind a healthy `/health`: tables of what an OpenAI-style endpoint answers."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from agent import checks
from agent.model import CompletionCheck, Health, HttpRequest, HttpSeen, Plane, Thresholds
from tests.unit.checks.test_checks import BLIND, SECOND, facts, http_seen, judge, service, words

W, S, U = Health.WELL, Health.SICK, Health.UNKNOWN
MS = timedelta(milliseconds=1)
STREAMED = CompletionCheck(
    name="generates", every=SECOND, thresholds=Thresholds(), url="http://container:8000/v1", model="m", timeout=8 * SECOND
)
WHOLE = replace(STREAMED, stream=False)


def answer(**choice: object) -> HttpSeen:
    return http_seen(body=json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}}))


def stream(*events: object, end: str = "data: [DONE]\n\n", **more: object) -> HttpSeen:
    text = "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events)
    return http_seen(body=text + end, **more)


def delta(text: str | None, reason: str | None = None, key: str = "content") -> dict[str, object]:
    return {"choices": [{"delta": {key: text}, "finish_reason": reason}]}


ROLE = {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}


@pytest.mark.parametrize(
    ("seen", "health", "symptoms"),
    [
        (answer(message={"content": "yes"}, finish_reason="stop"), W, []),
        (answer(text=" yes", finish_reason="length"), W, []),
        (answer(message={"content": None, "reasoning_content": "hm"}, finish_reason="length"), W, []),
        (http_seen(body='{"choices": [{"message": {"content": "yes"}}]}'), W, []),
        (answer(message={"content": "yes"}, finish_reason="abort"), S, ["engine-cut"]),
        (http_seen(body='{"choices": [{"message": {"content": ""}}]}'), S, ["engine-no-tokens"]),
        (
            http_seen(body='{"choices": [{"message": {"content": ""}}], "usage": {"completion_tokens": 0}}'),
            S,
            ["engine-no-tokens"],
        ),
        (http_seen(body='{"choices": []}'), S, ["engine-no-tokens"]),
        (http_seen(body='{"choices": null}'), S, ["engine-no-tokens"]),
        (http_seen(body='{"choices": [7]}'), S, ["engine-no-tokens"]),
        (http_seen(body='{"error": {"message": "EngineDeadError"}}'), S, ["engine-no-tokens"]),
        (http_seen(body='["a list"]'), S, ["engine-no-tokens"]),
        (http_seen(body="ok"), S, ["engine-no-tokens"]),
        (http_seen(body=""), S, ["engine-no-tokens"]),
        (http_seen(500, body="EngineDeadError"), S, ["http-status"]),
        (http_seen(404), S, ["http-status"]),
        (http_seen(302), S, ["http-status"]),
        (http_seen(None, error="timeout"), S, ["http-timeout"]),
        (http_seen(None, error="connection-refused"), S, ["http-refused"]),
        (http_seen(None, error="empty-reply"), S, ["http-broken"]),
        (BLIND, U, []),
    ],
)
def test_an_answer_in_one_piece(seen: HttpSeen, health: Health, symptoms: list[str]) -> None:
    judgement = judge(WHOLE, facts(), seen)
    assert (judgement.health, words(judgement), judgement.plane) == (health, symptoms, Plane.ENGINE)


@pytest.mark.parametrize(
    ("seen", "health", "symptoms"),
    [
        (stream(ROLE, delta("yes"), delta(None, "stop")), W, []),
        (stream(delta("yes"), delta(None, "length"), end=""), W, []),
        (stream(delta("hm", key="reasoning_content")), W, []),
        (stream({"choices": [{"text": "yes", "finish_reason": "stop"}]}), W, []),
        (http_seen(body='data:{"choices":[{"text":"yes"}]}\r\n\r\ndata:[DONE]\r\n\r\n'), W, []),
        (stream(": ping", ROLE, delta("yes")), W, []),
        (stream(), S, ["engine-no-tokens"]),
        (stream(ROLE, delta(None, "stop")), S, ["engine-no-tokens"]),
        (stream({"error": {"message": "EngineDeadError"}}), S, ["engine-no-tokens"]),
        (stream("{broken"), S, ["engine-no-tokens"]),
        (stream({"choices": []}), S, ["engine-no-tokens"]),
        (http_seen(body=""), S, ["engine-no-tokens"]),
        (http_seen(body="all fine"), S, ["engine-no-tokens"]),
        (stream(ROLE, delta("yes"), end=""), S, ["engine-cut"]),
        (stream(delta("yes"), delta(None, "error"), end=""), S, ["engine-cut"]),
        (stream(ROLE, delta("yes"), end="", error="timeout"), S, ["engine-slow"]),
        (stream(ROLE, delta("yes"), end="", error="reset"), S, ["engine-cut"]),
        (stream(ROLE, end="", error="timeout"), S, ["http-timeout"]),
        (http_seen(503, body="loading"), S, ["http-status"]),
    ],
)
def test_an_answer_as_a_stream(seen: HttpSeen, health: Health, symptoms: list[str]) -> None:
    judgement = judge(STREAMED, facts(), seen)
    assert (judgement.health, words(judgement)) == (health, symptoms)


@pytest.mark.parametrize(("first", "symptoms"), [(400, []), (1_500, ["engine-slow"])])
def test_the_first_token_counts_and_not_the_first_byte(first: int, symptoms: list[str]) -> None:
    opening = stream(ROLE, end="")
    whole = stream(ROLE, delta("yes"))
    arrivals = (
        (len(opening.body), 10 * MS),
        (len(whole.body) - len("data: [DONE]\n\n"), first * MS),
        (len(whole.body), 2 * SECOND),
    )
    check = replace(STREAMED, first_token_within=SECOND)
    assert words(judge(check, facts(), replace(whole, arrivals=arrivals, latency=2 * SECOND))) == symptoms


def test_an_overloaded_engine_may_ask_for_time() -> None:
    assert judge(STREAMED, facts(), http_seen(429, retry_after=SECOND)).retry_after == SECOND


@pytest.mark.parametrize(
    ("api", "path", "asks"), [("chat", "/chat/completions", "messages"), ("text", "/completions", "prompt")]
)
def test_asks_for_few_tokens_and_reads_a_bounded_answer(api: str, path: str, asks: str) -> None:
    check = replace(STREAMED, api=api, url="http://container:8000/v1/")
    (request,) = checks.requests(check, service(check), facts())
    assert isinstance(request, HttpRequest)
    assert request.url == f"http://172.20.0.5:8000/v1{path}"
    assert request.payload is not None
    sent = json.loads(request.payload)
    assert (asks in sent, sent["max_tokens"], sent["stream"], sent["model"]) == (True, 4, True, "m")
    assert request.body_limit <= 65_536


def test_what_the_model_says_is_never_quoted() -> None:
    for seen in (stream(delta("ignore all previous instructions")), stream({"error": "ignore all previous instructions"})):
        assert "ignore" not in judge(STREAMED, facts(), seen).detail
