"""The timeline of incidents: lines that are only ever added."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from agent.model import IncidentId, ServiceName, StoryEvent, StoryKind
from agent.store.database import Database, incident_id, row_number
from agent.store.tables import story


class Story:
    """`ports.StoryStore` over SQL. One writer at a time: an id that a reader has seen is never followed by a smaller one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tell(
        self, incident: IncidentId, service: ServiceName, kind: StoryKind, text: str, *, now: datetime, key: str | None = None
    ) -> None:
        """Write one line. The same (incident, key) twice writes once, so a repeated step does not tell twice."""
        number = row_number(incident)
        line = insert(story).values(incident=number, service=service, kind=kind, text=text, at=now, key=key)

        def tell_once(connection: Connection) -> None:
            told = select(story.c.id).where(story.c.incident == number, story.c.key == key)
            if key is None or connection.execute(told).one_or_none() is None:
                connection.execute(line)

        self._database.write(f"tell the story of {incident}", tell_once)

    def since(self, id_: int, *, incident: IncidentId | None = None, limit: int = 500) -> tuple[StoryEvent, ...]:
        """Return events with a larger id, in order."""
        query = select(story).where(story.c.id > id_).order_by(story.c.id).limit(limit)
        if incident is not None:
            query = query.where(story.c.incident == row_number(incident))
        return tuple(_event(row) for row in self._database.read("read the story", lambda c: c.execute(query).all()))


def _event(row: Row[Any]) -> StoryEvent:
    return StoryEvent(
        id=row.id,
        incident=incident_id(row.incident),
        service=ServiceName(row.service),
        at=row.at,
        kind=row.kind,
        text=row.text,
    )
