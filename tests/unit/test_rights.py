"""Which rights a runbook needs of Docker is told for every runbook that ships, and what it lacks is said in one sentence."""

import pytest

from agent import rights
from agent.adapters import docker_door
from agent.model import HostName
from agent.wiring import shipped

HERE = HostName("local")


def test_every_shipped_runbook_says_what_it_needs_of_docker() -> None:
    assert set(rights.NEEDS) == {runbook.id for runbook in shipped.runbooks()}
    assert all(set(needs) <= set(rights.ACTS) for needs in rights.NEEDS.values())


def test_every_right_is_asked_for_and_no_other() -> None:
    assert tuple(right.name for right in docker_door.RIGHTS) == (*rights.LOOKS, *rights.ACTS)


def test_a_door_that_refuses_nothing_costs_nothing() -> None:
    assert rights.cannot_run(()) == ()
    assert "quarantine-gpu-host" not in rights.cannot_run(rights.ACTS)


@pytest.mark.parametrize(
    ("runbook", "refused", "says"),
    [
        ("restart-container", ("exec", "create", "remove"), None),
        ("restart-container", ("restart",), "it needs restart, which"),
        ("recreate-container", ("exec", "create", "remove"), "it needs create and remove, which"),
        ("recreate-container", rights.ACTS, "it needs create, remove and start, which"),
        ("replace-host", rights.ACTS, None),
        ("one-of-our-own", rights.ACTS, None),
    ],
)
def test_what_a_runbook_lacks_is_one_sentence(runbook: str, refused: tuple[str, ...], says: str | None) -> None:
    said = rights.lacking(runbook, refused, HERE)
    assert (
        said is None if says is None else said is not None and said.startswith(f"{says} Docker on local refuses Medic: docs/")
    )
