"""The contract of `ports.Prober`: the fake and the real one answer every question, once, in time, and never raise."""

import json
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters import http_probe
from agent.adapters.prober import STUCK_QUESTIONS, BatchProber
from agent.errors import OutsideError
from agent.model import (
    Blind,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    HostName,
    HttpRequest,
    HttpSeen,
    NginxRequest,
    NginxSeen,
    ProbeRequest,
    TcpRequest,
    TcpSeen,
)
from agent.ports import Prober
from tests.contracts.odd_server import OddServer, dead_port, odd_server, self_signed
from tests.fakes_probes import FakeProber

DEADLINE = timedelta(seconds=20)
SHORT = timedelta(milliseconds=300)
GOOD, BROKEN, HUNG = HostName("good"), HostName("broken"), HostName("hung")
FACTS = ContainersSeen(containers=(ContainerFacts(name="web", id="1", state=ContainerState.RUNNING),))
DUMP = b"# configuration file /etc/nginx/nginx.conf:\nevents {}\n\n"


class FakeDocker:
    """Three hosts: one answers, one refuses, one hangs until released."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def list(self, host: HostName) -> tuple[ContainerFacts, ...]:
        self._arrive(host)
        return FACTS.containers

    def exec(self, host: HostName, container: str, argv: object, *, timeout: object, limit: int) -> tuple[int, bytes]:
        self._arrive(host)
        return 0, DUMP

    def _arrive(self, host: HostName) -> None:
        if host == BROKEN:
            raise OutsideError("cannot list the containers of host 'broken': connection refused", transient=True)
        if host == HUNG:
            self.release.wait(30)


@pytest.fixture
def docker() -> Iterator[FakeDocker]:
    docker = FakeDocker()
    yield docker
    docker.release.set()


@pytest.fixture
def real(docker: FakeDocker) -> BatchProber:
    return BatchProber(docker)  # type: ignore[arg-type]  # only what the prober uses of Docker


@pytest.fixture(scope="module")
def server() -> Iterator[OddServer]:
    with odd_server() as running:
        yield running


def get(url: str, timeout: timedelta = timedelta(seconds=3), **more: object) -> HttpRequest:
    return HttpRequest(url=url, timeout=timeout, **more)  # type: ignore[arg-type]


def ask_one(prober: Prober, request: ProbeRequest) -> object:
    return prober.ask([request], DEADLINE)[request]


# ------------------------------------------------------------------------------------------------- fake and real alike


@pytest.fixture(params=["fake", "real"])
def prober(request: pytest.FixtureRequest, real: BatchProber, server: OddServer) -> Prober:
    if request.param == "real":
        return real
    return FakeProber(
        {
            ContainersRequest(host=GOOD): FACTS,
            ContainersRequest(host=BROKEN): Blind(why="refused"),
            NginxRequest(host=GOOD, container="front"): NginxSeen(valid=True),
            get(server.url("fine")): HttpSeen(status=200, latency=SHORT, body="all fine"),
            TcpRequest(address=f"127.0.0.1:{server.port}", timeout=SHORT): TcpSeen(connected=True, latency=SHORT),
        }
    )


def test_every_kind_of_question_is_answered_in_kind(prober: Prober, server: OddServer) -> None:
    questions: list[tuple[ProbeRequest, type]] = [
        (ContainersRequest(host=GOOD), ContainersSeen),
        (ContainersRequest(host=BROKEN), Blind),
        (NginxRequest(host=GOOD, container="front"), NginxSeen),
        (NginxRequest(host=BROKEN, container="front"), Blind),
        (get(server.url("fine")), HttpSeen),
        (get("gopher://127.0.0.1/"), Blind),
        (TcpRequest(address=f"127.0.0.1:{server.port}", timeout=SHORT), TcpSeen),
        (TcpRequest(address="nonsense", timeout=SHORT), Blind),
    ]
    answers = prober.ask([request for request, _ in questions], DEADLINE)
    assert {request: type(answers[request]) for request, _ in questions} == dict(questions)


def test_equal_questions_get_one_answer_and_no_question_none(prober: Prober, server: OddServer) -> None:
    assert prober.ask([], DEADLINE) == {}
    assert len(prober.ask([get(server.url("fine"))] * 3, DEADLINE)) == 1


# ------------------------------------------------------------------------------------------------------------- hosts


def test_a_hung_host_costs_only_its_own_answers(real: BatchProber, server: OddServer) -> None:
    began = time.monotonic()
    questions = [ContainersRequest(host=HUNG), ContainersRequest(host=GOOD), get(server.url("fine"))]
    answers = real.ask(questions, timedelta(seconds=1))
    assert time.monotonic() - began < 20  # and not for ever
    assert [type(answers[question]) for question in questions] == [Blind, ContainersSeen, HttpSeen]


def test_a_host_that_goes_on_hanging_is_not_asked_without_end(real: BatchProber, docker: FakeDocker) -> None:
    before = threading.active_count()
    for _ in range(STUCK_QUESTIONS + 3):
        answer = real.ask([ContainersRequest(host=HUNG)], timedelta(milliseconds=30))[ContainersRequest(host=HUNG)]
    assert isinstance(answer, Blind)
    assert "still hang" in answer.why
    assert threading.active_count() - before <= STUCK_QUESTIONS
    docker.release.set()
    end = time.monotonic() + 30
    while threading.active_count() > before and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert ask_one(real, ContainersRequest(host=GOOD)) == FACTS


# -------------------------------------------------------------------------------------------------------------- HTTP


@pytest.mark.parametrize(
    ("manner", "status", "error"),
    [
        ("fine", 200, None),
        ("500", 500, None),
        ("redirect", 302, None),
        ("slow", 200, None),
        ("reset", None, "reset"),
        ("empty", None, "empty-reply"),
        ("short", 200, "broken: "),
        ("not-http", None, "broken: "),
        ("binary", 200, None),
    ],
)
def test_what_a_target_does_is_observed(
    real: BatchProber, server: OddServer, manner: str, status: int | None, error: str | None
) -> None:
    seen = ask_one(real, get(server.url(manner)))
    assert isinstance(seen, HttpSeen)
    assert seen.status == status
    assert seen.error == error or (error is not None and (seen.error or "").startswith(error))


def test_what_a_retry_after_asks_for_is_reported(real: BatchProber, server: OddServer) -> None:
    busy, other = ask_one(real, get(server.url("busy"))), ask_one(real, get(server.url("redirect")))
    assert isinstance(busy, HttpSeen)
    assert isinstance(other, HttpSeen)
    assert (busy.retry_after, other.retry_after) == (timedelta(seconds=42), None)


@pytest.mark.abuse("87")
def test_a_redirect_is_reported_and_not_followed(real: BatchProber, server: OddServer) -> None:
    seen = ask_one(real, get(server.url("redirect")))
    assert isinstance(seen, HttpSeen)
    assert seen.location == "http://elsewhere.invalid/x"


@pytest.mark.abuse("87")
@pytest.mark.parametrize(("manner", "status"), [("hang", None), ("half-hang", 200)])
def test_a_target_that_does_not_finish_times_out(real: BatchProber, server: OddServer, manner: str, status: int | None) -> None:
    began = time.monotonic()
    seen = ask_one(real, get(server.url(manner), SHORT))
    assert time.monotonic() - began < 20  # and not for ever
    assert isinstance(seen, HttpSeen)
    assert (seen.status, seen.error) == (status, "timeout")


def test_a_slow_answer_says_how_long_it_took(real: BatchProber, server: OddServer) -> None:
    seen = ask_one(real, get(server.url("slow")))
    assert isinstance(seen, HttpSeen)
    assert timedelta(seconds=0.4) <= seen.latency < timedelta(seconds=20)


@pytest.mark.abuse("87")
@pytest.mark.parametrize("manner", ["endless", "long-line"])
def test_a_body_without_end_is_cut_at_the_limit(real: BatchProber, server: OddServer, manner: str) -> None:
    began = time.monotonic()
    seen = ask_one(real, get(server.url(manner), body_limit=10_000))
    assert time.monotonic() - began < 20  # and not for ever
    assert isinstance(seen, HttpSeen)
    assert (seen.status, seen.error, seen.cut, len(seen.body)) == (200, None, True, 10_000)


@pytest.mark.abuse("87")
def test_a_bomb_is_not_unpacked_and_a_circle_not_walked(real: BatchProber, server: OddServer) -> None:
    bomb, circle = (ask_one(real, get(server.url(manner), body_limit=10_000)) for manner in ("bomb", "circle"))
    assert isinstance(bomb, HttpSeen)
    assert isinstance(circle, HttpSeen)
    assert (bomb.status, bomb.cut) == (200, True)
    assert len(bomb.body) <= 10_000
    assert not bomb.body.startswith("\0" * 100), "packed, as it came"
    assert (circle.status, circle.location) == (302, server.url("circle"))


def test_a_body_as_long_as_the_limit_is_whole(real: BatchProber, server: OddServer) -> None:
    seen = ask_one(real, get(server.url("fine"), body_limit=8))
    assert isinstance(seen, HttpSeen)
    assert (seen.body, seen.cut) == ("all fine", False)


def test_a_binary_body_is_decoded_with_replacement(real: BatchProber, server: OddServer) -> None:
    seen = ask_one(real, get(server.url("binary")))
    assert isinstance(seen, HttpSeen)
    assert seen.body == "\x00\ufffd\ufffd\ufffd\x1b["


def test_headers_are_sent_and_a_proxy_of_the_environment_is_not_used(
    real: BatchProber, server: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{dead_port()}")
    seen = ask_one(real, get(server.url("echo"), headers=(("Host", "shop.example"), ("X-Probe", "1"))))
    assert isinstance(seen, HttpSeen)
    assert "Host: shop.example\r\n" in seen.body
    assert "X-Probe: 1\r\n" in seen.body


@pytest.mark.parametrize(
    "request_",
    [
        get("file:///etc/passwd"),
        get("ftp://127.0.0.1/"),
        get("http://"),
        get("http://127.0.0.1:99999/"),
        get("http://127.0.0.1/\r\nX: y"),
        get("http://127.0.0.1/", headers=(("X", "a\r\nEvil: 1"),)),
        get("not an address"),
    ],
)
def test_what_cannot_be_asked_is_blind(real: BatchProber, request_: HttpRequest) -> None:
    assert isinstance(ask_one(real, request_), Blind)


def test_a_dead_port_refuses(real: BatchProber) -> None:
    port = dead_port()
    http, tcp = get(f"http://127.0.0.1:{port}/"), TcpRequest(address=f"127.0.0.1:{port}", timeout=SHORT)
    answers = real.ask([http, tcp], DEADLINE)
    assert [getattr(answers[each], "error", None) for each in (http, tcp)] == ["connection-refused"] * 2


def test_a_name_is_asked_at_every_address_it_has(real: BatchProber, server: OddServer) -> None:
    http, tcp = get(f"http://localhost:{server.port}/"), TcpRequest(address=f"localhost:{server.port}", timeout=SHORT)
    answers = real.ask([http, tcp], DEADLINE)
    assert getattr(answers[http], "status", None) == 200
    assert getattr(answers[tcp], "connected", None) is True


def test_a_certificate_that_nobody_vouches_for_is_the_targets_trouble(real: BatchProber, tmp_path: Path) -> None:
    with odd_server(self_signed(tmp_path)) as server:
        seen = ask_one(real, get(server.url("fine")))
    assert isinstance(seen, HttpSeen)
    assert (seen.error or "").startswith("certificate-untrusted: ")


@pytest.mark.live
def test_a_name_that_does_not_exist_is_never_a_silent_target(real: BatchProber) -> None:
    http = get("http://no-such-name.invalid/")
    tcp = TcpRequest(address="no-such-name.invalid:80", timeout=SHORT)
    for answer in real.ask([http, tcp], DEADLINE).values():
        # Without a resolver it is our own blindness, with one the name's: both are right, a time-out is not.
        assert isinstance(answer, Blind) or getattr(answer, "error", "").startswith("dns: ")


def test_what_the_batch_has_no_time_for_is_blind(server: OddServer) -> None:
    request = get(server.url("hang"), timedelta(seconds=30))
    began = time.monotonic()
    assert isinstance(http_probe.probe([request], SHORT)[request], Blind)
    assert time.monotonic() - began < 20  # and not for ever


def test_a_tcp_target_that_does_not_answer_times_out(real: BatchProber, full_listener: str) -> None:
    request = TcpRequest(address=full_listener, timeout=SHORT)
    assert getattr(ask_one(real, request), "error", None) == "timeout"


@pytest.fixture
def full_listener() -> Iterator[str]:
    """A listener whose backlog is full: Linux drops further SYNs, so that a connection never opens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        yield f"127.0.0.1:{port}"
        for each in waiting:
            each.close()


