"""The real prober on hosts that are reached over SSH: every kind of question, and a sweep in which some hosts are in trouble."""

import os
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters.docker_engine import DockerEngine
from agent.adapters.prober import BatchProber
from agent.adapters.ssh_ways import SshWays
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.model import (
    Blind,
    CertificateRequest,
    CertificateSeen,
    ContainersRequest,
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
    TcpRequest,
    TcpSeen,
)
from agent.ports import Prober
from tests.contracts.odd_server import OddServer, dead_port, odd_server, self_signed
from tests.far_hosts import FarHost, far_host

FAR = HostName("far")
SECOND = timedelta(seconds=1)
DEADLINE = timedelta(seconds=6)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarHost]:
    with far_host(tmp_path_factory.mktemp("prober") / "sshd", "127.0.1.6") as host:
        yield host


@pytest.fixture(scope="module")
def prober(sshd: FarHost) -> Iterator[Prober]:
    ways = SshWays([sshd.host(FAR)])
    engine = DockerEngine([sshd.host(FAR)], SystemClock(), far=ways.engines)
    yield BatchProber(engine, Ways(machines=ways.machines, engines=ways.engines, doors=ways.doors))
    engine.close()
    ways.close()


@pytest.fixture(scope="module")
def server() -> Iterator[OddServer]:
    with odd_server() as running:
        yield running


def get(url: str, **more: object) -> HttpRequest:
    return HttpRequest(**{"url": url, "timeout": 2 * SECOND, "via": FAR, **more})  # type: ignore[arg-type]


def ask(prober: Prober, request: ProbeRequest) -> Observation:
    return prober.ask([request], DEADLINE)[request]


def web(prober: Prober, request: HttpRequest) -> HttpSeen:
    seen = ask(prober, request)
    assert isinstance(seen, HttpSeen), seen
    return seen


def test_a_service_that_listens_on_the_hosts_loopback_is_asked_there(prober: Prober, server: OddServer, sshd: FarHost) -> None:
    seen = web(prober, get(server.url("echo")))
    assert seen.status == 200
    assert f"Host: 127.0.0.1:{server.port}" in seen.body
    log = (sshd.folder / "log").read_text()
    assert "Accepted publickey" in log


@pytest.mark.parametrize(
    ("manner", "status", "error"),
    [
        ("fine", 200, None),
        ("500", 500, None),
        ("slow", 200, None),
        ("hang", None, "timeout"),
        ("half-hang", 200, "timeout"),
        ("empty", None, "empty-reply"),
        ("reset", None, "empty-reply"),
    ],
)
def test_what_a_far_service_does_is_told_as_of_a_near_one(
    prober: Prober, server: OddServer, manner: str, status: int | None, error: str | None
) -> None:
    seen = web(prober, get(server.url(manner), timeout=SECOND))
    assert (seen.status, seen.error) == (status, error)


def test_an_endless_answer_is_cut(prober: Prober, server: OddServer) -> None:
    seen = web(prober, get(server.url("endless")))
    assert (seen.cut, len(seen.body), seen.error) == (True, 65_536, None)


def test_a_far_port_where_nobody_listens_is_refused(prober: Prober) -> None:
    port = dead_port()
    assert web(prober, get(f"http://127.0.0.1:{port}/")).error == "connection-refused"
    seen = ask(prober, TcpRequest(address=f"127.0.0.1:{port}", timeout=SECOND, via=FAR))
    assert isinstance(seen, TcpSeen)
    assert (seen.connected, seen.error) == (False, "connection-refused")


def test_a_far_port_that_does_not_answer_times_out_and_the_link_lives_on(prober: Prober, server: OddServer) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = full.getsockname()
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(place)
        seen = ask(prober, TcpRequest(address=f"127.0.0.1:{place[1]}", timeout=SECOND, via=FAR))
        assert isinstance(seen, TcpSeen), seen
        assert (seen.connected, seen.error) == (False, "timeout")
        for filler in fillers:
            filler.close()
    assert web(prober, get(server.url("fine"))).status == 200


def test_a_far_port_that_is_open_connects(prober: Prober, server: OddServer) -> None:
    seen = ask(prober, TcpRequest(address=f"127.0.0.1:{server.port}", timeout=SECOND, via=FAR))
    assert isinstance(seen, TcpSeen)
    assert seen.connected


def test_conditions_hold_over_ssh_as_they_do_here(prober: Prober, server: OddServer) -> None:
    assert dict(web(prober, get(server.url("named"), keep=("x-served-by",))).headers) == {"x-served-by": "web"}
    assert web(prober, get(server.url("kept"), again=True)).reused is True
    assert web(prober, get(server.url("fine"), again=True)).reused is False
    payload = web(prober, get(server.url("v1/chat/completions"), payload="{}", timed=True))
    assert len(payload.arrivals) >= 2
    assert payload.arrivals[-1][1] - payload.arrivals[0][1] > timedelta(seconds=0.2)
    for expected in (1, 2):
        assert len(web(prober, get(server.url("fine?window"), window=timedelta(minutes=1))).recent) == expected


