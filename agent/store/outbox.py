"""Notices on their way: one row per (dedup key, channel), kept after delivery so that no edge is told twice."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from agent import notices
from agent.model import LONGEST_WAIT, Delivery, Notice
from agent.store.audit import head
from agent.store.database import Database
from agent.store.tables import UNDELIVERED, outbox


class Outbox:
    """`ports.OutboxStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def post(self, notice: Notice, channels: Sequence[str]) -> None:
        """Queue a notice for each channel, with the head of the audit; the same (dedup key, channel) twice queues once."""
        queued = select(outbox.c.channel).where(outbox.c.dedup_key == notice.dedup_key)

        def queue(connection: Connection) -> None:
            known = set(connection.execute(queued).scalars())
            stamped = notices.stamped(notice, head(connection))
            for channel in dict.fromkeys(channels):
                if channel not in known:
                    row = {"dedup_key": notice.dedup_key, "channel": channel, "notice": stamped, "next_try": notice.at}
                    connection.execute(insert(outbox).values(**row, tries=0))

        self._database.write(f"post notice {notice.dedup_key!r}", queue)

    def due(self, now: datetime, limit: int = 20) -> tuple[Delivery, ...]:
        """Return undelivered rows whose time has come, oldest first. None of a channel whose oldest row must wait: in order.

        A row that is put off for longer than `LONGEST_WAIT` was written before the clock was set back, and is due.
        """
        must_wait = outbox.c.next_try.between(now, now + LONGEST_WAIT) & (outbox.c.next_try != now)
        waiting = select(outbox.c.channel).where(UNDELIVERED, must_wait)
        query = select(outbox).where(UNDELIVERED, outbox.c.channel.not_in(waiting)).order_by(outbox.c.id).limit(limit)
        return tuple(_delivery(row) for row in self._database.read("read the outbox", lambda c: c.execute(query).all()))

    def delivered(self, id_: int, *, now: datetime) -> None:
        """Mark one as delivered."""
        change = update(outbox).where(outbox.c.id == id_, UNDELIVERED).values(delivered_at=now)
        self._database.write(f"mark notice {id_} as delivered", lambda c: c.execute(change))

    def put_off(self, id_: int, *, error: str, next_try: datetime) -> None:
        """Keep one for later, counting the try."""
        change = (
            update(outbox)
            .where(outbox.c.id == id_, UNDELIVERED)
            .values(tries=outbox.c.tries + 1, last_error=error, next_try=next_try)
        )
        self._database.write(f"put off notice {id_}", lambda c: c.execute(change))

    def undelivered(self) -> int:
        """Count what is still on its way."""
        query = select(func.count()).select_from(outbox).where(UNDELIVERED)
        return self._database.read("count the outbox", lambda c: c.execute(query).scalar_one())


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        channel=row.channel,
        notice=row.notice,
        tries=row.tries,
        next_try=row.next_try,
        delivered_at=row.delivered_at,
        last_error=row.last_error,
    )
