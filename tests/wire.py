"""The two wire formats for talking to models, as strict as their providers: what each refuses, in the provider's own words.

Sources: the error texts that OpenAI and Anthropic answer with, as they stand in public bug reports (opencode#1279, #13768,
claude-code#5060, #21317, #59812, promptflow#3130, autogen#6377, openai-dotnet#317, OpenManus#744). Written for tests.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from agent.model import Role, Said, ToolSpec

JSON = dict[str, Any]

_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_ANTHROPIC_ID = re.compile(r"^[a-zA-Z0-9_-]+$")
_LONGEST_ID = 40
_MOST_TOOLS = 128
_OPENAI_ROLES = ("system", "developer", "user", "assistant", "tool")


# ------------------------------------------------------------------------------------------------------ from our shape


def openai_body(said: Sequence[Said], tools: Sequence[ToolSpec] = (), model: str = "small") -> JSON:
    """Return a request of `POST /v1/chat/completions`."""
    body: JSON = {"model": model, "messages": [_openai_line(line) for line in said]}
    if tools:
        body["tools"] = [
            {"type": "function", "function": {"name": t.name, "description": t.description, "parameters": json.loads(t.schema)}}
            for t in tools
        ]
    return body


def _openai_line(line: Said) -> JSON:
    match line.role:
        case Role.TOOL:
            return {"role": "tool", "tool_call_id": line.answers, "content": line.text}
        case Role.ASSISTANT if line.calls:
            calls = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in line.calls
            ]
            return {"role": "assistant", "content": line.text or None, "tool_calls": calls}
        case _:
            return {"role": line.role.value, "content": line.text}


def anthropic_body(said: Sequence[Said], tools: Sequence[ToolSpec] = (), model: str = "small") -> JSON:
    """Return a request of `POST /v1/messages`: system lines on top, results as the first blocks of the user's turn."""
    messages: list[JSON] = []
    for line in said:
        if line.role is Role.SYSTEM:
            continue
        role = "assistant" if line.role is Role.ASSISTANT else "user"
        if not messages or messages[-1]["role"] != role:
            messages.append({"role": role, "content": []})
        messages[-1]["content"] += _anthropic_blocks(line)
    body: JSON = {"model": model, "max_tokens": 100, "messages": messages}
    system = "\n\n".join(line.text for line in said if line.role is Role.SYSTEM)
    if system:
        body["system"] = system
    if tools:
        body["tools"] = [{"name": t.name, "description": t.description, "input_schema": json.loads(t.schema)} for t in tools]
    return body


def _anthropic_blocks(line: Said) -> list[JSON]:
    if line.role is Role.TOOL:
        return [{"type": "tool_result", "tool_use_id": line.answers, "content": line.text}]
    text = [{"type": "text", "text": line.text}] if line.text or not line.calls else []
    return text + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)} for call in line.calls
    ]


# -------------------------------------------------------------------------------------------------- OpenAI's objections


def openai_objection(body: JSON) -> str | None:
    """Return what OpenAI answers with 400 to this request, or None where it takes it."""
    return next(_openai_objections(body), None)


def _openai_objections(body: JSON) -> Iterator[str]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        yield "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        return
    yield from _unstorable(body)
    yield from _tools_objections(body.get("tools"))
    open_calls: list[str] = []
    for at, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in _OPENAI_ROLES:
            yield f"Invalid value: {role!r}. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'."
            return
        if role == "tool":
            yield from _openai_result(message, at, open_calls)
            continue
        if open_calls:
            yield (
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
                f" The following tool_call_ids did not have response messages: {', '.join(open_calls)}"
            )
            return
        if role == "assistant":
            yield from _openai_assistant(message, at)
            open_calls = [call.get("id", "") for call in message.get("tool_calls") or []]
        elif not isinstance(message.get("content"), str):
            yield f"Invalid value for 'content': expected a string, got null. messages[{at}]"
    if open_calls:
        yield (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
            f" The following tool_call_ids did not have response messages: {', '.join(open_calls)}"
        )


def _openai_result(message: JSON, at: int, open_calls: list[str]) -> Iterator[str]:
    answers = message.get("tool_call_id")
    if answers not in open_calls:
        yield (
            f"Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            f" messages[{at}]"
        )
        return
    open_calls.remove(answers)
    if not isinstance(message.get("content"), str):
        yield f"Invalid value for 'content': expected a string, got null. messages[{at}]"


def _openai_assistant(message: JSON, at: int) -> Iterator[str]:
    calls = message.get("tool_calls")
    if calls is None:
        if not message.get("content"):
            yield f"Invalid value for 'content': expected a string, got null. messages[{at}]"
        return
    if not isinstance(calls, list) or not calls:
        yield f"[] is too short - 'messages.{at}.tool_calls'"
        return
    if len(calls) > _MOST_TOOLS:
        yield f"Invalid 'messages[{at}].tool_calls': array too long. Expected an array with maximum length {_MOST_TOOLS}."
    if len({call.get("id") for call in calls}) < len(calls):
        yield f"Duplicate value for 'tool_call_id' in messages[{at}].tool_calls"
    for number, call in enumerate(calls):
        yield from _openai_call(call, f"messages[{at}].tool_calls[{number}]")


