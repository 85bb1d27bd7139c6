"""litellm as it is, with nothing of Medic around it: what `test_litellm_traps.py` measures. A process of its own, in a folder of its own.

In: one JSON object per line: the name of a case and where the provider listens. Out: one JSON object per line: what came of it.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # unset, it fetches its price list from the network: no test does that
out, sys.stdout = sys.stdout, sys.stderr

import litellm  # noqa: E402
from litellm import Router  # noqa: E402

litellm.suppress_debug_info = True
HI = [{"role": "user", "content": "hi"}]


def ask(url: str, **more: Any) -> Any:
    given = {"model": "openai/any", "messages": HI, "api_base": f"{url}/v1", "api_key": "k", "timeout": 60, **more}
    return litellm.completion(**given)


def history(url: str, arguments: str) -> object:
    call = {"id": "c1", "type": "function", "function": {"name": "probe", "arguments": arguments}}
    said = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "x"},
    ]
    tool = {
        "type": "function",
        "function": {"name": "probe", "description": "", "parameters": {"type": "object", "properties": {}}},
    }
    ask(url, model="anthropic/claude-any", api_base=url, messages=said, tools=[tool], max_retries=0)
    return "sent"


def routed(url: str, **more: Any) -> object:
    both = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": f"{url}/v1", "api_key": "k"}}
        for name in "ab"
    ]
    return Router(model_list=both, fallbacks=[{"a": ["b"]}], **more).completion(model="a", messages=HI, timeout=60).model


def budget(url: str) -> object:
    litellm.max_budget = 0.000001
    try:
        return [ask(url, model="gpt-4o-mini").model for _ in range(3)]
    finally:
        litellm.max_budget = 0.0


CASES: dict[str, Callable[[str], object]] = {
    "defaults": lambda url: ask(url).choices[0].finish_reason,
    "max_retries=0": lambda url: ask(url, max_retries=0).choices[0].finish_reason,
    "timeout=1": lambda url: ask(url, timeout=1).model,
    "usage": lambda url: ask(url).usage.total_tokens,
    "calls": lambda url: [
        [type(call.function.arguments).__name__, call.id is None, call.function.name]
        for call in ask(url).choices[0].message.tool_calls
    ][:2],
    "price of an unknown model": lambda url: litellm.completion_cost(completion_response=ask(url), model="openai/unheard-of"),
    "half arguments in a history": lambda url: history(url, '{"s": 1'),
    "a list of arguments in a history": lambda url: history(url, "[1]"),
    "router, num_retries=0": lambda url: routed(url, num_retries=0),
    "max_budget": budget,
    "request_timeout": lambda _url: litellm.request_timeout,
    ".env": lambda _url: os.environ.get("FROM_THE_FOLDER"),
}


def main() -> None:
    for line in sys.stdin:
        wish = json.loads(line)
        try:
            came: object = CASES[wish["case"]](wish["url"])
        except Exception as exc:  # noqa: BLE001  whatever litellm raises is what is measured
            came = type(exc).__name__
        out.write(json.dumps(came) + "\n")
        out.flush()
