"""The Docker adapter against the ways real containers and real engines go wrong."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import docker
import pytest

from agent.adapters.docker_engine import DockerEngine
from agent.adapters.system_clock import SystemClock
from agent.errors import OutsideError
from agent.model import ContainerFacts, ContainerState, Host, HostName
from tests.live.conftest import Make

pytestmark = pytest.mark.live

LOCAL = HostName("local")
SLEEP = ["sleep", "600"]
Condition = Callable[[ContainerFacts], bool]


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    made = DockerEngine((Host(name=LOCAL),), SystemClock())
    yield made
    made.close()


def listed(engine: DockerEngine, name: str, condition: Condition, within: float = 10.0) -> ContainerFacts:
    """Return the listed facts of a container once they satisfy the condition."""
    until = time.monotonic() + within
    while True:
        found = next(facts for facts in engine.list(LOCAL) if facts.name == name)
        if condition(found):
            return found
        assert time.monotonic() < until, found
        time.sleep(0.05)


def state(wanted: ContainerState) -> Condition:
    return lambda facts: facts.state is wanted


# ------------------------------------------------------------------------------------------------------------ containers


def test_an_oom_kill_is_told_apart_from_a_plain_exit_137(engine: DockerEngine, container: Make) -> None:
    # tail keeps an endless line in memory until the kernel ends it.
    name = container(["sh", "-c", "tail /dev/zero"], host={"mem_limit": "32m"})
    killed = listed(engine, name, state(ContainerState.EXITED))
    assert (killed.exit_code, killed.oom_killed) == (137, True)


def test_a_created_container_that_cannot_start_says_why(
    engine: DockerEngine, container: Make, docker_client: docker.APIClient
) -> None:
    name = container(["/no/such/program"], start=False)
    with pytest.raises(docker.errors.APIError):
        docker_client.start(name)
    created = listed(engine, name, state(ContainerState.CREATED))
    assert created.started_at is None
    assert created.error is not None
    assert "/no/such/program" in created.error


def test_a_restart_loop_shows_in_the_restart_count(engine: DockerEngine, container: Make) -> None:
    name = container(["sh", "-c", "exit 9"], host={"restart_policy": {"Name": "always"}})
    looping = listed(engine, name, lambda facts: (facts.restart_count or 0) >= 3)
    assert looping.restart_policy == "always"


def test_a_restart_is_seen_although_the_earlier_life_was_remembered(
    engine: DockerEngine, container: Make, docker_client: docker.APIClient
) -> None:
    name = container(SLEEP)
    before = listed(engine, name, lambda facts: facts.started_at is not None)
    docker_client.restart(name, timeout=0)
    after = listed(engine, name, state(ContainerState.RUNNING))
    assert before.started_at is not None
    assert after.started_at is not None
    assert after.started_at > before.started_at


@pytest.mark.parametrize(("test", "word"), [("true", "healthy"), ("false", "unhealthy")])
def test_the_healthcheck_word_is_read_from_the_list(engine: DockerEngine, container: Make, test: str, word: str) -> None:
    check = {"test": ["CMD", test], "interval": 200_000_000, "timeout": 1_000_000_000, "retries": 1}
    name = container(SLEEP, healthcheck=check)
    assert listed(engine, name, lambda facts: facts.health == word).health == word
    assert engine.inspect(LOCAL, name).health == word


def test_ports_networks_and_aliases_are_listed(engine: DockerEngine, container: Make, docker_client: docker.APIClient) -> None:
    network = docker_client.create_network(f"medic-test-{os.getpid()}", labels={"medic.test": "docker"})["Id"]
    try:
        joined = docker_client.create_networking_config({network: docker_client.create_endpoint_config(aliases=["shop"])})
        published = {"port_bindings": {8080: ("127.0.0.1", None)}, "network_mode": network}
        name = container(SLEEP, ports=[8080], host=published, networking_config=joined)
        seen = listed(engine, name, state(ContainerState.RUNNING))
        assert [inside for inside, _ in seen.ports] == [8080]
        assert seen.ports == engine.inspect(LOCAL, name).ports
        assert seen.networks == engine.inspect(LOCAL, name).networks
        assert [("shop" in found.aliases, bool(found.address)) for found in seen.networks] == [(True, True)]
    finally:
        docker_client.remove_container(name, force=True)
        docker_client.remove_network(network)


def test_the_prefix_of_another_containers_id_is_no_name(engine: DockerEngine, container: Make) -> None:
    name = container(SLEEP)
    prefix = engine.inspect(LOCAL, name).id[:10]
    assert engine.inspect(LOCAL, prefix).state is ContainerState.MISSING


# ------------------------------------------------------------------------------------------------------------------ logs


@pytest.mark.abuse("40")
def test_a_hundred_megabytes_in_one_line_are_cut_in_time(
    engine: DockerEngine, container: Make, docker_client: docker.APIClient
) -> None:
    name = container(["sh", "-c", "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the end"])
    docker_client.wait(name, timeout=120)
    began = time.monotonic()
    log = engine.logs(LOCAL, name, limit=100_000)
    assert time.monotonic() - began < 20
    assert len(log) == 100_000
    assert log.endswith(b"xxx\nthe end\n")


@pytest.mark.abuse("40")
def test_a_long_log_of_short_lines_is_read_up_to_the_limit(
    engine: DockerEngine, container: Make, docker_client: docker.APIClient
) -> None:
    name = container(["seq", "1", "50000"])
    docker_client.wait(name, timeout=60)
    log = engine.logs(LOCAL, name, limit=20_000)
    assert len(log) == 20_000
    assert log.endswith(b"49999\n50000\n")


def test_a_binary_log_comes_as_it_is(engine: DockerEngine, container: Make, docker_client: docker.APIClient) -> None:
    name = container(["printf", r"\000\001\377\376end"])
    docker_client.wait(name, timeout=30)
    assert engine.logs(LOCAL, name, limit=1000).endswith(b"end")


def test_the_log_of_a_terminal_has_no_frames(engine: DockerEngine, container: Make, docker_client: docker.APIClient) -> None:
    name = container(["echo", "on a terminal"], tty=True)
    docker_client.wait(name, timeout=30)
    assert engine.logs(LOCAL, name, limit=1000) == b"on a terminal\r\n"


@pytest.mark.abuse("40")
def test_a_container_without_a_log_is_said_to_have_none(engine: DockerEngine, container: Make) -> None:
    name = container(["echo", "gone"], host={"log_config": {"type": "none"}})
    with pytest.raises(OutsideError, match="its log driver keeps nothing to read") as raised:
        engine.logs(LOCAL, name, limit=1000)
    assert not raised.value.transient


# ------------------------------------------------------------------------------------------------------------------ exec


@pytest.mark.parametrize(
    ("argv", "answer"),
    [
        (("echo", "hello; true"), (0, b"hello; true\n")),
        (("sh", "-c", "echo wrong >&2; exit 7"), (7, b"wrong\n")),
        (("sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"), (0, b"x" * 1000)),
    ],
)
def test_a_program_inside_gives_its_code_and_bounded_output(
    engine: DockerEngine, container: Make, argv: tuple[str, ...], answer: tuple[int, bytes]
) -> None:
    assert engine.exec(LOCAL, container(SLEEP), argv, timeout=timedelta(seconds=10), limit=1000) == answer


def test_a_program_that_does_not_end_is_given_up_in_time(engine: DockerEngine, container: Make) -> None:
    name = container(SLEEP)
    began = time.monotonic()
    with pytest.raises(OutsideError, match=r"cannot run 'sleep 60' in container .*: it did not end in time"):
        engine.exec(LOCAL, name, ("sleep", "60"), timeout=timedelta(seconds=0.5), limit=1000)
    assert time.monotonic() - began < 20  # its deadline is half a second, and what hangs hangs for long


def test_a_program_that_talks_for_ever_is_given_up_in_time(engine: DockerEngine, container: Make) -> None:
    name = container(SLEEP)
    began = time.monotonic()
    with pytest.raises(OutsideError, match="it did not end in time"):
        engine.exec(LOCAL, name, ("timeout", "60", "yes"), timeout=timedelta(seconds=0.5), limit=1000)
    assert time.monotonic() - began < 20  # its deadline is half a second, and what hangs hangs for long


def test_nothing_runs_in_a_container_that_is_down(engine: DockerEngine, container: Make) -> None:
    name = container(SLEEP, start=False)
    with pytest.raises(OutsideError, match="is not running") as raised:
        engine.exec(LOCAL, name, ("true",), timeout=timedelta(seconds=2), limit=10)
    assert raised.value.transient


# ---------------------------------------------------------------------------------------------------------------- events


def test_a_death_is_followed_as_it_happens(engine: DockerEngine, container: Make, docker_client: docker.APIClient) -> None:
    name = container(SLEEP)
    seen: list[float] = []
    following = threading.Event()

    def follow() -> None:
        for event in engine.follow(LOCAL, lambda: following.set() or bool(seen)):
            if (event.container, event.action) == (name, "die"):
                seen.append(time.time() - event.at.timestamp())  # noqa: PERF401  # the stop above reads it meanwhile

    thread = threading.Thread(target=follow)
    thread.start()
    assert following.wait(5)
    time.sleep(0.3)  # the subscription is on its way
    docker_client.kill(name)
    thread.join(30)
    assert len(seen) == 1
    assert seen[0] < 5  # how soon is measured in bench/death.py


def test_following_ends_within_a_second_of_stop(engine: DockerEngine) -> None:
    began = time.monotonic()
    for _ in engine.follow(LOCAL, lambda: time.monotonic() > began + 0.5):
        pass  # whatever else happens on this engine meanwhile
    assert time.monotonic() - began < 20  # its deadline is half a second, and what hangs hangs for long


# ------------------------------------------------------------------------------------------------- engines that go wrong

Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def strange_engine(path: Path, answer: Answer) -> Iterator[DockerEngine]:
    """An engine on a socket of our own: `answer` gets every connection, in a thread of its own."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client may be gone
            answer(connection)

    def serve() -> None:
        with contextlib.suppress(OSError):  # the listener was shut down: the test is over
            while True:
                connections.append(listener.accept()[0])
                threads.append(threading.Thread(target=talk, args=(connections[-1],)))
                threads[-1].start()

    server = threading.Thread(target=serve)
    server.start()
    short = timedelta(seconds=0.5)
    engine = DockerEngine((Host(name=LOCAL, docker=f"unix://{path}"),), SystemClock(), timeout=short, silence=short)
    try:
        yield engine
    finally:
        engine.close()
        listener.shutdown(socket.SHUT_RDWR)
        server.join(5)
        listener.close()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in threads:
            thread.join(5)


