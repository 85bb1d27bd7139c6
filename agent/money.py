"""The one daily cap over everything that Medic pays for: hosts of a fleet and calls of models, from one purse. Pure.

In: the ledger's entries of the last 24 hours, what is about to be bought, the cap. Out: why it does not fit, or None. Whoever
buys asks this inside the transaction that reserves (`SpendingStore.reserve`), so two that ask at once never pass it together.
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from agent.model import Spending, SpendingKind

DAY = timedelta(hours=24)
SMALL = Decimal("0.1")
"""Below this, cents are too coarse: a call of a model costs fractions of one."""


def no_room(spent: Iterable[Spending], wanted: Spending, daily: Decimal) -> str | None:
    """Return why one more purchase does not fit into the day's money, or None.

    spent: of the last `DAY`, reservations included. daily: `fleet.money_per_day`, US dollars for hosts and models together.
    """
    already = sum((each.amount for each in spent), Decimal(0))
    if already + wanted.amount <= daily:
        return None
    return f"{_one_more(wanted)} {usd(wanted.amount)} USD, and of {daily:.2f} USD a day for hosts and models {usd(already)} are spent"


def usd(amount: Decimal) -> str:
    """Return an amount as people read it: with more digits where it is small. Shape of an answer: `24.14`, `0.0123`."""
    return f"{amount:.2f}" if amount == 0 or amount >= SMALL else f"{amount:.4f}"


def _one_more(wanted: Spending) -> str:
    match wanted.kind:
        case SpendingKind.CLOUD:
            return f"one more {wanted.what} on demand may cost up to"
        case SpendingKind.MODEL:
            return f"one more call of {wanted.what} may cost up to"
