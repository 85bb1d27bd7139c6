"""The store's memory twin: small, hand-written, and held to the same contract suite as the real one."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent import audit as chain
from agent import codec, notices
from agent.errors import StoreError
from agent.model import (
    LONGEST_WAIT,
    Action,
    Answer,
    Approval,
    Attempt,
    AuditHead,
    AuditKind,
    AuditRow,
    Breaker,
    Closing,
    Delivery,
    Departure,
    DepartureStage,
    Diagnosis,
    ForeignRestart,
    Harm,
    Hold,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Lead,
    Ledger,
    Note,
    Notice,
    Origin,
    Outcome,
    Plan,
    PlaybookRun,
    Receipt,
    Recorded,
    Refusal,
    Request,
    RequestAnswer,
    RunbookMark,
    Service,
    ServiceName,
    ServiceRecord,
    Shadow,
    ShadowEnd,
    Silence,
    Spending,
    Start,
    Stay,
    StoryEvent,
    StoryKind,
    Streak,
    SweepReport,
    Tie,
    Verdict,
)
from agent.ports import Room, Store


def memory_store() -> Store:
    """Return an empty store that lives as long as it is held. Safe to share between threads."""
    lock = threading.RLock()
    audit = MemoryAudit(lock)
    incidents = MemoryIncidents(lock, audit)
    requests = MemoryRequests(lock, audit)
    return Store(
        services=MemoryServices(lock, audit),
        incidents=incidents,
        attempts=MemoryAttempts(lock, incidents),
        approvals=MemoryApprovals(lock, incidents),
        silences=MemorySilences(lock, audit),
        starts=MemoryStarts(lock),
        sweeps=MemorySweeps(),
        story=MemoryStory(lock, incidents),
        outbox=MemoryOutbox(lock, audit),
        requests=requests,
        runbook_standing=MemoryRunbookStanding(lock, audit),
        breakers=MemoryBreakers(lock, audit),
        foreign_restarts=MemoryForeignRestarts(lock),
        audit=audit,
        leads=MemoryLeads(lock),
        spending=MemorySpending(lock),
        departures=MemoryDepartures(lock),
        stays=MemoryStays(lock),
        memory=MemoryMemory(lock, audit),
        shadows=MemoryShadows(lock),
        ledger=MemoryLedger(incidents, requests),
        changes=MemoryChanges(),
    )


class MemoryLedger:
    def __init__(self, incidents: "MemoryIncidents", requests: "MemoryRequests") -> None:
        self._incidents = incidents
        self._requests = requests

    def read(self) -> Ledger:
        rows = self._incidents.recent(limit=100_000)
        outcomes = [attempt.outcome for row in rows for attempt in row.attempts]
        ended = Counter(outcome.value for outcome in outcomes if outcome is not None)
        return Ledger(
            opened=tuple(Counter(row.origin.value for row in rows).items()),
            closed=tuple(Counter(row.closing.value for row in rows if row.closing is not None).items()),
            attempts=tuple(ended.items()),
            under_way=outcomes.count(None),
            repairs=tuple(row.closed_at - row.opened_at for row in rows if row.closing is Closing.HEALED and row.closed_at),
            requests=self._requests.unclaimed(),
        )


class MemoryChanges:
    """It keeps no count: whoever asks has to look."""

    def stamp(self) -> int | None:
        return None


class MemoryAudit:
    """Made before the store is wanted, so it takes its times from a clock that counts rows."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: list[AuditRow] = []

    def append(self, entry: chain.Entry) -> None:
        with self._lock:
            if entry.key is not None and any((row.kind, row.key) == (entry.kind.value, entry.key) for row in self._rows):
                return
            self._rows.append(chain.link(entry, self._rows[-1] if self._rows else None, at=f"row {len(self._rows) + 1}"))

    def rows(self, after: int = 0, limit: int = 500) -> tuple[AuditRow, ...]:
        with self._lock:
            return tuple(self._rows[after : after + limit])

    def head(self) -> AuditHead | None:
        with self._lock:
            return chain.head_of(self._rows[-1]) if self._rows else None

    def receipts(self, incident: IncidentId) -> tuple[AuditRow, ...]:
        kind = AuditKind.RECEIPT.value
        return tuple(row for row in self.rows(limit=100_000) if (row.kind, row.incident) == (kind, incident))

    def latest(self, *kinds: AuditKind) -> AuditRow | None:
        words = [kind.value for kind in kinds]
        return next((row for row in reversed(self._rows) if row.kind in words), None)


