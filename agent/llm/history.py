"""Makes a dialogue one that every provider takes. What is stored stays as it was said; this works on a copy.

`repair` restores what providers insist on (each answers 400 otherwise, and an incident would be stuck for good): every call
has exactly one result right behind it, every result a call, ids and names fit, nothing is empty, the roles take turns and a
user speaks first and last. It loses no result that answers a call, invents no call, and lets nobody but the head of the
dialogue speak as the system: a system line in the middle is a way in for whoever wrote a log line.

`compact` shortens old results when a dialogue grows too long, and keeps what a verdict may still want to cite.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent.model import Role, Said, ToolCall

NO_RESULT = "[no result recorded: the call was interrupted]"
EMPTY = "(empty)"
LOST = "[earlier history was lost]"
GO_ON = "Continue."

LONGEST_ID = 40
"""Characters of a call's id. Source: OpenAI's "Expected a string with maximum length 40" (autogen#6377)."""
MOST_CALLS = 128
"""Calls of one turn. Source: OpenAI's "array too long" (openai-dotnet#317)."""
UNPARSED = 200
"""Characters that are kept of arguments which are no JSON object."""

_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_-]+")
_UNSENDABLE = re.compile("[\ud800-\udfff\x00]")
_UNSENDABLE_JSON = re.compile("[\ud800-\udfff]|\\\\u0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A dialogue that can be sent, and what had to be done to it, one sentence each; none where it was sound."""

    said: tuple[Said, ...]
    log: tuple[str, ...]


@dataclass(slots=True)
class _Turn:
    """An assistant's line while it is repaired: its calls with the ids they came with, and the result of each."""

    text: str
    calls: list[ToolCall] = field(default_factory=list)
    came_as: list[str] = field(default_factory=list)
    results: list[str | None] = field(default_factory=list)


def repair(said: Sequence[Said]) -> Repaired:
    """Return `said` as every provider takes it. Pure and deterministic; repairing twice changes nothing.

    Source of every rule: docs/decisions/0010-chat-history.md.
    """
    log: list[str] = []
    head = 0
    while head < len(said) and said[head].role is Role.SYSTEM:
        head += 1
    system = [Said(role=Role.SYSTEM, text=text) for line in said[:head] if (text := _sendable(line.text)).strip()]
    return Repaired(said=(*system, *_in_turns(_paired(said[head:], log), log)), log=tuple(log))


def _sendable(text: str) -> str:
    return _UNSENDABLE.sub("\N{REPLACEMENT CHARACTER}", text)


# ----------------------------------------------------------------------------------------- calls and results find each other


def _paired(said: Sequence[Said], log: list[str]) -> list[str | _Turn]:
    """Return the user's texts and the assistant's turns in order, each call with its result where there is one."""
    found: list[str | _Turn] = []
    used: set[str] = set()
    for at, line in enumerate(said):
        match line.role:
            case Role.SYSTEM:
                log.append(f"line {at}: a system line in the middle was left out")
            case Role.USER:
                found.append(_sendable(line.text))
            case Role.ASSISTANT:
                found.append(_turn(line, at, used, log))
            case Role.TOOL:
                _take_result(line, at, [turn for turn in found if isinstance(turn, _Turn)], log)
    return found


def _turn(line: Said, at: int, used: set[str], log: list[str]) -> _Turn:
    turn = _Turn(text=_sendable(line.text))
    for number, call in enumerate(line.calls):
        id_ = call.id
        if not _ID.fullmatch(id_) or id_ in used:
            id_ = "call_" + hashlib.sha256(f"{call.id!r} {at} {number}".encode()).hexdigest()[:24]
            log.append(f"line {at}: a call got another id: the one it had is used already, or is none")
        used.add(id_)
        turn.calls.append(ToolCall(id=id_, name=_name(call.name, at, log), arguments=_arguments(call.arguments, at, log)))
        turn.came_as.append(call.id)
        turn.results.append(None)
    return turn


def _name(name: str, at: int, log: list[str]) -> str:
    if _NAME.fullmatch(name):
        return name
    log.append(f"line {at}: a tool's name was cleaned")
    return _NOT_IN_A_NAME.sub("_", name)[:64].strip("_") or "unknown_tool"


def _arguments(text: str, at: int, log: list[str]) -> str:
    """Return arguments that are a JSON object. Half a one is never completed: it would say what nobody said."""
    if _is_object(text):
        return text
    log.append(f"line {at}: arguments of a call were no JSON object")
    return json.dumps({"_unparsed": _sendable(text[:UNPARSED])}, ensure_ascii=False)


def _is_object(text: str) -> bool:
    try:
        value = json.loads(text, parse_constant=_refuse)
        return isinstance(value, dict) and _UNSENDABLE_JSON.search(json.dumps(value, ensure_ascii=False)) is None
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _take_result(line: Said, at: int, turns: Sequence[_Turn], log: list[str]) -> None:
    """Give a result to its call: in the latest turn that has an unanswered one of this id.

    Local servers number the calls of each turn afresh, so an id may stand for several; the latest is the one just asked.
    """
    text = _sendable(line.text)
    known = False
    for turn in reversed(turns):
        for number, came_as in enumerate(turn.came_as):
            if came_as != line.answers:
                continue
            known = True
            if turn.results[number] in (None, NO_RESULT):
                turn.results[number] = text if text.strip() else EMPTY
                return
    log.append(f"line {at}: {'a second result of a call' if known else 'a result without its call'} was left out")


# --------------------------------------------------------------------------------------------------- turns take turns


def _in_turns(found: Sequence[str | _Turn], log: list[str]) -> list[Said]:
    lines: list[Said] = []
    for each in found:
        if isinstance(each, str):
            _add(lines, Said(role=Role.USER, text=each), log)
            continue
        parts = [slice(start, start + MOST_CALLS) for start in range(0, len(each.calls), MOST_CALLS)] or [slice(0, 0)]
        for part in parts:
            text = each.text if part.start == 0 else ""
            _add(lines, Said(role=Role.ASSISTANT, text=text, calls=tuple(each.calls[part])), log)
            for call, result in zip(each.calls[part], each.results[part], strict=True):
                if result is None:
                    log.append(f"call {call.id} had no result")
                lines.append(Said(role=Role.TOOL, text=result or NO_RESULT, answers=call.id))
    if not lines or lines[0].role is not Role.USER:
        log.append("the beginning was missing")
        lines.insert(0, Said(role=Role.USER, text=LOST))
    if lines[-1].role is Role.ASSISTANT:
        log.append("the assistant had the last word")
        lines.append(Said(role=Role.USER, text=GO_ON))
    return lines


def _add(lines: list[Said], line: Said, log: list[str]) -> None:
    """Append a line, or join it to the one before where the same role spoke twice; a blank one says nothing."""
    blank = not line.text.strip()
    if blank and not line.calls:
        log.append(f"an empty {line.role.value} line was left out")
        return
    if blank and line.text:
        line = replace(line, text="")
    last = lines[-1] if lines else None
    if last is None or last.role is not line.role:
        lines.append(line)
        return
    log.append(f"two {line.role.value} lines in a row were joined")
    lines[-1] = replace(last, text="\n\n".join(filter(None, (last.text, line.text))), calls=(*last.calls, *line.calls))


# ------------------------------------------------------------------------------------------------------------ compaction

_EVIDENCE_ID = re.compile(r"\b([A-Z]{1,2})(\d{1,6})\b")
_HEAD = 160
"""Characters kept of a shortened result before its evidence ids: enough to know what it was."""


def size(said: Sequence[Said]) -> int:
    """Return the characters that a dialogue costs to send, about four to a token."""
    return sum(len(line.text) + sum(len(call.name) + len(call.arguments) for call in line.calls) for line in said)


def compact(said: Sequence[Said], most: int) -> tuple[Said, ...]:
    """Return `said` with old results shortened, oldest first, until it has at most `most` characters or no more can go.

    Never shortened: the head, every user line, and the results of the last turn, which nobody has read yet. A line of a result
    whose evidence id the model has cited since stays to the letter; of the others the ids stay, so that they can be asked for.
    """
    lines = list(said)
    last_turn = max((at for at, line in enumerate(lines) if line.role is Role.ASSISTANT), default=0)
    left = size(lines) - most
    cited = set(_EVIDENCE_ID.findall("\n".join(_own_words(line) for line in lines if line.role is Role.ASSISTANT)))
    for at in range(last_turn):
        if left <= 0:
            break
        if lines[at].role is Role.TOOL:
            shorter = _shortened(lines[at].text, cited)
            if len(shorter) < len(lines[at].text):
                left -= len(lines[at].text) - len(shorter)
                lines[at] = replace(lines[at], text=shorter)
    return tuple(lines)


def _own_words(line: Said) -> str:
    return "\n".join((line.text, *(call.arguments for call in line.calls)))


def _shortened(text: str, cited: set[tuple[str, str]]) -> str:
    if text.startswith("[shortened"):
        return text
    kept = [line for line in text.split("\n") if (id_ := _EVIDENCE_ID.search(line)) and id_.groups() in cited]
    others = set(_EVIDENCE_ID.findall(text)) - {id_ for line in kept for id_ in _EVIDENCE_ID.findall(line)}
    parts = [f"[shortened: {' '.join(text[:_HEAD].split())} ...]"]
    if others:
        parts.append(f"[it also held {_spans(others)}]")
    return "\n".join([*parts, *kept])


def _spans(ids: set[tuple[str, str]]) -> str:
    """Return evidence ids as people write them: `L1-L7, L9`."""
    spans: list[tuple[str, int, int]] = []
    for letter, number in sorted({(letter, int(number)) for letter, number in ids}):
        if spans and spans[-1][0] == letter and spans[-1][2] == number - 1:
            spans[-1] = (letter, spans[-1][1], number)
        else:
            spans.append((letter, number, number))
    return ", ".join(f"{letter}{low}" if low == high else f"{letter}{low}-{letter}{high}" for letter, low, high in spans)