def _openai_call(call: JSON, where: str) -> Iterator[str]:
    id_, function = call.get("id"), call.get("function") or {}
    if not isinstance(id_, str) or not id_:
        yield f"Missing required parameter: '{where}.id'."
    elif len(id_) > _LONGEST_ID:
        yield f"Invalid '{where}.id': string too long. Expected a string with maximum length {_LONGEST_ID}."
    if not _NAME.match(str(function.get("name", ""))):
        yield f"Invalid '{where}.function.name': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'."
    if not isinstance(function.get("arguments"), str):
        yield f"Invalid type for '{where}.function.arguments': expected a string."


def _tools_objections(tools: object) -> Iterator[str]:
    if tools is None:
        return
    if not isinstance(tools, list) or not 1 <= len(tools) <= _MOST_TOOLS:
        yield f"Invalid 'tools': array too short or too long. Expected 1 to {_MOST_TOOLS}."


def _unstorable(body: JSON) -> Iterator[str]:
    text = json.dumps(body, ensure_ascii=False)
    if "\\u0000" in text or any("\ud800" <= char <= "\udfff" for char in text):
        yield "We could not parse the JSON body of your request: invalid unicode code point."


# ----------------------------------------------------------------------------------------------- Anthropic's objections


def anthropic_objection(body: JSON) -> str | None:
    """Return what Anthropic answers with 400 to this request, or None where it takes it."""
    return next(_anthropic_objections(body), None)


def _anthropic_objections(body: JSON) -> Iterator[str]:
    messages = body.get("messages")
    if not isinstance(body.get("max_tokens"), int):
        yield "max_tokens: Field required"
    if not isinstance(messages, list) or not messages:
        yield "messages: at least one message is required"
        return
    yield from _unstorable(body)
    turns = [(_role(message), _blocks(message)) for message in messages]
    wrong = next((role for role, _ in turns if role not in ("user", "assistant")), None)
    if wrong is not None:
        yield f'messages: Unexpected role "{wrong}". The Messages API accepts a top-level `system` parameter.'
        return
    if turns[0][0] != "user":
        yield 'messages: first message must use the "user" role'
    yield from _anthropic_blanks(turns)
    yield from _anthropic_calls(turns, body)
    yield from _anthropic_pairs(turns)
    if turns[-1][0] != "user":
        yield "This model does not support assistant message prefill. The conversation must end with a user message."


def _role(message: object) -> str:
    return str(message.get("role")) if isinstance(message, dict) else ""


def _blocks(message: JSON) -> list[JSON]:
    content = message.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _anthropic_blanks(turns: list[tuple[str, list[JSON]]]) -> Iterator[str]:
    for at, (_, blocks) in enumerate(turns):
        if not blocks:
            yield f"messages.{at}: all messages must have non-empty content except for the optional final assistant message"
        for block in blocks:
            if block.get("type") == "text" and not block.get("text"):
                yield "messages: text content blocks must be non-empty"
            elif block.get("type") == "text" and not str(block.get("text")).strip():
                yield "messages: text content blocks must contain non-whitespace text"


def _anthropic_calls(turns: list[tuple[str, list[JSON]]], body: JSON) -> Iterator[str]:
    uses = [block for _, blocks in turns for block in blocks if block.get("type") == "tool_use"]
    results = [block for _, blocks in turns for block in blocks if block.get("type") == "tool_result"]
    if (uses or results) and not body.get("tools"):
        yield "Requests which include `tool_use` or `tool_result` blocks must define tools"
    ids = [str(use.get("id")) for use in uses]
    if len(set(ids)) < len(ids):
        yield "messages: `tool_use` ids must be unique"
    for use in uses:
        if not _ANTHROPIC_ID.match(str(use.get("id") or "")):
            yield "messages.content.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
        if not _NAME.match(str(use.get("name") or "")):
            yield "messages.content.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"
        if not isinstance(use.get("input"), dict):
            yield "messages.content.tool_use.input: Input should be a valid dictionary"


def _anthropic_pairs(turns: list[tuple[str, list[JSON]]]) -> Iterator[str]:
    asked: list[str] = []
    for at, (role, blocks) in enumerate(turns):
        results = [str(block.get("tool_use_id")) for block in blocks if block.get("type") == "tool_result"]
        first = [block.get("type") == "tool_result" for block in blocks[: len(results)]]
        missing = [id_ for id_ in asked if id_ not in results]
        if missing:
            yield (
                f"messages.{at - 1}: `tool_use` ids were found without `tool_result` blocks immediately after:"
                f" {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
            )
        for id_ in results:
            if id_ not in asked:
                yield f"messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id_}"
        if len(set(results)) < len(results):
            yield f"messages.{at}: each tool_use must have a single result."
        if not all(first):
            yield f"messages.{at}: Did not find {len(results)} `tool_result` block(s) at the beginning of this message."
        asked = [str(block.get("id")) for block in blocks if block.get("type") == "tool_use"] if role == "assistant" else []
    if asked:
        yield f"messages.{len(turns) - 1}: `tool_use` ids were found without `tool_result` blocks immediately after"
