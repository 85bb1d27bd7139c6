"""Which rights a runbook needs is told for every runbook that ships."""

from agent.cli import docker_rights
from agent.wiring import shipped


def test_every_shipped_runbook_says_what_it_needs_of_docker() -> None:
    assert set(docker_rights.RUNBOOKS) == {runbook.id for runbook in shipped.runbooks()}
    known = {right.name for right in docker_rights.ACTS}
    assert all(set(needs) <= known for needs in docker_rights.RUNBOOKS.values())


def test_a_door_that_refuses_nothing_costs_nothing() -> None:
    assert docker_rights.cannot_run(()) == ()
    assert "quarantine-gpu-host" not in docker_rights.cannot_run(tuple(right.name for right in docker_rights.ACTS))