class MemoryServices:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self._audit = audit
        self._records: dict[ServiceName, ServiceRecord] = {}
        self._declared: dict[ServiceName, Service] = {}
        self._streaks: dict[ServiceName, tuple[Streak, ...]] = {}

    def record(self, service: ServiceName) -> ServiceRecord | None:
        return self._records.get(service)

    def records(self) -> tuple[ServiceRecord, ...]:
        with self._lock:
            return tuple(self._records[name] for name in sorted(self._records))

    def service(self, service: ServiceName) -> Service | None:
        return self._declared.get(service)

    def services(self) -> tuple[Service, ...]:
        with self._lock:
            return tuple(self._declared[name] for name in sorted(self._declared))

    def enrol(self, service: Service, *, now: datetime) -> None:
        with self._lock:
            new = ServiceRecord(
                service=service.name,
                host=service.host,
                container=service.container,
                status=Recorded.RUNNING,
                since=now,
                by="medic",
            )
            known = self._records.get(service.name, new)
            self._records[service.name] = replace(known, host=service.host, container=service.container)
            self._declared[service.name] = service

    def set_status(self, service: ServiceName, status: Recorded, *, by: str, diagnostic: str, now: datetime) -> None:
        with self._lock:
            if service in self._records:
                self._records[service] = replace(self._records[service], status=status, by=by, diagnostic=diagnostic, since=now)
                self._audit.append(chain.by_person(AuditKind.STATUS, by, service=service, status=status, diagnostic=diagnostic))

    def seen_well(
        self,
        service: ServiceName,
        *,
        image_id: str | None,
        config_hash: str | None,
        container_id: str | None,
        environment: str | None = None,
        now: datetime,
    ) -> None:
        with self._lock:
            if service in self._records:
                self._records[service] = replace(
                    self._records[service],
                    image_id=image_id,
                    config_hash=config_hash,
                    container_id=container_id,
                    environment=environment,
                    well_at=now,
                )

    def forget(self, service: ServiceName) -> None:
        with self._lock:
            for kept in (self._records, self._declared, self._streaks):
                kept.pop(service, None)

    def streaks(self, service: ServiceName) -> tuple[Streak, ...]:
        return self._streaks.get(service, ())

    def all_streaks(self) -> dict[ServiceName, tuple[Streak, ...]]:
        with self._lock:
            return dict(self._streaks)

    def keep_streaks(self, service: ServiceName, streaks: Sequence[Streak]) -> None:
        self._streaks[service] = tuple(streaks)


