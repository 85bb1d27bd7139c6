"""A model's provider on the loopback: it speaks the wire formats of OpenAI and of Anthropic, says what it was told to, and
answers 400 in the provider's words to a history that the provider would refuse.

    with ModelServer() as server:
        server.script(Says("hello"), Fails(429, "slow down"), Says(calls=(("read_logs", '{"limit": 5}'),)))

A script is a list, whose last step is repeated, or a function of what was heard: that is how a hijacked model is played.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests import wire

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request."""

    path: str
    body: JSON
    headers: dict[str, str]

    @property
    def is_anthropic(self) -> bool:
        return self.path.split("?")[0].endswith("/messages")

    @property
    def text(self) -> str:
        """Everything that the model reads, as one text: system, user and tool lines."""
        return "\n".join([_text(self.body.get("system")), *(_text(message) for message in self.body.get("messages", []))])

    @property
    def results(self) -> list[str]:
        """The ids of the calls that are answered in it, in either format."""
        found = [message.get("tool_call_id") for message in self.body.get("messages", [])]
        for message in self.body.get("messages", []):
            blocks = message.get("content")
            if isinstance(blocks, list):
                found += [block.get("tool_use_id") for block in blocks if isinstance(block, dict)]
        return [id_ for id_ in found if isinstance(id_, str)]

    @property
    def tools(self) -> list[str]:
        """The names of the tools that are offered."""
        return [tool.get("name") or tool["function"]["name"] for tool in self.body.get("tools") or []]


def _text(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, list):
        return "\n".join(_text(each) for each in part)
    if isinstance(part, dict):
        return "\n".join(_text(part[key]) for key in ("text", "content") if part.get(key))
    return ""


@dataclass(frozen=True, slots=True)
class Says:
    """A good answer: text, and calls as (name, arguments) or (name, arguments, id)."""

    text: str = ""
    calls: tuple[tuple[str, ...], ...] = ()
    stop: str | None = None
    """`end`, `tool_calls`, `length` or `filtered`; None: what fits."""
    usage: tuple[int, int] | None = (100, 10)
    """Input and output tokens; None: the provider forgets to say."""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Fails:
    """An error of the provider: 429, 500, 529, 401 ..."""

    status: int
    message: str = "boom"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Hangs:
    """No answer at all, until the server closes or `seconds` are over; then the connection ends."""

    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Resets:
    """The connection ends without a byte."""


@dataclass(frozen=True, slots=True)
class Raw:
    """These bytes, whatever they are: half a JSON, HTML, an empty list of choices."""

    body: bytes
    content_type: str = "application/json"
    promised: int | None = None
    """Content-Length, where it is to lie."""


@dataclass(frozen=True, slots=True)
class Drips:
    """A good answer of which one byte comes every `pause` seconds: no read ever times out."""

    says: Says = field(default_factory=lambda: Says("late"))
    pause: float = 0.2


Step = Says | Fails | Hangs | Resets | Raw | Drips
Script = Callable[[Heard], Step]


