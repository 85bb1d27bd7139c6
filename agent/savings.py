"""What the spot hosts of a fleet really cost, beside what the same hours cost on demand. Pure.

In: `Stay`s (which host was there, from when to when), the spot prices that the cloud published, the price of an hour on demand.
Out: one line a host. No figure is a constant: time for which nobody tells a price counts nowhere, and is said.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from agent.model import SpotPrice, Stay

HOUR = timedelta(hours=1)
EXACT = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotBill:
    """What one spot host cost within a time, in US dollars, without its volume and traffic."""

    instance: str
    kind: str
    zone: str
    there: timedelta
    """How long it was there."""
    priced: timedelta
    """For how much of that both prices are known; the sums below are of that."""
    paid: Decimal
    """At the spot price of its pool at each moment. At most: AWS takes nothing for a first hour that it cuts short itself."""
    on_demand: Decimal
    """What the same time costs on demand."""

    @property
    def saved(self) -> Decimal:
        """Return what was saved; below 0 where spot was the dearer one."""
        return self.on_demand - self.paid


def of(
    stays: Iterable[Stay],
    prices: Iterable[SpotPrice],
    on_demand: Callable[[str], Decimal | None],
    since: datetime,
    until: datetime,
) -> tuple[SpotBill, ...]:
    """Return the bill of every spot host that was there between two moments, by the time it came.

    prices: of each pool in any order, those in force at `since` among them. on_demand: US dollars an hour of a type, None
    where the price file does not have it.
    """
    pools: dict[tuple[str, str], list[SpotPrice]] = {}
    for price in sorted(prices, key=lambda each: each.at):
        pools.setdefault((price.kind, price.zone), []).append(price)
    there = [each for each in stays if each.spot and each.seen_at > since and each.began_at < until]
    return tuple(_bill(each, pools, on_demand, since, until) for each in sorted(there, key=lambda each: each.began_at))


def _bill(
    stay: Stay,
    pools: Mapping[tuple[str, str], Sequence[SpotPrice]],
    on_demand: Callable[[str], Decimal | None],
    since: datetime,
    until: datetime,
) -> SpotBill:
    begin, end = max(stay.began_at, since), min(stay.seen_at, until)
    hour = on_demand(stay.kind)
    parts = [] if hour is None else _parts(pools.get((stay.kind, stay.zone), ()), begin, end)
    priced = sum((span for span, _ in parts), timedelta(0))
    return SpotBill(
        instance=stay.instance,
        kind=stay.kind,
        zone=stay.zone,
        there=end - begin,
        priced=priced,
        paid=sum((_hours(span) * usd for span, usd in parts), Decimal(0)).quantize(EXACT),
        on_demand=(Decimal(0) if hour is None else _hours(priced) * hour).quantize(EXACT),
    )


def _parts(prices: Sequence[SpotPrice], begin: datetime, end: datetime) -> list[tuple[timedelta, Decimal]]:
    """Return how long each price was in force between two moments. prices: of one pool, by time; each stands until the next."""
    found = []
    for price, over in zip(prices, [*(each.at for each in prices[1:]), end], strict=False):
        span = min(over, end) - max(price.at, begin)
        if span > timedelta(0):
            found.append((span, price.usd))
    return found


def _hours(span: timedelta) -> Decimal:
    return Decimal(str(span / HOUR))
