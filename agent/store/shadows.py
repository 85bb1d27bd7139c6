"""Decisions that were not carried out, and what became of them: one row per incident, kept for good."""

from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from agent.model import IncidentId, Shadow, ShadowEnd
from agent.store.database import Database, row_number
from agent.store.tables import shadows


class Shadows:
    """`ports.ShadowStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def decided(self, shadow: Shadow) -> None:
        """Write one decision; the first of its incident stands."""
        key = {"incident": row_number(shadow.incident)}

        def write(connection: Connection) -> None:
            if connection.execute(select(shadows.c.incident).filter_by(**key)).one_or_none() is None:
                connection.execute(insert(shadows).values(**key, at=shadow.at, shadow=shadow))

        self._database.write(f"keep the decision on {shadow.incident}", write)

    def ended(self, incident: IncidentId, end: ShadowEnd) -> None:
        """Write what became of it. The first writer wins."""
        key = {"incident": row_number(incident)}

        def write(connection: Connection) -> None:
            standing: Shadow | None = connection.execute(select(shadows.c.shadow).filter_by(**key)).scalar_one_or_none()
            if standing is not None and standing.ended is None:
                connection.execute(update(shadows).filter_by(**key).values(shadow=replace(standing, ended=end)))

        self._database.write(f"keep what became of {incident}", write)

    def of(self, incident: IncidentId) -> Shadow | None:
        """Return the decision on one incident."""
        query = select(shadows.c.shadow).filter_by(incident=row_number(incident))
        found: Shadow | None = self._database.read(
            f"read the decision on {incident}", lambda c: c.execute(query).scalar_one_or_none()
        )
        return found

    def since(self, since: datetime) -> tuple[Shadow, ...]:
        """Return the decisions that were made from then on, oldest first."""
        query = select(shadows.c.shadow).where(shadows.c.at >= since).order_by(shadows.c.at, shadows.c.incident)
        return tuple(self._database.read("read decisions in shadow", lambda c: c.execute(query).scalars().all()))
