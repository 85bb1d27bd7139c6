"""Every trap of litellm that was measured, in one table: what litellm does when it is left alone, and the test that shows that Medic is
not caught. The first is measured anew here, raw: an upgrade that drifts, for better or worse, turns its row red and is looked at.
"""

import ast
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.llm import history
from agent.model import Role, Said, ToolCall
from tests.contracts.test_litellm_model import _call, _tool_calls
from tests.model_server import Fails, Hangs, ModelServer, Raw, Resets, Says, Step

HERE_AT = str(Path(__file__).parent)
WIRE, HERE = "test_litellm_model", "test_litellm_traps"
FAULTS, ONLY = f"{WIRE}.test_each_fault_is_one_http_call_and_one_kind", f"{HERE}.test_only_the_transport_of_litellm_is_used"
TEXT = f"{WIRE}.test_tool_calls_arrive_as_they_were_written_and_as_text"
REPAIR = f"{HERE}.test_arguments_that_are_no_object_never_reach_litellm"


@dataclass(frozen=True, slots=True)
class Trap:
    """What litellm does by itself."""

    what: str
    case: str | None
    """Of `litellm_raw.py`; None where measuring it would need the network or a broken installation."""
    step: Step
    """What the provider answers."""
    came: object
    """What comes of it, or the name of what is raised."""
    calls: int
    """HTTP requests."""
    held_by: str
    """The test that shows that Medic is not caught."""


