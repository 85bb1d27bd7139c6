"""A diagnosed incident in, a decision out: every case of `tests/cases/plan/*.yaml` against the runbooks that ship.

A case says what stands (`planes`, `container`, `diagnosis`, `declares`, `tried`, `events` ...) and what must be decided: a `plan`
(the id of a runbook), a `hold` or a `refusal` (its code), and `because`, words that a person must find in the reason.

    planes       what each plane's check says: a health, or the symptoms that make it sick
    container    its state, or {state, started: seconds ago}; none means that it could not be inspected
    diagnosis    [cause, sureness]; [inconclusive, none] unless given
    declares     what the service's declaration and inventory hold, in the words of a runbook's `when.needs`; spec, config-file
                 and own-images unless given
    seen         facts of the host, as name: value; changed, what is not as it was when the service was last well
    tried        [runbook, outcome] of each attempt of this incident
    events       [action, seconds ago, signal] of Docker's events, oldest first
    first        the health that opened the incident; sick unless given
    silence      why people work on it; flips, when the verdict changed, in seconds ago
    parent_mode  the mode of the one parent; act unless given
    asks         true: every runbook has the mode of its risk; else each may act by itself
    parents_down, monitor_blind    what stands about its parents and about Medic's own network
    others_failing  who else looks bad, in an incident that was just opened
    fleet        its host is one of a fleet: {others: hosts in service, sick: those of them that are not well,
                 replaced: seconds ago, of each host of its pool that Medic had replaced}
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent import runbook_file
from agent.model import (
    Artefact,
    Attempt,
    Berth,
    Cause,
    Certificate,
    Change,
    ConfigFile,
    ContainerCheck,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Decision,
    Departure,
    DepartureStage,
    Diagnosis,
    Evidence,
    Findings,
    FleetSize,
    Health,
    Hold,
    HostFact,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Judgement,
    Member,
    Mode,
    NginxCheck,
    Origin,
    Others,
    Outcome,
    Permissions,
    Plan,
    Plane,
    Refusal,
    RunSpec,
    Service,
    ServiceName,
    Silence,
    Standing,
    Sureness,
    Surroundings,
    Symptom,
    Thresholds,
    Verdict,
)
from agent.parameters import plan as filled_in
from agent.steps import plan

CASES = Path(__file__).parent / "plan"
ROOT = Path(__file__).parents[2]
RUNBOOKS = {each.id: each for each in runbook_file.load_runbooks(ROOT / "runbooks", ROOT / "ansible" / "playbooks")}
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEYS = {
    "name", "planes", "container", "seen", "changed", "diagnosis", "declares", "good_copy", "tried", "events", "first", "heals", "halted",
    "silence", "parents_down", "others_failing", "monitor_blind", "flips", "parent_mode", "asks",
    "saved", "fleet", "refused", "requested", "plan", "hold", "refusal", "because",
}  # fmt: skip
ENDINGS = {"plan": Plan, "hold": Hold, "refusal": Refusal}


@dataclass(frozen=True)
class Case:
    file: str
    told: dict[str, Any]


def read() -> list[Case]:
    return [Case(file.stem, told) for file in sorted(CASES.glob("*.yaml")) for told in yaml.safe_load(file.read_text())]


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def verdict(planes: dict[str, Any]) -> Verdict:
    judgements = []
    for name, said in planes.items():
        plane, health = Plane(name), Health(said) if isinstance(said, str) else Health.SICK
        words = () if isinstance(said, str) else tuple(Symptom(word=word, plane=plane, detail=word) for word in said)
        judgements.append(Judgement(check=name, plane=plane, health=health, detail=f"{name} is {said}", symptoms=words))
    healths = {judgement.health for judgement in judgements}
    worst = next(health for health in (Health.SICK, Health.UNKNOWN, Health.WELL) if health in healths)
    return Verdict(service=ServiceName("web"), health=worst, at=NOW, judgements=tuple(judgements))


def service(told: dict[str, Any]) -> Service:
    declares = told.get("declares", ["spec", "config-file"])
    every, thresholds = timedelta(seconds=5), Thresholds()
    nginx = NginxCheck(name="nginx", every=every, thresholds=thresholds, nginx="proxy", port=8000)
    networks = ("backend",) if "networks" in declares else ()
    sha256 = "0" * 64
    return Service(
        name=ServiceName("web"),
        host=HostName("local"),
        container="web",
        checks=(
            ContainerCheck(name="container", every=every, thresholds=thresholds),
            *([nginx] if "nginx-check" in declares else []),
        ),
        spec=RunSpec(image="app:1", networks=networks, network_of="vpn" if "network-of" in declares else None)
        if "spec" in declares
        else None,
        config_file=ConfigFile(path="/etc/web.conf") if "config-file" in declares else None,
        cache_paths=("/srv/web/cache",) if "cache-paths" in declares else (),
        artefacts=(Artefact(path="/srv/m", source="/mnt/m", sha256=sha256),) if "artefacts" in declares else (),
        certificate=Certificate(path="/etc/tls/web.pem", renew=("renew",)) if "certificate" in declares else None,
        quarantine_file="/srv/medic/quarantined" if "quarantine-file" in declares else None,
        upstream_file="/srv/nginx/web.conf" if "upstream" in declares else None,
    )


def berth(told: dict[str, Any]) -> Berth | None:
    if "fleet" not in told:
        return None
    said = told["fleet"]

    def member(instance: str) -> Member:
        return Member(
            instance=instance, group="g", address="10.0.0.1", kind="g5.xlarge", zone="a", spot=True, state="InService"
        )

    replaced = tuple(
        Departure(
            instance=f"i-old-{seconds}", host=f"i-old-{seconds}", group="g", stage=DepartureStage.OVER, why="replace-host",
            heard_at=ago(seconds), doomed_at=ago(seconds), kind="g5.xlarge", zone="a", incident=IncidentId("I0"), attempt=1,
        )
        for seconds in said.get("replaced", [])
    )  # fmt: skip
    return Berth(
        member=member("local"),
        others=tuple(member(each) for each in said.get("others", ["i-2"])),
        sick=tuple(said.get("sick", [])),
        size=FleetSize(wanted=2, largest=4, on_demand_base=1, on_demand_percent=0),
        price=Decimal("1.006"),
        priced_on="2026-11-01",
        warm_up=timedelta(minutes=15),
        replaced=replaced,
    )


def around(told: dict[str, Any]) -> Surroundings:
    declares = told.get("declares", [])
    parent = replace(service({}), name=ServiceName("db"), container="db", mode=Mode(told.get("parent_mode", "act")))
    return Surroundings(
        berth=berth(told),
        good_image="sha256:good" if "good-image" in declares else None,
        parent=parent if "parent" in declares else None,
        members=("web", "web-2") if "group" in declares else ("web",),
        proxy=replace(parent, name=ServiceName("proxy"), container="proxy") if "nginx-config" in declares else None,
        proxy_good_copy="/var/lib/medic/good/proxy" if "nginx-config" in declares else None,
        own_images=("app",) if "own-images" in declares else (),
        kept_images=("app:1",) if "own-images" in declares else (),
        refused=tuple(told.get("refused", [])),
    )


def facts(told: Any) -> ContainerFacts | None:
    if told is None:
        return None
    given = {"state": told} if isinstance(told, str) else told
    started = ago(given.get("started", 3600))
    return ContainerFacts(name="web", id="c1", state=ContainerState(given["state"]), started_at=started)


def findings(told: dict[str, Any]) -> Findings:
    cause, sureness = told.get("diagnosis", ["inconclusive", "none"])
    happened = [(*event, None)[:3] for event in told.get("events", [])]
    saved = told.get("saved", True)
    return Findings(
        evidence=Evidence(
            incident=IncidentId("I1"),
            at=NOW,
            verdict=verdict(told["planes"]),
            container=facts(told.get("container")),
            log=(),
            log_note="whole",
            events=tuple(
                ContainerEvent(container="web", action=action, at=ago(seconds), signal=None if signal is None else str(signal))
                for action, seconds, signal in happened
            ),
            changes=tuple(Change(what=what, before="a", after="b") for what in told.get("changed", [])),
            on_host=tuple(
                HostFact(name=name, value=value, detail="the file stands") for name, value in told.get("seen", {}).items()
            ),
        ),
        diagnosis=Diagnosis(cause=Cause(cause), sureness=Sureness(sureness), said_by="rule:case", summary=cause, plane=None),
        saved=saved,
        why_not_saved="" if saved else "cannot write evidence-1.json: no space left on device",
    )


def carried_out(declared: Service, surrounding: Surroundings, number: int, runbook: str, outcome: str) -> Attempt:
    chosen = filled_in(RUNBOOKS[runbook], declared, good_copy="/good", settings={}, why="before", around=surrounding)
    began = ago(600 - 60 * number)
    return Attempt(
        incident=IncidentId("I1"),
        number=number,
        plan=chosen,
        intent_at=began,
        ran_until=began + timedelta(seconds=5),
        outcome=Outcome(outcome),
    )


def decide(told: dict[str, Any]) -> Decision:
    declared = service(told)
    requested = told.get("requested")
    first = verdict({"container": told.get("first", "sick")})
    incident = Incident(
        id=IncidentId("I1"),
        service=declared.name,
        host=declared.host,
        origin=Origin.PERSON if requested else Origin.HEARTBEAT,
        state=IncidentState.OPEN,
        opened_at=ago(1 if "others_failing" in told else 600),
        first=first,
        fingerprint="web:case",
        attempts=tuple(
            carried_out(declared, around(told), number, *tried) for number, tried in enumerate(told.get("tried", []), start=1)
        ),
        requested=filled_in(RUNBOOKS[requested], declared, good_copy=None, settings={}, why="asked for", around=around(told))
        if requested
        else None,
    )
    return plan.choose(
        incident,
        declared,
        findings(told),
        tuple(RUNBOOKS.values()),
        Standing(
            now=NOW,
            around=around(told),
            good_copy="/var/lib/medic/good/web" if told.get("good_copy") else None,
            heals_in_window=told.get("heals", 0),
            halted=told.get("halted"),
            silence=silence(told["silence"]) if "silence" in told else None,
            parents_down=tuple(told.get("parents_down", ())),
            monitor_blind=told.get("monitor_blind"),
            flips=tuple(ago(seconds) for seconds in told.get("flips", ())),
            others=Others(doubtful=tuple(told.get("others_failing", ())), judged_within=timedelta(seconds=20)),
            permissions=Permissions(runbook_modes=() if "asks" in told else tuple((id_, Mode.ACT) for id_ in RUNBOOKS)),
        ),
    )


def silence(why: str) -> Silence:
    return Silence(id=1, service=None, why=why, by="ada", since=ago(60), until=NOW + timedelta(hours=1))


@pytest.mark.parametrize("case", read(), ids=lambda case: f"{case.file}: {case.told['name']}")
def test_what_is_done_is_what_an_operator_would_do(case: Case) -> None:
    told = case.told
    assert told.keys() <= KEYS
    (expected,) = told.keys() & ENDINGS.keys()

    decision = decide(told)

    assert isinstance(decision, ENDINGS[expected]), decision
    match decision:
        case Plan():
            assert (decision.runbook, decision.runbook_hash) == (told["plan"], RUNBOOKS[told["plan"]].hash)
            assert told.get("because", "") in decision.why
        case Hold():
            assert decision.code.value == told["hold"]
            assert told.get("because", "") in f"{decision.because}; until {decision.until}"
            assert decision.look_again > timedelta(0)
        case Refusal():
            assert decision.code.value == told["refusal"]
            assert told.get("because", "") in decision.because


def test_there_are_enough_cases_in_which_nothing_is_done() -> None:
    nothing = [case for case in read() if "plan" not in case.told]
    assert len(nothing) >= 15
    assert all("because" in case.told for case in nothing), "doing nothing needs a reason"
