"""Restarts of containers that were not Medic's: one row per (host, container, time), written once."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from agent.model import ForeignRestart, HostName
from agent.store.database import Database
from agent.store.tables import foreign_restarts


class ForeignRestarts:
    """`ports.ForeignRestartStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, host: HostName, restarts: Sequence[ForeignRestart]) -> None:
        """Write those that are not known yet. The first writer wins."""
        table = foreign_restarts.c

        def keep_new(connection: Connection) -> None:
            for restart in restarts:
                key = {"host": host, "container": restart.container, "at": restart.at}
                if connection.execute(select(table.by).filter_by(**key)).one_or_none() is None:
                    connection.execute(insert(foreign_restarts).values(**key, by=restart.by))

        if restarts:
            self._database.write("keep the restarts by others", keep_new)

    def since(self, host: HostName, container: str, since: datetime) -> tuple[ForeignRestart, ...]:
        """Return those of one container since then, oldest first."""
        table = foreign_restarts.c
        query = (
            select(table.container, table.at, table.by)
            .where(table.host == host, table.container == container, table.at >= since)
            .order_by(table.at)
        )
        return self._database.read(
            f"read the restarts of {container!r}",
            lambda c: tuple(ForeignRestart(container=row.container, at=row.at, by=row.by) for row in c.execute(query)),
        )

    def prune(self, *, before: datetime) -> int:
        """Delete those older than that; return how many."""
        old = delete(foreign_restarts).where(foreign_restarts.c.at < before)
        return self._database.write("delete old restarts by others", lambda c: c.execute(old).rowcount)
