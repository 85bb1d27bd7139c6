"""The document between the stack and the agent: what is written is read, and what cannot be is refused in one sentence."""

import dataclasses
import json
from typing import Any

import pytest

from infra import inventory

FLEET = inventory.Inventory(
    stack="medic-test", region="us-east-1", group="g", burst_group="", launch_hook="warm-up", drain_hook="drain",
    queue_url="https://q", dead_letter_url="https://d", bucket="b", log_group="l", metric_namespace="Medic", target_group_arn="",
    host_keys="/medic/medic-test/host-keys", ssh_user="ubuntu", warm_up_seconds=900, drain_seconds=100, on_demand_base=1, max_size=4,
    model=inventory.Model(container="model", image="i@sha256:0", port=8000, ready_path="/health", name=""),
)  # fmt: skip


def document(**changed: Any) -> str:
    return json.dumps({**json.loads(inventory.render(FLEET)), **changed})


def test_what_is_written_is_read() -> None:
    assert inventory.parse(inventory.render(FLEET)) == FLEET


def test_a_field_more_does_not_matter() -> None:
    assert inventory.parse(document(colour="blue")) == FLEET


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        (document(version=2), "it is version 2 and this Medic knows 1; update Medic"),
        (document(version=None), "its version is None and must be 1"),
        (document(group=7), "`group` must be a text, not 7"),
        (document(max_size="4"), "`max_size` must be a whole number, not '4'"),
        (document(max_size=True), "`max_size` must be a whole number, not True"),
        (document(model="m"), "`model` must be an object"),
        (document(model={}), "`container` must be a text, not None"),
    ],
)
def test_refuses_with_one_sentence(text: str, said: str) -> None:
    with pytest.raises(inventory.InventoryError, match=r"^cannot read inventory: ") as refused:
        inventory.parse(text)

    assert said in str(refused.value)


def test_refuses_to_write_more_than_a_parameter_holds() -> None:
    with pytest.raises(inventory.InventoryError, match="a parameter holds 4096"):
        inventory.render(dataclasses.replace(FLEET, queue_url="x" * 4096))
