"""The scripted provider is as strict as the real ones: what they refuse it refuses, in both wire formats, in their words."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from agent.model import Role, Said, ToolCall, ToolSpec
from tests import wire
from tests.model_server import Drips, Fails, Hangs, ModelServer, Raw, Says

TOOLS = (ToolSpec(name="look", description="looks", schema='{"type": "object"}'),)
SYSTEM = Said(role=Role.SYSTEM, text="you look after services")
USER = Said(role=Role.USER, text="why is web sick?")
CALL = ToolCall(id="call_1", name="look", arguments='{"at": "web"}')
ASKS = Said(role=Role.ASSISTANT, text="", calls=(CALL,))
RESULT = Said(role=Role.TOOL, text="it is down", answers="call_1")
ANSWER = Said(role=Role.ASSISTANT, text="it is down")

GOOD = (SYSTEM, USER, ASKS, RESULT)
TWO = Said(role=Role.ASSISTANT, text="", calls=(CALL, ToolCall(id="call_2", name="look", arguments="{}")))

BROKEN = [
    ((SYSTEM, USER, ASKS), "must be followed by tool messages", "were found without `tool_result`"),
    ((SYSTEM, USER, TWO, RESULT), "did not have response messages: call_2", "were found without `tool_result`"),
    ((SYSTEM, USER, RESULT), "must be a response to a preceding message", "unexpected `tool_use_id`"),
    ((*GOOD, RESULT), "must be a response to a preceding message", "each tool_use must have a single result"),
    ((SYSTEM, USER, ASKS, USER, RESULT), "must be followed by tool messages", "at the beginning of this message"),
    ((*GOOD, ASKS, RESULT), None, "`tool_use` ids must be unique"),
    ((*GOOD, ANSWER), None, "must end with a user message"),
    ((SYSTEM, ASKS, RESULT), None, 'first message must use the "user" role'),
    ((SYSTEM, Said(role=Role.USER, text="  \n")), None, "non-whitespace text"),
    ((SYSTEM, Said(role=Role.USER, text="half \ud83d")), "invalid unicode", "invalid unicode"),
]


def post(server: ModelServer, path: str, body: dict[str, Any], within: float = 5.0) -> tuple[int, Any]:
    asked = urllib.request.Request(f"{server.url}{path}", json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=within) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


@pytest.mark.parametrize(("said", "openai", "anthropic"), BROKEN)
def test_an_invalid_history_is_refused_in_the_words_of_the_provider(
    said: tuple[Said, ...], openai: str | None, anthropic: str
) -> None:
    with ModelServer() as server:
        for path, body, words in (
            ("/v1/chat/completions", wire.openai_body(said, TOOLS), openai),
            ("/v1/messages", wire.anthropic_body(said, TOOLS), anthropic),
        ):
            status, answer = post(server, path, body)
            assert (status, words or "") == (400 if words else 200, words or "")
            assert words is None or words in answer["error"]["message"]


def test_a_good_history_is_answered_in_its_own_format() -> None:
    with ModelServer() as server:
        server.script(Says("hm", calls=(("look", '{"at": "db"}'),)))
        status, answer = post(server, "/v1/chat/completions", wire.openai_body(GOOD, TOOLS))
        message = answer["choices"][0]["message"]
        assert (status, message["tool_calls"][0]["function"]["name"], answer["usage"]["total_tokens"]) == (200, "look", 110)
        status, answer = post(server, "/v1/messages", wire.anthropic_body(GOOD, TOOLS))
        assert (status, answer["stop_reason"], answer["content"][1]["input"]) == (200, "tool_use", {"at": "db"})
        assert [(heard.results, heard.tools) for heard in server.heard] == [(["call_1"], ["look"])] * 2
        assert "it is down" in server.heard[1].text


def test_it_fails_in_every_way_it_is_told_to() -> None:
    with ModelServer() as server:
        body = wire.openai_body(GOOD, TOOLS)
        server.script(
            Fails(429, "slow down", (("retry-after", "7"),)), Says(usage=None), Raw(b'{"id": "chatcmpl'), Says("last")
        )
        assert post(server, "/v1/chat/completions", body)[0] == 429
        assert "usage" not in post(server, "/v1/chat/completions", body)[1]
        with pytest.raises(ValueError, match="Unterminated"):
            post(server, "/v1/chat/completions", body)
        assert [post(server, "/v1/chat/completions", body)[0] for _ in range(2)] == [200, 200]
        for step in (Hangs(), Drips(pause=0.2)):
            server.script(step)
            with pytest.raises(OSError, match="timed out"):
                post(server, "/v1/chat/completions", body, within=0.1)
