"""When the rules alone are not enough: no cause, or one that the planes speak against."""

import pytest

from agent.diagnosis import doubt
from agent.model import Cause, Diagnosis, Evidence, Health, IncidentId, Judgement, Plane, ServiceName, Sureness, Verdict
from tests.fakes import START

WELL, SICK = Health.WELL, Health.SICK


def diagnosis(cause: Cause, sureness: Sureness) -> Diagnosis:
    return Diagnosis(cause=cause, sureness=sureness, said_by="rule:x", summary="", plane=None)


def evidence(planes: dict[Plane, Health]) -> Evidence:
    judgements = tuple(Judgement(check=p.value, plane=p, health=h, detail="") for p, h in planes.items())
    seen = Verdict(service=ServiceName("web"), health=SICK, at=START, judgements=judgements)
    return Evidence(
        incident=IncidentId("I1"), at=START, verdict=seen, container=None, log=(), log_note="", events=(), changes=()
    )


@pytest.mark.parametrize(
    ("cause", "sureness", "planes", "doubted"),
    [
        (Cause.INCONCLUSIVE, Sureness.NONE, {Plane.DIRECT: SICK}, True),
        (Cause.DISK_FULL, Sureness.CONFIRMED, {Plane.DIRECT: SICK}, False),
        (Cause.DISK_FULL, Sureness.SUSPECTED, {Plane.DIRECT: SICK}, False),
        (Cause.DISK_FULL, Sureness.SUSPECTED, {Plane.DIRECT: WELL, Plane.NGINX: SICK}, True),
        (Cause.DISK_FULL, Sureness.CONFIRMED, {Plane.DIRECT: WELL, Plane.NGINX: SICK}, False),
        (Cause.DISK_FULL, Sureness.SUSPECTED, {Plane.NGINX: SICK}, False),
        (Cause.ROUTING_MISCONFIGURATION, Sureness.SUSPECTED, {Plane.DIRECT: WELL, Plane.NGINX: SICK}, False),
        (Cause.ROUTING_MISCONFIGURATION, Sureness.CONFIRMED, {Plane.DIRECT: SICK, Plane.NGINX: SICK}, True),
        (Cause.TLS_CERTIFICATE_ERROR, Sureness.SUSPECTED, {Plane.DIRECT: WELL, Plane.PUBLIC: SICK}, False),
    ],
)
def test_the_rules_are_doubted_where_the_planes_speak_against_them(
    cause: Cause, sureness: Sureness, planes: dict[Plane, Health], doubted: bool
) -> None:
    assert (doubt.why(diagnosis(cause, sureness), evidence(planes)) is not None) == doubted
