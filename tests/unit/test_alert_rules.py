"""The sample rules ask for metrics that Medic has."""

import re
from decimal import Decimal
from pathlib import Path

from agent import metrics
from tests.fakes import FakeClock
from tests.memory_store import memory_store

HOW_TO = Path(__file__).parents[2] / "docs/how-to"


def served() -> set[str]:
    text = metrics.Metrics(
        memory_store(), metrics.Tally(), FakeClock(), beat_age=lambda: 1.0, version="1", money_per_day=Decimal(5)
    ).text()
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def test_every_metric_of_the_sample_rules_is_served() -> None:
    asked = set(re.findall(r"\bmedic_\w+", (HOW_TO / "medic-alerts.yml").read_text()))
    assert asked
    assert asked <= served()


def test_the_page_names_every_metric_and_no_other() -> None:
    assert set(re.findall(r"`(medic_\w+)", (HOW_TO / "metrics.md").read_text())) == served()
