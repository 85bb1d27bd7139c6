"""Prometheus's own tool reads the sample rules, and the metrics as they are served. Skipped, and said, where it is not installed."""

import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from agent import metrics
from tests.fakes import FakeClock
from tests.memory_store import memory_store

RULES = Path(__file__).parents[2] / "docs/how-to/medic-alerts.yml"
PROMTOOL = shutil.which("promtool")

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: the package `prometheus`)")


def promtool(*words: str, given: str = "") -> str:
    asked = subprocess.run((str(PROMTOOL), *words), input=given, capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return asked.stdout + asked.stderr


def test_prometheus_reads_the_sample_rules() -> None:
    assert "SUCCESS: 7 rules found" in promtool("check", "rules", str(RULES))


def test_prometheus_finds_nothing_to_say_about_the_metrics() -> None:
    tally = metrics.Tally()
    tally.detected(timedelta(seconds=1))
    numbers = metrics.Metrics(memory_store(), tally, FakeClock(), beat_age=lambda: 1.0, version="1")
    assert promtool("check", "metrics", given=numbers.text()) == ""
