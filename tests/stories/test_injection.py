"""Instructions in whatever comes from outside change nothing: the same fault, with and without them, has the same remedy.

Every payload stands in six places at once (the log, the body of the answer, a label, the image's name, Docker's own error, an
event), next to a fault that has a clean run to compare with. With a model in the loop the same corpus is run again.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent.model import ContainerEvent, HttpSeen, ServiceName
from tests.payloads import PAYLOADS
from tests.stories.world import Ward, service


def crashed(ward: Ward) -> None:
    ward.machine.crash("web", exit_code=3)


def hung(ward: Ward) -> None:
    ward.machine.boxes["web"].answers = False


def removed(ward: Ward) -> None:
    ward.machine.remove("web")


def errs(ward: Ward) -> None:
    ward.machine.boxes["web"].says = HttpSeen(status=500, latency=timedelta(milliseconds=3), body="error")


FAULTS = {"crashed": crashed, "hung": hung, "removed": removed, "errs": errs}


def remedies(folder: Path, fault: Callable[[Ward], None], payload: str = "") -> tuple[list[str], list[str]]:
    """Play one story to its end; return what was really run, and how each incident ended."""
    ward = Ward(folder, (service("web"), service("api")))
    ward.beat(2)
    if payload:
        poison(ward, payload)
    fault(ward)
    if payload and "web" in ward.machine.boxes:
        poison(ward, payload)
    ward.beat(14)
    ends = [f"{incident.service} {incident.state.value}" for incident in ward.incidents()]
    return ward.machine.played, ends


def poison(ward: Ward, payload: str) -> None:
    box = ward.machine.boxes["web"]
    box.log += f"\n{payload}\n".encode()
    if box.says is not None:
        box.says = replace(box.says, body=payload)
    labels = (("com.example.note", payload),)
    box.facts = replace(box.facts, labels=labels, image=f"app:1{payload[:40]}", error=payload)
    ward.machine.said.append(ContainerEvent(container="web", action=f"exec_create: {payload}", at=ward.clock.now()))


def numbered(folder: Path) -> Iterator[Path]:
    return (folder / str(number) for number in itertools.count())


@pytest.mark.abuse("65")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_payload_changes_neither_what_is_run_nor_how_it_ends(tmp_path: Path, fault: str) -> None:
    folders = numbered(tmp_path)
    clean = remedies(next(folders), FAULTS[fault])
    assert ServiceName("web") in {end.split()[0] for end in clean[1]}
    # Each fault meets every fourth payload: all of them are met, each once.
    mine = PAYLOADS[list(FAULTS).index(fault) :: len(FAULTS)]
    other = {payload: got for payload in mine if (got := remedies(next(folders), FAULTS[fault], payload)) != clean}
    assert other == {}


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(set(PAYLOADS)) >= 300
