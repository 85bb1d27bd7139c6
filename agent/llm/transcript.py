"""Keeps what is said in one asking in the incident's bundle, as it is said: after a crash the asking goes on from there.

One file per attempt, `dialogue-<number>.jsonl`, one `TranscriptEntry` per line (made by `agent/codec.py`). It is written anew and
durably with each entry, so a crash cuts between entries and never inside one. Raw: what was broken stays broken in here, and
`history.repair` makes a copy that can be sent.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from agent import codec, redact
from agent.errors import StoreError
from agent.model import EntryKind, IncidentId, ModelAnswer, ModelFault, Said, TranscriptEntry
from agent.ports import Clock, EvidenceFiles

MOST_TEXT = 100_000
"""Characters of one line of a dialogue that are kept; a model that answers more has run away."""


def file_name(number: int) -> str:
    """Return the name of the file of one attempt's asking."""
    return f"dialogue-{number}.jsonl"


def read(bundles: EvidenceFiles, incident: IncidentId, number: int) -> tuple[TranscriptEntry, ...]:
    """Return the entries of one asking in order; none where nobody was asked. Raises StoreError for a file that cannot be read."""
    content = bundles.read(incident, file_name(number))
    if content is None:
        return ()
    try:
        found = tuple(codec.loads(line) for line in content.decode("utf-8").splitlines() if line.strip())
    except (ValueError, UnicodeDecodeError) as exc:
        raise StoreError(f"cannot read {file_name(number)} of {incident}: {str(exc)[:200]}", transient=False) from exc
    if not all(isinstance(entry, TranscriptEntry) for entry in found):
        raise StoreError(f"cannot read {file_name(number)} of {incident}: it is no transcript", transient=False)
    return found


class Transcript:
    """The transcript of one asking. Not shared between threads; every method raises StoreError when it cannot be kept."""

    def __init__(
        self, incident: IncidentId, number: int, bundles: EvidenceFiles, clock: Clock, redactor: Callable[[str], str]
    ) -> None:
        """Begin, or go on where an earlier process stopped."""
        self._incident, self._number, self._bundles = incident, number, bundles
        self._clock, self._redact = clock, redactor
        self._entries = list(read(bundles, incident, number))

    @property
    def entries(self) -> tuple[TranscriptEntry, ...]:
        """Everything so far."""
        return tuple(self._entries)

    def said(self, phase: str) -> tuple[Said, ...]:
        """Return the lines of one phase, as they were said: what a resumed asking goes on from, after `history.repair`."""
        return tuple(entry.said for entry in self._entries if entry.phase == phase and entry.said is not None)

    def told(self, phase: str, *lines: Said, took: timedelta | None = None) -> None:
        """Keep what Medic says to the model. took: of a tool whose answer this is."""
        at = self._clock.now()
        self._add(
            *(
                TranscriptEntry(trace=self._incident, at=at, kind=EntryKind.TOLD, phase=phase, said=line, took=took)
                for line in lines
            )
        )

    def answered(self, phase: str, answer: ModelAnswer, cost: Decimal) -> None:
        """Keep what the model said, and what it cost by the ledger."""
        self._add(
            TranscriptEntry(
                trace=self._incident,
                at=self._clock.now(),
                kind=EntryKind.ANSWERED,
                phase=phase,
                said=answer.said,
                model=answer.model,
                usage=answer.usage,
                cost=cost,
                stop=answer.stop,
                took=answer.took,
            )
        )

    def failed(self, phase: str, model: str, fault: ModelFault, took: timedelta, cost: Decimal) -> None:
        """Keep that a call brought no answer."""
        self._add(
            TranscriptEntry(
                trace=self._incident,
                at=self._clock.now(),
                kind=EntryKind.FAULT,
                phase=phase,
                model=model,
                cost=cost,
                took=took,
                note=f"{fault.kind.value}: {fault}",
            )
        )

    def noted(self, phase: str, *notes: str) -> None:
        """Keep what Medic made of it: repairs, a limit that was reached, the verdict."""
        at = self._clock.now()
        self._add(
            *(TranscriptEntry(trace=self._incident, at=at, kind=EntryKind.NOTE, phase=phase, note=note) for note in notes)
        )

    def _add(self, *entries: TranscriptEntry) -> None:
        if not entries:
            return
        self._entries += [redact.within(entry, lambda text: self._redact(text)[:MOST_TEXT]) for entry in entries]
        lines = [codec.dumps(entry) for entry in self._entries]
        content = "\n".join(lines).encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode() + b"\n"
        self._bundles.keep(self._incident, file_name(self._number), content)
