"""Reads Xid lines of the kernel log, and says which of them still ask for something.

A line is one of NVIDIA's driver: `NVRM: Xid (PCI:0000:5a:00): 79, pid=1234, name=python3, GPU has fallen off the bus.` What to
do about each number is data with a date, agent/gpu/xids.yaml, which an adapter reads.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent.gpu import smi, words
from agent.model import Xid, XidAction

CHANGED = 154
"""Its text names what the GPU needs now, over all that came before."""
MOST_TEXT = 200

_LINE = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F:.]{5,20})\): ?(\d{1,5})(?:,|$) ?(.*)")
_PID = re.compile(r"pid='?(\d+)'?")
_TO = re.compile(r"recovery action changed from 0x[0-9a-fA-F]+ \(([^)]{1,60})\) to 0x[0-9a-fA-F]+ \(([^)]{1,60})\)")
_SINCE_BOOT = re.compile(r"^(?:<\d+>)?\[ *(\d+\.\d+)\]")
_OF_KMSG = re.compile(r"^\d+,\d+,(\d+),[^;]*;")
_SINCE_1970 = re.compile(r"^(\d{9,11}\.\d+) ")
_ISO = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)(Z|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What NVIDIA says of one number."""

    action: XidAction
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """NVIDIA's table, with where and when it was read."""

    source: str
    read: str
    entries: Mapping[int, Entry]

    def entry(self, number: int) -> Entry:
        """Return what is known of a number; an entry that says "unknown" where nothing is."""
        return self.entries.get(number, Entry(action=XidAction.UNKNOWN, meaning=""))


def parse(log: str, catalogue: Catalogue, booted: datetime | None) -> tuple[Xid, ...]:
    """Return every Xid line in the order of the log. Never raises.

    booted: when the kernel started, for lines that count from there; None leaves their time open.
    """
    return tuple(_xid(found, line, catalogue, booted) for line in log.splitlines() if (found := _LINE.search(line)))


def standing(xids: Iterable[Xid], since: datetime | None) -> tuple[Xid, ...]:
    """Return those that still ask for something, the weightiest of each card first.

    since: what came before is over for whoever asks (a container that started later). One without a time counts where it speaks
    of the GPU, and not where a restart of the application would be its answer: nobody knows whether that came already.
    154 speaks for its card, and not for applications: what stood before it is summed up in it, and `None` cancels it. After it,
    later lines count by themselves.
    """
    by_card: dict[str, list[Xid]] = {}
    for xid in xids:
        card = by_card.setdefault(xid.bus, [])
        if xid.number == CHANGED:
            card[:] = [each for each in card if each.action is XidAction.RESTART_APP]
        if xid.action is not XidAction.IGNORE:
            card.append(xid)
    found = [xid for card in by_card.values() for xid in card if _counts(xid, since)]
    return tuple(sorted(found, key=lambda xid: _WEIGHT[xid.action], reverse=True))


def repeated(xids: Sequence[Xid], now: datetime, window: timedelta, times: int) -> Mapping[str, int]:
    """Return the cards on which applications faulted so often inside the window: it may not be the applications."""
    counts: dict[str, int] = {}
    for xid in xids:
        if xid.action is XidAction.RESTART_APP and xid.at is not None and now - xid.at <= window:
            counts[xid.bus] = counts.get(xid.bus, 0) + 1
    return {bus: count for bus, count in counts.items() if count >= times}


def said(xid: Xid) -> str:
    """Return one Xid as a sentence for a person."""
    meaning = f" ({xid.meaning})" if xid.meaning else ""
    asks = (
        "it is not in NVIDIA's catalogue as we have it"
        if xid.action is XidAction.UNKNOWN
        else f"NVIDIA says: {xid.action.value}"
    )
    when = f" at {xid.at:%Y-%m-%d %H:%M:%S} UTC" if xid.at else ""
    return f"Xid {xid.number}{meaning} of GPU {xid.bus}{when}: {asks}"


def _counts(xid: Xid, since: datetime | None) -> bool:
    if since is None:
        return True
    return xid.action is not XidAction.RESTART_APP if xid.at is None else xid.at >= since


_WEIGHT = {
    XidAction.REBOOT: 5,
    XidAction.RESET: 4,
    XidAction.SUPPORT: 3,
    XidAction.UNKNOWN: 2,
    XidAction.RESTART_APP: 1,
    XidAction.IGNORE: 0,
}


def _xid(found: re.Match[str], line: str, catalogue: Catalogue, booted: datetime | None) -> Xid:
    number, text = int(found[2]), found[3].strip()
    entry, pid = catalogue.entry(number), _PID.search(text)
    changed = _TO.search(text) if number == CHANGED else None
    action = entry.action
    if number == CHANGED:
        action = XidAction.UNKNOWN if changed is None else (smi.recovery(changed[2]) or XidAction.IGNORE)
    return Xid(
        number=number,
        bus=words.bus(found[1]),
        text=text[:MOST_TEXT],
        action=action,
        meaning=f"recovery action is now {changed[2]}" if changed else entry.meaning,
        at=_at(line, booted),
        pid=int(pid[1]) if pid else None,
    )


def _at(line: str, booted: datetime | None) -> datetime | None:
    """Return when a line was written, from any of the stamps that dmesg, /dev/kmsg and journalctl write."""
    try:
        if (found := _SINCE_1970.match(line)) is not None:
            return datetime.fromtimestamp(float(found[1]), UTC)
        if (found := _ISO.match(line)) is not None:
            at = datetime.fromisoformat(found[1].replace(",", ".") + (found[2] or "+00:00"))
            return at.astimezone(UTC)
        if booted is None:
            return None
        if (found := _SINCE_BOOT.match(line)) is not None:
            return booted + timedelta(seconds=float(found[1]))
        if (found := _OF_KMSG.match(line)) is not None:
            return booted + timedelta(microseconds=int(found[1]))
    except (ValueError, OverflowError):
        return None  # a stamp far outside of time
    return None
