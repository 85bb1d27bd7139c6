"""What comes of a look through SSM when AWS, the instance or its agent is in trouble: said in our words, in time, never a short answer.

A stand-in: moto's wire before a real shell (tests/ssm_hosts.py). What real AWS does beyond it nobody has tried here.
"""

import random
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters import ssm_engine, ssm_link
from agent.adapters.aws_clients import AwsClients
from agent.adapters.docker_engine import DockerEngine
from agent.adapters.prober import BatchProber
from agent.adapters.ssm_link import SsmLink
from agent.adapters.ssm_ways import SsmWays
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.errors import HungError, OutsideError
from agent.model import (
    Blind,
    ContainersRequest,
    GpuRequest,
    GpuSeen,
    GpuTool,
    HostName,
    HttpRequest,
    HttpSeen,
    MachineRequest,
    MachineSeen,
    Observation,
    ProbeRequest,
    SsmAccess,
    TcpRequest,
    TcpSeen,
)
from tests import ssm_hosts
from tests.contracts.odd_server import OddServer, dead_port, odd_server
from tests.ssm_hosts import Instance

NAME = HostName("gpu-1")
LONG = timedelta(seconds=60)


@pytest.fixture(scope="module")
def clients() -> Iterator[AwsClients]:
    with ssm_hosts.ssm():
        made = AwsClients(ssm_hosts.REGION)
        SsmLink(NAME, ssm_hosts.instance().access(), made).run(("true",), timeout=LONG, limit=10)  # the first is slow to make
        yield made


@pytest.fixture
def instance() -> Instance:
    return ssm_hosts.instance()


@pytest.fixture
def link(clients: AwsClients, instance: Instance) -> SsmLink:
    return SsmLink(NAME, instance.access(), clients)


def refusal(link: SsmLink, timeout: timedelta = LONG) -> OutsideError:
    with pytest.raises(OutsideError) as raised:
        link.run(("echo", "here"), timeout=timeout, limit=100)
    assert str(raised.value).startswith("cannot run 'echo here' on host 'gpu-1': ")
    return raised.value


@pytest.mark.parametrize(
    ("code", "says", "transient"),
    [
        ("InvalidInstanceId", "SSM manages no such running instance in this region", True),
        ("AccessDeniedException", "ssm:SendCommand", False),
        ("ThrottlingException", "AWS throttles commands of this account", True),
        ("UnsupportedPlatformType", "it is no Linux", False),
    ],
)
def test_a_command_that_is_not_taken_says_what_that_means(
    link: SsmLink, instance: Instance, code: str, says: str, transient: bool
) -> None:
    instance.refuses = code
    found = refusal(link)
    assert says in str(found)
    assert found.transient is transient
    assert not isinstance(found, HungError)
    instance.refuses = None
    assert link.run(("echo", "here"), timeout=LONG, limit=100) == (0, b"here\n")


@pytest.mark.parametrize(
    ("details", "says", "transient"),
    [
        ("Undeliverable", "its agent does not answer", True),
        ("DeliveryTimedOut", "its agent did not fetch the command within 30 s", True),
        ("Cancelled", "somebody cancelled", True),
        ("AccessDenied", "ssm:SendCommand", False),
    ],
)
def test_a_command_that_was_not_carried_out_says_why(
    link: SsmLink, instance: Instance, details: str, says: str, transient: bool
) -> None:
    instance.ends = details
    found = refusal(link)
    assert says in str(found)
    assert details in str(found)
    assert found.transient is transient


def test_one_that_the_agent_ended_is_told_as_one_that_hangs(link: SsmLink, instance: Instance) -> None:
    instance.ends = "ExecutionTimedOut"
    assert isinstance(refusal(link), HungError)


@pytest.mark.abuse("42")
def test_an_instance_that_fetches_nothing_costs_a_call_its_time_and_the_command_is_cancelled(
    link: SsmLink, instance: Instance
) -> None:
    instance.fetches = False
    began = time.monotonic()
    assert "nothing came back through SSM within 2 s" in str(refusal(link, timedelta(seconds=2)))
    assert time.monotonic() - began < 4
    end = time.monotonic() + 30
    while not instance.cancelled and time.monotonic() < end:
        time.sleep(0.05)
    assert len(instance.cancelled) == 1
    instance.fetches = True
    assert link.run(("echo", "here"), timeout=LONG, limit=100) == (0, b"here\n"), "and its place is free again"


