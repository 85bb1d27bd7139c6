"""Every trap of litellm that was measured, against a real HTTP endpoint: an upgrade that drifts turns one of these red.

Measured on 1.106 (defaults in brackets): three HTTP calls for one 429, 4.3 s for `timeout=1`, IndexError for no choices, a cost of
nothing where usage is missing, 529 as a bare APIError, a reset connection as a time-out, impossible tool calls passed on as good.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from agent import config
from agent.adapters.litellm_model import UNKNOWN_PRICE, Endpoint, LitellmModel, Workers
from agent.adapters.system_clock import SystemClock
from agent.model import (
    Cause,
    FaultKind,
    HttpSeen,
    ModelAnswer,
    ModelFault,
    Price,
    Role,
    Said,
    Spending,
    SpendingKind,
    StopReason,
    Sureness,
    ToolCall,
    ToolSpec,
)
from agent.ports import Advisor, Model
from agent.redact import Redactor
from agent.wiring import opinions
from tests.fakes_model import ScriptedModel, fault
from tests.lab import dialogues
from tests.model_server import Drips, Fails, Hangs, Heard, ModelServer, Raw, Resets, Says
from tests.stories.world import Ward, service

KEY = "sk-not-a-real-key-0123456789abcdef"
QUESTION = (Said(role=Role.SYSTEM, text="You are brief."), Said(role=Role.USER, text="Why is web sick?"))
LOOK = ToolSpec(
    name="probe",
    description="Look.",
    schema='{"type":"object","properties":{"service":{"type":"string"}},"required":["service"]}',
)
LONG = timedelta(minutes=5)
"""Nothing waits for it where all is well: on a machine that does ten things at once, to load litellm may take a minute."""
OPENAI, ANTHROPIC = "openai/any-model", "anthropic/claude-any"


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """One worker for the whole module: it takes seconds to load litellm, once."""
    shared = Workers(SystemClock())
    assert shared.ask('{"price_of":"none"}', LONG)  # loaded before a test's own deadline begins
    yield shared
    shared.close()


@pytest.fixture(scope="module")
def openai(server: ModelServer, workers: Workers) -> LitellmModel:
    prices = {OPENAI: Price(input=Decimal(1), output=Decimal(2))}
    return LitellmModel(Endpoint(url=server.openai_url, key=KEY, prices=prices), workers, SystemClock(), Redactor([KEY]))


@pytest.fixture(scope="module")
def anthropic(server: ModelServer, workers: Workers) -> LitellmModel:
    return LitellmModel(Endpoint(url=server.url, key=KEY, prices={}), workers, SystemClock(), Redactor([KEY]))


def ask(
    model: LitellmModel,
    name: str = OPENAI,
    said: tuple[Said, ...] = QUESTION,
    tools: tuple[ToolSpec, ...] = (),
    deadline: timedelta = LONG,
    schema: str | None = None,
) -> ModelAnswer:
    return model.complete(said, tools, model=name, deadline=deadline, most_output=200, schema=schema)


def test_an_answer_comes_with_its_tokens_and_its_price(server: ModelServer, openai: LitellmModel) -> None:
    server.script(Says("It crashed.", usage=(1000, 50)))
    answer = ask(openai)
    assert answer.said == Said(role=Role.ASSISTANT, text="It crashed.")
    assert answer.stop is StopReason.END
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated) == (1000, 50, False)
    assert answer.cost == Decimal("0.0011")
    sent = server.heard[0]
    assert {name.lower(): value for name, value in sent.headers.items()}["authorization"] == f"Bearer {KEY}"
    assert sent.body["max_tokens"] == 200
    assert "temperature" not in sent.body  # some models take one value only


def test_both_wire_formats_carry_a_whole_dialogue_with_tools(
    server: ModelServer, openai: LitellmModel, anthropic: LitellmModel
) -> None:
    said = (
        *QUESTION,
        Said(role=Role.ASSISTANT, text="", calls=(ToolCall(id="call_1", name="probe", arguments='{"service":"web"}'),)),
        Said(role=Role.TOOL, text="T1| direct: sick", answers="call_1"),
    )
    for model, name in ((openai, OPENAI), (anthropic, ANTHROPIC)):
        server.script(Says(calls=(("probe", '{"service": "db"}'),)))
        answer = ask(model, name, said, (LOOK,))
        assert server.refused == []
        assert answer.stop is StopReason.TOOL_CALLS
        (call,) = answer.said.calls
        assert (call.name, json.loads(call.arguments)) == ("probe", {"service": "db"})


def test_a_schema_reaches_the_provider(server: ModelServer, openai: LitellmModel) -> None:
    schema = '{"type":"object","properties":{"cause":{"type":"string"}},"required":["cause"],"additionalProperties":false}'
    server.script(Says('{"cause":"disk_full"}'))
    ask(openai, schema=schema)
    form = server.heard[0].body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == json.loads(schema)


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Fails(429, "slow down"), FaultKind.RATE_LIMITED),
        (Fails(500, "boom"), FaultKind.OVERLOADED),
        (Fails(503, "busy"), FaultKind.OVERLOADED),
        (Fails(529, "Overloaded"), FaultKind.OVERLOADED),
        (Fails(401, "bad key"), FaultKind.REFUSED_KEY),
        (Fails(403, "not yours"), FaultKind.REFUSED_KEY),
        (Fails(400, "what is this?"), FaultKind.BAD_REQUEST),
        (Fails(404, "no such model"), FaultKind.BAD_REQUEST),
        (Fails(400, "This model's maximum context length is 8192 tokens."), FaultKind.TOO_LONG),
        (Resets(), FaultKind.UNREACHABLE),
        (Raw(b'{"choices": [{"index"', promised=4000), FaultKind.UNREACHABLE),
        (Raw(b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[]}'), FaultKind.OTHER),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_fault_is_one_http_call_and_one_kind(
    server: ModelServer, openai: LitellmModel, step: Fails | Resets | Raw, kind: FaultKind
) -> None:
    server.script(step)
    with pytest.raises(ModelFault) as caught:
        ask(openai)
    assert caught.value.kind is kind
    assert len(server.heard) == 1
    assert KEY not in str(caught.value)
    assert str(caught.value).startswith(f"cannot ask {OPENAI}: ")


def test_html_instead_of_json_is_a_fault(server: ModelServer, openai: LitellmModel) -> None:
    server.script(Raw(b"<html>the proxy is down</html>", content_type="text/html"))
    with pytest.raises(ModelFault):
        ask(openai)
    assert len(server.heard) == 1


@pytest.mark.parametrize(("name", "kind"), [(529, FaultKind.OVERLOADED), (429, FaultKind.RATE_LIMITED)])
def test_anthropic_s_errors_have_the_same_kinds(
    server: ModelServer, anthropic: LitellmModel, name: int, kind: FaultKind
) -> None:
    server.script(Fails(name, "not now"))
    with pytest.raises(ModelFault) as caught:
        ask(anthropic, ANTHROPIC)
    assert caught.value.kind is kind
    assert len(server.heard) == 1


@pytest.mark.parametrize("step", [Hangs(30), Drips(pause=0.1)], ids=["silent", "one byte at a time"])
def test_a_deadline_stops_the_call_itself(
    server: ModelServer, openai: LitellmModel, workers: Workers, step: Hangs | Drips
) -> None:
    server.script(Says("hello"))
    ask(openai)
    assert workers.waiting == 1
    server.script(step)
    with pytest.raises(ModelFault) as caught:
        ask(openai, deadline=timedelta(seconds=1))
    assert caught.value.kind is FaultKind.TIMEOUT
    # A silent server ends by litellm's own time-out; one that drips never does, so its process is killed with the call in it.
    assert workers.waiting <= isinstance(step, Hangs)
    assert len(server.heard) == 1
    server.script(Says("hello"))
    assert ask(openai).said.text == "hello", "a worker that was killed is replaced"


def test_a_call_ends_when_medic_stops(server: ModelServer, openai: LitellmModel, workers: Workers) -> None:
    server.script(Hangs(60))
    workers._stopping = lambda: bool(server.heard)
    try:
        with pytest.raises(ModelFault) as caught:
            ask(openai, deadline=timedelta(seconds=60))
    finally:
        workers._stopping = lambda: False
    assert caught.value.kind is FaultKind.OTHER, "it ended by itself, long before its deadline"


@pytest.mark.parametrize(("stop", "reason"), [("length", StopReason.LENGTH), ("filtered", StopReason.FILTERED)])
def test_an_answer_that_was_cut_says_so(server: ModelServer, openai: LitellmModel, stop: str, reason: StopReason) -> None:
    server.script(Says("It is bec", stop=stop))
    assert ask(openai).stop is reason


def test_usage_that_a_provider_forgets_is_estimated_and_never_nothing(server: ModelServer, openai: LitellmModel) -> None:
    server.script(Says("It crashed because the disk is full.", usage=None))
    answer = ask(openai)
    assert answer.usage.estimated
    assert answer.usage.input_tokens > 10
    assert answer.usage.output_tokens > 5
    assert answer.cost > 0


def test_a_model_that_nobody_prices_costs_what_the_dearest_do(server: ModelServer, anthropic: LitellmModel) -> None:
    server.script(Says("hello", usage=(1_000_000, 0)))
    assert anthropic.price(ANTHROPIC) == UNKNOWN_PRICE
    assert ask(anthropic, ANTHROPIC).cost >= UNKNOWN_PRICE.input


def test_a_model_that_litellm_prices_costs_that(openai: LitellmModel) -> None:
    price = openai.price("openai/gpt-4o-mini")
    assert Decimal(0) < price.input < UNKNOWN_PRICE.input
    assert Decimal(0) < price.output < UNKNOWN_PRICE.output


def _tool_calls(calls: list[object]) -> Raw:
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return Raw(json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}).encode())


def _call(**changed: object) -> dict[str, object]:
    call: dict[str, object] = {"id": "a", "type": "function", "function": {"name": "probe", "arguments": "{}"}}
    return {**call, **changed}


@pytest.mark.parametrize(
    "calls",
    [
        [_call(function={"name": "probe", "arguments": {"service": "web"}})],
        [_call(id=None)],
        [_call(), _call()],
        [_call(function={"name": "rm -rf /; drop", "arguments": "{}"})],
        [_call(id=f"c{number}") for number in range(500)],
        [_call(function={"name": "probe", "arguments": '{"service": "w'})],
    ],
    ids=["arguments as an object", "no id", "one id twice", "an impossible name", "500 calls", "half a JSON"],
)
def test_tool_calls_arrive_as_they_were_written_and_as_text(
    server: ModelServer, openai: LitellmModel, calls: list[object]
) -> None:
    server.script(_tool_calls(calls))
    answer = ask(openai, tools=(LOOK,))
    assert len(answer.said.calls) == len(calls)
    assert all(isinstance(part, str) for call in answer.said.calls for part in (call.id, call.name, call.arguments))


def test_nothing_of_litellm_is_loaded_into_medic() -> None:
    code = "import sys; import agent.adapters.litellm_model; print(sorted({'litellm','openai','httpx','boto3'} & set(sys.modules)))"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_worker_reads_no_env_file_and_ends_with_its_parent_in_the_middle_of_a_call(
    tmp_path: Path, server: ModelServer
) -> None:
    # A `.env` of whatever folder Medic runs in must not become its environment.
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-the-folder\nOPENAI_API_BASE=http://127.0.0.1:9\n")
    server.script(Hangs(30))
    worker = subprocess.Popen(
        (sys.executable, "-P", "-m", "agent.adapters.litellm_worker"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OPENAI_API_KEY": "from-the-environment"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert worker.stdin is not None
    order = {
        "model": OPENAI,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [],
        "schema": None,
        "most_output": 5,
        "timeout": 60,
        "url": server.openai_url,
        "key": None,
    }
    worker.stdin.write(json.dumps(order) + "\n")
    worker.stdin.flush()
    until = time.monotonic() + LONG.total_seconds()
    while not server.heard and time.monotonic() < until:
        time.sleep(0.05)
    worker.stdin.close()  # what the kernel does when the parent is gone
    assert worker.wait(timeout=LONG.total_seconds()) == 0
    complaints = worker.stderr.read() if worker.stderr is not None else ""
    for pipe in (worker.stdout, worker.stderr):
        if pipe is not None:
            pipe.close()
    (heard,) = server.heard
    assert "from-the-environment" in str(heard.headers)
    assert "cost map" not in complaints.lower(), "it fetches prices from the network"


# ------------------------------------------------------------------------------------------- the port, on fake and real


@pytest.fixture(params=["scripted", "litellm"])
def port(request: pytest.FixtureRequest, server: ModelServer, openai: LitellmModel) -> Callable[[Said | ModelFault], Model]:
    """Something that makes a `ports.Model` which answers one thing."""

    def answering(step: Said | ModelFault) -> Model:
        if request.param == "scripted":
            return ScriptedModel(step)
        if isinstance(step, ModelFault):
            server.script(Fails({FaultKind.RATE_LIMITED: 429, FaultKind.REFUSED_KEY: 401}[step.kind]))
        else:
            server.script(Says(step.text, calls=tuple((call.name, call.arguments, call.id) for call in step.calls)))
        return openai

    return answering


@pytest.mark.parametrize(
    "said",
    [
        Said(role=Role.ASSISTANT, text="It crashed."),
        Said(role=Role.ASSISTANT, text="", calls=(ToolCall(id="call_7", name="probe", arguments='{"service":"db"}'),)),
    ],
    ids=["text", "a call"],
)
def test_every_model_answers_with_a_line_its_tokens_and_its_price(
    port: Callable[[Said | ModelFault], Model], said: Said
) -> None:
    answer = port(said).complete(QUESTION, (LOOK,), model=OPENAI, deadline=LONG, most_output=200, schema=None)
    assert answer.said == said
    assert answer.stop is (StopReason.TOOL_CALLS if said.calls else StopReason.END)
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer.cost > 0
    assert answer.took > timedelta(0)


@pytest.mark.parametrize("kind", [FaultKind.RATE_LIMITED, FaultKind.REFUSED_KEY])
def test_every_model_raises_its_faults_by_kind(port: Callable[[Said | ModelFault], Model], kind: FaultKind) -> None:
    with pytest.raises(ModelFault) as caught:
        port(fault(kind)).complete(QUESTION, (), model=OPENAI, deadline=LONG, most_output=200, schema=None)
    assert (caught.value.kind, caught.value.transient) == (kind, kind.passes)


# ---------------------------------------------------------------------------------------------- whole dialogues, recorded


@pytest.mark.parametrize("name", dialogues.DIALOGUES)
def test_a_recorded_dialogue_is_what_is_said_over_http_today(
    server: ModelServer, workers: Workers, tmp_path: Path, name: str
) -> None:
    """The recordings that `tests/stories/test_recorded_dialogues.py` replays offline were made by nobody's hand."""
    endpoint = Endpoint(url=server.openai_url, key="none", prices=dialogues.PRICES)
    made = dialogues.record(name, server, LitellmModel(endpoint, workers, SystemClock(), Redactor()), tmp_path)
    assert made.read_text(encoding="utf-8") == (dialogues.FOLDER / f"{name}.jsonl").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------- all of it, as wiring joins it


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
def test_a_whole_incident_is_explained_over_http_as_wiring_joins_it(tmp_path: Path, server: ModelServer, wire: str) -> None:
    """The first provider is down; the second searches, is answered, and names a cause by a line of the log."""
    name, url = (OPENAI, server.openai_url) if wire == "openai" else (ANTHROPIC, server.url)
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "medic.yaml").write_text(
        f"state_dir: {tmp_path / 'state'}\n"
        "model:\n"
        "  ask: doubt\n"
        "  limits: {wall: 10m}\n"
        "  providers:\n"
        "    - {model: openai/down, url: 'http://127.0.0.1:9/v1', key_file: key}\n"
        f"    - {{model: {name}, url: '{url}', key_file: key, prices: {{'{name}': {{input: 1, output: 5}}}}}}\n"
    )
    using = config.load(tmp_path / "medic.yaml", {})

    def plays(heard: Heard) -> Says:
        if "read_logs" in heard.tools and not heard.results:
            return Says(calls=(("read_logs", '{"service": "web", "contains": "flux"}'),))
        if "read_logs" in heard.tools:
            return Says("The frobnicator gave up.")
        shown = next(line for line in heard.text.splitlines() if "frobnicator gave up: flux" in line and "| " in line)
        verdict = {
            "cause": "application_bug",
            "runbook": "inconclusive",
            "parameters": [],
            "evidence": [shown.split("|")[0]],
            "confidence": 0.9,
            "summary": "The frobnicator gave up.",
        }
        # To Anthropic, litellm sends a schema as the one tool that may be called, and hands its arguments back as the text.
        by_tool = heard.tools[0] if heard.tools else None
        return Says(calls=((by_tool, json.dumps(verdict)),)) if by_tool else Says(json.dumps(verdict))

    server.play(plays)
    with contextlib.ExitStack() as closing:

        def advisor(made: Ward) -> Advisor | None:
            return closing.enter_context(opinions.advisor(using, made.store, made.machine, made.machine, Redactor([KEY])))

        made = Ward(using.state_dir, (service("web"),), runbooks=(), advisor=advisor)
        made.beat(2)
        made.machine.boxes["web"].log = b"boot\nweb: frobnicator gave up: flux 17 of 12\n"
        made.machine.boxes["web"].says = HttpSeen(status=500, latency=timedelta(milliseconds=3), body="error")
        made.beat(3)
    assert server.refused == [], "a strict provider takes every request"
    diagnosis = made.incident("web").diagnosis
    assert diagnosis is not None
    assert (diagnosis.cause, diagnosis.sureness) == (Cause.APPLICATION_BUG, Sureness.SUSPECTED), diagnosis.consultation
    assert diagnosis.consultation is not None
    spent = made.store.spending.of(made.incident("web").id)
    assert [row.fault for row in spent if row.usage is None] == ["unreachable"] * (len(spent) - 3)
    assert KEY not in json.dumps([row.fault for row in spent])


