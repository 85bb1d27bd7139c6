"""The last member of a group that serves is not interrupted; one that serves nobody may be."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import (
    Cause,
    ContainerFacts,
    ContainerState,
    Diagnosis,
    Evidence,
    Findings,
    Health,
    HostName,
    IncidentId,
    Judgement,
    Parameter,
    ParameterSource,
    Peer,
    Plan,
    Plane,
    Refusal,
    RefusalCode,
    Rerun,
    Risk,
    Runbook,
    RunbookId,
    Service,
    ServiceName,
    Standing,
    Sureness,
    Verdict,
)
from agent.policy import replicas
from tests.fakes import START

WEB = Service(name=ServiceName("web"), host=HostName("here"), container="web", checks=(), group="shop")
RUNNING, EXITED, PAUSED = ContainerState.RUNNING, ContainerState.EXITED, ContainerState.PAUSED


def runbook(id_: str, risk: Risk, states: tuple[ContainerState, ...], source: ParameterSource) -> Runbook:
    return Runbook(
        id=RunbookId(id_),
        title=id_,
        treats_causes=(),
        treats_symptoms=(),
        never_for=(),
        container_states=states,
        needs=(),
        rung=1,
        risk=risk,
        parameters=(Parameter(name="target", kind="string", source=source),),
        playbook="x.yml",
        timeout=timedelta(seconds=1),
        settle=timedelta(seconds=1),
        rerun=Rerun.SAFE,
        undo=None,
        evidence_required=True,
        hash="0" * 64,
    )


RESTART = runbook("restart", Risk.SAFE, (RUNNING,), ParameterSource.CONTAINER)
START_IT = runbook("start", Risk.SAFE, (EXITED,), ParameterSource.CONTAINER)
UNPAUSE = runbook("unpause", Risk.SAFE, (PAUSED,), ParameterSource.CONTAINER)
RELOAD = runbook("reload", Risk.SAFE, (), ParameterSource.NGINX)
RECREATE = runbook("recreate", Risk.DISRUPTIVE, (), ParameterSource.CONTAINER)
REBOOT = runbook("reboot", Risk.DESTRUCTIVE, (), ParameterSource.PERSON)
CATALOGUE = (RESTART, START_IT, UNPAUSE, RELOAD, RECREATE, REBOOT)


def plan(of: Runbook) -> Plan:
    return Plan(
        runbook=of.id,
        runbook_hash=of.hash,
        title=of.title,
        risk=of.risk,
        playbook=of.playbook,
        parameters=(),
        timeout=of.timeout,
        settle=of.settle,
        rerun=of.rerun,
        undo=None,
        why="x",
    )


def findings(state: ContainerState | None, *probes: Health) -> Findings:
    judged = [Judgement(check="container", plane=Plane.CONTAINER, health=Health.SICK, detail="x")]
    judged += [Judgement(check=f"p{n}", plane=Plane.DIRECT, health=health, detail="x") for n, health in enumerate(probes)]
    verdict = Verdict(service=WEB.name, health=Health.SICK, at=START, judgements=tuple(judged))
    container = None if state is None else ContainerFacts(name="web", id="1", state=state)
    evidence = Evidence(
        incident=IncidentId("I1"), at=START, verdict=verdict, container=container, log=(), log_note="", events=(), changes=()
    )
    hang = Diagnosis(cause=Cause.HANG_OR_TIMEOUT, sureness=Sureness.SUSPECTED, said_by="rule", summary="x", plane=None)
    return Findings(evidence=evidence, diagnosis=hang, saved=True)


def decided(of: Runbook, seen: Findings, *peers_well: bool) -> Plan | Refusal:
    peers = tuple(Peer(service=ServiceName(f"peer{n}"), well=well) for n, well in enumerate(peers_well))
    return replicas.spared(plan(of), WEB, seen, CATALOGUE, Standing(now=START, peers=peers))


@pytest.mark.parametrize("of", [RESTART, RECREATE, REBOOT], ids=lambda each: each.id)
@pytest.mark.parametrize("probes", [(Health.SICK, Health.WELL), (Health.UNKNOWN,), ()], ids=["half red", "unseen", "no probe"])
def test_refuses_to_interrupt_the_last_that_serves(of: Runbook, probes: tuple[Health, ...]) -> None:
    refusal = decided(of, findings(RUNNING, *probes), False, False)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.LAST_REPLICA
    assert "peer0, peer1" in refusal.because


@pytest.mark.parametrize("of", [START_IT, UNPAUSE, RELOAD], ids=lambda each: each.id)
def test_lets_pass_what_interrupts_nothing(of: Runbook) -> None:
    assert decided(of, findings(RUNNING, Health.WELL), False) == plan(of)


@pytest.mark.parametrize(
    "seen",
    [findings(EXITED), findings(PAUSED), findings(ContainerState.MISSING), findings(RUNNING, Health.SICK, Health.SICK)],
    ids=["exited", "paused", "missing", "every probe red"],
)
def test_a_member_that_serves_nobody_may_be_remedied(seen: Findings) -> None:
    assert decided(RECREATE, seen, False) == plan(RECREATE)


def test_a_service_without_peers_is_no_replica() -> None:
    assert decided(RESTART, findings(RUNNING, Health.WELL)) == plan(RESTART)


@given(
    st.sampled_from(CATALOGUE),
    st.sampled_from([*ContainerState, None]),
    st.lists(st.sampled_from(Health), max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_no_plan_ever_interrupts_the_last_that_serves(
    of: Runbook, state: ContainerState | None, probes: list[Health], peers_well: list[bool]
) -> None:
    seen = findings(state, *probes)
    if isinstance(decided(of, seen, *peers_well), Plan):
        assert any(peers_well) or not replicas.serves(seen) or not replicas.interrupts(of)
    else:
        assert not any(peers_well)
