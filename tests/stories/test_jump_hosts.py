"""Hosts behind a jump host: when it is lost, people hear of one trouble, and of theirs only once it is theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.model import Blind, Closing, ContainersRequest, HostName, IncidentState, Observation, ProbeRequest
from agent.ports import Prober
from agent.sweep import Sweep
from tests.stories.world import Ward, service

BASTION, ONE, TWO = HostName("bastion"), HostName("gpu-1"), HostName("gpu-2")
GONE = Blind(why="cannot reach host 'bastion' over SSH: no answer")
BEHIND = Blind(why="cannot reach host 'gpu-1' over SSH, behind its jump host 'bastion': no answer", behind=BASTION)
OWN = Blind(why="cannot reach host 'gpu-1' over SSH: nothing listens")


class Fleet:
    """A prober in front of a machine that plays three hosts; each answers unless told otherwise."""

    def __init__(self) -> None:
        self.troubles: dict[HostName, Blind] = {}
        self.machine: Prober | None = None

    def ask(self, requests: Sequence[ProbeRequest], deadline: timedelta) -> Mapping[ProbeRequest, Observation]:
        assert self.machine is not None
        answers = self.machine.ask(requests, deadline)
        return {
            each: self.troubles.get(each.host, seen) if isinstance(each, ContainersRequest) else seen
            for each, seen in answers.items()
        }


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def ward(tmp_path: Path, fleet: Fleet) -> Ward:
    made = Ward(tmp_path, tuple(replace(service(name), host=host) for name, host in (("web", ONE), ("llm", TWO))))
    fleet.machine = made.machine
    made.world = replace(made.world, prober=fleet)
    made.sweep = Sweep(made.world, made.engine, (BASTION, ONE, TWO), discover=False)
    return made


def test_a_lost_jump_host_is_one_incident_that_names_those_behind_it(ward: Ward, fleet: Fleet) -> None:
    fleet.troubles = {BASTION: GONE, ONE: BEHIND, TWO: BEHIND}
    ward.beat(10)
    (incident,) = ward.incidents()
    assert incident.service == "host:bastion"
    assert incident.state is IncidentState.ESCALATED
    assert "out of sight behind it: gpu-1, gpu-2" in "; ".join(incident.first.reasons)
    assert ward.machine.played == []
    fleet.troubles = {ONE: BEHIND, TWO: BEHIND}  # it answers again; those behind it have not been tried since
    ward.beat(10)
    fleet.troubles = {}
    ward.beat(2)
    assert [each.closing for each in ward.incidents()] == [Closing.RECOVERED]


def test_a_host_that_stays_away_once_its_jump_host_is_back_is_told_by_itself(ward: Ward, fleet: Fleet) -> None:
    fleet.troubles = {BASTION: GONE, ONE: BEHIND, TWO: BEHIND}
    ward.beat(5)
    fleet.troubles = {ONE: OWN}
    ward.beat(5)
    assert {each.service: each.closing for each in ward.incidents()} == {"host:bastion": Closing.RECOVERED, "host:gpu-1": None}


def test_a_host_behind_one_that_nobody_declared_is_told_as_any_other(ward: Ward, fleet: Fleet) -> None:
    fleet.troubles = {ONE: replace(BEHIND, behind=HostName("elsewhere"))}
    ward.beat(5)
    assert [each.service for each in ward.incidents()] == ["host:gpu-1"]
