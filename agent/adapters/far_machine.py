"""A machine of anything that runs programs on a host: files, disks and load told by short programs of coreutils there.

Each answer is one program, so one round trip. The scripts are fixed words; paths travel as arguments of their own.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

from agent.adapters import machine
from agent.adapters.machine import DiskFacts, FileFacts, MachineFacts
from agent.errors import OutsideError
from agent.model import HostName
from agent.ports import Clock

TIMEOUT = timedelta(seconds=4)
"""For one answer. What it takes is a connection, a fork, and reading a megabyte at most."""
DIGEST_TIMEOUT = timedelta(seconds=8)
"""For a file of 64 MiB."""
_FACTS_LIMIT = 65_536

GONE = 44
"""Exit code of our scripts for a path that leads nowhere; no program here uses it."""
NO_FILE = 45
"""Exit code of our scripts for what is no plain file."""
TOO_LARGE = 46

_THERE = f"""
said=$(stat -L -c %F -- "$1" 2>&1) || case $said in
  *"No such file"* | *"Not a directory"*) exit {GONE} ;;
  *) echo "$said"; exit 1 ;;
esac
"""
_PLAIN = f"""
case $said in "regular file" | "regular empty file") ;; *) exit {NO_FILE} ;; esac
"""
FACTS = f'''{_THERE}
plain=0; [ -f "$1" ] && plain=1
exec stat -L -c "$plain %a %s %.Y" -- "$1"'''
READ = f'{_THERE}{_PLAIN} exec head -c "$2" -- "$1"'
DIGEST = f'{_THERE}{_PLAIN} [ "$(stat -L -c %s -- "$1")" -le "$2" ] || exit {TOO_LARGE}; exec sha256sum -- "$1"'
DISK = f'{_THERE} exec stat -L -f -c "%b %f %a %c %d" -- "$1"'
MEASURE = """
date +%s.%N && cat /proc/loadavg && { nproc || grep -c ^processor /proc/cpuinfo; } || exit 1
for path; do stat -L -f -c "%b %f %a %c %d" -- "$path" 2>/dev/null || { [ -e "$path" ] && exit 1 || echo nowhere; }; done
cat /proc/meminfo
"""
_FACTS = re.compile(rb"(?P<plain>[01]) (?P<mode>[0-7]+) (?P<size>\d+) (?P<seconds>\d+)\.(?P<nanos>\d{9})\s*")
_DIGEST = re.compile(rb"\\?([0-9a-f]{64})\s")
RUNS = """
own=$(readlink /proc/$$/ns/pid)
for found in $(grep -lsaF -e "$1" /proc/[0-9]*/cmdline); do
  line=$(tr '\\0' ' ' 2>/dev/null <"$found") || continue
  case $line in "$1"*) [ "$(readlink "${found%cmdline}ns/pid" 2>/dev/null)" = "$own" ] && exit 0 ;; esac