class MemoryIncidents:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self.audit = audit
        self.rows: dict[IncidentId, Incident] = {}

    def open(self, service: Service, verdict: Verdict, *, fingerprint: str, now: datetime) -> tuple[Incident, bool]:
        with self._lock:
            for standing in self.unclosed(service.name):
                if standing.origin is Origin.HEARTBEAT:
                    return standing, False
            return self._insert(service, verdict, Origin.HEARTBEAT, fingerprint, now, None, "medic"), True

    def request(self, service: Service, verdict: Verdict, plan: Plan, *, by: str, now: datetime) -> Incident:
        with self._lock:
            return self._insert(service, verdict, Origin.PERSON, f"{service.name} {plan.runbook} by {by}", now, plan, by)

    def get(self, incident: IncidentId) -> Incident | None:
        return self.rows.get(incident)

    def unclosed(self, service: ServiceName | None = None) -> tuple[Incident, ...]:
        with self._lock:
            return tuple(
                row for row in self.rows.values() if row.state is not IncidentState.CLOSED and service in (None, row.service)
            )

    def recent(self, *, service: ServiceName | None = None, limit: int = 50) -> tuple[Incident, ...]:
        with self._lock:
            return tuple(row for row in reversed(self.rows.values()) if service in (None, row.service))[:limit]

    def heals_since(self, service: ServiceName, since: datetime) -> int:
        with self._lock:
            healed = (row for row in self.rows.values() if row.service == service and row.closing is Closing.HEALED)
            return sum(row.closed_at is not None and row.closed_at >= since for row in healed)

    def healed_since(self, since: datetime) -> tuple[ServiceName, ...]:
        with self._lock:
            healed = [
                (row.closed_at, row.service) for row in self.rows.values() if row.closing is Closing.HEALED and row.closed_at
            ]
            return tuple(service for at, service in sorted(healed) if at >= since)

    def opened_since(self, since: datetime, *, fingerprint: str | None = None) -> tuple[Incident, ...]:
        with self._lock:
            beaten = (row for row in self.rows.values() if row.origin is Origin.HEARTBEAT and row.opened_at >= since)
            return tuple(row for row in beaten if fingerprint in (None, row.fingerprint))

    def next_round(self, incident: IncidentId, *, expected: int) -> bool:
        with self._lock:
            row = self.rows.get(incident)
            if row is None or row.round != expected:
                return False
            movable = (IncidentState.OPEN, IncidentState.HELD)
            entry = chain.about(AuditKind.NEXT_ROUND, incident, round=expected + 1)
            return self._move(incident, movable, entry, state=IncidentState.OPEN, round=expected + 1, hold_until=None)

    def keep_diagnosis(self, incident: IncidentId, diagnosis: Diagnosis) -> None:
        self._move(incident, tuple(IncidentState), None, diagnosis=diagnosis)

    def hold(self, incident: IncidentId, hold: Hold, *, until: datetime) -> bool:
        entry = chain.about(AuditKind.HELD, incident, hold=hold, until=until)
        return self._move(incident, (IncidentState.OPEN,), entry, state=IncidentState.HELD, hold=hold, hold_until=until)

    def escalate(self, incident: IncidentId, refusal: Refusal) -> bool:
        movable = (IncidentState.OPEN, IncidentState.HELD)
        entry = chain.about(AuditKind.REFUSED, incident, refusal=refusal)
        return self._move(incident, movable, entry, state=IncidentState.ESCALATED, refusal=refusal, hold_until=None)

    def close(self, incident: IncidentId, closing: Closing, *, by: str, now: datetime) -> bool:
        movable = (IncidentState.OPEN, IncidentState.HELD, IncidentState.ESCALATED)
        return self._move(
            incident,
            movable,
            chain.about(AuditKind.CLOSED, incident, actor=by, how=closing),
            state=IncidentState.CLOSED,
            closing=closing,
            closed_at=now,
            closed_by=by,
            hold_until=None,
        )

    def _insert(
        self,
        service: Service,
        verdict: Verdict,
        origin: Origin,
        fingerprint: str,
        now: datetime,
        requested: Plan | None,
        by: str,
    ) -> Incident:
        row = Incident(
            id=IncidentId(f"I{len(self.rows) + 1}"),
            service=service.name,
            host=service.host,
            origin=origin,
            state=IncidentState.OPEN,
            opened_at=now,
            first=verdict,
            fingerprint=fingerprint,
            requested=requested,
        )
        self.rows[row.id] = row
        self.audit.append(chain.opened(row, by=by))
        return row

    def _move(
        self, incident: IncidentId, movable: tuple[IncidentState, ...], entry: chain.Entry | None, **values: object
    ) -> bool:
        with self._lock:
            row = self.rows.get(incident)
            if row is None or row.state not in movable:
                return False
            self.rows[incident] = replace(row, **values)  # type: ignore[arg-type]  # the callers above name fields
            if entry is not None:
                self.audit.append(entry)
            return True


class MemoryLeads:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._lead: Lead | None = None

    def take(self, holder: str, place: str, span: timedelta) -> Lead | None:
        with self._lock:
            now, before = datetime.now(UTC), self._lead
            if before is not None and before.expires_at > now and before.place != place:
                return None
            term = before.term + 1 if before else 1
            self._lead = Lead(holder=holder, place=place, term=term, expires_at=now + span)
            return self._lead

    def renew(self, term: int, span: timedelta) -> bool:
        with self._lock:
            if self._lead is None or self._lead.term != term:
                return False
            self._lead = replace(self._lead, expires_at=datetime.now(UTC) + span)
            return True

    def release(self, term: int) -> None:
        self.renew(term, timedelta(0))

    def standing(self) -> tuple[Lead, bool] | None:
        with self._lock:
            return None if self._lead is None else (self._lead, self._lead.expires_at > datetime.now(UTC))