# ------------------------------------------------------------------------------------------------------- our own limits

SCARCE = textwrap.dedent("""
    import collections, json, os, resource, sys
    from datetime import timedelta
    from agent.adapters import http_probe, tcp_probe
    from agent.model import HttpRequest, TcpRequest
    keep, port = sys.argv[1] == "none-left", sys.argv[2]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    second = timedelta(seconds=20)
    http = [HttpRequest(url=f"http://127.0.0.1:{port}/{n}", timeout=second) for n in range(200)]
    tcp = [TcpRequest(address=f"127.0.0.1:{port}", timeout=second + timedelta(microseconds=n)) for n in range(200)]
    held = []
    while keep:
        try:
            held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            break
    deadline = timedelta(seconds=40)
    seen = [*http_probe.probe(http, deadline).values(), *tcp_probe.probe(tcp, deadline).values()]
    words = [type(each).__name__ + ":" + str(getattr(each, "status", getattr(each, "connected", ""))) for each in seen]
    print(json.dumps(collections.Counter(words)))
""")


@pytest.mark.abuse("85")
@pytest.mark.parametrize(
    ("left", "expected"), [("some-left", {"HttpSeen:200": 200, "TcpSeen:True": 200}), ("none-left", {"Blind:": 400})]
)
def test_our_own_want_of_files_never_reads_as_a_sick_target(server: OddServer, left: str, expected: dict[str, int]) -> None:
    command = (sys.executable, "-c", SCARCE, left, str(server.port))
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == expected


