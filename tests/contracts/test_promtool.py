"""Prometheus's own tool reads the sample rules, plays them on made-up series, and reads the metrics as they are served.

Skipped, and said, where there is no promtool; scripts/test.sh takes it out of Debian's package.
"""

import json
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from agent import metrics
from tests.fakes import FakeClock
from tests.memory_store import memory_store

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs/how-to/medic-alerts.yml"
PROMTOOL = shutil.which("promtool", path=f"{ROOT}/.cache/prometheus:/usr/local/bin:/usr/bin")
ALERTS = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="no promtool here (Debian: the package `prometheus`)")

CALM = {
    "medic_beat_age_seconds": "2x40",
    "medic_store_up": "1x40",
    'medic_incidents{state="escalated"}': "0x40",
    "medic_breakers_open": "0x40",
    "medic_approvals_waiting": "0x40",
    "medic_notices_undelivered": "0x40",
    'medic_attempts_total{outcome="ineffective"}': "2x40",
    'medic_attempts_total{outcome="healed"}': "0+1x40",
    'medic_spent_usd{on="model"}': "1x40",
    "medic_model_usd_per_day": "5x40",
    'medic_model_calls{end="without-answer"}': "2x40",
    'medic_model_calls{end="answered"}': "9x40",
}
"""A minute each: what nobody needs to hear of. Healed attempts rise, and some did not help long ago."""

SICK: dict[str, dict[str, str]] = {
    "MedicDoesNotLook": {"medic_beat_age_seconds": "10+60x40"},
    "MedicStoreIsAway": {"medic_store_up": "0x40"},
    "MedicHandedOver": {'medic_incidents{state="escalated"}': "0x20 1x20"},
    "MedicStoppedHealing": {"medic_breakers_open": "0x20 1x20"},
    "MedicWaitsForAnAnswer": {"medic_approvals_waiting": "1x40"},
    "MedicCannotTellPeople": {"medic_notices_undelivered": "3x40"},
    "MedicRemediesDoNotHelp": {'medic_attempts_total{outcome="ineffective"}': "0+1x40"},
    "MedicModelMoneyRunsOut": {'medic_spent_usd{on="model"}': "4.5x40"},
    "MedicModelDoesNotAnswer": {
        'medic_model_calls{end="without-answer"}': "11x40",
        'medic_model_calls{end="answered"}': "0x40",
    },
}
"""What makes each of them speak."""


def promtool(*words: str, given: str = "") -> str:
    asked = subprocess.run((str(PROMTOOL), *words), input=given, capture_output=True, text=True, timeout=60, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    return asked.stdout + asked.stderr


def test_prometheus_reads_the_sample_rules() -> None:
    assert f"SUCCESS: {len(ALERTS)} rules found" in promtool("check", "rules", str(RULES))


def test_prometheus_finds_nothing_to_say_about_the_metrics() -> None:
    tally = metrics.Tally()
    tally.detected(timedelta(seconds=1))
    numbers = metrics.Metrics(memory_store(), tally, FakeClock(), beat_age=lambda: 1.0, version="1")
    assert promtool("check", "metrics", given=numbers.text()) == ""


def played(series: dict[str, str], speaks: str | None) -> dict[str, object]:
    """Return a test of promtool's: after half an hour this alert fires and no other, or none does."""
    firing = [{"labels": f'{{alertname="{speaks}"}}', "value": 1}] if speaks else []
    asked = {"expr": 'count by (alertname) (ALERTS{alertstate="firing"})', "eval_time": "35m", "exp_samples": firing}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [asked],
    }


def test_each_alert_speaks_of_its_own_trouble_and_none_of_a_calm_day(tmp_path: Path) -> None:
    assert list(SICK) == ALERTS
    silent = {name: values for name, values in CALM.items() if name != "medic_beat_age_seconds"}
    days = [
        played(CALM, None),
        played(silent, "MedicDoesNotLook"),
        *(played({**CALM, **trouble}, alert) for alert, trouble in SICK.items()),
    ]
    file = tmp_path / "days.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": days}))
    assert "SUCCESS" in promtool("test", "rules", str(file))
