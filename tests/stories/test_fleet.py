"""A thousand services: all of them are looked at, and one sick one among them is found and healed."""

from pathlib import Path

import pytest

from agent.model import Closing, IncidentState
from tests.stories.world import Ward, service


@pytest.mark.abuse("86")
def test_one_sick_service_among_a_thousand_is_found_and_healed(tmp_path: Path) -> None:
    ward = Ward(tmp_path, tuple(service(f"web{number}") for number in range(1_000)))
    ward.beat(2)
    (latest, *_) = ward.store.sweeps.latest(1)
    assert len(latest.checked) == 1_000
    ward.machine.crash("web0", exit_code=3)
    ward.beat_until(lambda: bool(ward.incidents()) and ward.incident("web0").state is IncidentState.CLOSED)
    assert ward.incident("web0").closing is Closing.HEALED
    assert ward.machine.played == ["start-container I1-1"]
    assert len(ward.incidents()) == 1
