"""Evidence in, diagnosis out: every case of `tests/cases/diagnosis/*.yaml` against the rules that ship.

A case gives what was seen (`container`, `planes`, `symptoms`, `changed`, `log`) and what must come of it (`cause`, `sure`;
and, where it matters, `plane`, a `line` that is cited, words of the `summary`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent import rule_file
from agent.diagnosis import log_cut, match
from agent.model import (
    Change,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Evidence,
    Health,
    HostFact,
    IncidentId,
    Judgement,
    LogLine,
    Plane,
    ServiceName,
    Symptom,
    Verdict,
)

CASES = Path(__file__).parent / "diagnosis"
RULES = rule_file.load_rules(Path(__file__).parents[2] / "agent" / "rules")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEYS = {
    "name", "container", "seen", "planes", "symptoms", "changed", "log", "oom_event_minutes_ago", "cause", "sure", "plane", "line", "summary"
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    file: str
    told: dict[str, Any]


def read() -> list[Case]:
    return [Case(file.stem, told) for file in sorted(CASES.glob("*.yaml")) for told in yaml.safe_load(file.read_text())]


def evidence(told: dict[str, Any]) -> Evidence:
    planes = {Plane(name): Health(health) for name, health in told.get("planes", {}).items()}
    words = [Symptom(word=word, plane=Plane.CONTAINER, detail=word) for word in told.get("symptoms", ())]
    judgements = [
        Judgement(
            check=plane.value, plane=plane, health=health, detail=health.value, symptoms=tuple(words) if number == 0 else ()
        )
        for number, (plane, health) in enumerate(planes.items())
    ]
    container = None
    if "container" in told:
        given = dict(told["container"])
        container = ContainerFacts(name="web", id="c1", state=ContainerState(given.pop("state")), **given)
    events = ()
    if "oom_event_minutes_ago" in told:
        events = (ContainerEvent(container="web", action="oom", at=NOW - timedelta(minutes=told["oom_event_minutes_ago"])),)
    cut = log_cut.cut(log_cut.readable(told.get("log", "").encode()))
    return Evidence(
        incident=IncidentId("I1"),
        at=NOW,
        verdict=Verdict(service=ServiceName("web"), health=Health.SICK, at=NOW, judgements=tuple(judgements)),
        container=container,
        log=tuple(LogLine(id=f"L{number}", text=text) for number, text in enumerate(cut.lines, start=1)),
        log_note=cut.note,
        events=events,
        on_host=tuple(HostFact(name=name, value=value, detail="") for name, value in told.get("seen", {}).items()),
        changes=tuple(Change(what=what, before="a", after="b") for what in told.get("changed", ())),
    )


@pytest.mark.parametrize("case", read(), ids=lambda case: f"{case.file}: {case.told['name']}")
def test_the_rules_name_the_cause_an_operator_would_act_on(case: Case) -> None:
    told = case.told
    assert told.keys() <= KEYS

    diagnosis = match.diagnose(evidence(told), RULES)

    assert diagnosis.cause.value == told["cause"], (
        f"{diagnosis.said_by} spoke, citing {[line.text for line in diagnosis.lines]}"
    )
    assert diagnosis.sureness.value == told["sure"]
    assert (diagnosis.said_by == "none") == (told["cause"] == "inconclusive")
    assert diagnosis.advice
    if "plane" in told:
        assert diagnosis.plane is Plane(told["plane"])
    if "line" in told:
        assert any(told["line"] in line.text for line in diagnosis.lines)
    if "summary" in told:
        assert told["summary"] in diagnosis.summary
