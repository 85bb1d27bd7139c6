"""An SSH link against real OpenSSH servers, each with a key of its own, and against what only pretends to be one.

Whatever the other side does, the caller hears of it in time, in one sentence, and nothing is left running there.
"""

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters.docker_engine import DockerEngine
from agent.adapters.prober import BatchProber
from agent.adapters.ssh_link import ChannelRefusedError, SshLink
from agent.adapters.ssh_ways import SshWays
from agent.adapters.system_clock import SystemClock
from agent.adapters.ways import Ways
from agent.errors import HostKeyRefused, OutsideError
from agent.model import Blind, ContainersRequest, ContainersSeen, Host, HostName, Observation, SshAccess
from tests.far_hosts import FarHost, far_host, needs_sshd

NAME = HostName("gpu-1")
SHORT, LONG = timedelta(seconds=1), timedelta(seconds=8)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarHost]:
    """A server that nothing happens to."""
    with far_host(tmp_path_factory.mktemp("steady") / "sshd") as host:
        yield host


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[FarHost]:
    """A server of the test's own."""
    with far_host(tmp_path / "sshd", "127.0.1.2") as host:
        yield host


@contextlib.contextmanager
def linked(access: SshAccess, over: SshLink | None = None, *, within: timedelta = timedelta(seconds=4)) -> Iterator[SshLink]:
    link = SshLink(NAME, access, over, connect_within=within)
    try:
        yield link
    finally:
        link.close()


def echo(link: SshLink, timeout: timedelta = LONG) -> bytes:
    return link.run(("echo", "here"), timeout=timeout, limit=100)[1]


def refusal(link: SshLink, timeout: timedelta = LONG) -> OutsideError:
    with pytest.raises(OutsideError) as raised:
        echo(link, timeout)
    assert str(raised.value).startswith("cannot ")
    return raised.value


# ------------------------------------------------------------------------------------------------------------ programs


def test_a_program_is_run_with_the_very_words_it_was_given(steady: FarHost) -> None:
    words = ("printf", "[%s]", "a b", "$(id)", "'", '"', "*", "\\", ";reboot", "é", "")
    with linked(steady.access()) as link:
        code, output = link.run(words, timeout=LONG, limit=1000)
    assert (code, output.decode()) == (0, "".join(f"[{word}]" for word in words[2:]))


def test_exit_code_and_both_streams_come_back_up_to_the_limit(steady: FarHost) -> None:
    with linked(steady.access()) as link:
        code, output = link.run(("sh", "-c", "echo out; echo err >&2; exit 7"), timeout=LONG, limit=1000)
        assert (code, sorted(output.split())) == (7, [b"err", b"out"])
        assert link.run(("head", "-c", "3000000", "/dev/zero"), timeout=LONG, limit=10) == (0, b"\0" * 10)


def test_what_a_login_prints_is_no_output_of_the_program(tmp_path: Path) -> None:
    with (
        far_host(tmp_path / "sshd", "127.0.1.3", more='ForceCommand echo Welcome; eval "$SSH_ORIGINAL_COMMAND"') as host,
        linked(host.access()) as link,
    ):
        assert echo(link) == b"here\n"


def test_an_account_that_may_run_nothing_is_said(tmp_path: Path) -> None:
    with (
        far_host(tmp_path / "sshd", "127.0.1.3", more="ForceCommand echo This account is not available") as host,
        linked(host.access()) as link,
    ):
        assert "This account is not available" in str(refusal(link))


def test_a_program_that_is_not_there_is_an_error(steady: FarHost) -> None:
    with linked(steady.access()) as link, pytest.raises(OutsideError, match="No such file") as raised:
        link.run(("no-such-program",), timeout=LONG, limit=100)
    assert not raised.value.transient


@pytest.mark.skipif(shutil.which("sudo") is None, reason="no sudo is installed")
def test_by_sudo_the_same_words_arrive_and_a_hung_program_is_ended_as_well(steady: FarHost) -> None:
    seconds = f"6{os.getpid() % 1000:03d}"
    with linked(steady.access(sudo=True)) as link:
        assert link.run(("sh", "-c", "echo $SUDO_USER"), timeout=LONG, limit=100) == (0, f"{steady.access().user}\n".encode())
        assert link.run(("printf", "[%s]", "a b", "$(id)", "'"), timeout=LONG, limit=100) == (0, b"[a b][$(id)][']")
        assert link.run(("sh", "-c", "exit 3"), timeout=LONG, limit=100) == (3, b"")
        with pytest.raises(OutsideError, match="did not end within"):
            link.run(("sleep", seconds), timeout=timedelta(seconds=2), limit=100)
        eventually(lambda: not running(seconds))


