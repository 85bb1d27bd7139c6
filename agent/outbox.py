"""Sends what is due in the outbox: at least once, with one dedup key per edge, each channel on its own backoff.

In: the outbox of the store and a notifier per channel. Out: rows marked as delivered or put off. A row is marked only after
its channel took it, so a crash in between sends it again under the same dedup key; nothing is ever dropped.
"""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from agent.errors import OutsideError
from agent.model import LONGEST_WAIT, Delivery
from agent.ports import Clock, Notifier, OutboxStore

logger = logging.getLogger(__name__)

FIRST_WAIT = timedelta(seconds=1)
TURN = timedelta(seconds=5)
"""How long one channel may go on sending in one call."""
BATCH = 200
"""Rows per call. Many, so that the rows of a channel that is down cannot crowd out the others'."""
STUCK_AFTER = 5
"""Tries. The fifth comes 15 s after the first: by then it is no hiccup, and people should look at the channel."""

_Result = tuple[Delivery, str | None]
"""A row and why it did not arrive; None when it did."""


def backoff(tries: int) -> timedelta:
    """Return how long to wait after `tries` failed tries (1 or more): 1 s, 2 s, 4 s ... up to 5 minutes."""
    return min(FIRST_WAIT * (1 << min(tries - 1, 16)), LONGEST_WAIT)


def deliver_due(outbox: OutboxStore, notifiers: Mapping[str, Notifier], clock: Clock) -> int:
    """Send what is due; return how many notices arrived.

    Channels are served side by side, the rows of one in order. A channel that is slow or down costs one deadline of its own
    and is then left until later, so it delays the next call, never another channel's notice in this one.
    Raises StoreError when the outbox cannot be read or written; a bug in a notifier is raised after the others are noted.
    """
    by_channel: dict[str, list[Delivery]] = {}
    for delivery in outbox.due(clock.now(), limit=BATCH):
        by_channel.setdefault(delivery.channel, []).append(delivery)
    if not by_channel:
        return 0
    with ThreadPoolExecutor(max_workers=len(by_channel), thread_name_prefix="outbox") as pool:
        served = [pool.submit(_serve, notifiers.get(channel), rows, clock) for channel, rows in by_channel.items()]
    # This one thread writes: the store need not be shared. What arrived is noted before a bug of another channel is raised,
    # or every beat would send it again.
    arrived = sum(_note(outbox, results.result(), clock) for results in served if results.exception() is None)
    for results in served:
        results.result()
    return arrived


def _serve(notifier: Notifier | None, rows: Sequence[Delivery], clock: Clock) -> list[_Result]:
    """Send the rows of one channel in order, for one turn. Once one cannot be sent, the rest is put off with it: the channel is down."""
    end = clock.monotonic() + TURN.total_seconds()
    results: list[_Result] = []
    error: str | None = None if notifier else "no such channel is configured"
    for delivery in rows:
        if notifier is not None and error is None:
            if clock.monotonic() >= end:
                break  # still due: the next call goes on here
            error = _send(notifier, delivery)
        results.append((delivery, error))
    return results


def _send(notifier: Notifier, delivery: Delivery) -> str | None:
    try:
        notifier.send(delivery.notice)
    except OutsideError as exc:
        return str(exc)
    return None


def _note(outbox: OutboxStore, results: Sequence[_Result], clock: Clock) -> int:
    """Write down what came of one channel's turn; return how many arrived."""
    now = clock.now()
    stuck = 0
    for delivery, error in results:
        if error is None:
            outbox.delivered(delivery.id, now=now)
        else:
            outbox.put_off(delivery.id, error=error, next_try=now + backoff(delivery.tries + 1))
            stuck += delivery.tries + 1 == STUCK_AFTER  # once per notice: the tries only rise, and a restart keeps them
    if stuck:
        delivery, error = results[-1]
        logger.warning("notices are stuck", extra={"channel": delivery.channel, "notices": stuck, "error": error})
    return sum(error is None for _, error in results)
