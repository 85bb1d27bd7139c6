"""The demo is a test: every case ends as it should, and nothing is left running, also when it is cut short."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.lab import stage

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "tests.lab.demo")


def left_of_demos(folder: Path) -> list[str]:
    """Return what is still there of demos that kept their files below `folder`: containers by their mounts, processes by their words."""
    shown = ("--all", "--no-trunc", "--filter", "label=medic.demo", "--format", "{{.Names}} {{.Mounts}}")
    processes = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [words for words in (*stage.docker("ps", *shown).splitlines(), *processes) if str(folder) in words]


def test_the_demo_ends_with_every_case_as_it_should(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    demo = subprocess.run(DEMO, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert demo.returncode == 0, demo.stdout[-6000:] + demo.stderr[-2000:]
    assert "left running: nothing" in demo.stdout
    assert left_of_demos(tmp_path) == []


def test_a_demo_that_is_cut_short_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with (tmp_path / "said").open("wb") as said:
        demo = subprocess.Popen(DEMO, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            wait_until_said("trying", tmp_path / "said", demo)
            demo.send_signal(signal.SIGINT)
            assert demo.wait(timeout=60) == 130
        finally:
            demo.kill()
    assert "left running: nothing" in (tmp_path / "said").read_text()
    assert left_of_demos(tmp_path) == []


def wait_until_said(word: str, file: Path, demo: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 90
    while word not in file.read_text():
        assert demo.poll() is None, file.read_text()
        assert time.monotonic() < end, file.read_text()
        time.sleep(0.2)