TRAPS = (
    Trap("a 429 is asked three times", "defaults", Fails(429), "RateLimitError", 3, FAULTS),
    Trap("a 500 is asked three times", "defaults", Fails(500), "InternalServerError", 3, FAULTS),
    Trap("max_retries=0 asks once", "max_retries=0", Fails(429), "RateLimitError", 1, FAULTS),
    Trap("num_retries hides the 429 where tenacity is absent", None, Fails(429), None, 0, ONLY),
    Trap(
        "a time-out is waited for three times",
        "timeout=1",
        Hangs(5),
        "Timeout",
        3,
        f"{WIRE}.test_a_deadline_stops_the_call_itself",
    ),
    Trap("the router's own retries take 6 s", None, Fails(500), None, 0, ONLY),
    Trap(
        "a router falls back on a bad request: paid for twice", "router, num_retries=0", Fails(400), "BadRequestError", 2, ONLY
    ),
    Trap("a router falls back on a refused key", "router, num_retries=0", Fails(401), "AuthenticationError", 2, ONLY),
    Trap("a router that cools down asks nobody", None, Fails(500), None, 0, ONLY),
    Trap(
        "no choices is an IndexError",
        "max_retries=0",
        Raw(b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[]}'),
        "IndexError",
        1,
        FAULTS,
    ),
    Trap(
        "no usage is no tokens",
        "usage",
        Says("hi", usage=None),
        0,
        1,
        f"{WIRE}.test_usage_that_a_provider_forgets_is_estimated_and_never_nothing",
    ),
    Trap(
        "an unknown model has no price",
        "price of an unknown model",
        Says("hi"),
        "ModelNotMappedError",
        1,
        f"{WIRE}.test_a_model_that_nobody_prices_costs_what_the_dearest_do",
    ),
    Trap("529 is no overload", "max_retries=0", Fails(529), "APIError", 1, FAULTS),
    Trap("a reset connection is no broken one", "max_retries=0", Resets(), "InternalServerError", 1, FAULTS),
    Trap("half a body", "max_retries=0", Raw(b'{"choices": [{"index"', promised=4000), "InternalServerError", 1, FAULTS),
    Trap(
        "arguments as an object pass",
        "calls",
        _tool_calls([_call(function={"name": "probe", "arguments": {"service": "web"}})]),
        [["str", False, "probe"]],
        1,
        TEXT,
    ),
    Trap("a missing id passes", "calls", _tool_calls([_call(id=None)]), [["str", False, "probe"]], 1, TEXT),
    Trap("one id twice passes", "calls", _tool_calls([_call(), _call()]), [["str", False, "probe"]] * 2, 1, TEXT),
    Trap(
        "an impossible name passes",
        "calls",
        _tool_calls([_call(function={"name": "rm -rf /; drop", "arguments": "{}"})]),
        [["str", False, "rm -rf /; drop"]],
        1,
        TEXT,
    ),
    Trap("its budget bounds nothing", "max_budget", Says("hi"), ["gpt-4o-mini"] * 3, 3, ONLY),
    Trap("its own deadline is 100 minutes", "request_timeout", Says("hi"), 6000.0, 0, ONLY),
    Trap(
        "a .env of the folder becomes the environment",
        ".env",
        Says("hi"),
        "yes",
        0,
        f"{WIRE}.test_a_worker_reads_no_env_file_and_ends_with_its_parent_in_the_middle_of_a_call",
    ),
    Trap(
        "prices are fetched from the network",
        None,
        Says("hi"),
        None,
        0,
        f"{WIRE}.test_a_worker_reads_no_env_file_and_ends_with_its_parent_in_the_middle_of_a_call",
    ),
    Trap("half a JSON in a history is completed", "half arguments in a history", Says("hi"), "sent", 1, REPAIR),
    Trap("a list in a history is sent as it is", "a list of arguments in a history", Says("hi"), "BadRequestError", 1, REPAIR),
)


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """litellm in a process and a folder of its own, loaded as anybody would."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / ".env").write_text("FROM_THE_FOLDER=yes\n")
    process = subprocess.Popen(
        # From a word and not from a file, as python -c or a prompt would be: only then does it look in the folder it runs in.
        (sys.executable, "-c", f"import sys; sys.path.insert(0, {HERE_AT!r}); import litellm_raw; litellm_raw.main()"),
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "OPENAI_API_KEY": "k", "OPENAI_API_BASE": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


@pytest.mark.parametrize("trap", [each for each in TRAPS if each.case is not None], ids=lambda each: each.what)
def test_left_alone_litellm_does_what_was_measured(server: ModelServer, raw: subprocess.Popen[str], trap: Trap) -> None:
    server.script(trap.step)
    assert raw.stdin is not None
    assert raw.stdout is not None
    raw.stdin.write(json.dumps({"case": trap.case, "url": server.url}) + "\n")
    raw.stdin.flush()
    came = json.loads(raw.stdout.readline())
    assert (came, len(server.heard)) == (trap.came, trap.calls)


@pytest.mark.parametrize("trap", TRAPS, ids=lambda each: each.what)
def test_each_trap_has_a_test_that_medic_is_not_caught(trap: Trap) -> None:
    module, name = trap.held_by.split(".")
    assert callable(getattr(importlib.import_module(f"tests.contracts.{module}"), name))


WORKER = Path(history.__file__).parents[1] / "adapters" / "litellm_worker.py"  # importing it would load litellm
USED = {"completion", "model_cost", "telemetry", "suppress_debug_info", "drop_params", "num_retries"} | {
    "callbacks",
    "success_callback",
    "failure_callback",
}


def test_only_the_transport_of_litellm_is_used() -> None:
    """No router, no budget, no cache, no fallback of litellm's: one call, once, with our deadline."""
    tree = ast.parse(WORKER.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "litellm"
    }
    assert used == USED
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "litellm.completion"]
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    assert (given["max_retries"], given["timeout"], given["caching"], given["stream"]) == (
        "0",
        "order['timeout']",
        "False",
        "False",
    )
    assert set(given) == {"model", "messages", "max_tokens", "timeout", "max_retries", "stream", "caching", None}
    (sets,) = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.update"
    ]
    assert "LITELLM_MODE='PRODUCTION'" in sets
    assert "LITELLM_LOCAL_MODEL_COST_MAP='True'" in sets


@pytest.mark.parametrize("arguments", ['{"s": 1', "[1]", '"x"', "null", ""])
def test_arguments_that_are_no_object_never_reach_litellm(arguments: str) -> None:
    said = [
        Said(role=Role.USER, text="why?"),
        Said(role=Role.ASSISTANT, text="", calls=(ToolCall(id="c1", name="probe", arguments=arguments),)),
        Said(role=Role.TOOL, text="missing data", answers="c1"),
    ]
    (call,) = [call for line in history.repair(said).said for call in line.calls]
    assert json.loads(call.arguments) == {"_unparsed": arguments}