def test_callers_that_wait_hold_up_no_more_than_their_own_time(link: SsmLink, instance: Instance) -> None:
    instance.delay = 600
    for _ in range(ssm_link.AT_ONCE):
        refusal(link, timedelta(seconds=0.2))
    began = time.monotonic()
    refusal(link, timedelta(seconds=0.2))
    assert time.monotonic() - began < 2


def test_throttled_questions_are_asked_again(link: SsmLink, instance: Instance) -> None:
    instance.throttles_asking = 3
    assert link.run(("echo", "here"), timeout=LONG, limit=100) == (0, b"here\n")


@pytest.mark.parametrize("size", [1_000, 17_000])
def test_what_fits_comes_back_whole(link: SsmLink, size: int) -> None:
    noise = random.Random(size).randbytes(size)
    octal = "".join(f"\\{byte:03o}" for byte in noise)
    assert link.run(("printf", octal), timeout=LONG, limit=100_000) == (0, noise)


def test_an_answer_that_does_not_fit_is_an_error_and_never_a_short_answer(link: SsmLink) -> None:
    with pytest.raises(OutsideError, match=r"SSM passes on 24000 characters, and the answer has .* of them, packed") as raised:
        link.run(("head", "-c", "100000", "/dev/urandom"), timeout=LONG, limit=1_000_000)
    assert not raised.value.transient
    # What packs well may be long.
    assert len(link.run(("head", "-c", "1000000", "/dev/zero"), timeout=LONG, limit=1_000_000)[1]) == 1_000_000


def test_what_is_cut_on_the_way_is_an_error(link: SsmLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssm_link, "ROOM", 1_000_000)  # as if AWS passed on less than it says
    with pytest.raises(OutsideError, match="SSM passes on 24000 characters, and the answer has more"):
        link.run(("head", "-c", "100000", "/dev/urandom"), timeout=LONG, limit=1_000_000)


def test_what_is_not_ours_is_no_answer(link: SsmLink, instance: Instance) -> None:
    instance.garbles = True
    assert "its shell did not do as it was told: Unable to locate your own feet" in str(refusal(link))


def test_without_aws_it_is_said_in_time(instance: Instance, clients: AwsClients, monkeypatch: pytest.MonkeyPatch) -> None:
    del clients
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{dead_port()}")
    link = SsmLink(NAME, instance.access(), AwsClients(ssm_hosts.REGION))
    found = refusal(link)
    assert "send it through SSM" in str(found)
    assert found.transient


# ------------------------------------------------------------------------------------------------------- the whole prober


@pytest.fixture
def prober(clients: AwsClients, instance: Instance) -> Iterator[BatchProber]:
    del clients
    host = instance.host(NAME)
    over = SsmWays([host])
    for machine in over.machines.values():
        machine.patience = LONG / 2  # a machine that is busy with other things takes its time
    engine = DockerEngine([host], SystemClock(), far=over.engines, late=over.late)
    ways = Ways(machines=over.machines, engines=over.engines, doors=dict.fromkeys(over.machines), late=over.late)
    yield BatchProber(engine, ways)
    engine.close()


@pytest.fixture(scope="module")
def server() -> Iterator[OddServer]:
    with odd_server() as running:
        yield running


def ask(prober: BatchProber, request: ProbeRequest) -> Observation:
    return prober.ask([request], LONG)[request]


