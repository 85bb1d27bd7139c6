"""The tables as the queries see them, and how a value of the model becomes a column and comes back.

What the database really holds (keys, indexes, foreign keys) is made by `migrations.py`; a test keeps the two alike.
Values with a life of their own inside SQL (states, times, numbers) have a column each; the rest of a noun is one JSON text
made by `agent/codec.py`.
"""

# ruff: noqa: ARG002  SQLAlchemy hands every column type its dialect, wanted or not

import enum
import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any  # SQLAlchemy hands over what the driver read, whatever it is
from weakref import WeakKeyDictionary

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Integer, MetaData, String, Table, Text, TypeDecorator, text
from sqlalchemy.types import TypeEngine

from agent import codec, redact
from agent.errors import StoreError
from agent.model import Answer, Closing, IncidentState, Origin, Outcome, Recorded, RestartedBy, StoryKind


class UtcTime(TypeDecorator[datetime]):
    """An aware time. SQLite keeps ISO text of one width in UTC, so that text order is time order; Postgres a timestamptz."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what the column really is."""
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what the driver is given. Raises ValueError for a naive time: it has no place on the time line."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"cannot keep the time {value}: it has no time zone")
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.isoformat(timespec="microseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return an aware UTC time."""
        if value is None or isinstance(value, datetime):
            return value and value.astimezone(UTC)
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (TypeError, ValueError) as exc:
            raise _unreadable(value, exc) from exc


class PlainText(TypeDecorator[str]):
    """Text from outside that any database takes: what cannot be stored (NUL, half a surrogate pair) becomes U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return redacted text that is valid UTF-8 without NUL, which Postgres refuses."""
        return None if value is None else _redactors[dialect](_storable(value))


class Coded(TypeDecorator[Any]):
    """A value of the model as JSON text, made and read by `agent/codec.py` alone."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: object, dialect: Dialect) -> str | None:
        """Return the JSON text of the redacted value."""
        return None if value is None else _storable(codec.dumps(redact.within(value, _redactors[dialect])))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the value. Raises StoreError for text that the codec does not know."""
        if value is None:
            return None
        try:
            return _value_of(value)
        except (ValueError, RecursionError) as exc:
            raise _unreadable(value, exc) from exc


@functools.lru_cache(maxsize=4096)
def _value_of(written: str) -> Any:
    """Return the value of a text that was read before without reading it again: the same declarations come at every beat.

    Every value of the model is frozen, so that two readers may hold the same one.
    """
    return codec.loads(written)


class Member(TypeDecorator[Any]):
    """A member of one enum, kept as its word."""

    impl = String
    cache_ok = True

    def __init__(self, kind: type[enum.Enum]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: enum.Enum | None, dialect: Dialect) -> str | None:
        """Return the word."""
        return None if value is None else str(value.value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the member. Raises StoreError for a word that the enum lacks."""
        try:
            return None if value is None else self.kind(value)
        except ValueError as exc:
            raise _unreadable(value, exc) from exc


_redactors: WeakKeyDictionary[Dialect, Callable[[str], str]] = WeakKeyDictionary()
"""The redactor of each open database: a column type is shared by all of them and is told which one it writes to."""


def redact_for(dialect: Dialect, redactor: Callable[[str], str]) -> None:
    """Make `redactor` the one that every text passes on its way into the database of this dialect."""
    _redactors[dialect] = redactor


def _storable(words: str) -> str:
    return words.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _unreadable(value: object, cause: Exception) -> StoreError:
    return StoreError(
        f"cannot read a row of the store: {str(value)[:80]!r} is not what Medic writes ({cause})", transient=False
    )


# Postgres counts in 64 bits only where it is told to; SQLite counts up by itself only in a column that is called INTEGER.
_ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

services = Table(
    "services",
    metadata,
    Column("name", PlainText, primary_key=True),
    Column("declaration", Coded),
    Column("status", Member(Recorded)),
    Column("since", UtcTime),
    Column("set_by", PlainText),
    Column("diagnostic", PlainText),
    Column("image_id", PlainText),
    Column("config_hash", PlainText),
    Column("container_id", PlainText),
    Column("environment", PlainText),
    Column("well_at", UtcTime),
)

streaks = Table("streaks", metadata, Column("service", PlainText, primary_key=True), Column("streaks", Coded))

incidents = Table(
    "incidents",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("service", PlainText),
    Column("host", PlainText),
    Column("origin", Member(Origin)),
    Column("state", Member(IncidentState)),
    Column("opened_at", UtcTime),
    Column("first", Coded),
    Column("fingerprint", PlainText),
    Column("round", Integer),
    Column("diagnosis", Coded),
    Column("hold", Coded),
    Column("hold_until", UtcTime),
    Column("refusal", Coded),
    Column("requested", Coded),
    Column("closing", Member(Closing)),
    Column("closed_at", UtcTime),
    Column("closed_by", PlainText),
)

# Conditions of partial indexes, word for word as `migrations.py` has them: SQLite uses such an index only for a condition
# that is written out, never for one with a bound parameter.
UNCLOSED = text("state <> 'closed'")
HEALED = text("closing = 'healed'")
UNDELIVERED = text("delivered_at IS NULL")
UNCLAIMED = text("claimed_at IS NULL")
STANDING = text("reset_at IS NULL")
UNANSWERED = text("answer IS NULL")

attempts = Table(
    "attempts",
    metadata,
    Column("incident", _ROW_NUMBER, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("plan", Coded),
    Column("intent_at", UtcTime),
    Column("runs", Integer),
    Column("run", Coded),
    Column("ran_until", UtcTime),
    Column("outcome", Member(Outcome)),
    Column("verdict", Coded),
    Column("ended_at", UtcTime),
    Column("undo", Coded),
    Column("undone_at", UtcTime),
    Column("around", Coded),
    Column("harm", Coded),
    Column("undo_seen", Coded),
    Column("ties", Coded),
    Column("undo_runs", Integer),
    Column("started_at_place", PlainText),
)

lead = Table(
    "lead",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("holder", PlainText),
    Column("place", PlainText),
    Column("term", _ROW_NUMBER),
    Column("expires_at", UtcTime),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", _ROW_NUMBER, primary_key=True),
    Column("incident", _ROW_NUMBER),
    Column("number", Integer),
    Column("digest", PlainText),
    Column("plan", Coded),
    Column("impact", PlainText),
    Column("diff", PlainText),
    Column("asked_at", UtcTime),
    Column("expires_at", UtcTime),
    Column("edit_of", PlainText),
    Column("answer", Member(Answer)),
    Column("answered_by", PlainText),
    Column("answered_at", UtcTime),
    Column("why", PlainText),
)

breakers = Table(
    "breakers",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("scope", PlainText),
    Column("opened_at", UtcTime),
    Column("because", PlainText),
    Column("services", Coded),
    Column("incident", _ROW_NUMBER),
    Column("reset_at", UtcTime),
    Column("reset_by", PlainText),
    Column("reset_why", PlainText),
)

foreign_restarts = Table(
    "foreign_restarts",
    metadata,
    Column("host", PlainText, primary_key=True),
    Column("container", PlainText, primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("by", Member(RestartedBy)),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", _ROW_NUMBER, primary_key=True),
    Column("at", UtcTime),
    Column("report", Coded),
)

story = Table(
    "story",
    metadata,
    Column("id", _ROW_NUMBER, primary_key=True),
    Column("incident", _ROW_NUMBER),
    Column("key", PlainText),
    Column("service", PlainText),
    Column("at", UtcTime),
    Column("kind", Member(StoryKind)),
    Column("text", PlainText),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", _ROW_NUMBER, primary_key=True),
    Column("dedup_key", PlainText),
    Column("channel", PlainText),
    Column("notice", Coded),
    Column("tries", Integer),
    Column("next_try", UtcTime),
    Column("delivered_at", UtcTime),
    Column("last_error", PlainText),
)

requests = Table(
    "requests",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("id", PlainText),
    Column("request", Coded),
    Column("claimed_at", UtcTime),
    Column("answer", Coded),
)

silences = Table(
    "silences",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("service", PlainText),
    Column("why", PlainText),
    Column("who", PlainText),
    Column("since", UtcTime),
    Column("until", UtcTime),
    Column("ended_at", UtcTime),
    Column("ended_by", PlainText),
)

NOT_ENDED = text("ended_at IS NULL")

starts = Table(
    "starts",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("service", PlainText),
    Column("start", Coded),
)

flips = Table(
    "flips",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("service", PlainText),
    Column("at", UtcTime),
)

runbook_marks = Table(
    "runbook_marks",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("key", PlainText),
    Column("hash", PlainText),
    Column("mark", Coded),
)

spending = Table(
    "spending",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("key", PlainText),
    Column("incident", PlainText),
    Column("at", UtcTime),
    Column("billed", Integer),
    Column("spending", Coded),
)

departures = Table(
    "departures",
    metadata,
    Column("instance", PlainText, primary_key=True),
    Column("stage", PlainText),
    Column("incident", PlainText),
    Column("heard_at", UtcTime),
    Column("departure", Coded),
)

stays = Table(
    "stays",
    metadata,
    Column("instance", PlainText, primary_key=True),
    Column("seen_at", UtcTime),
    Column("stay", Coded),
)

notes = Table(
    "notes",
    metadata,
    Column("number", _ROW_NUMBER, primary_key=True),
    Column("fingerprint", PlainText),
    Column("service", PlainText),
    Column("text", PlainText),
    Column("who", PlainText),
    Column("at", UtcTime),
    Column("until", UtcTime),
)

forgotten = Table("forgotten", metadata, Column("fingerprint", PlainText, primary_key=True), Column("until", UtcTime))

shadows = Table(
    "shadows",
    metadata,
    Column("incident", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("at", UtcTime),
    Column("shadow", Coded),
)

# The audit is hashed as it lies here, so its columns are plain texts: what cannot be read as a time or a word still reads.
audit = Table(
    "audit",
    metadata,
    Column("id", _ROW_NUMBER, primary_key=True, autoincrement=False),
    Column("at", Text),
    Column("actor", Text),
    Column("kind", Text),
    Column("key", Text),
    Column("incident", Text),
    Column("payload", Text),
    Column("previous", Text),
    Column("hash", Text),
)