@pytest.mark.parametrize("ignores_terminate", [False, True])
def test_a_program_that_hangs_is_ended_on_its_host(steady: FarHost, ignores_terminate: bool) -> None:
    seconds = f"4{os.getpid() % 1000:03d}"
    script = f"{'trap : TERM; ' if ignores_terminate else ''}sleep {seconds}; sleep {seconds}"
    with linked(steady.access()) as link:
        began = time.monotonic()
        with pytest.raises(OutsideError, match="did not end within"):
            link.run(("sh", "-c", script), timeout=timedelta(seconds=2), limit=100)
        assert time.monotonic() - began < 3
        eventually(lambda: not running(seconds))
        assert echo(link) == b"here\n", "the connection lives on"


def test_a_program_that_prints_without_end_is_ended_and_held_in_no_memory(steady: FarHost) -> None:
    with linked(steady.access()) as link, pytest.raises(OutsideError, match="did not end within"):
        link.run(("yes",), timeout=timedelta(seconds=2), limit=100)


@pytest.mark.abuse("42")
def test_a_server_that_dies_in_the_middle_of_a_program_is_an_error_at_once_and_leaves_nothing(changing: FarHost) -> None:
    seconds = f"5{os.getpid() % 1000:03d}"
    with linked(changing.access()) as link:
        echo(link)
        threading.Timer(0.5, changing.cut).start()
        began = time.monotonic()
        with pytest.raises(OutsideError, match="broke") as raised:
            link.run(("sleep", seconds), timeout=timedelta(seconds=3), limit=100)
        assert time.monotonic() - began < 2
        assert raised.value.transient
        eventually(lambda: not running(seconds), within=5)
        assert echo(link) == b"here\n", "the next call opens another connection"


def test_more_programs_than_a_server_allows_wait_their_turn(steady: FarHost) -> None:
    outputs: list[bytes] = []
    with linked(steady.access()) as link:
        many = [threading.Thread(target=lambda: outputs.append(echo(link))) for _ in range(25)]
        for each in many:
            each.start()
        for each in many:
            each.join(20)
    assert outputs == [b"here\n"] * 25


# ---------------------------------------------------------------------------------------------------------- connections


def test_one_connection_carries_everything(steady: FarHost) -> None:
    with linked(steady.access()) as link:
        ports = {link.run(("sh", "-c", "echo $SSH_CONNECTION"), timeout=LONG, limit=100)[1].split()[1] for _ in range(3)}
    assert len(ports) == 1


def test_a_host_behind_another_is_reached_through_it(steady: FarHost, changing: FarHost) -> None:
    with linked(changing.access()) as bastion, linked(steady.access(jump=HostName("bastion")), bastion) as link:
        seen = link.run(("sh", "-c", "echo $SSH_CONNECTION"), timeout=LONG, limit=100)[1].split()
        assert seen[2].decode() == steady.address
        assert echo(link) == b"here\n"
        changing.stop()
        eventually(lambda: "jump host" in str(refusal(link)))


def test_a_jump_host_without_docker_only_has_to_answer_and_its_account_may_be_for_jumps_alone(tmp_path: Path) -> None:
    gate = HostName("gate")
    with far_host(tmp_path / "sshd", "127.0.1.6", more="ForceCommand /bin/false") as server:
        host = Host(name=gate, docker=None, access=server.access())
        ways = SshWays([host])
        docker = DockerEngine([host], SystemClock(), far=ways.engines, bare=ways.bare)
        prober = BatchProber(docker, Ways(machines=ways.machines, engines=ways.engines, doors=ways.doors, bare=ways.bare))

        def seen() -> Observation:
            question = ContainersRequest(host=gate)
            return prober.ask([question], timedelta(seconds=20))[question]

        try:
            answer = seen()
            assert isinstance(answer, ContainersSeen)
            assert answer.containers == ()
            with pytest.raises(OutsideError, match="it is declared without"):
                docker.inspect(gate, "web")
            server.stop()
            eventually(lambda: isinstance(seen(), Blind))
            server.start()
            eventually(lambda: isinstance(seen(), ContainersSeen))
        finally:
            ways.close()
            docker.close()


