"""`medic watch --json` in a process of its own, its timeline on the screen as it happens, and waiting for what it says."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self  # Any: JSON

from rich.console import Console

from agent.cli import screen
from agent.model import IncidentId, ServiceName, StoryEvent, StoryKind
from tests.lab import stage
from tests.lab.stage import Stage, StageError

MEDIC = Path(sys.executable).with_name("medic")
MARK = "DEMO_RUN"
"""In the environment of the watch and of all it starts: by this, processes that outlive it are found."""

ENDS = frozenset({StoryKind.HEALED, StoryKind.RECOVERED, StoryKind.ESCALATED, StoryKind.CLOSED})
PATIENCE = timedelta(seconds=30)
ANSWER = timedelta(seconds=90)
"""A command takes 1 s; on a machine that is busy with other things a minute."""


class Watching:
    """A running `medic watch`: a context that ends it with SIGTERM, and with SIGKILL if that is not heard."""

    def __init__(self, site: Stage, console: Console) -> None:
        self._site = site
        self._console = console
        self._events: list[StoryEvent] = []
        self._news = threading.Condition()
        self._log = (site.folder / "watch.log").open("wb")
        self.exit_code: int | None = None
        # A session of its own: ^C in the terminal reaches the demo, which ends the watch in its own order.
        self.process = subprocess.Popen(
            (MEDIC, "--config", site.medic_yaml, "watch", "--json"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, MARK: site.run},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,), name="timeline")
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.terminate()
        try:
            self.exit_code = self.process.wait(PATIENCE.total_seconds())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.exit_code = self.process.wait()
        self._reader.join(PATIENCE.total_seconds())
        self._log.close()

    @contextmanager
    def still(self) -> Iterator[None]:
        """Hold the daemon where it stands while it is looked at: a Hold may be over before a busy machine has read it."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def wait_for_quiet_sweep(self, within: timedelta) -> None:
        """Wait until one sweep has seen every service, and none sick or unknown."""
        names = {part.name for part in self._site.parts if part.is_declared}

        def is_quiet() -> bool:
            reports = ask(self._site, "sweeps", "--limit", "1")
            return bool(reports) and set(reports[0]["checked"]) == names and not (reports[0]["sick"] or reports[0]["unknown"])

        self.wait("a sweep in which all are well", is_quiet, within)

    def wait_for_end(self, service: str, within: timedelta) -> None:
        """Wait until the story of a service has come to an end, or to a hold that only a person ends."""
        self.wait(f"an end of the story of {service}", lambda: self._has_ended(service), within)

    def _has_ended(self, service: str) -> bool:
        events = [event for event in self._events if event.service == service and event.kind is not StoryKind.TASK]
        return bool(events) and (
            events[-1].kind in ENDS or (events[-1].kind is StoryKind.HELD and "told to stop" in events[-1].text)
        )

    def events_of(self, service: str) -> list[StoryEvent]:
        """Return what has been told of one service so far."""
        return [event for event in self._events if event.service == service]

    def wait(self, what: str, is_so: Callable[[], bool], within: timedelta) -> bool:
        """Wait until `is_so`, asked after each event and twice a second; say whether it came to be within the time."""
        end = time.monotonic() + within.total_seconds()
        while not is_so():
            if self.process.poll() is not None:
                raise StageError(f"medic watch ended by itself ({self.process.returncode}): {self._last_words()}")
            if time.monotonic() > end:
                self._console.print(f"demo: no {what} within {within.total_seconds():.0f} s", style="red")
                return False
            with self._news:
                self._news.wait(timeout=0.5)
        return True

    def _last_words(self) -> str:
        return Path(self._log.name).read_text(errors="replace")[-2000:].strip() or "it said nothing"

    def _read(self, lines: IO[bytes]) -> None:
        width = max(len(part.name) for part in self._site.parts)
        with lines:
            for line in lines:
                event = _event(json.loads(line))
                with self._news:
                    self._events.append(event)
                    self._news.notify_all()
                self._console.print(screen.story_line(event, width), soft_wrap=not self._console.is_terminal)


def ask(site: Stage, *words: str) -> Any:
    """Ask the real command for JSON: `medic --json <words>`. Raises StageError when it does not answer."""
    command = (MEDIC, "--config", site.medic_yaml, "--json", *words)
    return json.loads(stage.run(command, f"medic {' '.join(words)}", ANSWER))


def _event(said: dict[str, Any]) -> StoryEvent:
    return StoryEvent(
        incident=IncidentId(said["incident"]),
        service=ServiceName(said["service"]),
        at=datetime.fromisoformat(said["at"]),
        kind=StoryKind(said["kind"]),
        text=said["text"],
        id=said["id"],
    )
