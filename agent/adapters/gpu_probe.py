"""The probe of a host's GPUs: nvidia-smi, the driver's own files, the kernel log. Observes, does not judge.

nvidia-smi may hang in a sleep that no signal ends, on the very fault that it should report. So the kernel log and the driver
are asked first, every program is bounded, and while one that could not be killed is left, no other is started on that host.
"""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from agent.adapters.machine import Machine, MachineOf
from agent.errors import HungError, OutsideError
from agent.gpu import smi, xids
from agent.model import Blind, GpuHolder, GpuRequest, GpuSeen, GpuTool, HostName, Xid
from agent.ports import Clock

OUTPUT_LIMIT = 1_048_576
LOG_LIMIT = 4_194_304
"""Bytes of kernel log: the ring buffer of a large server has 2 MiB."""
LOG_TAIL = "1048576"
"""Bytes of the end of a log file."""
MOST_REFUSED = 6
"""Fields that one look drops because the driver does not know them; the host is remembered, so the next look goes on there."""
MOST_HOLDERS = 64
AT_LEAST = timedelta(milliseconds=300)
QUICK = timedelta(seconds=2)
"""For everything but nvidia-smi, beside the way to the host."""
_CONTAINER = re.compile(r"docker[-/]([0-9a-f]{64})")
_BTIME = re.compile(r"^btime (\d{1,12})$", re.MULTILINE)