def get(url: str, **more: object) -> HttpRequest:
    return HttpRequest(**{"url": url, "timeout": timedelta(seconds=2), "via": NAME, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("manner", "status", "error"),
    [
        ("fine", 200, None),
        ("500", 500, None),
        ("hang", None, "timeout"),
        ("half-hang", 200, "timeout"),
        ("empty", None, "empty-reply"),
    ],
)
def test_what_a_service_does_is_asked_there_by_curl_and_told_in_the_same_words(
    prober: BatchProber, server: OddServer, manner: str, status: int | None, error: str | None
) -> None:
    seen = ask(prober, get(server.url(manner)))
    assert isinstance(seen, HttpSeen), seen
    assert (seen.status, seen.error) == (status, error)
    assert seen.latency < timedelta(seconds=30), "as measured there"


def test_an_answer_is_read_up_to_its_limit_and_its_headers_are_kept(prober: BatchProber, server: OddServer) -> None:
    endless = ask(prober, get(server.url("endless")))
    assert isinstance(endless, HttpSeen), endless
    assert (endless.cut, len(endless.body), endless.error) == (True, 65_536, None)
    named = ask(prober, get(server.url("named"), keep=("x-served-by",)))
    assert isinstance(named, HttpSeen), named
    assert dict(named.headers) == {"x-served-by": "web"}
    echo = ask(prober, get(server.url("echo"), headers=(("Host", "shop.example"),)))
    assert isinstance(echo, HttpSeen), echo
    assert "Host: shop.example" in echo.body


def test_a_port_is_tried_there(prober: BatchProber, server: OddServer) -> None:
    dead = dead_port()
    for request, connected, error in (
        (TcpRequest(address=f"127.0.0.1:{server.port}", timeout=timedelta(seconds=2), via=NAME), True, None),
        (TcpRequest(address=f"127.0.0.1:{dead}", timeout=timedelta(seconds=2), via=NAME), False, "connection-refused"),
    ):
        seen = ask(prober, request)
        assert isinstance(seen, TcpSeen), seen
        assert (seen.connected, seen.error) == (connected, error)
    refused = ask(prober, get(f"http://127.0.0.1:{dead}/"))
    assert isinstance(refused, HttpSeen), refused
    assert refused.error == "connection-refused"


@pytest.mark.parametrize(
    "more", [{"headers": (("Authorization", "Bearer x"),)}, {"again": True}, {"timed": True, "payload": "{}"}]
)
def test_what_cannot_be_asked_this_way_is_blind_and_nothing_is_sent(
    prober: BatchProber, server: OddServer, instance: Instance, more: dict[str, object]
) -> None:
    assert isinstance(ask(prober, get(server.url("fine"), **more)), Blind)
    assert instance.ran == []


@pytest.mark.abuse("42")
def test_every_question_to_an_instance_that_is_away_is_blind(
    prober: BatchProber, instance: Instance, server: OddServer
) -> None:
    instance.refuses = "InvalidInstanceId"
    questions: list[ProbeRequest] = [
        ContainersRequest(host=NAME),
        MachineRequest(host=NAME, disks=("/",)),
        get(server.url("fine")),
        TcpRequest(address=f"127.0.0.1:{server.port}", timeout=timedelta(seconds=2), via=NAME),
    ]
    answers = prober.ask(questions, LONG)
    assert all(isinstance(answers[each], Blind) for each in questions), answers
    assert all("SSM manages no such running instance" in answers[each].why for each in questions)  # type: ignore[union-attr]


def test_the_machine_and_its_gpus_are_looked_at(prober: BatchProber, instance: Instance, tmp_path: Path) -> None:
    seen = ask(prober, MachineRequest(host=NAME, disks=("/", "/proc")))
    assert isinstance(seen, MachineSeen), seen
    assert seen.ahead == timedelta(0), "one machine plays both: whatever the way takes is no offset"
    shim = tmp_path / "nvidia-smi"
    shim.write_text((Path(__file__).parents[1] / "shims" / "nvidia-smi").read_text())
    shim.chmod(0o755)
    log = tmp_path / "kern.log"
    log.write_text("2026-11-30T00:01:00+00:00 gpu kernel: NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n")
    request = GpuRequest(host=NAME, timeout=LONG, tool=str(shim), kernel_log=str(log))
    gpus = ask(prober, request)
    assert isinstance(gpus, GpuSeen), gpus
    assert (gpus.tool, len(gpus.gpus), [xid.number for xid in gpus.xids or ()]) == (GpuTool.ANSWERED, 2, [79])
    instance.refuses = "ThrottlingException"
    away = ask(prober, request)
    assert isinstance(away, GpuSeen), away
    assert (away.tool, away.gpus, away.xids) == (GpuTool.FAILED, (), None), "a way that breaks is no tool that hangs"


def test_no_docker_there_is_said(clients: AwsClients, instance: Instance, tmp_path: Path) -> None:
    for name in ("sh", "mktemp", "rm", "mkfifo", "base64", "head", "timeout", "env", "gzip", "tr", "cat"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    instance.environment = {"PATH": str(tmp_path)}
    link = SsmLink(NAME, instance.access(), clients)
    engine = DockerEngine(
        [instance.host(NAME)], SystemClock(), far={NAME: ssm_engine.dial(NAME, link, "unix:///x")}, late={NAME: LONG}
    )
    with pytest.raises(OutsideError, match=r"cannot ask Docker on host 'gpu-1'.*docker.*not found"):
        engine.list(NAME)
    with pytest.raises(OutsideError, match="cannot follow the events of host 'gpu-1'"):
        next(engine.follow(NAME, lambda: False))
    engine.close()


def test_an_instance_that_nobody_declared_right_is_one_sentence(clients: AwsClients) -> None:
    link = SsmLink(NAME, SsmAccess(instance="i-0000000000000dead", region=ssm_hosts.REGION), clients)
    assert "SSM manages no such running instance" in str(refusal(link))
