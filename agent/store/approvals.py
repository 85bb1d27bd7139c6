"""Requests for a person's word on one plan. An answer is one compare-and-set: only what still waits can be answered."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, insert, select, update

from agent import audit
from agent.errors import StoreError
from agent.model import Answer, Approval, IncidentId, IncidentState, Plan, ServiceName
from agent.store.audit import append
from agent.store.database import Database, incident_id, row_number
from agent.store.tables import UNANSWERED, approvals, incidents


class Approvals:
    """`ports.ApprovalStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(
        self,
        incident: IncidentId,
        number: int,
        digest: str,
        plan: Plan,
        *,
        impact: str,
        diff: str,
        now: datetime,
        expires_at: datetime,
    ) -> Approval:
        """Write the request, or return the row that stands under this key already."""
        key = {"incident": row_number(incident), "number": number, "digest": digest}
        standing = _rows().where(*(approvals.c[name] == value for name, value in key.items()))

        def ask_once(connection: Connection) -> Approval:
            row = connection.execute(standing).one_or_none()
            if row is None:
                if connection.execute(select(incidents.c.number).filter_by(number=key["incident"])).one_or_none() is None:
                    raise StoreError(f"cannot ask about {incident}: no such incident", transient=False)
                request = {"plan": plan, "impact": impact, "diff": diff, "asked_at": now, "expires_at": expires_at}
                connection.execute(insert(approvals).values(**key, **request, why=""))
                row = connection.execute(standing).one()
                append(self._database, connection, audit.approval_asked(_approval(row)))
            return _approval(row)

        return self._database.write(f"ask about attempt {number} of {incident}", ask_once)

    def get(self, id_: str) -> Approval | None:
        """Return one."""
        query = _rows().where(approvals.c.id == _row(id_))
        row = self._database.read(f"read approval {id_!r}", lambda c: c.execute(query).one_or_none())
        return _approval(row) if row else None

    def of(self, incident: IncidentId) -> tuple[Approval, ...]:
        """Return those of one incident, oldest first."""
        return self._several(_rows().where(approvals.c.incident == row_number(incident)))

    def waiting(self, now: datetime) -> tuple[Approval, ...]:
        """Return the unanswered, unexpired ones of incidents that are OPEN or HELD, oldest first."""
        return self._several(_rows().where(_waits(now)))

    def answer(self, id_: str, answer: Answer, *, by: str, why: str, now: datetime) -> bool:
        """Write the answer to one that is `waiting`. False if it is not."""

        def answer_once(connection: Connection) -> bool:
            answered = _answer(connection, _row(id_), answer, by=by, why=why, now=now) is not None
            if answered:
                append(self._database, connection, audit.approval_answered(id_, answer, by=by, why=why))
            return answered

        return self._database.write(f"answer approval {id_!r}", answer_once)

    def edit(self, id_: str, digest: str, plan: Plan, *, by: str, why: str, now: datetime) -> Approval | None:
        """Answer one that is `waiting` as EDITED and write an approved one with `plan`, both or neither. None if it is not."""

        def replace(connection: Connection) -> Approval | None:
            old = _answer(connection, _row(id_), Answer.EDITED, by=by, why=why, now=now)
            if old is None:
                return None
            number = connection.execute(
                insert(approvals)
                .values(
                    incident=old.incident,
                    number=old.number,
                    digest=digest,
                    plan=plan,
                    impact=old.impact,
                    diff="",  # the old one is of other parameters, and the person has decided without a new one
                    asked_at=now,
                    expires_at=old.expires_at,
                    edit_of=old.digest,
                    answer=Answer.APPROVED,
                    answered_by=by,
                    answered_at=now,
                    why=why,
                )
                .returning(approvals.c.id)
            ).scalar_one()
            edited = _approval(connection.execute(_rows().where(approvals.c.id == number)).one())
            append(self._database, connection, audit.approval_answered(id_, Answer.EDITED, by=by, why=why, edited=edited))
            return edited

        return self._database.write(f"edit approval {id_!r}", replace)

    def _several(self, query: Select[Any]) -> tuple[Approval, ...]:
        ordered = query.order_by(approvals.c.id)
        return tuple(_approval(row) for row in self._database.read("read the approvals", lambda c: c.execute(ordered).all()))


def _rows() -> Select[Any]:
    return select(approvals, incidents.c.service).join(incidents, incidents.c.number == approvals.c.incident)


def _waits(now: datetime) -> ColumnElement[bool]:
    in_hand = select(incidents.c.number).where(incidents.c.state.in_((IncidentState.OPEN, IncidentState.HELD)))
    return and_(UNANSWERED, approvals.c.expires_at > now, approvals.c.incident.in_(in_hand))


def _answer(connection: Connection, row: int, answer: Answer, *, by: str, why: str, now: datetime) -> Row[Any] | None:
    """Write one answer; return the row that now has it, None if it does not wait."""
    change = (
        update(approvals)
        .where(approvals.c.id == row, _waits(now))
        .values(answer=answer, answered_by=by, answered_at=now, why=why)
        .returning(approvals)
    )
    return connection.execute(change).one_or_none()


def _row(id_: str) -> int:
    """Return the row number behind an id such as `A12`; 0, which no row has, for text that is no id of ours."""
    return row_number(IncidentId(f"I{id_[1:]}")) if id_.startswith("A") else 0


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        id=f"A{row.id}",
        incident=incident_id(row.incident),
        service=ServiceName(row.service),
        number=row.number,
        digest=row.digest,
        plan=row.plan,
        impact=row.impact,
        diff=row.diff,
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        edit_of=row.edit_of,
        answer=row.answer,
        answered_by=row.answered_by,
        answered_at=row.answered_at,
        why=row.why,
    )