def test_a_certificate_is_verified_by_the_name_it_is_asked_for(prober: Prober, tmp_path: Path) -> None:
    with odd_server(self_signed(tmp_path, days=30)) as tls:
        trusting = get(f"https://localhost:{tls.port}/", ca_file=str(tmp_path / "self-signed.pem"), certificate=True)
        seen = web(prober, trusting)
        assert seen.status == 200
        assert seen.certificate_left is not None
        assert seen.certificate_left.days == 29
        assert (web(prober, get(f"https://localhost:{tls.port}/")).error or "").startswith("certificate-untrusted")


def test_many_far_questions_of_one_batch_are_all_answered(prober: Prober, server: OddServer) -> None:
    requests = [get(server.url(f"fine?{number}")) for number in range(60)]
    answers = prober.ask(requests, DEADLINE)
    assert [answers[request].status for request in requests] == [200] * 60  # type: ignore[union-attr]


def test_the_machine_its_logs_and_its_certificates_are_looked_at(prober: Prober, tmp_path: Path) -> None:
    seen = ask(prober, MachineRequest(host=FAR, disks=("/", "/proc")))
    assert isinstance(seen, MachineSeen), seen
    assert 0 < seen.memory_used < 100
    assert [disk.path for disk in seen.disks] == ["/", "/proc"]
    assert abs(seen.ahead) < timedelta(seconds=2), "one machine plays both, so there is one clock"
    assert isinstance(ask(prober, MachineRequest(host=FAR, disks=("/no/such/folder",))), Blind)

    log = tmp_path / "1-json.log"
    log.write_bytes(b"x" * 10)
    (tmp_path / "1-json.log.1").write_bytes(b"x" * 100)
    assert ask(prober, LogRequest(host=FAR, path=str(log), window=timedelta(minutes=5))) == LogSeen(size=110)

    self_signed(tmp_path, days=30)
    (tmp_path / "self-signed.pem").chmod(0o640)
    certificate = ask(prober, CertificateRequest(host=FAR, path=str(tmp_path / "self-signed.pem")))
    assert isinstance(certificate, CertificateSeen), certificate
    assert certificate.key_mode == 0o640
    assert certificate.left is not None
    assert certificate.left.days == 29
    gone = ask(prober, CertificateRequest(host=FAR, path=str(tmp_path / "none.pem")))
    assert gone == CertificateSeen(left=None, key_mode=None, error="it is not there")


def test_an_nginx_that_is_not_there_is_nothing_seen(prober: Prober) -> None:
    if not any(Path(folder, "nginx").exists() for folder in os.environ["PATH"].split(":")):
        assert isinstance(ask(prober, NginxRequest(host=FAR, container=None)), Blind)


# --------------------------------------------------------------------------------------------------------- many hosts


@pytest.mark.abuse("42")
def test_a_slow_a_silent_and_a_dead_host_cost_a_sweep_no_more_than_its_deadline(
    sshd: FarHost, tmp_path: Path, server: OddServer
) -> None:
    """And the next sweep next to nothing: the hosts that could not be reached are tried again beside it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        far_host(tmp_path / "slow", "127.0.1.7", more="ForceCommand sleep 30") as slow,
    ):
        hosts = [
            sshd.host("good"),
            slow.host("slow"),
            sshd.host("silent", address="127.0.0.1", port=silent.getsockname()[1]),
            sshd.host("dead", address="127.0.1.9", port=1),
        ]
        ways = SshWays(hosts)
        engine = DockerEngine(hosts, SystemClock(), far=ways.engines)
        prober = BatchProber(engine, Ways(machines=ways.machines, engines=ways.engines, doors=ways.doors))
        questions: list[ProbeRequest] = [MachineRequest(host=host.name, disks=("/",)) for host in hosts]
        questions += [get(server.url("fine"), via=host.name) for host in hosts]
        try:
            for within in (5.5, 5.5):
                began = time.monotonic()
                answers = prober.ask(questions, timedelta(seconds=5))
                assert time.monotonic() - began < within
                by_host = {host.name: isinstance(answers[questions[n]], Blind) for n, host in enumerate(hosts)}
                assert by_host == {"good": False, "slow": True, "silent": True, "dead": True}
            told = {host.name: answers[questions[n]].why for n, host in enumerate(hosts) if by_host[host.name]}  # type: ignore[union-attr]
            assert "handshake" in told["silent"]
            assert "nothing listens" in told["dead"]
            began = time.monotonic()
            prober.ask([questions[2], questions[3], questions[6], questions[7]], timedelta(seconds=5))
            assert time.monotonic() - began < 0.5
        finally:
            engine.close()
            ways.close()


def test_a_wrong_host_key_is_told_apart_from_a_host_that_is_away(tmp_path: Path) -> None:
    with far_host(tmp_path / "sshd", "127.0.1.8") as host:
        host.stop()
        host.new_key()
        host.start()
        hosts = [host.host("changed"), host.host("away", address="127.0.1.9", port=1)]
        ways = SshWays(hosts)
        engine = DockerEngine(hosts, SystemClock(), far=ways.engines)
        prober = BatchProber(engine, Ways(machines=ways.machines, engines=ways.engines, doors=ways.doors))
        answers = prober.ask([ContainersRequest(host=each.name) for each in hosts], DEADLINE)
        seen = [answers[ContainersRequest(host=each.name)] for each in hosts]
        engine.close()
        ways.close()
    assert [(type(each), each.security) for each in seen] == [(Blind, True), (Blind, False)]  # type: ignore[union-attr]