@pytest.mark.abuse("85")
@pytest.mark.parametrize("hold_back", [0, 1, 2, 3, 5, 8])
def test_files_that_run_out_in_the_middle_read_as_blind(server: OddServer, hold_back: int) -> None:
    """Other threads may take the files that were counted as free: the margin is given away to provoke it."""
    script = SCARCE.replace(
        "deadline = ", f"[os.close(fd) for fd in held[:{hold_back}]]; own_limits.KEPT_BACK = -60; deadline = "
    )
    script = script.replace("import http_probe,", "import http_probe, own_limits,")
    command = (sys.executable, "-c", script, "none-left", str(server.port))
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert ran.returncode == 0, ran.stderr
    assert set(json.loads(ran.stdout)) <= {"Blind:", "HttpSeen:200", "TcpSeen:True"}


def test_ten_targets_that_hang_do_not_hold_up_a_hundred_that_answer(real: BatchProber, server: OddServer) -> None:
    hung: list[ProbeRequest] = [get(server.url("hang"), timedelta(seconds=1, microseconds=n)) for n in range(10)]
    fine: list[ProbeRequest] = [get(server.url(f"fine-{n}")) for n in range(100)]
    judge: Callable[[ProbeRequest], object] = real.ask([*hung, *fine], DEADLINE).get
    assert [getattr(judge(each), "error", None) for each in hung] == ["timeout"] * 10
    assert [getattr(judge(each), "status", None) for each in fine] == [200] * 100
