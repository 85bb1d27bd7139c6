"""The process that speaks to language models through litellm: `python -m agent.adapters.litellm_worker`.

In: one JSON object per line on standard input, one call each. Out: one JSON object per line on standard output. It lives apart
from Medic because a call inside a library cannot be stopped from outside, and because litellm takes seconds and 180 MB to load.
Its parent kills it at a deadline; where its parent dies, standard input ends and it goes as well, in the middle of a call too.
The only importer of litellm, which is transport here and nothing else: what it would do by itself (retry, fall back, count
money, call home, read `.env` files) is off.
"""

import json
import os
import sys
import threading
import time
from typing import Any, TextIO  # Any: JSON in and out, and litellm's own loose types

# Before the import: unset, it reads a `.env` from the working directory, and fetches its price list from the network.
os.environ.update(LITELLM_MODE="PRODUCTION", LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_TELEMETRY="False")

_OUT = sys.stdout
sys.stdout = sys.stderr  # what a library prints must not stand between our lines

import litellm  # noqa: E402  see above
from litellm import exceptions as faults  # noqa: E402

litellm.telemetry = False
litellm.suppress_debug_info = True
litellm.drop_params = True  # a provider that knows no response_format gets none: the reply is checked by us all the same
litellm.num_retries = None
litellm.callbacks, litellm.success_callback, litellm.failure_callback = [], [], []

SENTENCE = 400
"""Characters of a provider's own words that are passed on."""
EARLY = 0.9
"""litellm reports a connection that was reset, and half a body, as a time-out (measured, 1.106). One that comes before this
share of the time is none."""

_NO_ANSWER = frozenset({"APIConnectionError", "ConnectError", "ReadError", "RemoteProtocolError", "WriteError"})
"""What openai and httpx call a connection that was never made or broke. litellm wraps it as a server's own error (1.110)."""

_BY_STATUS = {401: "refused_key", 403: "refused_key", 408: "timeout", 413: "too_long", 429: "rate_limited"}


def main(lines: TextIO, out: TextIO) -> None:
    """Answer one call after the other until the input ends, then end the process whatever it is doing."""
    waiting: list[str] = []
    there = threading.Condition()

    def work() -> None:
        while True:
            with there:
                there.wait_for(lambda: bool(waiting))
                line = waiting.pop(0)
            out.write(json.dumps(_answer(json.loads(line)), separators=(",", ":")) + "\n")
            out.flush()

    threading.Thread(target=work, daemon=True).start()
    for line in lines:
        with there:
            waiting.append(line)
            there.notify()
    os._exit(0)


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    began = time.monotonic()
    try:
        return _price_of(order["price_of"]) if "price_of" in order else _complete(order)
    except Exception as exc:  # noqa: BLE001  # litellm raises IndexError, bare Exception and its own classes alike
        early = time.monotonic() - began < EARLY * float(order.get("timeout", 0))
        return {"fault": _kind(exc, early=early), "sentence": f"{type(exc).__name__}: {exc}"[:SENTENCE]}


def _complete(order: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {"tools": order["tools"], "tool_choice": "auto"} if order["tools"] else {}
    if order["schema"] is not None:
        form = {"name": "answer", "schema": order["schema"], "strict": True}
        given["response_format"] = {"type": "json_schema", "json_schema": form}
    if order["url"] is not None:
        given["api_base"] = order["url"]
    if order["key"] is not None:
        given["api_key"] = order["key"]
    answer: Any = litellm.completion(
        model=order["model"],
        messages=order["messages"],
        max_tokens=order["most_output"],
        timeout=order["timeout"],
        max_retries=0,
        stream=False,
        caching=False,
        **given,
    )
    choice = answer.choices[0]  # an empty list is an IndexError: garbage, as it is
    usage = getattr(answer, "usage", None)
    return {
        "text": choice.message.content or "",
        "calls": [_call(call) for call in choice.message.tool_calls or ()],
        "stop": choice.finish_reason,
        "input_tokens": getattr(usage, "prompt_tokens", 0) or 0,
        "output_tokens": getattr(usage, "completion_tokens", 0) or 0,
        "model": str(answer.model or order["model"]),
    }


def _call(call: Any) -> dict[str, str]:
    """Return a call as text, whatever it was: litellm passes on objects for arguments, missing ids, impossible names."""
    arguments = call.function.arguments
    return {
        "id": str(call.id or ""),
        "name": str(call.function.name or ""),
        "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
    }


def _price_of(model: str) -> dict[str, Any]:
    """Return what litellm's own list says of a model in dollars for a token; None where it does not know it."""
    known = litellm.model_cost.get(model) or litellm.model_cost.get(model.partition("/")[2]) or {}
    return {"price": [known.get("input_cost_per_token"), known.get("output_cost_per_token")]}


def _kind(exc: Exception, *, early: bool) -> str:
    match exc:
        case faults.ContextWindowExceededError():
            return "too_long"
        case faults.RateLimitError():
            return "rate_limited"
        case faults.Timeout():
            return "unreachable" if early else "timeout"
        case faults.AuthenticationError() | faults.PermissionDeniedError():
            return "refused_key"
        case faults.APIConnectionError():
            return "unreachable"
        case faults.ServiceUnavailableError() | faults.InternalServerError():
            return "unreachable" if _broke(exc) else "overloaded"
        case faults.BadRequestError() | faults.NotFoundError() | faults.UnprocessableEntityError():
            return "bad_request"
        case _:
            status = getattr(exc, "status_code", None)
            if not isinstance(status, int):
                return "other"
            return _BY_STATUS.get(status) or ("overloaded" if status >= 500 else "bad_request" if status >= 400 else "other")


def _broke(exc: BaseException) -> bool:
    """Say whether somewhere below an exception stands a connection that broke."""
    below: BaseException | None = exc
    while below is not None:
        if type(below).__name__ in _NO_ANSWER:
            return True
        below = below.__cause__ or below.__context__
    return "Connection error" in str(exc)


if __name__ == "__main__":
    main(sys.stdin, _OUT)
