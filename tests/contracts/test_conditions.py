"""What the real prober sees of a real odd server, of files and of this machine, for the conditions that checks may ask."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent import checks
from agent.adapters import local_exec
from agent.adapters.local_machine import LocalMachine
from agent.adapters.prober import AT_ONCE, BatchProber
from agent.adapters.ways import Ways
from agent.errors import OutsideError
from agent.model import (
    Blind,
    CertificateRequest,
    CertificateSeen,
    CompletionCheck,
    ContainerFacts,
    ContainerState,
    ExecRequest,
    ExecSeen,
    Health,
    HostName,
    HttpRequest,
    HttpSeen,
    LogRequest,
    LogSeen,
    MachineRequest,
    MachineSeen,
    NginxRequest,
    Observation,
    ProbeRequest,
    Service,
    ServiceName,
    Thresholds,
)
from tests.contracts.odd_server import OddServer, odd_server, self_signed
from tests.contracts.test_prober import DEADLINE, GOOD, HUNG, FakeDocker, get

SECOND = timedelta(seconds=1)
AWAY = HostName("away")


@pytest.fixture
def docker() -> Iterator[FakeDocker]:
    docker = FakeDocker()
    yield docker
    docker.release.set()


@pytest.fixture
def real(docker: FakeDocker) -> BatchProber:
    return BatchProber(docker, Ways(machines=dict.fromkeys((GOOD, HUNG), LocalMachine()), engines={}, doors={}))  # type: ignore[arg-type]  # only what the prober uses of Docker


@pytest.fixture(scope="module")
def server() -> Iterator[OddServer]:
    with odd_server() as running:
        yield running


def seen(prober: BatchProber, request: HttpRequest) -> HttpSeen:
    answer = prober.ask([request], DEADLINE)[request]
    assert isinstance(answer, HttpSeen), answer
    return answer


def test_the_headers_that_are_wanted_are_kept(real: BatchProber, server: OddServer) -> None:
    found = seen(real, get(server.url("named"), keep=("x-served-by", "vary", "missing")))
    assert dict(found.headers) == {"x-served-by": "web", "vary": "a, b"}
    assert found.at is not None
    assert abs(found.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert seen(real, get(server.url("named"))).headers == ()


@pytest.mark.parametrize(("manner", "kept"), [("kept", True), ("fine", False)])
def test_a_second_request_tells_whether_the_connection_was_kept(
    real: BatchProber, server: OddServer, manner: str, kept: bool
) -> None:
    found = seen(real, get(server.url(manner), again=True))
    assert (found.status, found.reused) == (200, kept)


def test_requests_with_conditions_and_plain_ones_share_a_batch(real: BatchProber, server: OddServer) -> None:
    plain = [get(f"{server.url('fine')}?{number}") for number in range(30)]
    special = [get(f"{server.url('named')}?{number}", keep=("x-served-by",)) for number in range(30)]
    mixed = [request for pair in zip(plain, special, strict=True) for request in pair]
    answers = real.ask(mixed, DEADLINE)
    assert {type(answer) for answer in answers.values()} == {HttpSeen}
    assert {answers[request].headers for request in plain} == {()}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("days", "name", "trusted", "error"),
    [
        (30, "shop.example", True, None),
        (-2, "shop.example", True, "certificate-expired"),
        (30, "blog.example", True, "certificate-untrusted"),
        (30, "shop.example", False, "certificate-untrusted"),
    ],
)
def test_a_certificate_is_judged_by_its_chain_its_name_and_its_time(
    real: BatchProber, tmp_path: Path, days: int, name: str, trusted: bool, error: str | None
) -> None:
    with odd_server(self_signed(tmp_path, days=days, name=name)) as secure:
        found = seen(
            real,
            get(
                f"https://shop.example:{secure.port}/fine",
                address="127.0.0.1",
                certificate=True,
                ca_file=str(tmp_path / "self-signed.pem") if trusted else None,
            ),
        )
    assert (found.error or "").partition(":")[0] == (error or "")
    if error is None:
        assert found.certificate_left is not None
        assert found.certificate_left.days == days - 1


def test_issuers_that_cannot_be_read_are_our_own_trouble(real: BatchProber, server: OddServer) -> None:
    request = get("https://127.0.0.1:1/", ca_file="/nowhere.pem", address="127.0.0.1")
    assert isinstance(real.ask([request], DEADLINE)[request], Blind | HttpSeen)
    broken = get(server.url("fine").replace("http:", "https:"), ca_file="/nowhere.pem")
    assert isinstance(real.ask([broken], DEADLINE)[broken], Blind)


@pytest.mark.parametrize(
    ("base", "health", "words"),
    [
        ("v1", Health.WELL, []),
        ("stuck", Health.SICK, ["http-timeout"]),
        ("cut", Health.SICK, ["engine-cut"]),
        ("fine", Health.SICK, ["engine-no-tokens"]),
        ("endless", Health.SICK, ["engine-no-tokens"]),
    ],
)
def test_a_completion_must_really_come(
    real: BatchProber, server: OddServer, base: str, health: Health, words: list[str]
) -> None:
    # The odd server answers "all fine" to what it does not know: a healthy front of a dead engine.
    check = CompletionCheck(
        name="generates",
        every=SECOND,
        thresholds=Thresholds(),
        url=server.url(base),
        model="m",
        timeout=1.2 * SECOND,
        first_token_within=SECOND,
    )
    service = Service(name=ServiceName("llm"), host=GOOD, container="llm", checks=(check,))
    facts = ContainerFacts(name="llm", id="1", state=ContainerState.RUNNING)
    requests = checks.requests(check, service, facts)
    judgement = checks.judge(check, service, facts, real.ask(requests, DEADLINE))
    assert (judgement.health, [symptom.word for symptom in judgement.symptoms]) == (health, words)


def test_the_first_token_is_timed_and_not_the_first_byte(real: BatchProber, server: OddServer) -> None:
    request = get(server.url("v1/chat/completions"), payload="{}", timed=True)
    found = seen(real, request)
    assert len(found.arrivals) >= 3
    assert found.arrivals[0][1] < found.arrivals[-1][1]
    assert found.arrivals[-1][0] == len(found.body)


def test_a_payload_is_posted_as_json(real: BatchProber, server: OddServer) -> None:
    body = seen(real, get(server.url("echo"), payload='{"a": 1}')).body.lower()
    assert body.startswith("post /echo ")
    assert "content-type: application/json" in body


def test_latencies_are_remembered_for_questions_with_a_window(real: BatchProber, server: OddServer) -> None:
    request = get(server.url("fine"), window=timedelta(minutes=1))
    assert [len(seen(real, request).recent) for _ in range(3)] == [1, 2, 3]
    assert seen(real, get(server.url("fine"))).recent == ()


MANNERS = ("hang", "half-hang", "endless", "long-line", "reset", "empty", "slow", "stuck/chat/completions", "kept", "fine")


def test_a_batch_of_pathological_endpoints_ends_at_its_deadline(real: BatchProber, server: OddServer) -> None:
    wants: tuple[dict[str, object], ...] = ({}, {"again": True}, {"timed": True, "payload": "{}"}, {"keep": ("date",)})
    long = timedelta(seconds=9)
    asked = [get(server.url(manner), long, **want) for manner in MANNERS for want in wants]
    began = time.monotonic()
    answers = real.ask([*asked, MachineRequest(host=GOOD, disks=("/",))], timedelta(seconds=1.5))
    assert time.monotonic() - began < 8  # under the 9 s of each: the deadline, and what a busy machine adds to it
    assert len(answers) == len(set(asked)) + 1


# ---------------------------------------------------------------------------------------------------- hosts and files


def on_host(prober: BatchProber, request: ProbeRequest) -> Observation:
    return prober.ask([request], DEADLINE)[request]


def test_this_machine_is_measured(real: BatchProber) -> None:
    found = on_host(real, MachineRequest(host=GOOD, disks=("/", "/proc")))
    assert isinstance(found, MachineSeen)
    assert all(0 <= disk.used <= 100 for disk in found.disks)
    assert 0 < found.memory_used < 100
    assert found.load_per_cpu >= 0
    assert isinstance(on_host(real, MachineRequest(host=GOOD, disks=("/no/such/folder",))), Blind)


def test_a_log_is_measured_with_its_rotated_predecessors(real: BatchProber, tmp_path: Path) -> None:
    log = tmp_path / "1-json.log"
    request = LogRequest(host=GOOD, path=str(log), window=timedelta(minutes=5))
    assert isinstance(on_host(real, request), Blind)
    log.write_bytes(b"x" * 10)
    (tmp_path / "1-json.log.1").write_bytes(b"x" * 100)
    assert on_host(real, request) == LogSeen(size=110)
    log.write_bytes(b"x" * 30)
    found = on_host(real, request)
    assert isinstance(found, LogSeen)
    assert (found.size, found.written, found.over > timedelta(0)) == (130, 20, True)


@pytest.mark.parametrize(
    ("content", "mode", "left", "error"),
    [
        ("real", 0o600, 29, None),
        ("real", 0o644, 29, None),
        (b"nonsense", 0o600, None, "it holds no certificate that can be read"),
        (None, 0o600, None, "it is not there"),
    ],
)
def test_a_certificate_file_is_read_and_its_key_only_looked_at(
    real: BatchProber, tmp_path: Path, content: str | bytes | None, mode: int, left: int | None, error: str | None
) -> None:
    file = tmp_path / "self-signed.pem"
    if content == "real":
        self_signed(tmp_path, days=30)
    elif isinstance(content, bytes):
        file.write_bytes(content)
    if content is not None:
        file.chmod(mode)
    found = on_host(real, CertificateRequest(host=GOOD, path=str(file)))
    assert isinstance(found, CertificateSeen)
    assert (found.left.days if found.left else None) == left
    assert (found.error or "").startswith(error or "")
    assert found.key_mode == (mode if content == "real" else None)


def test_a_pipe_in_place_of_a_certificate_does_not_hold_us(real: BatchProber, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()
    assert isinstance(on_host(real, CertificateRequest(host=GOOD, path=str(tmp_path / "pipe"))), Blind)
    assert time.monotonic() - began < 20  # and not for ever


@pytest.mark.parametrize(
    "request_",
    [
        MachineRequest(host=AWAY, disks=("/",)),
        LogRequest(host=AWAY, path="/etc/passwd", window=SECOND),
        CertificateRequest(host=AWAY, path="/etc/passwd"),
        NginxRequest(host=AWAY, container=None),
    ],
)
def test_another_machine_is_never_taken_for_this_one(real: BatchProber, request_: ProbeRequest) -> None:
    answer = on_host(real, request_)
    assert isinstance(answer, Blind)
    assert "no way to its files" in answer.why


def test_programs_in_containers_are_bounded_in_number_and_time(real: BatchProber, docker: FakeDocker) -> None:
    asked: list[ProbeRequest] = [ExecRequest(host=HUNG, container=f"c{number}", argv=("true",)) for number in range(40)]
    good = ExecRequest(host=GOOD, container="web", argv=("true",))
    began = time.monotonic()
    answers = real.ask([*asked, good], timedelta(milliseconds=400))
    assert time.monotonic() - began < 20  # and not for ever
    assert isinstance(answers[good], ExecSeen)
    assert all(isinstance(answers[request], Blind) for request in asked)
    assert len(real._running) <= AT_ONCE


def test_a_program_of_this_machine_is_ended_with_all_it_started() -> None:
    began = time.monotonic()
    with pytest.raises(OutsideError, match="did not end within"):
        local_exec.run(("sh", "-c", "sleep 47.3 & sleep 47.3"), timeout=timedelta(milliseconds=300), limit=10)
    assert time.monotonic() - began < 30  # and not 47
    # The kernel ends a killed program in its own time, which on a busy machine is not at once.
    end = time.monotonic() + 30
    while local_exec.runs("sleep\0" + "47.3") and time.monotonic() < end:
        time.sleep(0.01)
    assert not local_exec.runs("sleep\0" + "47.3")


def test_the_output_of_a_program_of_this_machine_is_cut() -> None:
    assert local_exec.run(("sh", "-c", "echo abcdef; exit 3"), timeout=5 * SECOND, limit=4) == (3, b"abcd")
    with pytest.raises(OutsideError, match="cannot run"):
        local_exec.run(("/no/such/program",), timeout=SECOND, limit=4)
