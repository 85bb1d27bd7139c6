"""The request inbox: commands ask, the one daemon claims and answers."""

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from agent import audit
from agent.model import AuditKind, Request, RequestAnswer
from agent.store.audit import append
from agent.store.database import Database
from agent.store.tables import UNCLAIMED, requests


class Requests:
    """`ports.RequestStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, request: Request) -> None:
        """Write a request. The same id twice asks once."""
        asked = select(requests.c.number).where(requests.c.id == request.id)

        def ask_once(connection: Connection) -> None:
            if connection.execute(asked).one_or_none() is None:
                connection.execute(insert(requests).values(id=request.id, request=request))
                entry = audit.by_person(AuditKind.ASKED, request.by, key=request.id, request=request)
                append(self._database, connection, entry)

        self._database.write(f"ask for {request.kind.value} of {request.service!r}", ask_once)

    def claim(self, now: datetime) -> Request | None:
        """Take the oldest unclaimed request, once."""
        oldest = select(requests.c.number, requests.c.request).where(UNCLAIMED).order_by(requests.c.number).limit(1)

        def take(connection: Connection) -> Request | None:
            row = connection.execute(oldest).one_or_none()
            if row is None:
                return None
            connection.execute(update(requests).where(requests.c.number == row.number).values(claimed_at=now))
            taken: Request = row.request
            return taken

        # Asked four times a second and nearly always empty: a look costs a tenth of a write transaction.
        if self._database.read("look for a request", lambda c: c.execute(oldest).one_or_none()) is None:
            return None
        return self._database.write("claim a request", take)

    def answer(self, answer: RequestAnswer) -> None:
        """Write what came of it. The first answer stands."""
        change = update(requests).where(requests.c.id == answer.request, requests.c.answer.is_(None)).values(answer=answer)
        entry = audit.by_person(AuditKind.ANSWERED, "medic", key=answer.request, answer=answer)

        def answer_once(connection: Connection) -> None:
            if connection.execute(change).rowcount:
                append(self._database, connection, entry)

        self._database.write(f"answer request {answer.request!r}", answer_once)

    def answered(self, request: str) -> RequestAnswer | None:
        """Return the answer, or None while there is none."""
        query = select(requests.c.answer).where(requests.c.id == request)
        found: RequestAnswer | None = self._database.read(
            f"read the answer to request {request!r}", lambda c: c.execute(query).scalar_one_or_none()
        )
        return found
