"""When a container must be inspected again."""

from dataclasses import replace

import pytest

from agent.adapters.docker_memory import MOST_INSPECTS, InspectMemory, Row
from agent.model import ContainerFacts, ContainerState, Network


class Inspects:
    """An engine's inspect that remembers whom it was asked about."""

    def __init__(self, state: ContainerState = ContainerState.EXITED) -> None:
        self.asked: list[str] = []
        self.facts = ContainerFacts(name="web", id="w", state=state, restart_count=1, oom_killed=True)

    def __call__(self, id_: str) -> ContainerFacts | None:
        self.asked.append(id_)
        return replace(self.facts, id=id_)


def row(status: str, state: ContainerState = ContainerState.EXITED, id_: str = "w", attachment: str = "e1") -> Row:
    networks = (Network(name="shop", address="10.0.0.2"),)
    return Row(
        facts=ContainerFacts(name="web", id=id_, state=state, status=status, networks=networks), attachments=(attachment,)
    )


@pytest.mark.parametrize(
    ("earlier", "later", "asked"),
    [
        pytest.param(row("Exited (1) 4 seconds ago"), row("Exited (1) 9 seconds ago"), 1, id="nothing happened"),
        pytest.param(row("Exited (1) 4 seconds ago"), row("Exited (1) 2 seconds ago"), 2, id="it died again meanwhile"),
        pytest.param(
            row("Exited (1) 4 seconds ago"), row("Exited (1) 5 seconds ago"), 2, id="it may have died again meanwhile"
        ),
        pytest.param(row("Exited (1) 2 days ago"), row("Up 2 minutes", ContainerState.RUNNING), 2, id="another state"),
        pytest.param(row("Exited (1) 2 days ago"), row("Exited (1) 2 days ago", attachment="e2"), 2, id="connected anew"),
        pytest.param(
            row("Exited (1) 2 days ago"), row("Exited (1) 2 days ago", id_="x"), 2, id="another container of that name"
        ),
        pytest.param(row("Created", ContainerState.CREATED), row("Created", ContainerState.CREATED), 2, id="no age to go by"),
    ],
)
def test_inspects_again_only_what_may_have_changed(earlier: Row, later: Row, asked: int) -> None:
    memory, inspects = InspectMemory(), Inspects(earlier.facts.state)
    memory.complete([earlier], began=100.0, ended=100.0, inspect=inspects)
    memory.complete([later], began=105.0, ended=105.0, inspect=inspects)
    assert len(inspects.asked) == asked


def test_each_list_vouches_for_the_time_since_the_list_before() -> None:
    memory, inspects = InspectMemory(), Inspects()
    for beat in range(10):
        memory.complete([row(f"Exited (1) {10 + 5 * beat} seconds ago")], began=5.0 * beat, ended=5.0 * beat, inspect=inspects)
    assert inspects.asked == ["w"]


def test_the_lists_newer_words_stand_over_the_remembered_ones() -> None:
    memory, inspects = InspectMemory(), Inspects(ContainerState.RUNNING)
    inspects.facts = replace(inspects.facts, networks=(Network(name="shop", address="10.0.0.9", aliases=("front",)),))
    (seen,) = memory.complete([row("Up 2 minutes", ContainerState.RUNNING)], began=0.0, ended=0.0, inspect=inspects)
    assert (seen.status, seen.restart_count) == ("Up 2 minutes", 1)
    assert seen.networks == (Network(name="shop", address="10.0.0.2", aliases=("front",)),)
    assert seen.oom_killed is None  # a child may have been killed since


def test_a_container_that_vanished_is_told_as_it_was_listed() -> None:
    listed = row("Exited (1) 2 days ago")
    assert InspectMemory().complete([listed], began=0.0, ended=0.0, inspect=lambda id_: None) == (listed.facts,)


def test_one_list_inspects_a_bounded_number_and_what_is_down_first() -> None:
    running = [row("Up 2 days", ContainerState.RUNNING, id_=f"up{number}") for number in range(MOST_INSPECTS)]
    down = row("Exited (1) 2 days ago", id_="down")
    memory, inspects = InspectMemory(), Inspects()
    seen = memory.complete([*running, down], began=0.0, ended=0.0, inspect=inspects)
    assert len(inspects.asked) == MOST_INSPECTS
    assert inspects.asked[0] == "down"
    assert [facts.id for facts in seen] == [found.facts.id for found in (*running, down)]
