"""The store's memory twin: small, hand-written, and held to the same contract suite as the real one."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from agent.errors import StoreError
from agent.model import (
    Attempt,
    Closing,
    Delivery,
    Diagnosis,
    Hold,
    Incident,
    IncidentId,
    IncidentState,
    Notice,
    Origin,
    Outcome,
    Plan,
    PlaybookRun,
    Recorded,
    Refusal,
    Request,
    RequestAnswer,
    Service,
    ServiceName,
    ServiceRecord,
    StoryEvent,
    StoryKind,
    Streak,
    SweepReport,
    Verdict,
)
from agent.ports import Store


def memory_store() -> Store:
    """Return an empty store that lives as long as it is held. Safe to share between threads."""
    lock = threading.RLock()
    incidents = MemoryIncidents(lock)
    return Store(
        services=MemoryServices(lock),
        incidents=incidents,
        attempts=MemoryAttempts(lock, incidents),
        sweeps=MemorySweeps(),
        story=MemoryStory(lock, incidents),
        outbox=MemoryOutbox(lock),
        requests=MemoryRequests(lock),
    )


class MemoryServices:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
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

    def seen_well(
        self, service: ServiceName, *, image_id: str | None, config_hash: str | None, container_id: str | None, now: datetime
    ) -> None:
        with self._lock:
            if service in self._records:
                self._records[service] = replace(
                    self._records[service],
                    image_id=image_id,
                    config_hash=config_hash,
                    container_id=container_id,
                    well_at=now,
                )

    def forget(self, service: ServiceName) -> None:
        with self._lock:
            for kept in (self._records, self._declared, self._streaks):
                kept.pop(service, None)

    def streaks(self, service: ServiceName) -> tuple[Streak, ...]:
        return self._streaks.get(service, ())

    def keep_streaks(self, service: ServiceName, streaks: Sequence[Streak]) -> None:
        self._streaks[service] = tuple(streaks)


class MemoryIncidents:
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self.rows: dict[IncidentId, Incident] = {}

    def open(self, service: Service, verdict: Verdict, *, fingerprint: str, now: datetime) -> tuple[Incident, bool]:
        with self._lock:
            for standing in self.unclosed(service.name):
                if standing.origin is Origin.HEARTBEAT:
                    return standing, False
            return self._insert(service, verdict, Origin.HEARTBEAT, fingerprint, now, None), True

    def request(self, service: Service, verdict: Verdict, plan: Plan, *, by: str, now: datetime) -> Incident:
        with self._lock:
            return self._insert(service, verdict, Origin.PERSON, f"{service.name} {plan.runbook} by {by}", now, plan)

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

    def next_round(self, incident: IncidentId, *, expected: int) -> bool:
        with self._lock:
            row = self.rows.get(incident)
            if row is None or row.round != expected:
                return False
            movable = (IncidentState.OPEN, IncidentState.HELD)
            return self._move(incident, movable, state=IncidentState.OPEN, round=expected + 1, hold_until=None)

    def keep_diagnosis(self, incident: IncidentId, diagnosis: Diagnosis) -> None:
        self._move(incident, tuple(IncidentState), diagnosis=diagnosis)

    def hold(self, incident: IncidentId, hold: Hold, *, until: datetime) -> bool:
        return self._move(incident, (IncidentState.OPEN,), state=IncidentState.HELD, hold=hold, hold_until=until)

    def escalate(self, incident: IncidentId, refusal: Refusal) -> bool:
        movable = (IncidentState.OPEN, IncidentState.HELD)
        return self._move(incident, movable, state=IncidentState.ESCALATED, refusal=refusal, hold_until=None)

    def close(self, incident: IncidentId, closing: Closing, *, by: str, now: datetime) -> bool:
        movable = (IncidentState.OPEN, IncidentState.HELD, IncidentState.ESCALATED)
        return self._move(
            incident,
            movable,
            state=IncidentState.CLOSED,
            closing=closing,
            closed_at=now,
            closed_by=by,
            hold_until=None,
        )

    def _insert(
        self, service: Service, verdict: Verdict, origin: Origin, fingerprint: str, now: datetime, requested: Plan | None
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
        return row

    def _move(self, incident: IncidentId, movable: tuple[IncidentState, ...], **values: object) -> bool:
        with self._lock:
            row = self.rows.get(incident)
            if row is None or row.state not in movable:
                return False
            self.rows[incident] = replace(row, **values)  # type: ignore[arg-type]  # the callers above name fields
            return True


class MemoryAttempts:
    def __init__(self, lock: threading.RLock, incidents: MemoryIncidents) -> None:
        self._lock = lock
        self._incidents = incidents

    def begin(self, incident: IncidentId, number: int, plan: Plan, *, now: datetime) -> Attempt:
        with self._lock:
            if incident not in self._incidents.rows:
                raise StoreError(f"cannot begin attempt {number} of {incident}: no such incident", transient=False)
            standing = self._all(incident).get(number)
            if standing is None:
                standing = Attempt(incident=incident, number=number, plan=plan, intent_at=now)
                self._put(standing)
            return standing

    def started(self, incident: IncidentId, number: int) -> int:
        with self._lock:
            attempt = self._one(incident, number)
            self._put(replace(attempt, runs=attempt.runs + 1))
            return attempt.runs + 1

    def ran(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if attempt.run is None:
                self._put(replace(attempt, run=run, ran_until=now))

    def end(self, incident: IncidentId, number: int, outcome: Outcome, verdict: Verdict | None, *, now: datetime) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if attempt.outcome is None:
                self._put(replace(attempt, outcome=outcome, verdict=verdict, ended_at=now))

    def undone(self, incident: IncidentId, number: int, run: PlaybookRun, *, now: datetime) -> None:
        with self._lock:
            attempt = self._one(incident, number)
            if attempt.undo is None:
                self._put(replace(attempt, undo=run))

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


class MemorySweeps:
    def __init__(self) -> None:
        self._reports: tuple[SweepReport, ...] = ()

    def keep(self, report: SweepReport) -> None:
        self._reports = (report, *self._reports)

    def latest(self, limit: int = 20) -> tuple[SweepReport, ...]:
        return self._reports[:limit]

    def prune(self, *, before: datetime) -> int:
        kept = tuple(report for report in self._reports if report.at >= before)
        pruned = len(self._reports) - len(kept)
        self._reports = kept
        return pruned


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
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._rows: dict[tuple[str, str], Delivery] = {}

    def post(self, notice: Notice, channels: Sequence[str]) -> None:
        with self._lock:
            for channel in channels:
                row = Delivery(id=len(self._rows) + 1, channel=channel, notice=notice, tries=0, next_try=notice.at)
                self._rows.setdefault((notice.dedup_key, channel), row)

    def due(self, now: datetime, limit: int = 20) -> tuple[Delivery, ...]:
        with self._lock:
            open_rows = [row for row in self._rows.values() if row.delivered_at is None]
            waiting = {row.channel for row in open_rows if row.next_try > now}
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
    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._asked: dict[str, Request] = {}
        self._waiting: list[str] = []
        self._answers: dict[str, RequestAnswer] = {}

    def ask(self, request: Request) -> None:
        with self._lock:
            if request.id not in self._asked:
                self._asked[request.id] = request
                self._waiting.append(request.id)

    def claim(self, now: datetime) -> Request | None:
        with self._lock:
            return self._asked[self._waiting.pop(0)] if self._waiting else None

    def answer(self, answer: RequestAnswer) -> None:
        with self._lock:
            if answer.request in self._asked:
                self._answers.setdefault(answer.request, answer)

    def answered(self, request: str) -> RequestAnswer | None:
        return self._answers.get(request)
