"""The durable engine in memory, on a fake clock: runs a heal inline, remembers its steps, and can be made to crash.

Values cross it as codec text, as they cross the real one, so a noun that does not survive the codec fails here too.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from agent import codec
from agent.model import Ending, IncidentId
from agent.ports import Clock, Engine

T = TypeVar("T")


class Crash(BaseException):
    """`kill -9`, as seen from inside: not an Exception, so nothing catches it on the way out."""


class MemoryEngine:
    """`ports.Engine` and `ports.Workflows`. Steps live in `remembered`, keyed by (workflow, step)."""

    def __init__(self, body: Callable[[IncidentId, Engine], Ending], clock: Clock) -> None:
        self._body = body
        self._clock = clock
        self.remembered: dict[tuple[str, str], str] = {}
        self.pending: dict[str, IncidentId] = {}
        self.ended: dict[str, Ending] = {}
        self.crash_before: str | None = None
        """Crash on entering this step, before anything of it happens."""
        self.crash_after: str | None = None
        """Crash when this step's work is done and not yet remembered: the moment that makes steps at-least-once."""
        self._current = ""

    def launch(self) -> None:
        """Resume every heal that a crash cut."""
        for workflow in list(self.pending):
            self._run(workflow)

    def start(self, incident: IncidentId, round_: int) -> None:
        workflow = f"heal:{incident}:{round_}"
        if workflow in self.pending or workflow in self.ended:
            return
        self.pending[workflow] = incident
        self._run(workflow)

    def running(self) -> tuple[IncidentId, ...]:
        return tuple(self.pending.values())

    def step(self, name: str, call: Callable[[], T]) -> T:
        key = (self._current, name)
        if key not in self.remembered:
            if self.crash_before == name:
                self.crash_before = None
                raise Crash(name)
            text = codec.dumps(call())
            if self.crash_after == name:
                self.crash_after = None
                raise Crash(name)
            self.remembered[key] = text
        value: T = codec.loads(self.remembered[key])
        return value

    def sleep(self, name: str, span: timedelta) -> None:
        until: datetime = self.step(name, lambda: self._clock.now() + span)
        left = until - self._clock.now()
        if left > timedelta(0):
            self._clock.sleep(left)

    def _run(self, workflow: str) -> None:
        self._current, outer = workflow, self._current
        try:
            self.ended[workflow] = self._body(self.pending[workflow], self)
            del self.pending[workflow]
        finally:
            self._current = outer
