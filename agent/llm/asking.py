"""One question on its way to a model: under which names it is kept, what its answer holds for, and what was shown so far.

Pure. Everything about a search is read back from what was said, so that a crash forgets nothing that was shown.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent import codec
from agent.diagnosis import facts as structural
from agent.diagnosis import log_lines
from agent.llm import fence
from agent.llm.providers import Phase
from agent.model import IncidentId, LogLine, Question, Role, Said

MOST_SHOWN = 6_000
"""Characters of what a search showed that the verdict is told."""

_ID = re.compile(r"\b[A-Z]\d{1,4}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One question on its way."""

    question: Question
    version: str
    key: str
    """What the answer holds for."""
    facts: str
    """The same without the log."""

    @classmethod
    def of(cls, question: Question, version: str) -> "Asking":
        """Return the asking of one question with one bundle."""
        facts = _facts_key(question, version)
        return cls(question=question, version=version, facts=facts, key=_key(question, facts))

    @property
    def incident(self) -> IncidentId:
        """The incident that it is about."""
        return self.question.evidence.incident

    @property
    def file(self) -> str:
        """Name of the file that keeps the answer."""
        return f"advice-{self.question.number}-{self.key}.json"

    @property
    def file_of_facts(self) -> str:
        """Name of the file that keeps the last answer given on these facts."""
        return f"advice-{self.question.number}-facts-{self.facts}.json"

    @property
    def search(self) -> str:
        """Name of the dialogue in which it looks: another question is another dialogue."""
        return f"{Phase.INVESTIGATE.value} {self.key}"

    @property
    def reading(self) -> str:
        """Name of the dialogues in which a log is read for the search."""
        return f"{Phase.READ.value} {self.key}"

    @property
    def verdict(self) -> str:
        """Name of the dialogue in which it answers."""
        return f"{Phase.CLASSIFY.value} {self.key}"


_SHOWN = re.compile(r"^([A-Z]\d{1,5})\| (?:\(\d+ times alike\) )?(.*)$", re.MULTILINE)
_FENCE = re.compile(r"^<<<DATA ([0-9a-z]+)$", re.MULTILINE)


def exhibits(said: Sequence[Said]) -> tuple[LogLine, ...]:
    """Return every line that a dialogue showed, by id: read back from what was said, so that a crash forgets none.

    Only Medic writes USER and TOOL lines, and data in them has no line ends of its own.
    """
    shown = (line.text for line in said if line.role in (Role.USER, Role.TOOL))
    return tuple(LogLine(id=id_, text=text) for part in shown for id_, text in _SHOWN.findall(part))


def nonce_of(said: Sequence[Said]) -> str:
    """Return the word of the fences of a dialogue."""
    found = _FENCE.search(said[1].text)
    return found[1] if found else fence.word()


def has_ended(said: Sequence[Said]) -> bool:
    """Say whether the model spoke last and asked for nothing more."""
    return said[-1].role is Role.ASSISTANT and not said[-1].calls


def worth_showing(searched: Sequence[Said]) -> tuple[LogLine, ...]:
    """Return lines that the search showed, those that it named first, as many as fit, in their order."""
    looked_up = [line for line in exhibits(searched) if line.id.startswith("T")]
    named = set(_ID.findall(searched[-1].text)) if searched[-1].role is Role.ASSISTANT else set()
    left, kept = MOST_SHOWN, set()
    for line in sorted(looked_up, key=lambda each: each.id not in named):
        left -= len(line.text) + 8
        if left < 0:
            break
        kept.add(line.id)
    return tuple(line for line in looked_up if line.id in kept)


def _key(question: Question, facts: str) -> str:
    """Return what an answer holds for: the facts, and the kinds of trouble in the log.

    Times, counters and calm lines are left out: they change while nothing does.
    """
    trouble = {entry.template for entry in log_lines.read(question.evidence.log) if not entry.calm}
    return _digest([facts, "\n".join(sorted(trouble))])


def _facts_key(question: Question, version: str) -> str:
    """Return the facts, what was changed and tried, and the bundle."""
    evidence, container = question.evidence, question.evidence.container
    return _digest(
        [
            version,
            question.service.name,
            [f"{name} {' '.join(sorted(values))}" for name, values in sorted(structural.facts(evidence).items())],
            [[change.what, change.after] for change in evidence.changes],
            [container.id, container.image_id] if container is not None else None,
            [[a.number, a.plan.runbook, a.outcome.value if a.outcome else None] for a in question.attempts],
            question.doubt,
            [[note.id, note.text] for note in question.remembered.notes],
        ]
    )


def _digest(parts: Sequence[codec.JSON]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
