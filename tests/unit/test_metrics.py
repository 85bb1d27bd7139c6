"""What Medic tells Prometheus: true after a restart where the ledger counts, and with few labels whatever the fleet is."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from agent import labels, metrics
from agent.errors import StoreError
from agent.model import (
    Closing,
    Health,
    Hold,
    HoldCode,
    HostName,
    IncidentId,
    Ledger,
    Outcome,
    Plan,
    Rerun,
    Risk,
    RunbookId,
    Service,
    ServiceName,
    Spending,
    SpendingKind,
    Streak,
    Usage,
    Verdict,
)
from agent.ports import Store
from tests.fakes import FakeClock
from tests.memory_store import memory_store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RESTART = Plan(
    runbook=RunbookId("restart-container"),
    runbook_hash="abc",
    title="Restart the container",
    why="oom-killed",
    playbook="restart-container.yml",
    parameters=(),
    risk=Risk.SAFE,
    rerun=Rerun.SAFE,
    timeout=timedelta(seconds=60),
    settle=timedelta(seconds=3),
    undo=None,
)


def service(name: str, origin: str = "medic.yaml") -> Service:
    return Service(name=ServiceName(name), host=HostName("local"), container=name, checks=(), origin=origin)


def watched(store: Store, name: str, settled: Health, origin: str = "medic.yaml") -> None:
    store.services.enrol(service(name, origin), now=NOW)
    store.services.keep_streaks(ServiceName(name), [Streak(check="page", health=settled, length=2, settled=settled)])


def opened(store: Store, name: str) -> IncidentId:
    verdict = Verdict(service=ServiceName(name), health=Health.SICK, at=NOW, judgements=())
    return store.incidents.open(service(name), verdict, fingerprint=name, now=NOW)[0].id


def scraped(store: Store, tally: metrics.Tally | None = None) -> dict[str, str]:
    numbers = metrics.Metrics(store, tally or metrics.Tally(), FakeClock(), beat_age=lambda: 1.25, version="9.9")
    lines = [line for line in numbers.text().splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


def test_services_are_counted_by_verdict_and_only_declared_ones_have_a_line_of_their_own() -> None:
    store = memory_store()
    watched(store, "web", Health.WELL)
    watched(store, "api", Health.SICK)
    watched(store, "far", Health.UNKNOWN)
    watched(store, "a-name-that-a-container-chose", Health.SICK, labels.ORIGIN)
    seen = scraped(store)
    assert (seen['medic_services{health="well"}'], seen['medic_services{health="sick"}']) == ("1", "2")
    assert {line: number for line, number in seen.items() if line.startswith("medic_service_well")} == {
        'medic_service_well{service="web"}': "1",
        'medic_service_well{service="api"}': "0",
        'medic_service_well{service="far"}': "nan",
    }


@pytest.mark.abuse("76")
def test_ten_thousand_services_make_a_thousand_lines() -> None:
    store = memory_store()
    for number in range(1_500):
        watched(store, f"s{number}", Health.WELL)
    seen = scraped(store)
    assert sum(line.startswith("medic_service_well") for line in seen) == metrics.MOST_SERVICES
    assert seen['medic_services{health="well"}'] == "1500"


def test_incidents_attempts_holds_and_repair_times_come_from_the_ledger() -> None:
    store = memory_store()
    healed, held = opened(store, "web"), opened(store, "api")
    store.attempts.begin(healed, 1, RESTART, now=NOW)
    store.attempts.end(healed, 1, Outcome.HEALED, None, now=NOW)
    store.incidents.close(healed, Closing.HEALED, by="medic", now=NOW + timedelta(seconds=7))
    store.incidents.hold(
        held, Hold(code=HoldCode.WARMING, because="it starts", until="it is up", look_again=timedelta(seconds=7)), until=NOW
    )
    seen = scraped(store)
    assert seen['medic_attempts_total{outcome="healed"}'] == "1"
    assert seen['medic_attempts_total{outcome="ambiguous"}'] == "0"
    assert seen['medic_incidents_closed_total{closing="healed"}'] == "1"
    assert seen['medic_incidents{state="held"}'] == "1"
    assert seen['medic_holds{reason="warming"}'] == "1"
    assert (seen['medic_repair_seconds_bucket{le="5"}'], seen['medic_repair_seconds_bucket{le="10"}']) == ("0", "1")


def test_what_nobody_keeps_is_counted_by_the_process() -> None:
    tally = metrics.Tally()
    tally.looked([Health.WELL, Health.WELL, Health.SICK])
    tally.stumbled("beat")
    tally.detected(timedelta(seconds=0.2))
    seen = scraped(memory_store(), tally)
    assert seen['medic_checks_total{health="well"}'] == "2"
    assert seen['medic_stumbles_total{at="beat"}'] == "1"
    assert seen['medic_detect_seconds_bucket{le="0.3"}'] == "1"
    assert seen["medic_beat_age_seconds"] == "1.25"
    assert seen['medic_build{version="9.9"}'] == "1"


class Away:
    """A ledger whose database does not answer."""

    def read(self) -> Ledger:
        raise StoreError("cannot count the ledger: database is locked", transient=True)


def test_a_store_that_is_away_is_said_and_the_rest_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    store = memory_store()
    monkeypatch.setattr(store.ledger, "read", Away().read)
    seen = scraped(store)
    assert seen["medic_store_up"] == "0"
    assert seen["medic_beat_age_seconds"] == "1.25"
    assert not any(line.startswith("medic_incidents") for line in seen)


def test_what_models_cost_is_told_without_their_names() -> None:
    store = memory_store()
    for number, (age, usage) in enumerate(
        [(1, Usage(input_tokens=900, output_tokens=90, estimated=False)), (2, None), (25, None)]
    ):
        at = FakeClock().now() - timedelta(hours=age)
        row = Spending(
            key=f"I1 call {number}", kind=SpendingKind.MODEL, what="vendor/huge", at=at, amount=Decimal("0.25"), usage=usage
        )
        assert store.spending.reserve(row, at, lambda _rows: None) is None
    text = metrics.Metrics(
        store, metrics.Tally(), FakeClock(), beat_age=lambda: 1.0, version="1", money_per_day=Decimal(5)
    ).text()
    for line in (
        'medic_spent_usd{on="model"} 0.5',
        'medic_spent_usd{on="cloud"} 0',
        'medic_model_calls{end="answered"} 1',
        'medic_model_calls{end="without-answer"} 1',
        'medic_model_tokens{direction="input"} 900',
        "medic_model_usd_per_day 5",
    ):
        assert line in text, text
    assert "vendor" not in text
