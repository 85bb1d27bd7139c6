"""A Compose project that is brought up or taken down by others: what is a deploy, how long, and what is not."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.model import (
    Action,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Hold,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Origin,
    ProjectSeen,
    RunbookId,
    ServiceName,
)
from agent.policy import deploys
from tests.fakes import START
from tests.unit.policy.holds_at import RUNS, WEB, findings, sick, standing, verdict

SECOND = timedelta(seconds=1)
SEEN = verdict(sick("http-refused"))
INCIDENT = Incident(
    id=IncidentId("I1"),
    service=WEB.name,
    host=WEB.host,
    origin=Origin.HEARTBEAT,
    state=IncidentState.OPEN,
    opened_at=START,
    first=SEEN,
    fingerprint="f",
)
GONE = ContainerFacts(name="web", id="", state=ContainerState.MISSING)
Told = Sequence[tuple[str, str, float]]
"""(container, action, seconds ago)"""


def project(told: Told, *containers: str) -> ProjectSeen:
    events = tuple(ContainerEvent(container=name, action=action, at=START - ago * SECOND) for name, action, ago in told)
    return ProjectSeen(name="shop", events=events, containers=containers)


def held(told: Told, *, actions: Sequence[Action] = (), incident: Incident = INCIDENT) -> Hold | None:
    found = findings(SEEN)
    found = replace(found, evidence=replace(found.evidence, project=project(told, "web", "api")))
    return deploys.running(incident, WEB, found, standing(actions=tuple(actions)))


REPLACED = [("api", "stop", 6), ("api", "destroy", 5), ("db", "create", 3), ("db", "start", 2)]


@pytest.mark.parametrize(
    ("told", "deploy"),
    [
        (REPLACED, True),
        ([("api", "stop", 3), ("db", "stop", 2)], True),
        ([("api", "create", 19), ("db", "create", 19)], True),
        ([("api", "create", 20), ("db", "create", 20)], False),
        ([("api", "create", 30), ("db", "create", 12)], True),
        ([("api", "create", 33), ("db", "create", 12)], False),
        ([("api", "stop", 3), ("api", "destroy", 2), ("api", "create", 1)], False),
        ([("api", "create", 3), ("0123456789ab_api", "create", 3), ("0123456789ab_api", "rename", 2)], False),
        ([("api", "die", 3), ("db", "die", 2), ("cart", "start", 1)], False),
        ([("api", "kill", 3), ("db", "health_status: unhealthy", 2)], False),
        ([("api", "create", -3), ("db", "create", -2)], True),
        ([], False),
    ],
)
def test_several_containers_that_docker_was_told_to_change_are_a_deploy(told: Told, deploy: bool) -> None:
    hold = held(told)
    assert (hold is not None) is deploy
    if hold is not None:
        assert hold.code is HoldCode.DEPLOY_IN_PROGRESS
        assert 1 * SECOND <= hold.look_again <= deploys.QUIET


def test_a_container_of_no_project_is_not_part_of_a_deploy() -> None:
    assert deploys.running(INCIDENT, WEB, findings(SEEN), standing()) is None
    assert deploys.taken_down(WEB, findings(SEEN, container=GONE), standing()) is None


def action(began: float, ended: float | None, *, under_way: bool = False, host: HostName = WEB.host) -> Action:
    return Action(
        incident=IncidentId("I2"),
        number=1,
        service=ServiceName("api"),
        host=host,
        runbook=RunbookId("recreate-container"),
        at=START - began * SECOND,
        until=None if ended is None else START - ended * SECOND,
        failed=False,
        by_person=False,
        under_way=under_way,
    )


@pytest.mark.parametrize(
    ("ours", "deploy"),
    [
        (action(10, 1), False),
        (action(10, None, under_way=True), False),
        (action(60, None), True),
        (action(60, 30), True),
        (action(10, 1, host=HostName("there")), True),
    ],
)
def test_what_our_own_playbooks_do_to_a_project_is_no_deploy(ours: Action, deploy: bool) -> None:
    assert (held(REPLACED, actions=[ours]) is not None) is deploy


def test_a_deploy_that_never_ends_is_sick_after_a_while() -> None:
    endless = [(name, "create", 15.0 * step) for step in range(50) for name in ("api", "db")]
    assert held([each for each in endless if each[2] <= 595]) is not None
    assert held(endless) is None


def test_where_docker_forgot_its_begin_the_incident_remembers_how_long_it_was_held() -> None:
    hold = held(REPLACED)
    old = replace(INCIDENT, opened_at=START - 11 * 60 * SECOND)
    assert held(REPLACED, incident=old) is not None, "it was held for another reason until now"
    assert held(REPLACED, incident=replace(old, hold=hold)) is None
    assert held(REPLACED, incident=replace(INCIDENT, hold=hold)) is not None


@pytest.mark.parametrize(
    ("told", "left", "container", "down"),
    [
        ([("web", "destroy", 9), ("api", "destroy", 8)], (), GONE, True),
        ([("web", "destroy", 9), ("api", "destroy", 8)], ("api",), GONE, False),
        ([("web", "destroy", 9), ("api", "destroy", 8)], (), RUNS, False),
        ([("web", "destroy", 9)], (), GONE, False),
        ([("web", "die", 9), ("api", "die", 8)], (), GONE, False),
        ([("web", "destroy", 1300), ("api", "destroy", 8)], (), GONE, False),
    ],
)
def test_a_project_whose_containers_were_all_removed_was_taken_down(
    told: Told, left: tuple[str, ...], container: ContainerFacts, down: bool
) -> None:
    found = findings(SEEN, container=container)
    found = replace(found, evidence=replace(found.evidence, project=project(told, *left)))
    hold = deploys.taken_down(WEB, found, standing())
    assert (hold is not None and hold.code is HoldCode.STOPPED_ON_PURPOSE) is down
