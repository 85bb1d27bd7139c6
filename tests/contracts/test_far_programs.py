"""What every way to run programs on another host does, over SSH and through SSM alike: the programs run for real, here.

SSH: a real sshd. SSM: a stand-in, moto's wire before a real shell.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.adapters.aws_clients import AwsClients
from agent.adapters.far_machine import Programs
from agent.adapters.ssh_link import SshLink
from agent.adapters.ssm_link import SsmLink
from agent.errors import HungError, OutsideError
from agent.model import HostName
from tests import ssm_hosts
from tests.contracts.test_ssh_link import eventually, running
from tests.far_hosts import far_host

NAME = HostName("gpu-1")
LONG = timedelta(seconds=60)
"""A machine that is busy with other things takes its time; no test waits for it to be over."""


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    with far_host(tmp_path_factory.mktemp("programs") / "sshd", "127.0.1.12") as host:
        link = SshLink(NAME, host.access())
        yield link
        link.close()


@pytest.fixture(scope="module")
def ssm() -> Iterator[Programs]:
    with ssm_hosts.ssm():
        yield SsmLink(NAME, ssm_hosts.instance().access(), AwsClients(ssm_hosts.REGION))


@pytest.fixture(params=["ssh", "ssm"])
def far(request: pytest.FixtureRequest) -> Programs:
    found: Programs = request.getfixturevalue(request.param)
    return found


def test_a_program_is_run_with_the_very_words_it_was_given(far: Programs) -> None:
    words = ("printf", "[%s]", "a b", "$(id)", "'", '"', "*", "\\", ";reboot", "é", "{x}", "line\nbreak", "")
    code, output = far.run(words, timeout=LONG, limit=1000)
    assert (code, output.decode()) == (0, "".join(f"[{word}]" for word in words[2:]))


def test_exit_code_and_both_streams_come_back_up_to_the_limit(far: Programs) -> None:
    code, output = far.run(("sh", "-c", "echo out; echo err >&2; exit 7"), timeout=LONG, limit=1000)
    assert (code, sorted(output.split())) == (7, [b"err", b"out"])
    assert far.run(("head", "-c", "3000000", "/dev/zero"), timeout=LONG, limit=10) == (0, b"\0" * 10)
    assert far.run(("true",), timeout=LONG, limit=10) == (0, b"")


def test_every_byte_comes_back_as_it_was(far: Programs, tmp_path: Path) -> None:
    every = bytes(range(256)) * 20 + b"\n\n"
    (tmp_path / "bytes").write_bytes(every)
    assert far.run(("cat", str(tmp_path / "bytes")), timeout=LONG, limit=10_000) == (0, every)


def test_a_program_gets_no_input_and_a_plain_locale(far: Programs) -> None:
    assert far.run(("cat",), timeout=LONG, limit=100) == (0, b"")
    assert far.run(("sh", "-c", "echo $LC_ALL"), timeout=LONG, limit=100) == (0, b"C\n")


def test_a_program_that_is_not_there_is_an_error_that_does_not_pass(far: Programs) -> None:
    with pytest.raises(OutsideError, match="No such file") as raised:
        far.run(("no-such-program",), timeout=LONG, limit=100)
    assert not raised.value.transient
    assert not isinstance(raised.value, HungError)
    assert str(raised.value).startswith("cannot run 'no-such-program' on host 'gpu-1': ")


@pytest.mark.parametrize("ignores_terminate", [False, True])
def test_a_program_that_hangs_is_ended_on_its_host(far: Programs, ignores_terminate: bool) -> None:
    seconds = f"7{os.getpid() % 1000:03d}"
    script = f"{'trap : TERM; ' if ignores_terminate else ''}sleep {seconds}; sleep {seconds}"
    began = time.monotonic()
    with pytest.raises(HungError, match="did not end") as raised:
        far.run(("sh", "-c", script), timeout=timedelta(seconds=5), limit=100)
    assert time.monotonic() - began < 6
    assert raised.value.transient
    assert raised.value.left(), "nobody here can see that it is gone"
    eventually(lambda: not running(seconds))
    assert far.run(("echo", "here"), timeout=LONG, limit=100) == (0, b"here\n")


def test_more_programs_than_run_at_once_wait_their_turn(far: Programs) -> None:
    outputs: list[bytes] = []

    def ask() -> None:
        with contextlib.suppress(OutsideError):
            outputs.append(far.run(("echo", "here"), timeout=timedelta(seconds=30), limit=100)[1])

    many = [threading.Thread(target=ask) for _ in range(12)]
    for each in many:
        each.start()
    for each in many:
        each.join(40)
    assert outputs == [b"here\n"] * 12
