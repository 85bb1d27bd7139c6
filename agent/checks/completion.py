"""The completion check: does an OpenAI-style endpoint really generate. An engine may be dead behind a healthy `/health`.

Source of the shapes: OpenAI API reference, "Create chat completion" and "Create completion"; servers add `reasoning_content`
(vLLM, SGLang) for tokens that are generated and not part of the answer.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from agent.checks import frame, http, place
from agent.model import (
    Blind,
    CompletionCheck,
    ContainerFacts,
    HttpRequest,
    HttpSeen,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
)

BODY_LIMIT = 65_536
"""Bytes read at most: a hundred times what a few tokens take."""

_PATHS = {"chat": "/chat/completions", "text": "/completions"}
_ACCEPTED = ((200, 299),)
_GAVE_UP = frozenset({"error", "abort"})
"""Finish reasons by which an engine says that it did not finish (vLLM)."""


@dataclass(frozen=True, slots=True)
class _Generated:
    """What came of a completion. first: bytes of the body up to its first token; None without one."""

    tokens: int
    finished: bool
    first: int | None = None
    lacks: str = ""
    """Why there is no token, as words of our own."""


def requests(check: CompletionCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the one tiny completion to ask for, none when there is no address to ask."""
    request = _request(check, service, facts)
    return (request,) if isinstance(request, HttpRequest) else ()


def judge(
    check: CompletionCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge whether tokens came, whether it finished, and when the first one came. No text of the model is quoted."""
    request = _request(check, service, facts)
    if not isinstance(request, HttpRequest):
        return place.not_asked(check.name, check.plane, request)
    match observed.get(request):
        case HttpSeen() as seen:
            return _judge_answer(check, f"a completion from {request.url}", seen)
        case other:
            return frame.unseen(check, other, request.url)


def _judge_answer(check: CompletionCheck, asked: str, seen: HttpSeen) -> Judgement:
    generated = _streamed(seen.body) if check.stream else _whole(seen)
    cut_short = seen.error is not None and generated.tokens > 0
    without = None if cut_short else http.broken(check, asked, seen, _ACCEPTED)
    if without is not None:
        return without
    if not generated.tokens:
        return frame.sick(check, ("engine-no-tokens", f"{asked} answered {seen.status} without a token: {generated.lacks}"))
    if seen.error == "timeout":
        # It generates: an engine with a long queue looks like this, and a restart would cost what it serves.
        late = f"{asked} did not finish within {check.timeout.total_seconds():g} s, {generated.tokens} tokens came"
        return frame.sick(check, ("engine-slow", late))
    if cut_short or not generated.finished:
        return frame.sick(check, ("engine-cut", f"{asked} broke off after {generated.tokens} tokens"))
    first = _came_after(seen, generated.first)
    allowed = check.first_token_within
    if allowed is not None and first > allowed:
        detail = f"{asked} had its first token after {first.total_seconds():.3g} s, {allowed.total_seconds():g} s is allowed"
        return frame.sick(check, ("engine-slow", detail))
    return frame.well(check, f"{asked} came with {generated.tokens} tokens, the first after {first.total_seconds():.3g} s")


def _came_after(seen: HttpSeen, first: int | None) -> timedelta:
    """Return when the first token was there; the end of the answer where its parts were not timed."""
    return next((when for size, when in seen.arrivals if first is not None and size >= first), seen.latency)


def _whole(seen: HttpSeen) -> _Generated:
    """Read an answer that came in one piece."""
    answer = _object(seen.body)
    if answer is None:
        return _Generated(0, finished=False, lacks="the body is no JSON object")
    choice = _choice(answer)
    if choice is None:
        return _Generated(0, finished=False, lacks="it has no choices")
    usage = answer.get("usage")
    counted = usage.get("completion_tokens") if isinstance(usage, dict) else None
    tokens = counted if isinstance(counted, int) else int(_has_text(choice))
    finished = choice.get("finish_reason") not in _GAVE_UP
    return _Generated(tokens, finished=finished, lacks="0 tokens")


def _streamed(body: str) -> _Generated:
    """Read server-sent events; each with text in it counts as one token."""
    tokens, finished, first, lacks = 0, False, None, "no event came"
    for end, text in _events(body):
        if text == "[DONE]":
            finished = True
            break
        said = _object(text)
        choice = _choice(said) if said is not None else None
        if choice is None:
            lacks = "an error came instead" if said is not None and "error" in said else "its events hold no choices"
            continue
        if _has_text(choice):
            tokens += 1
            first = first or end
        reason = choice.get("finish_reason")
        finished = finished or (isinstance(reason, str) and reason not in _GAVE_UP)
        lacks = "its events hold no text"
    return _Generated(tokens, finished=finished, first=first, lacks=lacks)


def _events(body: str) -> Iterator[tuple[int, str]]:
    """Yield each `data:` of a stream with the number of bytes up to the end of its line."""
    size = 0
    for line in body.splitlines(keepends=True):
        size += len(line.encode())
        if line.startswith("data:"):
            yield size, line[len("data:") :].strip()


def _choice(answer: dict[str, object]) -> dict[str, object] | None:
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _has_text(choice: dict[str, object]) -> bool:
    parts = [choice, *(part for part in (choice.get("message"), choice.get("delta")) if isinstance(part, dict))]
    return any(part.get(key) for part in parts for key in ("text", "content", "reasoning_content", "reasoning", "tool_calls"))


def _object(text: str) -> dict[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def url(check: CompletionCheck) -> str:
    """Return where it is asked, as declared."""
    return check.url.rstrip("/") + _PATHS[check.api]


def payload(check: CompletionCheck) -> str:
    """Return the JSON that is sent."""
    asks = {"messages": [{"role": "user", "content": check.prompt}]} if check.api == "chat" else {"prompt": check.prompt}
    bounds = {"max_tokens": check.max_tokens, "temperature": 0, "stream": check.stream}
    return json.dumps({"model": check.model, **asks, **bounds})


def _request(check: CompletionCheck, service: Service, facts: ContainerFacts | Blind) -> HttpRequest | place.Gone | Blind:
    match http.at(url(check), facts):
        case (str(found), _):
            return HttpRequest(
                url=found,
                timeout=check.timeout,
                headers=check.headers,
                body_limit=BODY_LIMIT,
                payload=payload(check),
                timed=True,
                via=place.via(place.named_in(check.url), service),
            )
        case nowhere:
            return nowhere