class MemoryAttempts:
    def __init__(self, lock: threading.RLock, incidents: MemoryIncidents) -> None:
        self._lock = lock
        self._incidents = incidents
        self._undo_starts: dict[tuple[IncidentId, int], int] = {}
        self._undone_at: dict[tuple[IncidentId, int], datetime] = {}

    def begin(self, incident: IncidentId, number: int, plan: Plan, *, now: datetime) -> Attempt:
        with self._lock:
            if incident not in self._incidents.rows:
                raise StoreError(f"cannot begin attempt {number} of {incident}: no such incident", transient=False)
            standing = self._all(incident).get(number)
            if standing is None:
                standing = Attempt(incident=incident, number=number, plan=plan, intent_at=now)
                self._put(standing)
                self._incidents.audit.append(chain.of_attempt(AuditKind.INTENT, incident, number, plan=plan))
            return standing

    def reserve(self, incident: IncidentId, number: int, plan: Plan, room: Room, *, now: datetime) -> Attempt | Hold:
        with self._lock:
            begun = number in self._all(incident)
            hold = None if begun else room.none_left(self.actions_since(room.since))
            return hold or self.begin(incident, number, plan, now=now)

    def started(self, incident: IncidentId, number: int, *, place: str) -> int:
        with self._lock:
            attempt = self._one(incident, number)
            self._put(replace(attempt, runs=attempt.runs + 1, started_at_place=place))
            entry = chain.about(AuditKind.STARTED, incident, attempt=number, start=attempt.runs + 1, place=place)
            self._incidents.audit.append(entry)
            return attempt.runs + 1

    def ran(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if attempt.run is None:
                self._put(replace(attempt, run=run, ran_until=now))
                self._incidents.audit.append(chain.of_attempt(AuditKind.RAN, incident, number, run=run))

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
        with self._lock:
            attempt = self._one(incident, number)
            if attempt.outcome is None:
                self._put(replace(attempt, outcome=outcome, verdict=verdict, ended_at=now))
                saw = verdict.reasons if verdict is not None else ()
                self._incidents.audit.append(chain.of_attempt(AuditKind.ENDED, incident, number, outcome=outcome, saw=saw))
                if receipt is not None:
                    self._incidents.audit.append(chain.receipt_entry(receipt))

    def looked_around(self, incident: IncidentId, number: int, around: Sequence[Verdict], ties: Sequence[Tie]) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if not attempt.around:
                self._put(replace(attempt, around=tuple(around), ties=tuple(ties)))

    def harmed(self, incident: IncidentId, number: int, harm: Harm) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if attempt.harm is None:
                self._put(replace(attempt, harm=harm))
                self._incidents.audit.append(chain.of_attempt(AuditKind.HARMED, incident, number, harm=harm))

    def undo_started(self, incident: IncidentId, number: int, *, place: str) -> int:
        with self._lock:
            self._put(replace(self._one(incident, number), started_at_place=place))
            starts = self._undo_starts[incident, number] = self._undo_starts.get((incident, number), 0) + 1
            self._incidents.audit.append(
                chain.about(AuditKind.STARTED, incident, attempt=number, place=place, undo_start=starts)
            )
            return starts

    def undone(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if attempt.undo is None:
                self._put(replace(attempt, undo=run))
                self._incidents.audit.append(chain.of_attempt(AuditKind.UNDONE, incident, number, run=run))
                self._undone_at[incident, number] = now

    def undo_seen(self, incident: IncidentId, number: int, seen: Sequence[Verdict]) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if not attempt.undo_seen:
                self._put(replace(attempt, undo_seen=tuple(seen)))

    def actions_since(self, since: datetime) -> tuple[Action, ...]:
        with self._lock:
            begun = [(row, attempt) for row in self._incidents.rows.values() for attempt in row.attempts]
            actions = [
                Action(
                    incident=row.id,
                    number=attempt.number,
                    service=row.service,
                    host=row.host,
                    runbook=attempt.plan.runbook,
                    at=attempt.intent_at,
                    until=self._undone_at.get((row.id, attempt.number), attempt.ran_until),
                    failed=attempt.outcome is not None and attempt.outcome.failed,
                    by_person=row.origin is Origin.PERSON,
                    under_way=attempt.outcome is None and attempt.run is None and row.state is IncidentState.OPEN,
                )
                for row, attempt in begun
                if attempt.intent_at >= since and (attempt.outcome is None or attempt.outcome.counts)
            ]
            return tuple(sorted(actions, key=lambda action: action.at))

    def _all(self, incident: IncidentId) -> dict[int, Attempt]:
        row = self._incidents.rows.get(incident)
        return {attempt.number: attempt for attempt in row.attempts} if row else {}

    def _one(self, incident: IncidentId, number: int) -> Attempt:
        attempt = self._all(incident).get(number)
        if attempt is None:
            raise StoreError(f"cannot write attempt {number} of {incident}: it was never begun", transient=False)
        return attempt

    def _put(self, attempt: Attempt) -> None:
        changed = self._all(attempt.incident) | {attempt.number: attempt}
        ordered = tuple(changed[number] for number in sorted(changed))
        self._incidents.rows[attempt.incident] = replace(self._incidents.rows[attempt.incident], attempts=ordered)


class MemoryApprovals:
    def __init__(self, lock: threading.RLock, incidents: MemoryIncidents) -> None:
        self._lock = lock
        self._incidents = incidents
        self._rows: dict[str, Approval] = {}

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
        with self._lock:
            standing = next((row for row in self.of(incident) if (row.number, row.digest) == (number, digest)), None)
            if incident not in self._incidents.rows:
                raise StoreError(f"cannot ask about {incident}: no such incident", transient=False)
            new = Approval(
                id=f"A{len(self._rows) + 1}",
                incident=incident,
                service=self._incidents.rows[incident].service,
                number=number,
                digest=digest,
                plan=plan,
                impact=impact,
                diff=diff,
                asked_at=now,
                expires_at=expires_at,
            )
            self._incidents.audit.append(chain.approval_asked(standing or new))
            return standing or self._rows.setdefault(new.id, new)

    def get(self, id_: str) -> Approval | None:
        return self._rows.get(id_)

    def of(self, incident: IncidentId) -> tuple[Approval, ...]:
        with self._lock:
            return tuple(row for row in self._rows.values() if row.incident == incident)

    def waiting(self, now: datetime) -> tuple[Approval, ...]:
        with self._lock:
            in_hand = (IncidentState.OPEN, IncidentState.HELD)
            return tuple(
                row
                for row in self._rows.values()
                if row.answer is None and row.expires_at > now and self._incidents.rows[row.incident].state in in_hand
            )

    def answer(self, id_: str, answer: Answer, *, by: str, why: str, now: datetime) -> bool:
        with self._lock:
            waits = next((row for row in self.waiting(now) if row.id == id_), None)
            if waits is not None:
                self._rows[id_] = replace(waits, answer=answer, answered_by=by, answered_at=now, why=why)
                self._incidents.audit.append(chain.approval_answered(id_, answer, by=by, why=why))
            return waits is not None

    def edit(self, id_: str, digest: str, plan: Plan, *, by: str, why: str, now: datetime) -> Approval | None:
        with self._lock:
            if not self.answer(id_, Answer.EDITED, by=by, why=why, now=now):
                return None
            old = self._rows[id_]
            new = replace(old, id=f"A{len(self._rows) + 1}", digest=digest, plan=plan, diff="", asked_at=now)
            self._rows[new.id] = replace(new, edit_of=old.digest, answer=Answer.APPROVED)
            return self._rows[new.id]


class MemoryBreakers:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self._audit = audit
        self._rows: list[Breaker] = []

    def open(self, scope: str, *, because: str, services: Sequence[ServiceName], now: datetime) -> tuple[Breaker, bool]:
        with self._lock:
            standing = self._standing(scope)
            if standing is not None:
                return standing, False
            self._rows.append(Breaker(scope=scope, opened_at=now, because=because, services=tuple(services)))
            entry = chain.by_person(AuditKind.BREAKER, "medic", scope=scope, because=because, services=tuple(services))
            self._audit.append(entry)
            return self._rows[-1], True

    def names(self, scope: str, incident: IncidentId) -> None:
        self._change(scope, incident=incident)

    def standing(self) -> tuple[Breaker, ...]:
        with self._lock:
            return tuple(row for row in self._rows if row.reset_at is None)

    def reset(self, scope: str, *, by: str, why: str, now: datetime) -> Breaker | None:
        changed = self._change(scope, reset_at=now, reset_by=by, reset_why=why)
        if changed is not None:
            self._audit.append(chain.by_person(AuditKind.BREAKER, by, scope=scope, reset_because=why))
        return changed

    def last_reset(self, scope: str) -> datetime | None:
        with self._lock:
            return max((row.reset_at for row in self._rows if row.scope == scope and row.reset_at is not None), default=None)

    def _standing(self, scope: str) -> Breaker | None:
        return next((row for row in self._rows if row.scope == scope and row.reset_at is None), None)

    def _change(self, scope: str, **values: object) -> Breaker | None:
        with self._lock:
            row = self._standing(scope)
            if row is None:
                return None
            changed = replace(row, **values)  # type: ignore[arg-type]  # the callers above name fields
            self._rows[self._rows.index(row)] = changed
            return changed


class MemoryForeignRestarts:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[tuple[HostName, str, datetime], ForeignRestart] = {}

    def keep(self, host: HostName, restarts: Sequence[ForeignRestart]) -> None:
        with self._lock:
            for restart in restarts:
                self._rows.setdefault((host, restart.container, restart.at), restart)

    def since(self, host: HostName, container: str, since: datetime) -> tuple[ForeignRestart, ...]:
        with self._lock:
            found = [row for key, row in self._rows.items() if key[:2] == (host, container) and row.at >= since]
            return tuple(sorted(found, key=lambda row: row.at))

    def prune(self, *, before: datetime) -> int:
        with self._lock:
            old = [key for key, row in self._rows.items() if row.at < before]
            for key in old:
                del self._rows[key]
            return len(old)


class MemorySilences:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self._audit = audit
        self._rows: list[Silence] = []
        self._ended: set[int] = set()

    def begin(self, service: ServiceName | None, *, why: str, by: str, now: datetime, until: datetime) -> Silence:
        with self._lock:
            row = Silence(id=len(self._rows) + 1, service=service, why=why, by=by, since=now, until=until)
            self._rows.append(row)
            self._audit.append(chain.by_person(AuditKind.SILENCED, by, silence=row))
            return row

    def active(self, now: datetime) -> tuple[Silence, ...]:
        with self._lock:
            return tuple(row for row in self._rows if row.id not in self._ended and row.until > now)

    def end(self, silence: int, *, by: str, now: datetime) -> bool:
        with self._lock:
            ends = any(row.id == silence for row in self.active(now))
            self._ended |= {silence} if ends else set()
            if ends:
                self._audit.append(chain.by_person(AuditKind.UNSILENCED, by, silence=silence))
            return ends


class MemoryStarts:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._starts: dict[ServiceName, tuple[Start, ...]] = {}
        self._flips: dict[ServiceName, tuple[datetime, ...]] = {}

    def learn(self, service: ServiceName, start: Start) -> None:
        with self._lock:
            known = self._starts.get(service, ())
            if all(each.started_at != start.started_at for each in known):
                self._starts[service] = (*known, start)[-50:]

    def of(self, service: ServiceName) -> tuple[Start, ...]:
        return self._starts.get(service, ())

    def flip(self, service: ServiceName, *, now: datetime) -> None:
        with self._lock:
            self._flips[service] = (*self._flips.get(service, ()), now)[-20:]

    def flips(self, service: ServiceName) -> tuple[datetime, ...]:
        return self._flips.get(service, ())


class MemorySweeps:
    def __init__(self) -> None:
        self._reports: tuple[SweepReport, ...] = ()

    def keep(self, report: SweepReport) -> None:
        self._reports = (report, *self._reports)

    def latest(self, limit: int = 20) -> tuple[SweepReport, ...]:
        return self._reports[:limit]

    def prune(self, *, before: datetime, most_bytes: int) -> int:
        young = [report for report in self._reports if report.at >= before]
        sizes = itertools.accumulate(len(codec.dumps(report)) for report in young)
        kept = tuple(report for report, size in zip(young, sizes, strict=True) if size <= most_bytes)
        pruned = len(self._reports) - len(kept)
        self._reports = kept
        return pruned

    def size(self) -> int:
        return sum(len(codec.dumps(report)) for report in self._reports)


class MemoryStory:
    def __init__(self, lock: threading.RLock, incidents: MemoryIncidents) -> None:
        self._lock = lock
        self._incidents = incidents
        self._events: list[StoryEvent] = []
        self._told: set[tuple[IncidentId, str]] = set()

    def tell(
        self, incident: IncidentId, service: ServiceName, kind: StoryKind, text: str, *, now: datetime, key: str | None = None
    ) -> None:
        with self._lock:
            if incident not in self._incidents.rows:
                raise StoreError(f"cannot tell the story of {incident}: no such incident", transient=False)
            if key is not None:
                if (incident, key) in self._told:
                    return
                self._told.add((incident, key))
            self._events.append(
                StoryEvent(id=len(self._events) + 1, incident=incident, service=service, at=now, kind=kind, text=text)
            )

    def since(self, id_: int, *, incident: IncidentId | None = None, limit: int = 500) -> tuple[StoryEvent, ...]:
        with self._lock:
            return tuple(event for event in self._events if event.id > id_ and incident in (None, event.incident))[:limit]


class MemoryOutbox:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self._audit = audit
        self._rows: dict[tuple[str, str], Delivery] = {}

    def post(self, notice: Notice, channels: Sequence[str]) -> None:
        with self._lock:
            stamped = notices.stamped(notice, self._audit.head())
            for channel in channels:
                row = Delivery(id=len(self._rows) + 1, channel=channel, notice=stamped, tries=0, next_try=notice.at)
                self._rows.setdefault((notice.dedup_key, channel), row)

    def due(self, now: datetime, limit: int = 20) -> tuple[Delivery, ...]:
        with self._lock:
            open_rows = [row for row in self._rows.values() if row.delivered_at is None]
            waiting = {row.channel for row in open_rows if now < row.next_try <= now + LONGEST_WAIT}
            return tuple(row for row in open_rows if row.channel not in waiting)[:limit]

    def delivered(self, id_: int, *, now: datetime) -> None:
        self._change(id_, lambda row: replace(row, delivered_at=now))

    def put_off(self, id_: int, *, error: str, next_try: datetime) -> None:
        self._change(id_, lambda row: replace(row, tries=row.tries + 1, last_error=error, next_try=next_try))

    def undelivered(self) -> int:
        with self._lock:
            return sum(row.delivered_at is None for row in self._rows.values())

    def _change(self, id_: int, change: Callable[[Delivery], Delivery]) -> None:
        with self._lock:
            for key, row in self._rows.items():
                if row.id == id_ and row.delivered_at is None:
                    self._rows[key] = change(row)


class MemoryRequests:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self._audit = audit
        self._asked: dict[str, Request] = {}
        self._waiting: list[str] = []
        self._answers: dict[str, RequestAnswer] = {}

    def ask(self, request: Request) -> None:
        with self._lock:
            if request.id not in self._asked:
                self._asked[request.id] = request
                self._waiting.append(request.id)
                self._audit.append(chain.by_person(AuditKind.ASKED, request.by, key=request.id, request=request))

    def claim(self, now: datetime) -> Request | None:
        with self._lock:
            return self._asked[self._waiting.pop(0)] if self._waiting else None

    def answer(self, answer: RequestAnswer) -> None:
        with self._lock:
            if answer.request in self._asked:
                self._answers.setdefault(answer.request, answer)
                self._audit.append(chain.by_person(AuditKind.ANSWERED, "medic", key=answer.request, answer=answer))

    def answered(self, request: str) -> RequestAnswer | None:
        return self._answers.get(request)

    def unclaimed(self) -> int:
        return len(self._waiting)


class MemoryRunbookStanding:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self._audit = audit
        self._marks: dict[str, RunbookMark] = {}

    def note(self, mark: RunbookMark) -> None:
        with self._lock:
            self._marks.setdefault(mark.key, mark)
            self._audit.append(chain.by_person(AuditKind.RUNBOOK_TRUST, "medic", key=mark.key, mark=mark))

    def marks(self, hashes: Sequence[str]) -> tuple[RunbookMark, ...]:
        with self._lock:
            return tuple(mark for mark in self._marks.values() if mark.hash in hashes)


class MemoryMemory:
    def __init__(self, lock: threading.RLock, audit: "MemoryAudit") -> None:
        self._lock = lock
        self._audit = audit
        self._ids = itertools.count(1)
        self._notes: dict[int, Note] = {}
        self._forgotten: dict[str, datetime] = {}

    def note(self, fingerprint: str, service: ServiceName, text: str, *, by: str, now: datetime, until: datetime) -> Note:
        with self._lock:
            made = Note(id=next(self._ids), fingerprint=fingerprint, service=service, text=text, by=by, at=now, until=until)
            self._notes[made.id] = made
            self._audit.append(chain.noted(made))
            return made

    def notes(self, now: datetime) -> tuple[Note, ...]:
        with self._lock:
            return tuple(note for note in self._notes.values() if note.until > now)

    def withdraw(self, note: int, *, by: str, now: datetime) -> bool:
        with self._lock:
            found = any(each.id == note for each in self.notes(now))
            if found:
                del self._notes[note]
                self._audit.append(chain.by_person(AuditKind.FORGOTTEN, by, note=note))
            return found

    def forget(self, fingerprint: str, *, by: str, why: str, now: datetime) -> int:
        with self._lock:
            self._forgotten[fingerprint] = max(now, self._forgotten.get(fingerprint, now))
            gone = [note.id for note in self._notes.values() if note.fingerprint == fingerprint]
            for id_ in gone:
                del self._notes[id_]
            payload = {"fingerprint": fingerprint, "why": why, "notes": len(gone)}
            self._audit.append(chain.by_person(AuditKind.FORGOTTEN, by, **payload))
            return len(gone)

    def forgotten(self) -> dict[str, datetime]:
        with self._lock:
            return dict(self._forgotten)

    def prune(self, now: datetime) -> int:
        with self._lock:
            over = [note.id for note in self._notes.values() if note.until <= now]
            for id_ in over:
                del self._notes[id_]
            return len(over)


class MemoryShadows:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[IncidentId, Shadow] = {}

    def decided(self, shadow: Shadow) -> None:
        with self._lock:
            self._rows.setdefault(shadow.incident, shadow)

    def ended(self, incident: IncidentId, end: ShadowEnd) -> None:
        with self._lock:
            row = self._rows.get(incident)
            if row is not None and row.ended is None:
                self._rows[incident] = replace(row, ended=end)

    def of(self, incident: IncidentId) -> Shadow | None:
        return self._rows.get(incident)

    def since(self, since: datetime) -> tuple[Shadow, ...]:
        with self._lock:
            return tuple(sorted((row for row in self._rows.values() if row.at >= since), key=lambda row: row.at))


class MemorySpending:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[str, Spending] = {}

    def reserve(self, spending: Spending, since: datetime, no_room: Callable[[Sequence[Spending]], str | None]) -> str | None:
        with self._lock:
            if spending.key in self._rows:
                return None
            objection = no_room(self.since(since))
            if objection is None:
                self._rows[spending.key] = spending
            return objection

    def bill(self, spending: Spending) -> bool:
        with self._lock:
            reserved = self._rows.get(spending.key)
            if reserved is None or reserved.billed:
                return False
            self._rows[spending.key] = spending
            return True

    def since(self, since: datetime) -> tuple[Spending, ...]:
        with self._lock:
            return tuple(sorted((row for row in self._rows.values() if row.at >= since), key=lambda row: row.at))

    def of(self, incident: IncidentId) -> tuple[Spending, ...]:
        with self._lock:
            return tuple(sorted((row for row in self._rows.values() if row.incident == incident), key=lambda row: row.at))


class MemoryStays:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[str, Stay] = {}

    def note(self, stays: Sequence[Stay]) -> None:
        with self._lock:
            for each in stays:
                known = self._rows.get(each.instance)
                self._rows[each.instance] = each if known is None else known.with_(each)

    def since(self, at: datetime) -> tuple[Stay, ...]:
        with self._lock:
            found = (row for row in self._rows.values() if row.seen_at >= at)
            return tuple(sorted(found, key=lambda row: (row.began_at, row.instance)))


class MemoryDepartures:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[str, Departure] = {}

    def change(self, instance: str, to: Callable[[Departure | None], Departure | None]) -> tuple[Departure | None, bool]:
        with self._lock:
            before = self._rows.get(instance)
            after = to(before)
            if after is None or after == before:
                return before, False
            self._rows[instance] = after
            return after, True

    def of(self, incident: IncidentId) -> Departure | None:
        with self._lock:
            return next((row for row in self._rows.values() if row.incident == incident), None)

    def standing(self) -> tuple[Departure, ...]:
        with self._lock:
            going = (row for row in self._rows.values() if row.stage is not DepartureStage.OVER)
            return tuple(sorted(going, key=lambda row: row.heard_at))

    def latest(self, limit: int = 500) -> tuple[Departure, ...]:
        with self._lock:
            return tuple(sorted(self._rows.values(), key=lambda row: (row.heard_at, row.instance))[-limit:])

    def give_up(
        self, going: Departure, why_not: Callable[[Sequence[Departure]], Refusal | None]
    ) -> tuple[Departure, Refusal | None]:
        with self._lock:
            before = self._rows.get(going.instance)
            if before is not None and before.stage is not DepartureStage.AT_RISK:
                return before, None
            refusal = why_not(self.latest())
            if refusal is not None:
                return before or going, refusal
            after = going if before is None else replace(going, heard_at=before.heard_at, why=f"{before.why}, {going.why}")
            self._rows[going.instance] = after
            return after, None
