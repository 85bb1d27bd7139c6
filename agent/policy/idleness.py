"""Which hosts of a fleet have had nothing to do, and what they cost meanwhile. Pure.

In: the members, what their cards did minute by minute, the price of an hour. Out: one line a host. A host whose cards were not
heard of is unknown, never idle: a figure that is missing is not 0.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from agent.model import GpuUse, IdleRule, Member

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
HEARD = 0.9
"""Share of the minutes of which figures must be there: a timer may miss one, and a host that was dark for longer is not known."""


class Load(enum.Enum):
    """What a host had to do."""

    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLoad:
    """One host in service. usd_per_hour: on demand, so of a spot host at most; None where the price file has no such type."""

    instance: str
    kind: str
    spot: bool
    load: Load
    because: str
    """What was seen, as a sentence."""
    usd_per_hour: Decimal | None
    usd: Decimal | None
    """What it cost within the time that was looked at; of a spot host at most."""


def judge(
    members: Sequence[Member], use: Mapping[str, GpuUse], rule: IdleRule, price: Callable[[str], Decimal | None]
) -> tuple[HostLoad, ...]:
    """Return what each host in service had to do within `rule.within`, the idle first."""
    found = [_host(each, use.get(each.instance), rule, price(each.kind)) for each in members if each.in_service]
    return tuple(sorted(found, key=lambda each: (list(Load).index(each.load), each.instance)))


def _host(member: Member, use: GpuUse | None, rule: IdleRule, hour: Decimal | None) -> HostLoad:
    load, because = _load(use, rule)
    usd = None if hour is None else (hour * Decimal(str(rule.within / HOUR))).quantize(Decimal("0.01"))
    return HostLoad(
        instance=member.instance,
        kind=member.kind,
        spot=member.spot,
        load=load,
        because=because,
        usd_per_hour=hour,
        usd=usd,
    )


def _load(use: GpuUse | None, rule: IdleRule) -> tuple[Load, str]:
    minutes = int(rule.within / MINUTE)
    if use is not None and use.busiest is not None and use.busiest >= rule.under:
        return Load.BUSY, f"its cards were used up to {use.busiest:g} % within {minutes} min"
    heard = 0 if use is None else use.minutes
    if use is None or use.busiest is None or heard < minutes * HEARD:
        return Load.UNKNOWN, f"its cards told of {heard} of {minutes} min"
    return Load.IDLE, f"its cards were used up to {use.busiest:g} % within {minutes} min, under {rule.under:g} % counts as idle"
