"""The dead-man switch against a real daemon: silent while it beats, loud once when it is stopped or killed."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from tests.live import daemon
from tests.receiver import Receiver, receiving

pytestmark = pytest.mark.live

SCRIPT = daemon.ROOT / "docs" / "how-to" / "medic-deadman.sh"
CALM, TOLD, UNTOLD = 0, 1, 3


def look(folder: Path, tell: str) -> int:
    words = {"MEDIC_BEAT": str(folder / "state" / "beat"), "MEDIC_INTERVAL": "1", "MEDIC_MISSED": "4", "MEDIC_TELL": tell}
    environment = {"PATH": os.environ["PATH"], **words}
    return subprocess.run(["sh", str(SCRIPT)], env=environment, capture_output=True, timeout=30, check=False).returncode


@pytest.mark.abuse("91")
def test_a_stopped_and_a_killed_daemon_are_told_once_each(tmp_path: Path) -> None:
    (tmp_path / "medic.yaml").write_text("interval: 1s\ndiscover_labels: false\n")
    beat = tmp_path / "state" / "beat"
    with receiving(Receiver()) as receiver, daemon.watching(tmp_path) as medic:
        daemon.wait_until(beat.exists, 60, "the daemon does not beat")
        assert look(tmp_path, receiver.url()) == CALM

        medic.send_signal(signal.SIGSTOP)
        daemon.wait_until(lambda: look(tmp_path, receiver.url()) == TOLD, 20, "nobody was told of a stopped daemon")
        assert look(tmp_path, receiver.url()) == CALM, "once per silence"
        assert len(receiver.notices) == 1
        assert "is silent: the last beat was" in receiver.notices[0]["text"]

        medic.send_signal(signal.SIGCONT)
        daemon.wait_until(
            lambda: look(tmp_path, receiver.url()) == CALM and not beat.with_name("beat.deadman").exists(), 20, "no"
        )

        medic.kill()
        daemon.wait_until(lambda: look(tmp_path, receiver.url()) == TOLD, 20, "nobody was told of a killed daemon")
        assert len(receiver.notices) == 2


@pytest.mark.abuse("91")
def test_systemd_hears_when_it_is_ready_that_it_lives_and_that_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "medic.yaml").write_text("interval: 500ms\ndiscover_labels: false\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, tempfile.TemporaryDirectory() as short:
        systemd.bind(f"{short}/notify")
        systemd.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{short}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")

        def heard() -> bytes:
            return systemd.recv(100)

        with daemon.watching(tmp_path) as medic:
            words = [heard()]
            while b"READY=1" not in words or words.count(b"WATCHDOG=1") < 3:
                words.append(heard())
            assert set(words) == {b"READY=1", b"WATCHDOG=1"}

            medic.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            systemd.settimeout(1.5)
            with contextlib.suppress(TimeoutError):
                while heard():
                    assert time.monotonic() < stopped + 5, "a stopped process spoke"
            medic.send_signal(signal.SIGCONT)
            systemd.settimeout(60)
            assert heard() == b"WATCHDOG=1", "it lives again"

            medic.terminate()
            while heard() != b"STOPPING=1":
                pass
            assert medic.wait(40) == 0


@pytest.mark.parametrize("tell", ["", "/nonexistent/pager", "http://127.0.0.1:1/hook"])
def test_says_by_its_exit_code_that_nobody_could_be_told_and_tries_again(tmp_path: Path, tell: str) -> None:
    assert [look(tmp_path, tell) for _ in range(2)] == [UNTOLD, UNTOLD]


def test_a_command_gets_the_sentence_as_one_argument(tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text(f'#!/bin/sh\nprintf "%s|%s" "$#" "$1" > {tmp_path}/said\n')
    pager.chmod(0o755)
    (tmp_path / "state").mkdir()
    assert look(tmp_path, str(pager)) == TOLD
    said = (tmp_path / "said").read_text()
    assert said.startswith("1|Medic on ")
    assert "there is no beat file" in said


def test_a_beat_from_the_future_is_no_beat(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    beat = tmp_path / "state" / "beat"
    beat.write_text("{}")
    os.utime(beat, (4e9, 4e9))
    assert look(tmp_path, "/bin/true") == TOLD
