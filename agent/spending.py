"""What Medic spends, for people: a notice when a day's money for models goes out, and the bill of `medic cost`. Pure but for one post.

In: entries of the ledger of spending (`ports.SpendingStore`). Out: lines of a bill, and one notice a day.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from agent import notices
from agent.model import ModelLimits, Spending
from agent.ports import OutboxStore


def teller(limits: ModelLimits, outbox: OutboxStore, channels: Sequence[str]) -> Callable[[Decimal, datetime], None]:
    """Return what is told, after each bill, what models cost within 24 hours; it posts one notice a day once that is much.

    What it returns raises StoreError.
    """

    def tell(spent: Decimal, now: datetime) -> None:
        if spent >= limits.money_per_day * limits.tell_at:
            outbox.post(notices.spent(spent, limits.money_per_day, now=now), channels)

    return tell


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One line of a bill."""

    of: str
    """An incident, a day (UTC) or what was bought."""
    calls: int
    """Entries of the ledger: calls of models, and whatever else was bought."""
    without_answer: int
    """Calls that brought none; those still under way, and those that a crash cut, among them."""
    input_tokens: int
    output_tokens: int
    estimated: bool
    """Some of it was not said by the provider, or never billed: the true figure is at most this."""
    usd: Decimal


_NAMES: dict[str, Callable[[Spending], str]] = {
    "incident": lambda row: row.incident or "(no incident)",
    "day": lambda row: f"{row.at:%Y-%m-%d}",
    "model": lambda row: row.what,
}
BY = tuple(_NAMES)
"""What a bill can be made by."""


def bill(rows: Iterable[Spending], by: str) -> tuple[BillLine, ...]:
    """Return one line per incident, day or model, in the order each first came. by: a word of `BY`."""
    groups: dict[str, list[Spending]] = {}
    for row in rows:
        groups.setdefault(_NAMES[by](row), []).append(row)
    return tuple(_line(name, rows) for name, rows in groups.items())


def total(lines: Iterable[BillLine]) -> Decimal:
    """Return the sum, US dollars."""
    return sum((line.usd for line in lines), Decimal(0))


def _line(name: str, rows: Sequence[Spending]) -> BillLine:
    used = [row.usage for row in rows if row.usage is not None]
    return BillLine(
        of=name,
        calls=len(rows),
        without_answer=len(rows) - len(used),
        input_tokens=sum(usage.input_tokens for usage in used),
        output_tokens=sum(usage.output_tokens for usage in used),
        estimated=any(usage.estimated for usage in used) or not all(row.billed for row in rows),
        usd=sum((row.amount for row in rows), Decimal(0)),
    )