class Run(Protocol):
    """Runs one program on a host. Words of `argv` are fixed in code or declared by people; no shell reads them."""

    def __call__(self, argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        """Return exit code and output. Raises OutsideError; HungError where it did not end in time."""


@dataclass(slots=True)
class _Host:
    """What is remembered of one host."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    left: Callable[[], bool] | None = None
    """Whether the nvidia-smi that could not be killed is still there."""
    fields: tuple[str, ...] = smi.FIELDS


class GpuProbe:
    """Looks at the GPUs of hosts, one look per host at a time."""

    def __init__(self, machine_of: MachineOf, catalogue: Callable[[], xids.Catalogue], clock: Clock) -> None:
        """machine_of: finds the machine of a host, whichever way it is reached. catalogue: read once, when it is first needed."""
        self._machine_of = machine_of
        self._load = catalogue
        self._clock = clock
        self._catalogue: xids.Catalogue | None = None
        self._hosts: dict[HostName, _Host] = {}
        self._lock = threading.Lock()

    def probe(self, request: GpuRequest, deadline: timedelta) -> GpuSeen | Blind:
        """Return what was seen of the GPUs, or why nothing could be. Never raises for what is outside."""
        with self._lock:
            host = self._hosts.setdefault(request.host, _Host())
            if self._catalogue is None:
                self._catalogue = self._load()
        span = min(request.timeout, deadline)
        if not host.lock.acquire(timeout=span.total_seconds()):
            return Blind(why=f"an earlier look at the GPUs of host {request.host!r} is still under way")
        try:
            return _Look(request, self._machine_of(request.host), host, self._catalogue, self._clock, span).seen()
        except OutsideError as exc:
            return Blind(why=str(exc))
        finally:
            host.lock.release()


class _Look:
    """One look at one host."""

    def __init__(
        self, request: GpuRequest, machine: Machine, host: _Host, catalogue: xids.Catalogue, clock: Clock, span: timedelta
    ) -> None:
        self._request = request
        self._run: Run = machine.run
        self._quick = QUICK + machine.patience
        self._host = host
        self._catalogue = catalogue
        self._clock = clock
        self._end = time.monotonic() + span.total_seconds()
        self._gaps: list[str] = []
        self._answers = False
        """Whether the host ran another program for this look."""

    def seen(self) -> GpuSeen:
        loaded, devices = self._driver()
        seen = GpuSeen(
            tool=GpuTool.FAILED,
            at=self._clock.now(),
            driver_loaded=loaded,
            driver_devices=devices,
            xids=self._xids(),
            fabric_manager=self._fabric_manager() if self._request.fabric_manager else None,
        )
        self._answers = loaded is not None or seen.xids is not None
        seen = self._cards(seen)
        if seen.tool is GpuTool.ANSWERED:
            seen = replace(seen, holders=self._holders())
        return replace(seen, gaps=tuple(self._gaps))

    def _cards(self, seen: GpuSeen) -> GpuSeen:
        host, tool = self._host, self._request.tool
        if host.left is not None and host.left():
            return replace(seen, tool=GpuTool.HANGS, said=f"an earlier {tool} hangs and cannot be killed: no other is started")
        host.left = None
        for _ in range(MOST_REFUSED + 1):
            ended, code, output = self._ask(smi.argv(tool, host.fields))
            if ended is not None:
                return replace(seen, tool=ended, said=output)
            refused = smi.refused_field(output)
            if refused is None:
                break
            host.fields = _without(refused, host.fields)
        table = smi.table(output)
        how = smi.ending(code, output)
        said = "" if how is GpuTool.ANSWERED else smi.sentence(output) or f"exit code {code}"
        return replace(seen, tool=how, said=said, gpus=smi.gpus(table), whole=table.whole and how is GpuTool.ANSWERED)

    def _ask(self, argv: tuple[str, ...]) -> tuple[GpuTool | None, int, str]:
        """Run nvidia-smi. Returns how it ended where it gave no output to read, else its exit code and output."""
        try:
            code, output = self._run(argv, timeout=self._left(), limit=OUTPUT_LIMIT)
        except HungError as exc:
            if not self._answers:
                return GpuTool.FAILED, 0, str(exc)  # the whole host is silent
            if exc.left():
                self._host.left = exc.left
            return GpuTool.HANGS, 0, str(exc)
        except OutsideError as exc:
            # A way to the host that broke in the middle says nothing of the tool.
            return GpuTool.FAILED if exc.transient else GpuTool.ABSENT, 0, str(exc)
        return None, code, output.decode("utf-8", errors="replace")

    def _holders(self) -> tuple[GpuHolder, ...] | None:
        """Return who holds memory, each with its container; None where nvidia-smi does not say."""
        ended, code, output = self._ask(smi.apps_argv(self._request.tool))
        table = smi.table(output)
        if ended is not None or code != 0 or not table.whole:
            self._gaps.append(f"cannot tell who holds GPU memory: {output[:200] if ended else f'exit code {code}'}")
            return None
        found = smi.holders(table)[:MOST_HOLDERS]
        if not found:
            return ()
        paths = [f"/proc/{holder.pid}/cgroup" for holder in found]
        grouped = self._text(("grep", "-s", "", *paths, "/dev/null"), codes=(0, 1, 2))
        if grouped is None:
            return found
        own = {
            holder.pid: [line for line in grouped.splitlines() if line.startswith(f"/proc/{holder.pid}/")] for holder in found
        }
        return tuple(replace(holder, alive=bool(own[holder.pid]), container=_container(own[holder.pid])) for holder in found)

    def _driver(self) -> tuple[bool | None, int | None]:
        """Return whether the driver is loaded, and how many cards it knows. Source: the driver's README, "proc file system"."""
        listed = self._text(("ls", "-1", "/proc/driver/nvidia/gpus"), codes=(0, 1, 2))
        if listed is None:
            return None, None
        version = self._text(("cat", "/proc/driver/nvidia/version"), codes=(0, 1))
        loaded = None if version is None else "NVRM version" in version
        return loaded, sum(":" in line and " " not in line for line in listed.splitlines()) if loaded else None

    def _xids(self) -> tuple[Xid, ...] | None:
        log = self._kernel_log()
        if log is None:
            return None
        lines = "\n".join(line for line in log.splitlines() if "NVRM: Xid" in line)
        return xids.parse(lines, self._catalogue, self._booted()) if lines else ()

    def _kernel_log(self) -> str | None:
        """Return the kernel log, from the first place that has it."""
        file = self._request.kernel_log
        if file is not None:
            return self._text(("tail", "-c", LOG_TAIL, file), limit=LOG_LIMIT)
        gaps = len(self._gaps)
        for argv in (("dmesg",), ("journalctl", "-k", "-b", "-o", "short-unix", "--no-pager", "-q", "-n", "20000")):
            log = self._text(argv, limit=LOG_LIMIT)
            if log is not None:
                del self._gaps[gaps:]
                return log
        return None

    def _booted(self) -> datetime | None:
        found = _BTIME.search(self._text(("cat", "/proc/stat"), limit=LOG_LIMIT) or "")
        return datetime.fromtimestamp(int(found[1]), UTC) if found else None

    def _fabric_manager(self) -> str | None:
        # 0 active, 3 not active, 4 no such unit. Source: systemctl(1), EXIT STATUS.
        said = self._text(("systemctl", "is-active", "nvidia-fabricmanager"), codes=(0, 3, 4))
        return said.strip()[:40] or None if said is not None else None

    def _text(self, argv: tuple[str, ...], *, codes: tuple[int, ...] = (0,), limit: int = OUTPUT_LIMIT) -> str | None:
        """Return what a program printed, or None after noting why it could not be had."""
        try:
            code, output = self._run(argv, timeout=min(self._left(), self._quick), limit=limit)
        except OutsideError as exc:
            self._gaps.append(str(exc))
            return None
        text = output.decode("utf-8", errors="replace")
        if code not in codes:
            self._gaps.append(f"cannot run {argv[0]!r}: exit code {code}: {text.strip()[-200:]}")
            return None
        return text

    def _left(self) -> timedelta:
        return max(AT_LEAST, timedelta(seconds=self._end - time.monotonic()))


def _without(refused: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields to ask for instead: the older name of the one that the driver does not know, or none for it."""
    older = smi.OLDER.get(refused)
    return tuple(older if name == refused and older else name for name in fields if name != refused or older)


def _container(cgroups: list[str]) -> str | None:
    found = next((match for line in cgroups if (match := _CONTAINER.search(line))), None)
    return found[1] if found else None
