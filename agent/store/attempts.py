"""The ledger of attempts: one row per (incident, number), written before the first change and added to, never overwritten."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Column, Connection, Row, func, insert, or_, select, update

from agent import audit
from agent.errors import StoreError
from agent.model import (
    Action,
    Attempt,
    AuditKind,
    Harm,
    Hold,
    HostName,
    IncidentId,
    IncidentState,
    Origin,
    Outcome,
    Plan,
    PlaybookRun,
    Receipt,
    ServiceName,
    Tie,
    Verdict,
)
from agent.ports import Room
from agent.store.audit import append
from agent.store.database import Database, incident_id, row_number
from agent.store.tables import attempts, incidents


class Attempts:
    """`ports.AttemptStore` over SQL. Writing to an attempt that was never begun is a StoreError: a count must not be lost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, incident: IncidentId, number: int, plan: Plan, *, now: datetime) -> Attempt:
        """Write the intent row, or return the row that stands under this key already."""
        return self._database.write(
            f"begin {_name(incident, number)}",
            lambda connection: _row_of(connection, incident, number) or self._begin(connection, incident, number, plan, now),
        )

    def reserve(self, incident: IncidentId, number: int, plan: Plan, room: Room, *, now: datetime) -> Attempt | Hold:
        """Do as `begin` where `room` allows it, else write nothing and return its Hold. One transaction counts and writes."""

        def begin_if_it_fits(connection: Connection) -> Attempt | Hold:
            # There is one writer at a time, in every process: what is counted here is true until the commit.
            begun = _row_of(connection, incident, number)
            hold = None if begun else room.none_left(_actions_since(connection, room.since))
            return begun or hold or self._begin(connection, incident, number, plan, now)

        return self._database.write(f"reserve {_name(incident, number)}", begin_if_it_fits)

    def _begin(self, connection: Connection, incident: IncidentId, number: int, plan: Plan, now: datetime) -> Attempt:
        key = {"incident": row_number(incident), "number": number}
        connection.execute(insert(attempts).values(**key, plan=plan, intent_at=now, runs=0))
        append(self._database, connection, audit.of_attempt(AuditKind.INTENT, incident, number, plan=plan))
        return _attempt(connection.execute(select(attempts).filter_by(**key)).one())

    def started(self, incident: IncidentId, number: int, *, place: str) -> int:
        """Count one more start of the playbook, and from where; return how many there are now."""
        entry = partial(audit.about, AuditKind.STARTED, incident, attempt=number, place=place)
        return self._count("count a start of", incident, number, attempts.c.runs, place, lambda starts: entry(start=starts))

    def undo_started(self, incident: IncidentId, number: int, *, place: str) -> int:
        """Count one more start of the undo's playbook, and from where; return how many there are now."""
        entry = partial(audit.about, AuditKind.STARTED, incident, attempt=number, place=place)
        verb = "count a start of the undo of"
        return self._count(verb, incident, number, attempts.c.undo_runs, place, lambda starts: entry(undo_start=starts))

    def _count(
        self, verb: str, incident: IncidentId, number: int, column: Column[int], place: str, entry: Callable[[int], audit.Entry]
    ) -> int:
        key = {"incident": row_number(incident), "number": number}
        values: dict[Any, Any] = {column: func.coalesce(column, 0) + 1, attempts.c.started_at_place: place}
        one_more = update(attempts).filter_by(**key).values(values).returning(column)

        def count_one(connection: Connection) -> int:
            starts: int | None = connection.execute(one_more).scalar_one_or_none()
            if starts is None:
                raise _never_begun(verb, incident, number)
            append(self._database, connection, entry(starts))
            return starts

        return self._database.write(f"{verb} {_name(incident, number)}", count_one)

    def ran(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        """Write how the playbook ended. The first writer wins."""
        entry = audit.of_attempt(AuditKind.RAN, incident, number, run=run)
        self._write_once("write the run of", incident, number, attempts.c.run, entry, run=run, ran_until=now)

    def end(
        self,
        incident: IncidentId,
        number: int,
        outcome: Outcome,
        verdict: Verdict | None,
        *,
        now: datetime,
        receipt: Receipt | None = None,
    ) -> None:
        """Write the outcome, and into the audit the receipt of one that healed. The first writer wins."""
        saw = verdict.reasons if verdict is not None else ()
        entries = [audit.of_attempt(AuditKind.ENDED, incident, number, outcome=outcome, saw=saw)]
        entries += [audit.receipt_entry(receipt)] if receipt is not None else []
        values = {"outcome": outcome, "verdict": verdict, "ended_at": now}
        self._write_once("write the outcome of", incident, number, attempts.c.outcome, *entries, **values)

    def looked_around(self, incident: IncidentId, number: int, around: Sequence[Verdict], ties: Sequence[Tie]) -> None:
        """Write what was seen of the neighbours before the first change, and how each is tied to it. The first writer wins."""
        values = {"around": tuple(around), "ties": tuple(ties)}
        self._write_once("write what stood around", incident, number, attempts.c.around, **values)

    def harmed(self, incident: IncidentId, number: int, harm: Harm) -> None:
        """Write what it made worse. The first writer wins."""
        entry = audit.of_attempt(AuditKind.HARMED, incident, number, harm=harm)
        self._write_once("write the harm of", incident, number, attempts.c.harm, entry, harm=harm)

    def undone(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        """Write how the undo of this attempt ended. The first writer wins."""
        entry = audit.of_attempt(AuditKind.UNDONE, incident, number, run=run)
        self._write_once("write the undo of", incident, number, attempts.c.undo, entry, undo=run, undone_at=now)

    def undo_seen(self, incident: IncidentId, number: int, seen: Sequence[Verdict]) -> None:
        """Write what was seen after the undo. The first writer wins."""
        self._write_once("write what was seen after the undo of", incident, number, attempts.c.undo_seen, undo_seen=tuple(seen))

    def actions_since(self, since: datetime) -> tuple[Action, ...]:
        """Return every attempt whose intent was written since then, oldest first, but those that ended before any change."""
        return self._database.read("read the actions", lambda connection: _actions_since(connection, since))

    def _write_once(
        self, verb: str, incident: IncidentId, number: int, unwritten: Column[Any], *entries: audit.Entry, **values: object
    ) -> None:
        key = {"incident": row_number(incident), "number": number}
        change = update(attempts).filter_by(**key).where(unwritten.is_(None)).values(**values)
        standing = select(attempts.c.number).filter_by(**key)

        def write(connection: Connection) -> None:
            if connection.execute(change).rowcount:
                for entry in entries:
                    append(self._database, connection, entry)
            elif connection.execute(standing).one_or_none() is None:
                raise _never_begun(verb, incident, number)

        self._database.write(f"{verb} {_name(incident, number)}", write)


def attempts_of(connection: Connection, incident: int) -> tuple[Attempt, ...]:
    """Return the attempts of one incident in order. incident: its row number."""
    query = select(attempts).where(attempts.c.incident == incident).order_by(attempts.c.number)
    return tuple(_attempt(row) for row in connection.execute(query))


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        incident=incident_id(row.incident),
        number=row.number,
        plan=row.plan,
        intent_at=row.intent_at,
        run=row.run,
        ran_until=row.ran_until,
        runs=row.runs,
        started_at_place=row.started_at_place,
        outcome=row.outcome,
        verdict=row.verdict,
        ended_at=row.ended_at,
        around=row.around or (),
        ties=row.ties or (),
        harm=row.harm,
        undo=row.undo,
        undo_seen=row.undo_seen or (),
    )


def _row_of(connection: Connection, incident: IncidentId, number: int) -> Attempt | None:
    row = connection.execute(select(attempts).filter_by(incident=row_number(incident), number=number)).one_or_none()
    return None if row is None else _attempt(row)


def _actions_since(connection: Connection, since: datetime) -> tuple[Action, ...]:
    a, i = attempts.c, incidents.c
    is_over = or_(a.run.is_not(None), i.state != IncidentState.OPEN)
    query = (
        select(a.incident, a.number, a.plan, a.intent_at, a.ran_until, a.undone_at, a.outcome, i.service, i.host, i.origin)
        .add_columns(is_over.label("is_over"))
        .join_from(attempts, incidents, a.incident == i.number)
        .where(a.intent_at >= since)
        .order_by(a.intent_at, a.incident, a.number)
    )
    rows = connection.execute(query).all()
    return tuple(_action(row) for row in rows if row.outcome is None or row.outcome.counts)


def _action(row: Row[Any]) -> Action:
    return Action(
        incident=incident_id(row.incident),
        number=row.number,
        service=ServiceName(row.service),
        host=HostName(row.host),
        runbook=row.plan.runbook,
        at=row.intent_at,
        until=row.undone_at or row.ran_until,
        failed=row.outcome is not None and row.outcome.failed,
        by_person=row.origin is Origin.PERSON,
        under_way=row.outcome is None and not row.is_over,
    )


def _name(incident: IncidentId, number: int) -> str:
    return f"attempt {number} of {incident}"


def _never_begun(verb: str, incident: IncidentId, number: int) -> StoreError:
    return StoreError(f"cannot {verb} {_name(incident, number)}: it was never begun", transient=False)
