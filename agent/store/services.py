"""Services: their declarations, their desired state, how they looked when last WELL, and their streaks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from agent import audit
from agent.model import AuditKind, Recorded, Service, ServiceName, ServiceRecord, Streak
from agent.store.audit import append
from agent.store.database import Database
from agent.store.tables import services
from agent.store.tables import streaks as streak_rows


class Services:
    """`ports.ServiceStore` over SQL. Setting what a forgotten service should be changes nothing: it has no row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, service: ServiceName) -> ServiceRecord | None:
        """Return what is kept of one service."""
        query = select(services).where(services.c.name == service)
        row = self._database.read(f"read service {service!r}", lambda c: c.execute(query).one_or_none())
        return _record(row) if row else None

    def records(self) -> tuple[ServiceRecord, ...]:
        """Return all, ordered by service."""
        return tuple(_record(row) for row in self._rows())

    def service(self, service: ServiceName) -> Service | None:
        """Return the declaration that was enrolled."""
        query = select(services.c.declaration).where(services.c.name == service)
        found: Service | None = self._database.read(
            f"read service {service!r}", lambda c: c.execute(query).scalar_one_or_none()
        )
        return found

    def services(self) -> tuple[Service, ...]:
        """Return every enrolled declaration, ordered by name."""
        return tuple(row.declaration for row in self._rows())

    def enrol(self, service: Service, *, now: datetime) -> None:
        """Keep a declaration: as RUNNING if the service is new, leaving its status alone if it is not."""

        def keep(connection: Connection) -> None:
            known = update(services).where(services.c.name == service.name)
            if connection.execute(known.values(declaration=service)).rowcount:
                return
            connection.execute(
                insert(services).values(
                    name=service.name,
                    declaration=service,
                    status=Recorded.RUNNING,
                    since=now,
                    set_by="medic",
                    diagnostic="",
                )
            )

        self._database.write(f"enrol service {service.name!r}", keep)

    def set_status(self, service: ServiceName, status: Recorded, *, by: str, diagnostic: str, now: datetime) -> None:
        """Change the desired state."""
        change = (
            update(services)
            .where(services.c.name == service)
            .values(status=status, set_by=by, diagnostic=diagnostic, since=now)
        )
        entry = audit.by_person(AuditKind.STATUS, by, service=service, status=status, diagnostic=diagnostic)

        def record(connection: Connection) -> None:
            if connection.execute(change).rowcount:
                append(self._database, connection, entry)

        self._database.write(f"record service {service!r} as {status.value}", record)

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
        """Remember how the service looked when WELL: the base of "what changed"."""
        change = (
            update(services)
            .where(services.c.name == service)
            .values(image_id=image_id, config_hash=config_hash, container_id=container_id, environment=environment, well_at=now)
        )
        self._database.write(f"remember how {service!r} looks when well", lambda c: c.execute(change))

    def forget(self, service: ServiceName) -> None:
        """Drop a service that a person no longer declares. Its incidents stay."""

        def drop(connection: Connection) -> None:
            connection.execute(delete(services).where(services.c.name == service))
            connection.execute(delete(streak_rows).where(streak_rows.c.service == service))

        self._database.write(f"forget service {service!r}", drop)

    def streaks(self, service: ServiceName) -> tuple[Streak, ...]:
        """Return the current streak of each of its checks."""
        query = select(streak_rows.c.streaks).where(streak_rows.c.service == service)
        kept: tuple[Streak, ...] | None = self._database.read(
            f"read the streaks of {service!r}", lambda c: c.execute(query).scalar_one_or_none()
        )
        return kept or ()

    def all_streaks(self) -> dict[ServiceName, tuple[Streak, ...]]:
        """Return those of every service that has some, in one look."""
        rows = self._database.read("read the streaks", lambda c: c.execute(select(streak_rows)).all())
        return {ServiceName(row.service): row.streaks for row in rows}

    def keep_streaks(self, service: ServiceName, streaks: Sequence[Streak]) -> None:
        """Replace the streaks."""

        def replace(connection: Connection) -> None:
            known = update(streak_rows).where(streak_rows.c.service == service)
            if not connection.execute(known.values(streaks=tuple(streaks))).rowcount:
                connection.execute(insert(streak_rows).values(service=service, streaks=tuple(streaks)))

        self._database.write(f"keep the streaks of {service!r}", replace)

    def _rows(self) -> Sequence[Row[Any]]:
        # Sorted here: what "ordered" means to Postgres depends on the locale it was made with.
        rows = self._database.read("read the services", lambda c: c.execute(select(services)).all())
        return sorted(rows, key=lambda row: str(row.name))


def _record(row: Row[Any]) -> ServiceRecord:
    declared: Service = row.declaration
    return ServiceRecord(
        service=declared.name,
        host=declared.host,
        container=declared.container,
        status=row.status,
        since=row.since,
        by=row.set_by,
        diagnostic=row.diagnostic,
        image_id=row.image_id,
        config_hash=row.config_hash,
        container_id=row.container_id,
        environment=row.environment,
        well_at=row.well_at,
    )