def test_a_fleet_whose_hosts_took_the_days_money_leaves_no_model_to_ask(tmp_path: Path, server: ModelServer) -> None:
    """One cap over hosts and models, as wiring joins it."""
    server.script(Says("never"))
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "medic.yaml").write_text(
        f"state_dir: {tmp_path / 'state'}\n"
        "fleet: {ssm_parameter: /medic/a/inventory, region: us-east-1, money_per_day: 24}\n"
        "model:\n"
        "  ask: doubt\n"
        f"  providers: [{{model: {OPENAI}, url: '{server.openai_url}', key_file: key}}]\n"
    )
    using = config.load(tmp_path / "medic.yaml", {})
    with contextlib.ExitStack() as closing:

        def advisor(made: Ward) -> Advisor | None:
            return closing.enter_context(opinions.advisor(using, made.store, made.machine, made.machine, Redactor([KEY])))

        made = Ward(using.state_dir, (service("web"),), runbooks=(), advisor=advisor)
        now = SystemClock().now()  # wiring joins the real clock
        host = Spending(key="i", kind=SpendingKind.CLOUD, what="g5.xlarge", at=now, amount=Decimal(24))
        made.store.spending.reserve(host, now, lambda _: None)
        made.beat(2)
        made.machine.boxes["web"].says = HttpSeen(status=500, latency=timedelta(milliseconds=3), body="error")
        made.beat(3)

    diagnosis = made.incident("web").diagnosis
    assert diagnosis is not None
    assert diagnosis.consultation is not None
    assert "of 24.00 USD a day for hosts and models 24.00 are spent" in diagnosis.consultation.came_of_it
    assert server.heard == []
