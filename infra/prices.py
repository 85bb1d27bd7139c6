"""What a fleet costs: settings and a dated price file -> lines of an estimate. Imports no Pulumi and calls nobody.

Spot prices move by the hour, so none is written down: the caller brings today's (`spot`), or the estimate says that it
knows only the ceiling, which is the on-demand price.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.settings import FleetSettings

HOURS = 730
"""Hours of a month, as AWS's own calculator counts them."""
BASE_IOPS, BASE_MIBPS = 3000, 125
"""What a gp3 volume has without extra pay (EBS User Guide)."""
VOLUME_IOPS, VOLUME_MIBPS = 6000, 500
"""What our volumes get: a model is read from them at every boot."""
ALARMS = 4
"""Alarms of infra/components/watchfulness.py and autoscaling.py."""
ENDPOINTS = 2
"""Interface endpoints of infra/components/network.py."""
AGENT_ROOT_GIB = 16
"""Root volume of the agent's host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """Prices of one region in USD. as_of: the day they were written down."""

    as_of: str
    source: str
    region: str
    on_demand: Mapping[str, float]
    gib_month: float
    iops_month: float
    mibps_month: float
    balancer_hour: float
    address_hour: float
    alarm_month: float
    endpoint_hour: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an estimate. usd: per month, while it runs all month. note: what the figure rests on."""

    what: str
    usd: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a month costs at the smallest and at the largest size; on_demand: the largest, were all of it on-demand."""

    as_of: str
    lines: tuple[Line, ...]
    smallest: float
    largest: float
    on_demand: float
    unknown: tuple[str, ...]


def load() -> PriceBook:
    """Return the price file that travels with the program."""
    read = json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8"))
    return PriceBook(
        as_of=read["as_of"],
        source=read["source"],
        region=read["region"],
        on_demand=read["on_demand_usd_per_hour"],
        gib_month=read["gp3_usd_per_gib_month"],
        iops_month=read["gp3_usd_per_iops_month"],
        mibps_month=read["gp3_usd_per_mibps_month"],
        balancer_hour=read["balancer_usd_per_hour"],
        address_hour=read["public_address_usd_per_hour"],
        alarm_month=read["alarm_usd_per_month"],
        endpoint_hour=read["interface_endpoint_usd_per_hour"],
    )


def estimate(settings: FleetSettings, book: PriceBook, spot: Mapping[str, float] | None = None) -> Estimate:
    """Return what a month of `settings` costs.

    spot: today's USD per hour by instance type; without it spot is counted at its ceiling, the on-demand price.
    Types that no price is known for are in `unknown` and count nothing.
    """
    known = {each: book.on_demand[each] for each in settings.instance_types if each in book.on_demand}
    used = (*settings.instance_types, *((settings.agent_type,) if settings.agent_wheel else ()))
    unknown = tuple(each for each in used if each not in book.on_demand)
    cheapest = min(known.values(), default=0.0)
    spot_now = min((usd for each, usd in (spot or {}).items() if each in settings.instance_types), default=cheapest)
    base, most = settings.on_demand_base, settings.max_size
    host = _host_month(settings, book)
    fixed = _fixed(settings, book)
    on_demand_hosts = most - settings.spot_at_most
    lines = (
        Line(
            what=f"on-demand base, {base} host(s)",
            usd=base * (cheapest * HOURS + host),
            note="the cheapest of the types; volume and address included",
        ),
        Line(
            what=f"up to {settings.spot_at_most} spot host(s)",
            usd=settings.spot_at_most * (spot_now * HOURS + host),
            note="today's spot price" if spot else "at most: counted at the on-demand price, which spot stays under",
        ),
        *_burst(settings, book),
        *fixed,
    )
    steady = sum(each.usd for each in fixed)
    smallest = steady + settings.min_size * host
    smallest += min(base, settings.min_size) * cheapest * HOURS + max(settings.min_size - base, 0) * spot_now * HOURS
    largest = steady + most * host + (on_demand_hosts * cheapest + settings.spot_at_most * spot_now) * HOURS
    burst = settings.burst_max_size * (_burst_hour(settings, book) * HOURS + host)
    stopped = _volume_month(settings, book) if settings.burst_max_size else 0.0
    return Estimate(
        as_of=book.as_of,
        lines=lines,
        smallest=smallest + stopped,
        largest=largest + burst,
        on_demand=steady + most * (host + cheapest * HOURS) + burst,
        unknown=unknown,
    )


def _burst(settings: FleetSettings, book: PriceBook) -> tuple[Line, ...]:
    if not settings.burst_max_size:
        return ()
    usd = settings.burst_max_size * (_burst_hour(settings, book) * HOURS + _host_month(settings, book))
    kind = settings.instance_types[0]
    return (
        Line(
            what=f"up to {settings.burst_max_size} burst host(s)",
            usd=usd,
            note=f"{kind} on demand; one waits stopped and costs its volume",
        ),
    )


def _burst_hour(settings: FleetSettings, book: PriceBook) -> float:
    """The burst group is of one type, the first (infra/components/gpu_fleet.py)."""
    return book.on_demand.get(settings.instance_types[0], 0.0)


def _host_month(settings: FleetSettings, book: PriceBook) -> float:
    return _volume_month(settings, book) + book.address_hour * HOURS


def _volume_month(settings: FleetSettings, book: PriceBook) -> float:
    volume = settings.volume_gib * book.gib_month
    return volume + (VOLUME_IOPS - BASE_IOPS) * book.iops_month + (VOLUME_MIBPS - BASE_MIBPS) * book.mibps_month


def _fixed(settings: FleetSettings, book: PriceBook) -> tuple[Line, ...]:
    lines = [Line(what=f"{ALARMS} alarms", usd=ALARMS * book.alarm_month, note="queues, parameters and rules cost cents")]
    if settings.agent_wheel:
        hours = book.on_demand.get(settings.agent_type, 0.0) + book.address_hour
        usd = hours * HOURS + (AGENT_ROOT_GIB + settings.agent_volume_gib) * book.gib_month
        lines.append(Line(what=f"agent host, {settings.agent_type}", usd=usd, note="on-demand, with its volumes and address"))
    if settings.endpoints == "ssm":
        usd = ENDPOINTS * settings.zones * book.endpoint_hour * HOURS
        lines.append(
            Line(what=f"{ENDPOINTS} private endpoints in {settings.zones} zone(s)", usd=usd, note="traffic comes on top")
        )
    if settings.balancer != "none":
        usd = book.balancer_hour * HOURS
        lines.append(Line(what="balancer", usd=usd, note="its hours; traffic comes on top"))
    return tuple(lines)