def test_a_connection_whose_jump_host_went_first_ends_quietly_and_wakes_who_waits(
    steady: FarHost, changing: FarHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud: list[object] = []
    monkeypatch.setattr(threading, "excepthook", loud.append)
    with linked(changing.access()) as bastion, linked(steady.access(jump=HostName("bastion")), bastion) as link:
        assert echo(link) == b"here\n"
        carried, carrier = link._live, bastion._live
        assert carried is not None
        assert carrier is not None
        waits = carried.completion_event = threading.Event()
        # Which thread sees the loss first is chance. Here the carried one does: its channel does not know yet that it is over.
        carrier.packetizer.close()
        carried.sock.active = True
        carried.join(10)
        assert not carried.is_alive()
        assert waits.is_set()
    assert loud == []


def test_a_unix_socket_and_a_port_of_the_host_are_reached_like_sockets(steady: FarHost, tmp_path: Path) -> None:
    with linked(steady.access()) as link, socket.socket(socket.AF_UNIX) as door, socket.create_server(("127.0.0.1", 0)) as port:
        door.bind(str(tmp_path / "door"))
        door.listen()
        for listener, dial in (
            (door, lambda until: link.dial_unix(str(tmp_path / "door"), until)),
            (port, lambda until: link.dial_tcp("127.0.0.1", port.getsockname()[1], until)),
        ):
            channel = dial(time.monotonic() + 5)
            answer, _ = listener.accept()
            channel.sendall(b"ping")
            assert answer.recv(10) == b"ping"
            answer.sendall(b"pong")
            channel.settimeout(5)
            assert channel.recv(10) == b"pong"
            answer.close()
            assert channel.recv(10) == b""
            channel.close()


def test_where_nothing_listens_a_connection_says_so_and_the_link_lives_on(steady: FarHost, tmp_path: Path) -> None:
    with linked(steady.access()) as link, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ChannelRefusedError, match="Connection refused"):
            link.dial_tcp("127.0.0.1", free.getsockname()[1], time.monotonic() + 5)
        with pytest.raises(OutsideError, match="nothing listens there"):
            link.dial_unix(str(tmp_path / "none"), time.monotonic() + 5)
        assert echo(link) == b"here\n"


def test_a_server_that_forwards_nothing_is_said(tmp_path: Path) -> None:
    with (
        far_host(tmp_path / "sshd", "127.0.1.3", more="AllowStreamLocalForwarding no\nAllowTcpForwarding no") as host,
        linked(host.access()) as link,
    ):
        with pytest.raises(OutsideError, match="AllowStreamLocalForwarding"):
            link.dial_unix("/run/docker.sock", time.monotonic() + 5)
        with pytest.raises(ChannelRefusedError):
            link.dial_tcp("127.0.0.1", 1, time.monotonic() + 5)


# --------------------------------------------------------------------------------------------------------- who is who


@pytest.mark.abuse("43")
def test_another_host_key_than_the_pinned_one_is_refused_and_stays_refused(changing: FarHost) -> None:
    changing.stop()
    changing.new_key()
    changing.start()
    pinned = (changing.folder / "known_hosts").read_text()
    with linked(changing.access()) as link:
        for _ in range(3):
            found = refusal(link)
            assert isinstance(found, HostKeyRefused)
            assert not found.transient
            assert "another one is pinned" in str(found)
    assert (changing.folder / "known_hosts").read_text() == pinned
    # "preauth": it was asked for its key, and never heard of ours.
    assert "Accepted" not in (changing.folder / "log").read_text()


def test_a_server_that_never_had_a_pinned_key_is_refused_with_the_key_it_shows(changing: FarHost) -> None:
    (changing.folder / "known_hosts").write_text("other.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==\n")
    with linked(changing.access()) as link:
        found = refusal(link)
    assert not isinstance(found, HostKeyRefused)
    assert "no key is pinned" in str(found)
    assert "SHA256:" in str(found)


