"""Incidents. Each change of state is one compare-and-set: `UPDATE ... WHERE state = what it was`, then one row or none."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select, update

from agent import audit
from agent.model import (
    AuditKind,
    Closing,
    Diagnosis,
    Hold,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Origin,
    Plan,
    Refusal,
    Service,
    ServiceName,
    Verdict,
)
from agent.store.attempts import attempts_of
from agent.store.audit import append
from agent.store.database import Database, incident_id, row_number
from agent.store.tables import HEALED, UNCLOSED, incidents


class Incidents:
    """`ports.IncidentStore` over SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, service: Service, verdict: Verdict, *, fingerprint: str, now: datetime) -> tuple[Incident, bool]:
        """Return the service's unclosed incident of origin HEARTBEAT and False, or open one and return it and True."""
        standing = select(incidents).where(
            incidents.c.service == service.name, incidents.c.origin == Origin.HEARTBEAT, UNCLOSED
        )

        def open_one(connection: Connection) -> tuple[Incident, bool]:
            found = _first(connection, standing)
            if found is not None:
                return found, False
            fresh = _insert(connection, service, verdict, Origin.HEARTBEAT, fingerprint=fingerprint, now=now)
            append(self._database, connection, audit.opened(fresh, by="medic"))
            return fresh, True

        return self._database.write(f"open an incident of {service.name!r}", open_one)

    def request(self, service: Service, verdict: Verdict, plan: Plan, *, by: str, now: datetime) -> Incident:
        """Open an incident of origin PERSON that carries out `plan` once. It stands beside the heartbeat's own incidents."""
        fingerprint = f"{service.name} {plan.runbook} by {by}"

        def open_one(connection: Connection) -> Incident:
            fresh = _insert(connection, service, verdict, Origin.PERSON, fingerprint=fingerprint, now=now, requested=plan)
            append(self._database, connection, audit.opened(fresh, by=by))
            return fresh

        return self._database.write(f"open the incident that {by!r} asked for", open_one)

    def get(self, incident: IncidentId) -> Incident | None:
        """Return one with its attempts in order."""
        query = select(incidents).where(incidents.c.number == row_number(incident))
        return self._database.read(f"read incident {incident}", lambda c: _first(c, query))

    def unclosed(self, service: ServiceName | None = None) -> tuple[Incident, ...]:
        """Return incidents that are not CLOSED, oldest first."""
        query = select(incidents).where(UNCLOSED).order_by(incidents.c.number)
        return self._several(query if service is None else query.where(incidents.c.service == service))

    def recent(self, *, service: ServiceName | None = None, limit: int = 50) -> tuple[Incident, ...]:
        """Return incidents, newest first."""
        query = select(incidents).order_by(incidents.c.number.desc()).limit(limit)
        return self._several(query if service is None else query.where(incidents.c.service == service))

    def heals_since(self, service: ServiceName, since: datetime) -> int:
        """Count incidents of the service that closed as HEALED since then."""
        query = select(func.count()).where(incidents.c.service == service, incidents.c.closed_at >= since, HEALED)
        return self._database.read(f"count the heals of {service!r}", lambda c: c.execute(query).scalar_one())

    def healed_since(self, since: datetime) -> tuple[ServiceName, ...]:
        """Return the services of the incidents that closed as HEALED since then, in the order they closed."""
        query = select(incidents.c.service).where(incidents.c.closed_at >= since, HEALED).order_by(incidents.c.closed_at)
        rows = self._database.read("read what was healed", lambda c: c.execute(query).scalars().all())
        return tuple(ServiceName(name) for name in rows)

    def opened_since(self, since: datetime, *, fingerprint: str | None = None) -> tuple[Incident, ...]:
        """Return incidents of origin HEARTBEAT that were opened since then, oldest first; with `fingerprint`, only those."""
        table = incidents.c
        query = select(incidents).where(table.opened_at >= since, table.origin == Origin.HEARTBEAT).order_by(table.number)
        return self._several(query if fingerprint is None else query.where(table.fingerprint == fingerprint))

    def next_round(self, incident: IncidentId, *, expected: int) -> bool:
        """HELD or OPEN -> OPEN with round expected + 1. False if someone was first. What held it stays readable."""
        return self._move(
            incident,
            incidents.c.state.in_((IncidentState.HELD, IncidentState.OPEN)) & (incidents.c.round == expected),
            entry=audit.about(AuditKind.NEXT_ROUND, incident, round=expected + 1),
            state=IncidentState.OPEN,
            round=expected + 1,
            hold_until=None,
        )

    def keep_diagnosis(self, incident: IncidentId, diagnosis: Diagnosis) -> None:
        """Keep the latest diagnosis."""
        change = update(incidents).where(incidents.c.number == row_number(incident)).values(diagnosis=diagnosis)
        self._database.write(f"keep the diagnosis of {incident}", lambda c: c.execute(change))

    def hold(self, incident: IncidentId, hold: Hold, *, until: datetime) -> bool:
        """OPEN -> HELD."""
        return self._move(
            incident,
            incidents.c.state == IncidentState.OPEN,
            entry=audit.about(AuditKind.HELD, incident, hold=hold, until=until),
            state=IncidentState.HELD,
            hold=hold,
            hold_until=until,
        )

    def escalate(self, incident: IncidentId, refusal: Refusal) -> bool:
        """OPEN or HELD -> ESCALATED. False if it already was."""
        return self._move(
            incident,
            incidents.c.state.in_((IncidentState.OPEN, IncidentState.HELD)),
            entry=audit.about(AuditKind.REFUSED, incident, refusal=refusal),
            state=IncidentState.ESCALATED,
            refusal=refusal,
            hold_until=None,
        )

    def close(self, incident: IncidentId, closing: Closing, *, by: str, now: datetime) -> bool:
        """Anything unclosed -> CLOSED. False if it already was."""
        return self._move(
            incident,
            incidents.c.state != IncidentState.CLOSED,
            entry=audit.about(AuditKind.CLOSED, incident, actor=by, how=closing),
            state=IncidentState.CLOSED,
            closing=closing,
            closed_at=now,
            closed_by=by,
            hold_until=None,
        )

    def _move(
        self,
        incident: IncidentId,
        only_if: ColumnElement[bool],
        *,
        entry: audit.Entry,
        state: IncidentState,
        **values: object,
    ) -> bool:
        change = update(incidents).where(incidents.c.number == row_number(incident), only_if).values(state=state, **values)

        def move(connection: Connection) -> bool:
            moved = connection.execute(change).rowcount == 1
            if moved:
                append(self._database, connection, entry)
            return moved

        return self._database.write(f"move {incident} to {state.value}", move)

    def _several(self, query: Select[Any]) -> tuple[Incident, ...]:
        return self._database.read("read the incidents", lambda c: tuple(_incident(c, row) for row in c.execute(query).all()))