done
exit 1
"""


class Programs(Protocol):
    """What a way to a host must offer: to run one bounded program there."""

    def run(self, argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        """Return exit code and the first `limit` bytes of output. It is ended there within `timeout`. Raises OutsideError."""


class FarMachine:
    """`machine.Machine` over `Programs`."""

    def __init__(self, host: HostName, programs: Programs, clock: Clock, patience: timedelta = timedelta(0)) -> None:
        """patience: what every answer may take beside its program; a kept connection needs none to speak of."""
        self._host = host
        self._programs = programs
        self._clock = clock
        self.patience = patience

    def run(self, argv: tuple[str, ...], *, timeout: timedelta, limit: int) -> tuple[int, bytes]:
        """Return exit code and output of one program. Raises OutsideError."""
        return self._programs.run(argv, timeout=timeout, limit=limit)

    def facts(self, path: str) -> FileFacts | None:
        """Return what a path leads to, None where it leads nowhere. Raises OutsideError."""
        said = self._ask("read", FACTS, path)
        if said is None:
            return None
        found = _FACTS.fullmatch(said)
        if found is None:
            raise self._nonsense(path, said)
        return FileFacts(
            plain=found["plain"] == b"1",
            size=int(found["size"]),
            mode=int(found["mode"], 8),
            written=datetime.fromtimestamp(int(found["seconds"]), UTC) + timedelta(microseconds=int(found["nanos"]) // 1000),
        )

    def read(self, path: str, *, limit: int) -> bytes | None:
        """Return at most `limit` bytes of a plain file, None where there is none. Raises OutsideError."""
        said = self._ask("read", READ, path, str(limit), limit=max(limit, _FACTS_LIMIT))
        return None if said is None else said[:limit]

    def digest(self, path: str, *, most: int) -> str | None:
        """Return the sha256 of a plain file in hex, made there, None where there is none. Raises OutsideError."""
        said = self._ask("read", DIGEST, path, str(most), timeout=DIGEST_TIMEOUT)
        if said is None:
            return None
        # A name with a backslash or a line break is written escaped behind a backslash. Source: sha256sum(1), coreutils 9.1.
        found = _DIGEST.match(said)
        if found is None:
            raise self._nonsense(path, said)
        return found[1].decode()

    def disk(self, path: str) -> DiskFacts | None:
        """Return the state of the file system under a path, None where it leads nowhere. Raises OutsideError."""
        said = self._ask("look at the disk of", DISK, path)
        if said is None:
            return None
        try:
            return _disk(said.decode("ascii", errors="replace"))
        except ValueError as exc:
            raise self._nonsense(path, said) from exc

    def measure(self, disks: tuple[str, ...]) -> MachineFacts:
        """Return memory, load, CPUs, disks and the clock. Raises OutsideError.

        The clock was read at some moment between question and answer: it is off by what no such moment explains.
        """
        for path in disks:
            machine.absolute(path)
        before = self._clock.now()
        code, output = self._programs.run(
            ("sh", "-c", MEASURE, "sh", *disks), timeout=TIMEOUT + self.patience, limit=_FACTS_LIMIT
        )
        after = self._clock.now()
        clock, load, cpus, *more = [*output.decode("utf-8", errors="replace").splitlines(), "", "", ""]
        try:
            return MachineFacts(
                load=float(load.split()[1]),
                cpus=int(cpus),
                meminfo="\n".join(more[len(disks) :]),
                ahead=_outside(datetime.fromtimestamp(float(clock), UTC), before, after),
                disks=tuple(_disk(line) for line in more[: len(disks)]),
            )
        except (ValueError, IndexError, OverflowError, OSError) as exc:
            said = _first(output) if code else "it answers nonsense"
            raise OutsideError(f"cannot measure host {self._host!r}: exit code {code}, {said}", transient=False) from exc

    def runs(self, title: str) -> bool:
        """Say whether a process, not inside a container, begins its command line so. Raises OutsideError."""
        code, output = self._programs.run(("sh", "-c", RUNS, "sh", title), timeout=TIMEOUT + self.patience, limit=_FACTS_LIMIT)
        if code not in (0, 1):
            raise OutsideError(f"cannot list the processes of host {self._host!r}: {_first(output)}", transient=True)
        return code == 0

    def _ask(
        self, doing: str, script: str, path: str, *more: str, limit: int = _FACTS_LIMIT, timeout: timedelta = TIMEOUT
    ) -> bytes | None:
        machine.absolute(path)
        code, output = self._programs.run(("sh", "-c", script, "sh", path, *more), timeout=timeout + self.patience, limit=limit)
        match code:
            case 0:
                return output
            case _ if code == GONE:
                return None
            case _ if code == NO_FILE:
                raise OutsideError(f"cannot read {path!r}: not a plain file", transient=False)
            case _ if code == TOO_LARGE:
                raise OutsideError(
                    f"cannot read {path!r} on host {self._host!r}: it is larger than {more[0]} bytes", transient=False
                )
        said = _first(output)
        raise OutsideError(
            f"cannot {doing} {path!r} on host {self._host!r}: {said}", transient="permission denied" not in said.lower()
        )

    def _nonsense(self, path: str, said: bytes) -> OutsideError:
        return OutsideError(f"cannot read {path!r} on host {self._host!r}: it answers {_first(said)!r}", transient=False)


def _outside(moment: datetime, before: datetime, after: datetime) -> timedelta:
    """Return how far a moment is from a span of time: positive behind its end, negative before its begin, zero within."""
    return moment - min(max(moment, before), after)


def _disk(said: str) -> DiskFacts | None:
    """Return what `stat -f` said of one disk. Raises ValueError."""
    if said == "nowhere":
        return None
    blocks, free, available, inodes, inodes_free = map(int, said.split())
    return DiskFacts(blocks=blocks, free=free, available=available, inodes=inodes, inodes_free=inodes_free)


def _first(output: bytes) -> str:
    """Return the first line of what a program said, shortened."""
    lines = output.decode("utf-8", errors="replace").strip().splitlines()
    return lines[0][:200] if lines else "no output"