def test_a_revoked_host_key_is_refused_though_it_is_pinned(changing: FarHost) -> None:
    pins = changing.folder / "known_hosts"
    pins.write_text(pins.read_text() + "@revoked * " + " ".join(pins.read_text().split()[1:3]) + "\n")
    with linked(changing.access()) as link:
        assert isinstance(refusal(link), HostKeyRefused)


def test_names_may_be_hashed(changing: FarHost) -> None:
    import subprocess

    subprocess.run(("ssh-keygen", "-q", "-H", "-f", str(changing.folder / "known_hosts")), check=True, capture_output=True)
    assert changing.address not in (changing.folder / "known_hosts").read_text()
    with linked(changing.access()) as link:
        assert echo(link) == b"here\n"


def test_a_key_that_was_taken_off_the_host_and_a_wrong_user_are_refused(changing: FarHost) -> None:
    with linked(changing.access(user="nobody-at-all")) as link:
        assert "refuses the key" in str(refusal(link))
    (changing.folder / "authorized_keys").write_text("")
    with linked(changing.access()) as link:
        found = refusal(link)
        assert "refuses the key" in str(found)
        assert not found.transient


@pytest.mark.abuse("45")
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key: key.unlink(), "No such file"),
        (lambda key: key.chmod(0o644), "others may read"),
        (lambda key: key.write_text("nonsense"), "no private key"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_said_before_anybody_is_asked(
    changing: FarHost, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(changing.folder / "user_key")
    with linked(changing.access()) as link:
        assert said in str(refusal(link))


def test_a_key_with_a_passphrase_belongs_into_an_agent(changing: FarHost) -> None:
    import subprocess

    change = ("ssh-keygen", "-q", "-p", "-N", "secret", "-P", "", "-f", str(changing.folder / "user_key"))
    subprocess.run(change, check=True, capture_output=True)
    with linked(changing.access()) as link:
        assert "has a passphrase" in str(refusal(link))


def test_without_a_key_file_the_ssh_agent_is_asked(changing: FarHost, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    agent_socket = changing.folder / "agent"
    agent = subprocess.Popen(("ssh-agent", "-D", "-a", str(agent_socket)), stdout=subprocess.DEVNULL)
    try:
        eventually(agent_socket.exists)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent_socket))
        with linked(changing.access(key_file=None)) as link:
            assert "no ssh-agent offers a key" in str(refusal(link))
        subprocess.run(("ssh-add", "-q", str(changing.folder / "user_key")), check=True, capture_output=True)
        with linked(changing.access(key_file=None)) as link:
            assert echo(link) == b"here\n"
    finally:
        agent.kill()
        agent.wait()


# --------------------------------------------------------------------------------------------------------- bad networks


class Between:
    """A listener between a link and a server, which may stop passing on, be slow, or reset. With no server it says nothing."""

    def __init__(self, server: tuple[str, int] | None) -> None:
        self._server = server
        self.passes = True
        self.delay = 0.0
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._pairs.append(near)
                if self._server is not None:
                    far = socket.create_connection(self._server)
                    self._pairs.append(far)
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        source.settimeout(0.05)  # a socket that somebody waits on is not reset before the wait ends
        with contextlib.suppress(OSError):
            while True:
                with contextlib.suppress(TimeoutError):
                    chunk = source.recv(65_536)
                    time.sleep(self.delay)
                    if self.passes and chunk:
                        target.sendall(chunk)
                    if not chunk:
                        target.shutdown(socket.SHUT_WR)
                        return

    def reset(self) -> None:
        for each in self._pairs:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            each.close()
        self._pairs.clear()

    def close(self) -> None:
        self._listener.close()
        self.reset()


@pytest.fixture
def between(steady: FarHost) -> Iterator[Between]:
    made = Between((steady.address, steady.port))
    yield made
    made.close()


def by_way_of(between: Between, host: FarHost, folder: Path) -> SshAccess:
    pins = folder / "known_hosts"
    pins.write_text(
        (host.folder / "known_hosts").read_text().replace(f"[{host.address}]:{host.port}", f"[127.0.0.1]:{between.port}")
    )
    return host.access(address="127.0.0.1", port=between.port, known_hosts=str(pins))


@pytest.mark.abuse("42")
def test_a_half_open_connection_costs_one_call_its_time_and_is_replaced(
    steady: FarHost, between: Between, tmp_path: Path
) -> None:
    with linked(by_way_of(between, steady, tmp_path)) as link:
        assert echo(link) == b"here\n"
        between.passes = False
        began = time.monotonic()
        assert "did not answer in time" in str(refusal(link, SHORT))
        assert time.monotonic() - began < 2
        between.passes = True
        assert echo(link) == b"here\n"


def test_many_calls_on_a_half_open_connection_end_together(steady: FarHost, between: Between, tmp_path: Path) -> None:
    with linked(by_way_of(between, steady, tmp_path)) as link:
        echo(link)
        between.passes = False
        ended: list[float] = []
        began = time.monotonic()

        def ask() -> None:
            refusal(link, SHORT)
            ended.append(time.monotonic() - began)

        many = [threading.Thread(target=ask) for _ in range(8)]
        for each in many:
            each.start()
        for each in many:
            each.join(10)
        assert len(ended) == 8
        assert max(ended) < 3


@pytest.mark.abuse("42")
def test_a_reset_connection_is_an_error_at_once_and_is_replaced(steady: FarHost, between: Between, tmp_path: Path) -> None:
    with linked(by_way_of(between, steady, tmp_path)) as link:
        echo(link)
        threading.Timer(0.3, between.reset).start()
        began = time.monotonic()
        with pytest.raises(OutsideError, match="broke"):
            link.run(("sleep", "2"), timeout=LONG, limit=10)
        assert time.monotonic() - began < 2
        assert echo(link) == b"here\n"


def test_a_slow_connection_is_only_slow(steady: FarHost, between: Between, tmp_path: Path) -> None:
    between.delay = 0.1
    with linked(by_way_of(between, steady, tmp_path)) as link:
        assert echo(link) == b"here\n"


@pytest.mark.abuse("42")
def test_a_server_that_accepts_and_says_nothing_is_given_up_in_time_and_then_costs_nothing(steady: FarHost) -> None:
    silent = Between(None)
    with linked(steady.access(address="127.0.0.1", port=silent.port), within=SHORT) as link:
        began = time.monotonic()
        assert "does not finish the handshake" in str(refusal(link))
        assert time.monotonic() - began < 3
        began = time.monotonic()
        assert "does not finish the handshake" in str(refusal(link))
        assert time.monotonic() - began < 0.2, "while the next try runs, callers hear of the last one"
    silent.close()


def test_what_is_no_ssh_server_is_said(steady: FarHost) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with linked(steady.access(address="127.0.0.1", port=listener.getsockname()[1])) as link:
            assert "does not answer as an SSH server" in str(refusal(link))


@pytest.mark.abuse("42")
@pytest.mark.parametrize(
    ("address", "said"), [("127.0.1.9", "nothing listens at 127.0.1.9:1"), ("localhost..", "cannot look up 'localhost..'")]
)
def test_a_host_that_is_not_there_is_said(steady: FarHost, address: str, said: str) -> None:
    with linked(steady.access(address=address, port=1)) as link:
        found = refusal(link)
    assert said in str(found)
    assert found.transient


def test_a_host_that_comes_back_is_reached_again(changing: FarHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.adapters.ssh_link.TRY_AGAIN", (0.1, 0.1))
    with linked(changing.access()) as link:
        echo(link)
        changing.stop()
        eventually(lambda: "nothing listens" in str(refusal(link)))
        changing.start()
        eventually(lambda: _answers(link))


def test_a_link_that_was_closed_opens_no_more(steady: FarHost) -> None:
    with linked(steady.access()) as link:
        echo(link)
        link.close()
        assert "Medic is ending" in str(refusal(link))


def _answers(link: SshLink) -> bool:
    with contextlib.suppress(OutsideError):
        return echo(link) == b"here\n"
    return False


def eventually(true: Callable[[], bool], within: float = 5.0) -> None:
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)


def running(seconds: str) -> bool:
    """Say whether a `sleep` of so many seconds runs on this machine, which plays every host."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                return True
    return False


def test_this_suite_needs_an_ssh_server() -> None:
    needs_sshd()
