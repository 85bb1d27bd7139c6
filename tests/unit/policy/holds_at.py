"""What the tables of holds are made of: a service, a container, a verdict, findings, standing, each with what a row changes."""

from dataclasses import replace
from datetime import datetime, timedelta

from agent.model import (
    Cause,
    Change,
    ContainerCheck,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Diagnosis,
    Evidence,
    Findings,
    Health,
    HostName,
    HttpCheck,
    IncidentId,
    Judgement,
    Plane,
    Service,
    ServiceName,
    Standing,
    Sureness,
    Symptom,
    TcpCheck,
    Thresholds,
    Verdict,
)
from tests.fakes import START

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
EVERY = 5 * SECOND
CONTAINER = ContainerCheck(name="container", every=EVERY, thresholds=Thresholds())
HTTP = HttpCheck(
    name="http", every=EVERY, thresholds=Thresholds(), plane=Plane.DIRECT, url="http://container:80/", timeout=2 * SECOND
)
TCP = TcpCheck(name="tcp", every=EVERY, thresholds=Thresholds(), plane=Plane.DIRECT, address="container:80", timeout=2 * SECOND)
WEB = Service(name=ServiceName("web"), host=HostName("local"), container="web", checks=(CONTAINER, HTTP, TCP))
RUNS = ContainerFacts(
    name="web", id="c1", state=ContainerState.RUNNING, image_id="sha256:a", started_at=START - timedelta(hours=1)
)


def well(check: str = "http", plane: Plane = Plane.DIRECT) -> Judgement:
    return Judgement(check=check, plane=plane, health=Health.WELL, detail="well")


def sick(word: str, check: str = "http", *, retry_after: timedelta | None = None) -> Judgement:
    """A sick judgement with one symptom; container words come from the container's plane."""
    plane = Plane.DIRECT if word.startswith(("http-", "port-")) else Plane.CONTAINER
    symptom = Symptom(word=word, plane=plane, detail=word)
    return Judgement(check=check, plane=plane, health=Health.SICK, detail=word, symptoms=(symptom,), retry_after=retry_after)


def verdict(*judgements: Judgement) -> Verdict:
    healths = {judgement.health for judgement in judgements}
    health = Health.SICK if Health.SICK in healths else Health.WELL
    return Verdict(service=WEB.name, health=health, at=START, judgements=judgements)


def event(action: str, at: datetime, **facts: object) -> ContainerEvent:
    return replace(ContainerEvent(container="web", action=action, at=at), **facts)


def findings(
    seen: Verdict,
    *,
    container: ContainerFacts | None = RUNS,
    events: tuple[ContainerEvent, ...] = (),
    changes: tuple[Change, ...] = (),
    deploying: str | None = None,
) -> Findings:
    evidence = Evidence(
        incident=IncidentId("I1"),
        at=START,
        verdict=seen,
        container=container,
        log=(),
        log_note="whole",
        events=events,
        changes=changes,
        deploying=deploying,
    )
    diagnosis = Diagnosis(cause=Cause.INCONCLUSIVE, sureness=Sureness.NONE, said_by="none", summary="", plane=None)
    return Findings(evidence=evidence, diagnosis=diagnosis, saved=True)


def standing(**facts: object) -> Standing:
    return replace(Standing(now=START), **facts)
