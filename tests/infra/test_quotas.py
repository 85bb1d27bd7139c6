"""What a stack needs of an account's quotas, in vCPUs, and what `medic infra preflight` says of it."""

import pytest

from infra import quotas, settings

IMAGE = "registry.example/vllm@sha256:" + "a" * 64
VCPUS = {"g5.xlarge": 4, "g5.2xlarge": 8, "p4d.24xlarge": 96}


def needs(allowed: float = 64, **values: object) -> dict[str, tuple[int, bool]]:
    given = {"image": IMAGE, "instanceTypes": ["g5.xlarge", "g5.2xlarge"], **values}
    fleet = settings.from_mapping(given, stack="test", region="us-east-1")
    return {each.code: (each.needs, each.enough) for each in quotas.needs(fleet, VCPUS, lambda _code: allowed)}


def test_the_largest_fleet_counts_with_its_largest_type() -> None:
    assert needs() == {"L-3819A6DF": (24, True), "L-DB2E81BA": (8, True)}


def test_a_new_account_has_none_of_it() -> None:
    assert needs(allowed=0) == {"L-3819A6DF": (24, False), "L-DB2E81BA": (8, False)}


def test_the_burst_group_is_on_demand() -> None:
    assert needs(burstMaxSize=2)["L-DB2E81BA"] == (24, True)


@pytest.mark.parametrize("base", [0, 1])
def test_each_family_has_a_quota_of_its_own(base: int) -> None:
    found = needs(instanceTypes=["g5.xlarge", "p4d.24xlarge"], onDemandBase=base)

    assert found["L-7212CCBC"] == ((4 - base) * 96, False)
    assert ("L-417A185B" in found) is bool(base)