def silent(connection: socket.socket) -> None:
    """Accept and never answer."""


def versed(body: bytes, status: bytes = b"200 OK") -> Answer:
    """Answer every request with `body`, but tell the API version to whoever asks for it."""

    def answer(connection: socket.socket) -> None:
        while asked := connection.recv(65_536):
            said, code = (b'{"ApiVersion": "1.41"}', b"200 OK") if b" /version " in asked else (body, status)
            head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (code, len(said))
            connection.sendall(head + said)
            if b" HTTP/1.0\r\n" in asked:
                connection.shutdown(socket.SHUT_RDWR)

    return answer


def dripping(connection: socket.socket) -> None:
    """Answer one byte at a time, without end."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n[")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def truncated(connection: socket.socket) -> None:
    """Promise more than comes."""
    connection.recv(65_536)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n[{"Id": "c1", "Na')
    connection.shutdown(socket.SHUT_RDWR)


def garbage(connection: socket.socket) -> None:
    """Speak something else."""
    connection.recv(65_536)
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x50" * 100)
    connection.shutdown(socket.SHUT_RDWR)


ASKS: list[Callable[[DockerEngine], object]] = [
    lambda engine: engine.list(LOCAL),
    lambda engine: engine.inspect(LOCAL, "web"),
    lambda engine: engine.logs(LOCAL, "web", limit=10),
    lambda engine: engine.events(LOCAL, "web", since=SystemClock().now()),
    lambda engine: list(engine.follow(LOCAL, lambda: False)),
    lambda engine: engine.exec(LOCAL, "web", ("true",), timeout=timedelta(seconds=0.5), limit=10),
]


@pytest.mark.abuse("39")
@pytest.mark.parametrize("ask", ASKS)
def test_an_engine_that_never_answers_is_given_up_in_time(tmp_path: Path, ask: Callable[[DockerEngine], object]) -> None:
    began = time.monotonic()
    with strange_engine(tmp_path / "docker.sock", silent) as engine:
        with pytest.raises(OutsideError, match="did not answer in time") as raised:
            ask(engine)
        assert time.monotonic() - began < 20
    assert raised.value.transient


@pytest.mark.abuse("39")
@pytest.mark.parametrize("answer", [dripping, truncated, garbage, versed(b"boom", b"500 Internal Server Error")])
def test_an_engine_that_answers_badly_is_one_sentence_in_time(tmp_path: Path, answer: Answer) -> None:
    began = time.monotonic()
    with strange_engine(tmp_path / "docker.sock", answer) as engine:
        with pytest.raises(OutsideError, match=r"^cannot ") as raised:
            engine.list(LOCAL)
        assert time.monotonic() - began < 5.0
    assert "\n" not in str(raised.value)


@pytest.mark.abuse("39")
@pytest.mark.parametrize("ask", ASKS)
def test_a_missing_socket_is_named(tmp_path: Path, ask: Callable[[DockerEngine], object]) -> None:
    engine = DockerEngine((Host(name=LOCAL, docker=f"unix://{tmp_path}/none.sock"),), SystemClock())
    with pytest.raises(OutsideError, match=r"there is no socket at unix://.*/none.sock") as raised:
        ask(engine)
    assert raised.value.transient


def test_a_socket_nobody_listens_at_is_named(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "docker.sock"))
    engine = DockerEngine((Host(name=LOCAL, docker=f"unix://{tmp_path}/docker.sock"),), SystemClock())
    with pytest.raises(OutsideError, match="nothing listens at unix://"):
        engine.list(LOCAL)


@pytest.mark.abuse("39")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not use the socket")
def test_a_socket_without_permission_names_the_group() -> None:
    script = (
        "import sys; from agent.adapters.docker_engine import DockerEngine; from agent.adapters.system_clock import SystemClock\n"
        "from agent.errors import OutsideError; from agent.model import Host\n"
        "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: DockerEngine((Host(name='local'),), SystemClock()).list('local')\n"
        "except OutsideError as error: print(error, error.transient)"
    )
    said = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, timeout=30, check=True).stdout
    assert "permission denied on unix:///var/run/docker.sock; run as root or join the group `docker` False" in said


@pytest.mark.abuse("39")
@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b'{"message": "out of order"}', b"500 Internal Server Error", "the engine answered 500: out of order"),
        (b"not JSON at all", b"200 OK", "did not answer as one"),
        (b'{"not": "a list"}', b"200 OK", "the list of containers is not a list"),
        (b'{"message": "client version 1.41 is too old"}', b"400 Bad Request", "the engine speaks another API version"),
    ],
)
def test_a_strange_answer_is_one_sentence(tmp_path: Path, body: bytes, status: bytes, said: str) -> None:
    with strange_engine(tmp_path / "docker.sock", versed(body, status)) as engine, pytest.raises(OutsideError, match=said):
        engine.list(LOCAL)


def test_a_container_without_name_and_id_is_one_sentence(tmp_path: Path) -> None:
    for body in (b"[]", b"{}", b"7"):
        path = tmp_path / f"{body!r}.sock"
        with strange_engine(path, versed(body)) as engine, pytest.raises(OutsideError, match="has no name and id"):
            engine.inspect(LOCAL, "web")


def test_an_odd_container_does_not_hide_its_neighbours(tmp_path: Path) -> None:
    rows = [
        "?",
        {"Id": 7, "Names": None, "State": "melting", "Ports": "?"},
        {"Id": "a" * 64, "Names": ["/web"], "State": "running"},
    ]
    with strange_engine(tmp_path / "docker.sock", versed(json.dumps(rows).encode())) as engine:
        assert [(facts.name, facts.state.value) for facts in engine.list(LOCAL)] == [("", "removing"), ("web", "running")]


def test_the_end_of_the_event_stream_is_an_error(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        event = {"Type": "container", "Action": "die", "timeNano": 1, "Actor": {"Attributes": {"name": "web", "exitCode": "2"}}}
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(event).encode() + b"\n")
        connection.shutdown(socket.SHUT_RDWR)

    with strange_engine(tmp_path / "docker.sock", answer) as engine:
        events = engine.follow(LOCAL, lambda: False)
        assert next(events).exit_code == 2
        with pytest.raises(OutsideError, match="the engine ended the event stream"):
            next(events)


def test_an_engine_that_falls_silent_while_followed_is_noticed(tmp_path: Path) -> None:
    def answer(connection: socket.socket) -> None:
        if b"/events" in connection.recv(65_536):
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

    began = time.monotonic()
    with strange_engine(tmp_path / "docker.sock", answer) as engine:
        with pytest.raises(OutsideError, match="did not answer in time"):
            list(engine.follow(LOCAL, lambda: False))
        assert time.monotonic() - began < 20


def test_an_engine_that_lists_but_hangs_in_inspect_still_tells_its_list(tmp_path: Path) -> None:
    rows = [
        {"Id": letter * 64, "Names": [f"/{letter}"], "State": "exited", "Status": "Exited (1) 2 hours ago"} for letter in "ab"
    ]

    def answer(connection: socket.socket) -> None:
        while asked := connection.recv(65_536):
            if b"/containers/json" in asked or b" /version " in asked:
                said = json.dumps(rows).encode() if b"/containers/json" in asked else b'{"ApiVersion": "1.41"}'
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said) + said)
            if b" HTTP/1.0\r\n" in asked:
                connection.shutdown(socket.SHUT_RDWR)

    with strange_engine(tmp_path / "docker.sock", answer) as engine:
        began = time.monotonic()
        seen = engine.list(LOCAL)
        assert time.monotonic() - began < 20  # its deadline is half a second, and what hangs hangs for long
    assert [(facts.name, facts.exit_code, facts.oom_killed) for facts in seen] == [("a", 1, None), ("b", 1, None)]
