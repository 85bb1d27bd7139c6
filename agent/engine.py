"""The durable engine: the only importer of dbos. Implements `ports.Engine` and `ports.Workflows`.

In: `heal` as a plain function. Out: it runs in the background, step by step; after a crash it goes on where it was. Steps
are at-least-once, so the facts that count (attempts) live in our own tables under natural keys (docs/decisions/0003).

SQLite: one process per file, which the watch lock guarantees. Postgres: the same code by URL, one process at a time, which the
lease guarantees; each has a name of its own (`executor`), and adopts what it finds under another (docs/decisions/0008).
"""

import contextlib
import functools
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from agent import codec, redact
from agent.errors import OutsideError
from agent.model import Ending, IncidentId
from agent.ports import Clock, Engine

T = TypeVar("T")

Body = Callable[[IncidentId, Engine], Ending]

APPLICATION_VERSION = "heal-1"
"""Fixed on purpose: by default DBOS hashes our source and strands every waiting heal after an edit (docs/decisions/0003)."""

SOLE_EXECUTOR = "local"
"""The executor of a database that one process at a time can open: what it finds is always its own."""

RECOVERIES = 20
"""A heal whose process died this often stops being resumed; the sweep then starts its next round, and the ledger still counts."""

SLICE = 0.1
"""Seconds between looks at the stop flag while sleeping."""


class Suspended(BaseException):
    """The daemon is stopping: leave the workflow where it is. Not an Exception, so that no step or heal swallows it
    and DBOS records nothing; the next start resumes it."""


class StoppableClock:
    """The clock of a world whose heals this engine runs: a step that waits is left where it is as soon as Medic stops.

    Only the waits of a step sleep on it (`verify` for up to `limits.verify_within`); the step runs again at the next start.
    """

    def __init__(self, clock: Clock, stopping: Callable[[], bool]) -> None:
        self._clock = clock
        self._stopping = stopping

    def now(self) -> datetime:
        """Return the time of day."""
        return self._clock.now()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return self._clock.monotonic()

    def sleep(self, span: timedelta) -> None:
        """Wait; raises Suspended when Medic is stopping."""
        end = self.monotonic() + span.total_seconds()
        while not self._stopping() and (left := end - self.monotonic()) > 0:
            self._clock.sleep(timedelta(seconds=min(SLICE, left)))
        if self._stopping():
            raise Suspended