def _first(connection: Connection, query: Select[Any]) -> Incident | None:
    row = connection.execute(query).one_or_none()
    return _incident(connection, row) if row else None


def _insert(
    connection: Connection,
    service: Service,
    verdict: Verdict,
    origin: Origin,
    *,
    fingerprint: str,
    now: datetime,
    requested: Plan | None = None,
) -> Incident:
    number = connection.execute(
        insert(incidents)
        .values(
            service=service.name,
            host=service.host,
            origin=origin,
            state=IncidentState.OPEN,
            opened_at=now,
            first=verdict,
            fingerprint=fingerprint,
            round=1,
            requested=requested,
        )
        .returning(incidents.c.number)
    ).scalar_one()
    return _incident(connection, connection.execute(select(incidents).where(incidents.c.number == number)).one())


def _incident(connection: Connection, row: Row[Any]) -> Incident:
    return Incident(
        id=incident_id(row.number),
        service=ServiceName(row.service),
        host=HostName(row.host),
        origin=row.origin,
        state=row.state,
        opened_at=row.opened_at,
        first=row.first,
        fingerprint=row.fingerprint,
        round=row.round,
        attempts=attempts_of(connection, row.number),
        diagnosis=row.diagnosis,
        hold=row.hold,
        hold_until=row.hold_until,
        refusal=row.refusal,
        requested=row.requested,
        closing=row.closing,
        closed_at=row.closed_at,
        closed_by=row.closed_by,
    )
