"""What a fleet costs: figures worked out by hand."""

import dataclasses

import pytest

from infra import prices, settings

BOOK = prices.PriceBook(
    as_of="2025-06-30", source="by hand", region="us-east-1", on_demand={"g5.xlarge": 1.0, "g6.xlarge": 0.8}, gib_month=0.08,
    iops_month=0.005, mibps_month=0.04, balancer_hour=0.02, address_hour=0.005, alarm_month=0.1,
    endpoint_hour=0.01,
)  # fmt: skip
FLEET = settings.FleetSettings(
    name="medic-test",
    region="us-east-1",
    image="i@sha256:" + "0" * 64,
    instance_types=("g5.xlarge", "g6.xlarge"),
    volume_gib=100,
)
HOST = 100 * 0.08 + 3000 * 0.005 + 375 * 0.04 + 0.005 * 730


def test_without_todays_prices_spot_is_counted_at_its_ceiling() -> None:
    priced = prices.estimate(FLEET, BOOK)

    assert priced.largest == pytest.approx(priced.on_demand) == pytest.approx(4 * (0.8 * 730 + HOST) + 0.4)
    assert priced.smallest == pytest.approx(0.8 * 730 + HOST + 0.4)


def test_with_todays_prices_spot_is_counted_at_the_cheapest_of_the_types() -> None:
    priced = prices.estimate(FLEET, BOOK, {"g5.xlarge": 0.3, "g6.xlarge": 0.4, "p5.48xlarge": 0.1})

    assert priced.largest == pytest.approx(0.8 * 730 + 3 * 0.3 * 730 + 4 * HOST + 0.4)


def test_a_type_without_a_price_is_named_and_counts_nothing() -> None:
    odd = settings.FleetSettings(
        name="medic-test", region="us-east-1", image=FLEET.image, instance_types=("g6.xlarge", "g9.xlarge")
    )

    assert prices.estimate(odd, BOOK).unknown == ("g9.xlarge",)


def test_the_agents_host_counts_with_its_volumes_and_address() -> None:
    with_agent = dataclasses.replace(FLEET, agent_wheel="m.whl", agent_volume_gib=20)
    book = dataclasses.replace(BOOK, on_demand={**BOOK.on_demand, "t3.small": 0.02})

    more = prices.estimate(with_agent, book).smallest - prices.estimate(FLEET, book).smallest

    assert more == pytest.approx((0.02 + 0.005) * 730 + 36 * 0.08)
    assert prices.estimate(with_agent, BOOK).unknown == ("t3.small",)


def test_private_endpoints_cost_by_the_hour_and_zone() -> None:
    private = dataclasses.replace(FLEET, endpoints="ssm")

    assert prices.estimate(private, BOOK).smallest - prices.estimate(FLEET, BOOK).smallest == pytest.approx(2 * 3 * 0.01 * 730)


def test_a_burst_group_costs_its_stopped_host_always_and_its_hosts_at_the_largest() -> None:
    burst = dataclasses.replace(FLEET, burst_max_size=2)

    assert prices.estimate(burst, BOOK).smallest - prices.estimate(FLEET, BOOK).smallest == pytest.approx(HOST - 0.005 * 730)
    assert prices.estimate(burst, BOOK).largest - prices.estimate(FLEET, BOOK).largest == pytest.approx(2 * (1.0 * 730 + HOST))


def test_the_price_file_knows_every_default_type() -> None:
    assert not prices.estimate(
        settings.FleetSettings(name="medic-test", region="us-east-1", image=FLEET.image), prices.load()
    ).unknown
