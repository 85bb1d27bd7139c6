"""A language model of any provider that litellm knows, as `ports.Model`: one call, one answer or one fault, in time.

Transport only. Each call runs in a process of its own (`litellm_worker`), which is started at the first call, kept for the
next one, and killed at the deadline: no thread and no socket is left behind. Nothing of litellm is loaded into Medic itself.
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any  # the worker's answers are JSON

from agent.llm import tokens
from agent.model import (
    FaultKind,
    ModelAnswer,
    ModelFault,
    Price,
    Role,
    Said,
    StopReason,
    ToolCall,
    ToolSpec,
    Usage,
)
from agent.ports import Clock

START_WITHIN = timedelta(seconds=60)
"""For a price, which a new worker is asked for first: to load litellm takes 4 s on a quiet machine (measured), 17 s on a busy one."""
UNKNOWN_PRICE = Price(input=Decimal(15), output=Decimal(75))
"""Taken for a model that neither medic.yaml nor litellm's list prices: what the dearest ones cost. A local one says 0."""
SLICE = 0.2
"""Seconds between two looks at whether Medic stops."""
SENTENCE = 300
MOST_ANSWER = 4_000_000
"""Characters of one line of the worker: more is no answer of a model that was allowed a few thousand tokens."""

_STOPS = {
    "stop": StopReason.END,
    "tool_calls": StopReason.TOOL_CALLS,
    "length": StopReason.LENGTH,
    "content_filter": StopReason.FILTERED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a provider is reached, and with what."""

    url: str | None
    """Of an OpenAI-compatible endpoint, or of a proxy before a provider; None: the provider's own."""
    key: str | None
    """None: litellm looks for the provider's variable in the environment, as it documents."""
    prices: Mapping[str, Price]
    """By model, as medic.yaml says."""


class LitellmModel:
    """One provider. workers: shared by all of them. redact: for what it says in its errors."""

    def __init__(self, endpoint: Endpoint, workers: "Workers", clock: Clock, redact: Callable[[str], str]) -> None:
        self._endpoint = endpoint
        self._workers = workers
        self._clock = clock
        self._redact = redact
        self._prices: dict[str, Price] = dict(endpoint.prices)

    def complete(
        self,
        said: Sequence[Said],
        tools: Sequence[ToolSpec],
        *,
        model: str,
        deadline: timedelta,
        most_output: int,
        schema: str | None,
    ) -> ModelAnswer:
        """Ask once. Raises ModelFault; ends within `deadline`, the start of a worker included."""
        price = self.price(model)
        began = self._clock.monotonic()
        answer = self._ask(
            {
                "model": model,
                "messages": [_message(line) for line in said],
                "tools": [_tool(tool) for tool in tools],
                "schema": None if schema is None else json.loads(schema),
                "most_output": most_output,
                # A little less than we wait ourselves, so that a silent provider ends as a time-out and not with its worker.
                "timeout": deadline.total_seconds() * 0.8,
                "url": self._endpoint.url,
                "key": self._endpoint.key,
            },
            model,
            deadline,
        )
        took = timedelta(seconds=self._clock.monotonic() - began)
        line = Said(
            role=Role.ASSISTANT,
            text=str(answer["text"]),
            calls=tuple(ToolCall(id=call["id"], name=call["name"], arguments=call["arguments"]) for call in answer["calls"]),
        )
        usage = _usage(answer, said, tools, line)
        return ModelAnswer(
            said=line,
            stop=_STOPS.get(answer["stop"] or "", StopReason.OTHER),
            usage=usage,
            model=str(answer["model"])[:200],
            cost=price.of(usage.input_tokens, usage.output_tokens),
            took=took,
        )

    def price(self, model: str) -> Price:
        """Return what a model costs: as medic.yaml says, else as litellm's list says, else as the dearest ones do."""
        if model not in self._prices:
            rates = self._ask({"price_of": model}, model, START_WITHIN)["price"]
            known = [Decimal(str(rate)) * 1_000_000 for rate in rates if rate is not None]
            self._prices[model] = Price(input=known[0], output=known[1]) if len(known) == 2 else UNKNOWN_PRICE
        return self._prices[model]

    def _ask(self, order: Mapping[str, object], model: str, deadline: timedelta) -> dict[str, Any]:
        answer = self._workers.ask(json.dumps(order), deadline)
        if answer is None:
            seconds = deadline.total_seconds()
            raise ModelFault(f"cannot ask {model}: no answer within {seconds:g} s", kind=FaultKind.TIMEOUT)
        if not answer:
            raise ModelFault(f"cannot ask {model}: its process ended", kind=FaultKind.OTHER)
        decoded: dict[str, Any] = json.loads(answer)
        if "fault" in decoded:
            words = " ".join(self._redact(str(decoded["sentence"])).split())[:SENTENCE]
            raise ModelFault(f"cannot ask {model}: {words}", kind=FaultKind(decoded["fault"]))
        return decoded


class Workers:
    """The processes that ask, one per call under way; each is kept for the next call. Nothing in them belongs to a provider.

    stopping: ends every call at once, as if its process had ended.
    """

    def __init__(self, clock: Clock, stopping: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._stopping = stopping
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: list[_Worker] = []

    @property
    def waiting(self) -> int:
        """How many wait for a call."""
        with self._lock:
            return sum(worker.lives for worker in self._idle)

    def ask(self, order: str, deadline: timedelta) -> str | None:
        """Return the answer, "" where the process ended, None where time is over; then it is killed with the call in it."""
        worker = self._taken()
        answer: str | None = None
        try:
            answer = worker.ask(order, deadline)
        finally:
            with self._lock:
                self._busy.remove(worker)
                if answer:
                    self._idle.append(worker)
            if not answer:
                worker.kill()
        return answer

    def close(self) -> None:
        """End every worker, in the middle of a call too."""
        with self._lock:
            workers = (*self._idle, *self._busy)
            self._idle = []
        for worker in workers:
            worker.kill()

    def _taken(self) -> "_Worker":
        """Return a worker that waits, or a new one; it is busy from now on."""
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.lives:
                    break
                worker.kill()
            else:
                worker = _Worker(self._clock, lambda: self._stopping())
            self._busy.append(worker)
        return worker


class _Worker:
    """One process. Asked one thing at a time."""

    def __init__(self, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._clock = clock
        self._stopping = stopping
        # -P: a folder that Medic happens to run in lends it no modules.
        command = (sys.executable, "-P", "-m", "agent.adapters.litellm_worker")
        self._process = subprocess.Popen(  # noqa: S603  our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="model worker", daemon=True).start()
        self._loaded = False

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def ask(self, order: str, deadline: timedelta) -> str | None:
        """Return the answer, "" where the process ended, None where time is over."""
        if self._process.stdin is None:
            raise AssertionError("it was started with a pipe")
        until = self._clock.monotonic() + deadline.total_seconds()
        if not self._loaded:  # a word of its own, so that litellm's own time-out begins when it can be kept
            first = self._send_and_wait('{"price_of":"none"}', deadline)
            if not first:
                return first
            self._loaded = True
        return self._send_and_wait(order, timedelta(seconds=max(0.0, until - self._clock.monotonic())))

    def _send_and_wait(self, order: str, deadline: timedelta) -> str | None:
        until = self._clock.monotonic() + deadline.total_seconds()
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(order + "\n")
                self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it ended, or was killed by `close`
            return ""
        while not self._stopping():
            left = until - self._clock.monotonic()
            if left <= 0:
                return None
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=min(left, SLICE))
        return ""

    def kill(self) -> None:
        """End it, now, with whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _listen(self) -> None:
        """Pass on each line until the process ends; the last word is an empty one."""
        with contextlib.suppress(ValueError, OSError):  # the pipe was closed by `kill`
            while self._process.stdout is not None and (line := self._process.stdout.readline(MOST_ANSWER)):
                if not line.endswith("\n"):
                    break  # more than any answer: whoever asks gets none, and ends the process
                self._answers.put(line)
        self._answers.put("")


def _message(line: Said) -> dict[str, object]:
    """Return a line in the chat format of OpenAI, which litellm translates for every other provider."""
    message: dict[str, object] = {"role": line.role.value, "content": line.text}
    if line.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in line.calls
        ]
        message["content"] = line.text or None
    if line.answers is not None:
        message["tool_call_id"] = line.answers
    return message


def _tool(tool: ToolSpec) -> dict[str, object]:
    function = {"name": tool.name, "description": tool.description, "parameters": json.loads(tool.schema)}
    return {"type": "function", "function": function}


def _usage(answer: Mapping[str, Any], said: Sequence[Said], tools: Sequence[ToolSpec], line: Said) -> Usage:
    """Return the tokens of a call. What a provider does not say is estimated, on the high side: never nothing."""
    given_in, given_out = int(answer["input_tokens"]), int(answer["output_tokens"])
    return Usage(
        input_tokens=given_in if given_in > 0 else tokens.of_dialogue(said, tools),
        output_tokens=given_out if given_out > 0 else tokens.of_dialogue((line,)),
        estimated=given_in <= 0 or given_out <= 0,
    )