class ModelServer:
    """Listens while the `with` lasts. `heard` holds every request, `refused` the objections that were answered with 400."""

    def __init__(self, script: Script | None = None) -> None:
        self.heard: list[Heard] = []
        self.refused: list[str] = []
        self._script: Script = script or (lambda _: Says("hello"))
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._calls = 0
        server = self

        class Asked(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
                return

            def do_POST(self) -> None:
                server.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def url(self) -> str:
        """The root: what Anthropic's clients call the base URL."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def openai_url(self) -> str:
        """What OpenAI's clients call the base URL."""
        return f"{self.url}/v1"

    def script(self, *steps: Step) -> None:
        """Play these from now on, one per request; the last is repeated. Forgets what was heard."""
        left = list(steps)
        self.play(lambda _: left.pop(0) if len(left) > 1 else left[0])

    def play(self, script: Script) -> None:
        """Play a function of what is heard. Forgets what was heard."""
        with self._lock:
            self._script, self.heard, self.refused, self._calls = script, [], [], 0

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        length = int(asked.headers.get("content-length") or 0)
        heard = Heard(path=asked.path, body=json.loads(asked.rfile.read(length) or b"{}"), headers=dict(asked.headers))
        objection = (wire.anthropic_objection if heard.is_anthropic else wire.openai_objection)(heard.body)
        with self._lock:
            self.heard.append(heard)
            if objection is not None:
                self.refused.append(objection)
            step: Step = self._script(heard) if objection is None else Fails(400, objection)
        try:
            self._play(step, heard, asked)
        except (BrokenPipeError, ConnectionResetError):
            asked.close_connection = True

    def _play(self, step: Step, heard: Heard, asked: BaseHTTPRequestHandler) -> None:
        match step:
            case Says():
                self._send(asked, 200, json.dumps(self._body(step, heard)).encode())
            case Fails():
                self._send(asked, step.status, json.dumps(_error(step, heard)).encode(), headers=step.headers)
            case Raw():
                self._send(asked, 200, step.body, content_type=step.content_type, promised=step.promised)
                asked.close_connection = True
            case Hangs():
                self._closing.wait(step.seconds)
                asked.close_connection = True
            case Resets():
                asked.close_connection = True
            case Drips():
                content = json.dumps(self._body(step.says, heard)).encode()
                self._send(asked, 200, b"", promised=len(content))
                for byte in content:
                    if self._closing.wait(step.pause):
                        break
                    asked.wfile.write(bytes([byte]))
                    asked.wfile.flush()
                asked.close_connection = True

    def _send(
        self,
        asked: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        *,
        content_type: str = "application/json",
        promised: int | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        asked.send_response(status)
        for name, value in (("content-type", content_type), *headers):
            asked.send_header(name, value)
        asked.send_header("content-length", str(len(content) if promised is None else promised))
        asked.end_headers()
        asked.wfile.write(content)

    def _body(self, says: Says, heard: Heard) -> JSON:
        calls = [(*call, self._id())[:3] for call in says.calls]
        return (_anthropic_answer if heard.is_anthropic else _openai_answer)(says, calls, heard)

    def _id(self) -> str:
        with self._lock:
            self._calls += 1
            return f"call_{self._calls:06d}"


def _error(step: Fails, heard: Heard) -> JSON:
    words = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
    kind = words.get(step.status, "api_error")
    if heard.is_anthropic:
        return {"type": "error", "error": {"type": kind, "message": step.message}}
    code = "context_length_exceeded" if "maximum context length" in step.message else None
    return {"error": {"message": step.message, "type": kind, "param": None, "code": code}}


def _openai_answer(says: Says, calls: list[tuple[str, ...]], heard: Heard) -> JSON:
    message: JSON = {"role": "assistant", "content": says.text or None}
    if calls:
        message["tool_calls"] = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for name, arguments, id_ in calls
        ]
    words = {"end": "stop", "filtered": "content_filter"}
    stop = says.stop or ("tool_calls" if calls else "end")
    answer: JSON = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": says.model or heard.body.get("model"),
        "choices": [{"index": 0, "message": message, "finish_reason": words.get(stop, stop)}],
    }
    if says.usage is not None:
        given, made = says.usage
        answer["usage"] = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    return answer


def _anthropic_answer(says: Says, calls: list[tuple[str, ...]], heard: Heard) -> JSON:
    content: list[JSON] = [{"type": "text", "text": says.text}] if says.text else []
    content += [{"type": "tool_use", "id": id_, "name": name, "input": _object(args)} for name, args, id_ in calls]
    words = {"end": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "filtered": "refusal"}
    answer: JSON = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": says.model or heard.body.get("model"),
        "content": content,
        "stop_reason": words[says.stop or ("tool_calls" if calls else "end")],
        "stop_sequence": None,
    }
    if says.usage is not None:
        answer["usage"] = {"input_tokens": says.usage[0], "output_tokens": says.usage[1]}
    return answer


def _object(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return {"_raw": arguments}  # this format carries an object, so a model cannot send half a JSON in it
