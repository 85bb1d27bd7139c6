"""What a host's answers mean for Medic's work on it."""

from collections.abc import Mapping

import pytest

from agent.adapters import host_condition

READY = {
    "tools": "",
    "python": "3.11.2",
    "requests": "2.28.1",
    "yaml": "6.0",
    "docker": "20.10.24+dfsg1",
    "compose": "v2.27.0",
    "base": "/var/lib/medic/target",
    "room": "2097152",
    "writable": "yes",
    "held": "",
}


def lacking(**other: str) -> Mapping[str, bool]:
    """Return what is not well of a host that is ready but for `other`, and whether Medic needs it."""
    return {found.what: found.needed for found in host_condition.meant("gpu-1", {**READY, **other}) if not found.well}


@pytest.mark.parametrize(
    ("answers", "lacks"),
    [
        ({}, {}),
        ({"tools": " timeout dd"}, {"tools": True}),
        ({"python": ""}, {"python": True}),
        ({"python": "3.7.3"}, {"python": True}),
        ({"python": "sh: 1: python3: Exec format error"}, {"python": True}),
        ({"requests": "ModuleNotFoundError: No module named 'requests'"}, {"python requests": True}),
        ({"yaml": ""}, {"python yaml": False}),
        ({"docker": "permission denied while trying to connect"}, {"docker": True}),
        ({"docker": ""}, {"docker": True}),
        ({"compose": "docker: 'compose' is not a docker command."}, {"compose": False}),
        ({"room": "100"}, {"locks and markers": True}),
        ({"writable": ""}, {"locks and markers": True}),
        ({"held": "web"}, {"under way": False}),
    ],
)
def test_each_answer_means_what_an_operator_would_make_of_it(answers: dict[str, str], lacks: dict[str, bool]) -> None:
    assert lacking(**answers) == lacks


def test_a_host_that_answers_nothing_lacks_all_that_is_needed() -> None:
    found = host_condition.meant("gpu-1", {})

    assert {each.what for each in found if not each.well and each.needed} >= {"python", "docker", "locks and markers"}