class DbosEngine:
    """DBOS on SQLite or Postgres, with `heal` registered as its only workflow.

    redact: every text that a step returns or raises passes it before it is remembered on the disk.
    executor: the name under which this process owns heals. Of two that live at the same time, each needs its own.
    """

    def __init__(self, url: str, body: Body, clock: Clock, redact: Callable[[str], str], executor: str = SOLE_EXECUTOR) -> None:
        self._clock = clock
        self._executor = executor
        self._redact = redact
        self._stopping = threading.Event()
        self._active: list[str] = []
        # DBOS prints an advertisement for its console at INFO, and recoveries are our story to tell.
        logging.getLogger("dbos").setLevel(logging.ERROR)
        _prepare_sqlite(url)
        config: DBOSConfig = {
            "name": "medic",
            "system_database_url": url,
            "executor_id": executor,
            "application_version": APPLICATION_VERSION,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
        }
        self._dbos = DBOS(config=config)

        @DBOS.workflow(name="heal", max_recovery_attempts=RECOVERIES)
        def heal(incident: str) -> str:
            self._active.append(incident)
            try:
                return body(IncidentId(incident), self).value
            finally:
                self._active.remove(incident)

        self._heal = heal

    def launch(self) -> None:
        """Start, and resume every heal that a crash cut. Raises OutsideError."""
        try:
            DBOS.launch()
        except Exception as exc:  # DBOS raises whatever its database driver raises; all of them mean "no engine"
            raise OutsideError(f"cannot start the durable engine: {exc}", transient=False) from exc
        # Once a second it looks for delayed workflows and for those past DBOS's own deadline; heals are neither.
        self._dbos._background_jobs_stop_event.set()  # noqa: SLF001  there is no option for it
        self._poll_no_more()

    def _poll_no_more(self) -> None:
        """End DBOS's polls of queues and schedules once nothing is left there: only what a launch recovers ever goes through
        them, and they cost more than all else of an idle Medic beside its beat (3.4.0).

        Never where another Medic's heals may be adopted at any moment: those go through the queue too.
        """
        if self._executor == SOLE_EXECUTOR and not self.running():
            for polls in self._dbos.background_thread_stop_events:
                polls.set()

    def stop(self, within: timedelta) -> None:
        """Suspend every heal at its next step, wait up to `within` for running steps, and close the database."""
        self._stopping.set()
        end = self._clock.monotonic() + within.total_seconds()
        while self._active and self._clock.monotonic() < end:
            self._clock.sleep(timedelta(seconds=SLICE / 2))
        # DBOS's own wait sleeps whole seconds, also when nothing runs.
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=0)

    # ------------------------------------------------------------------------------------------------ ports.Engine

    def step(self, name: str, call: Callable[[], T]) -> T:
        """Run `call` once and remember its value as codec JSON, or return the remembered one."""
        self._suspend_if_stopping()
        text = DBOS.run_step({"name": name}, lambda: self._remembered(call))
        value: T = codec.loads(text)
        return value

    def _remembered(self, call: Callable[[], object]) -> str:
        try:
            return codec.dumps(redact.within(call(), self._redact))
        except Exception as exc:  # DBOS keeps the texts of what a step raises as well
            exc.args = redact.within(exc.args, self._redact)
            raise

    def sleep(self, name: str, span: timedelta) -> None:
        """Wait until a moment that is itself a remembered step, in slices, so that stopping is never held up."""
        until = self.step(name, lambda: self._clock.now() + span)
        while (left := (until - self._clock.now()).total_seconds()) > 0:
            self._suspend_if_stopping()
            # A clock that stepped back must not stretch the wait: never longer than `span` from here.
            self._clock.sleep(timedelta(seconds=min(SLICE, left)))
            until = min(until, self._clock.now() + span)

    def _suspend_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise Suspended

    # --------------------------------------------------------------------------------------------- ports.Workflows

    def start(self, incident: IncidentId, round_: int) -> None:
        """Start one heal; its workflow id makes the same (incident, round) start once. Raises OutsideError."""
        with _outside(f"start the heal of {incident}"), SetWorkflowID(_id(incident, round_)):
            DBOS.start_workflow(self._heal, incident)

    def running(self) -> tuple[IncidentId, ...]:
        """Return the incidents whose heal has not ended. Raises OutsideError."""
        with _outside("list the running heals"):
            rows = DBOS.list_workflows(status=["PENDING", "ENQUEUED"], name="heal", load_input=False, load_output=False)
        return tuple(IncidentId(row.workflow_id.split(":")[1]) for row in rows)

    def adopt(self) -> int:
        """Go on with the heals of executors that do not lead any more; return how many. Raises OutsideError.

        DBOS resumes at launch what the same executor left. This takes over what another left, and what an executor that was
        stopped and let go again has picked up since: it lost the lease, so nobody but us may carry on with it.
        """
        if self._executor == SOLE_EXECUTOR:
            return 0  # there is no other
        with _outside("take over the heals of another Medic"):
            rows = DBOS.list_workflows(status="PENDING", name="heal", load_input=False, load_output=False)
            others = sorted({row.executor_id for row in rows if row.executor_id and row.executor_id != self._executor})
            # The public resume_workflow would also restart a heal that we ourselves run by now: it does not ask whose it is.
            return len(DBOS._recover_pending_workflows(others)) if others else 0  # noqa: SLF001

    def prune(self, before: datetime, most: int) -> int:
        """Delete finished heals older than `before`, and the oldest beyond `most`; return how many. DBOS keeps them for ever.

        A thousand of each at most in one call. Raises OutsideError.
        """
        self._poll_no_more()
        done = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
        with _outside("delete old heals"):
            list_ = functools.partial(DBOS.list_workflows, status=done, limit=1000, load_input=False, load_output=False)
            rows = [*list_(completed_before=before.isoformat()), *list_(sort_desc=True, offset=most)]
            ids = list(dict.fromkeys(row.workflow_id for row in rows))
            if ids:
                DBOS.delete_workflows(ids)
        return len(ids)


@contextlib.contextmanager
def _outside(what: str) -> Iterator[None]:
    """Turn what DBOS raises into OutsideError. It raises whatever its database driver raises: disk full, locked, gone."""
    try:
        yield
    except Exception as exc:
        cause = " ".join(str(getattr(exc, "orig", None) or exc).split())[:300]
        raise OutsideError(f"cannot {what}: {cause}", transient=True) from exc


def _id(incident: IncidentId, round_: int) -> str:
    return f"heal:{incident}:{round_}"


def _prepare_sqlite(url: str) -> None:
    """Switch the file to WAL once, which persists: DBOS leaves it in rollback-journal mode."""
    if not url.startswith("sqlite:///"):
        return
    path = Path(url.removeprefix("sqlite:///"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as exc:
        raise OutsideError(f"cannot open the engine's database {str(path)!r}: {exc}", transient=False) from exc
