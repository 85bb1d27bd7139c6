"""The store: every query group over one database."""

from collections.abc import Callable
from dataclasses import dataclass

from agent import ports
from agent.redact import Redactor
from agent.store import lead
from agent.store.approvals import Approvals
from agent.store.attempts import Attempts
from agent.store.audit import Audit
from agent.store.breakers import Breakers
from agent.store.changes import Changes
from agent.store.database import Database
from agent.store.departures import Departures
from agent.store.foreign_restarts import ForeignRestarts
from agent.store.incidents import Incidents
from agent.store.ledger import Ledgers
from agent.store.memory import Memory
from agent.store.opening import open_database
from agent.store.outbox import Outbox
from agent.store.requests import Requests
from agent.store.runbook_standing import RunbookStanding
from agent.store.services import Services
from agent.store.shadows import Shadows
from agent.store.silences import Silences
from agent.store.spending import Spendings
from agent.store.starts import Starts
from agent.store.stays import Stays
from agent.store.story import Story
from agent.store.sweeps import Sweeps


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStore(ports.Store):
    """A `ports.Store` that holds connections until `close`."""

    database: Database

    def close(self) -> None:
        """Close every connection. What was acknowledged is durable already."""
        self.database.close()


def open_store(
    url: str,
    clock: ports.Clock,
    redact: Callable[[str], str] = Redactor(),  # noqa: B008  it is a constant
    term: int | None = None,
) -> OpenStore:
    """Open the store behind `sqlite:///path` or `postgresql://user@host/name`, making or upgrading its schema.

    redact: every text passes it on its way in; without one, the rules alone are known and no literal secret.
    term: of the daemon that leads; once another term has begun, every write is a LeaseLost.
    Safe to share between threads. The folder of a SQLite file must exist.
    Raises ConfigError where a person must do something first, StoreError where the database does not answer.
    """
    database = open_database(url, clock, redact, None if term is None else lead.fence(term))
    return OpenStore(
        services=Services(database),
        incidents=Incidents(database),
        attempts=Attempts(database),
        approvals=Approvals(database),
        silences=Silences(database),
        starts=Starts(database),
        sweeps=Sweeps(database),
        story=Story(database),
        outbox=Outbox(database),
        requests=Requests(database),
        runbook_standing=RunbookStanding(database),
        breakers=Breakers(database),
        foreign_restarts=ForeignRestarts(database),
        audit=Audit(database),
        leads=lead.Leads(database),
        spending=Spendings(database),
        departures=Departures(database),
        stays=Stays(database),
        memory=Memory(database),
        shadows=Shadows(database),
        ledger=Ledgers(database),
        changes=Changes(database),
        database=database,
    )
