"""Whole dialogues with a model, kept as files: what Medic asked, what was answered, and what came of it.

`Recorder` stands between Medic and a model and notes both sides; `Replayed` is a `ports.Model` that answers as the file says, offline,
as long as it is asked what the file says. So a recording fails where Medic asks in other words, in another order, or makes
something else of the same answers. A file is JSON lines: a head, one line per call, and what the story ended with.

What has been said before in one dialogue is not repeated in a file, and Medic's own rules of the game (the system line) are only
kept by their digest.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from agent.llm import transcript
from agent.model import FaultKind, ModelAnswer, ModelFault, Role, Said, StopReason, ToolCall, ToolSpec, Usage
from agent.ports import Model
from tests.lab.hostile import PATIENT, Bed

JSON = dict[str, Any]


def _line(said: Said) -> JSON:
    text = said.text
    if said.role is Role.SYSTEM:
        text = "sha256 " + hashlib.sha256(text.encode()).hexdigest()[:16]
    calls = [[call.id, call.name, call.arguments] for call in said.calls]
    return {
        "role": said.role.value,
        "text": text.split("\n") if "\n" in text else text,
        **({"calls": calls} if calls else {}),
        **({"answers": said.answers} if said.answers is not None else {}),
    }


def _said(line: JSON) -> Said:
    text = line["text"]
    calls = tuple(ToolCall(id=id_, name=name, arguments=arguments) for id_, name, arguments in line.get("calls", ()))
    return Said(role=Role(line["role"]), text=text if isinstance(text, str) else "\n".join(text), calls=calls)


@dataclass
class Asked:
    """How calls are told apart and written: the same for recording and replay."""

    before: list[JSON] = field(default_factory=list)
    """The lines of the call before."""

    def of(self, said: Sequence[Said], tools: Sequence[ToolSpec], model: str, most_output: int, schema: str | None) -> JSON:
        lines = [_line(each) for each in said]
        known = len(self.before) if lines[: len(self.before)] == self.before else 0
        self.before = lines
        return {
            "model": model,
            "tools": [tool.name for tool in tools],
            "schema": None if schema is None else sorted(json.loads(schema)["properties"]),
            "most_output": most_output,
            "goes_on_after": known,
            "said": lines[known:],
        }


@dataclass
class Recorder:
    """`ports.Model` over another one; `calls` holds what was asked and answered."""

    model: Model
    as_named: str
    """The model that is really asked, whatever Medic calls it."""
    deadline: timedelta
    """The real one: the clock of a story is make-believe."""
    calls: list[JSON] = field(default_factory=list)
    asked: Asked = field(default_factory=Asked)

    def complete(
        self,
        said: Sequence[Said],
        tools: Sequence[ToolSpec],
        *,
        model: str,
        deadline: timedelta,
        most_output: int,
        schema: str | None,
    ) -> ModelAnswer:
        call = {"asked": self.asked.of(said, tools, model, most_output, schema)}
        self.calls.append(call)
        try:
            answer = self.model.complete(
                said, tools, model=self.as_named, deadline=self.deadline, most_output=most_output, schema=schema
            )
        except ModelFault as fault:
            call["failed"] = {"kind": fault.kind.value, "sentence": str(fault)}
            raise
        call["answered"] = {
            **_line(answer.said),
            "stop": answer.stop.value,
            "usage": asdict(answer.usage),
            "model": answer.model,
            "cost": str(answer.cost),
        }
        return answer


class Unlike(AssertionError):  # noqa: N818  it is named after what is so
    """Medic asked something else than when the dialogue was recorded."""


@dataclass
class Replayed:
    """`ports.Model` that answers as a file says. wrong: the first call that was not the recorded one."""

    calls: Sequence[JSON]
    at: int = 0
    asked: Asked = field(default_factory=Asked)
    wrong: tuple[JSON, JSON | None] | None = None

    def complete(
        self,
        said: Sequence[Said],
        tools: Sequence[ToolSpec],
        *,
        model: str,
        deadline: timedelta,
        most_output: int,
        schema: str | None,
    ) -> ModelAnswer:
        now = self.asked.of(said, tools, model, most_output, schema)
        call = self.calls[self.at] if self.at < len(self.calls) else None
        self.at += 1
        if call is None or call["asked"] != now:
            self.wrong = self.wrong or (now, None if call is None else call["asked"])
            raise Unlike("see `wrong`")
        if "failed" in call:
            raise ModelFault(call["failed"]["sentence"], kind=FaultKind(call["failed"]["kind"]))
        answered = call["answered"]
        return ModelAnswer(
            said=_said(answered),
            stop=StopReason(answered["stop"]),
            usage=Usage(**answered["usage"]),
            model=answered["model"],
            cost=Decimal(answered["cost"]),
            took=timedelta(seconds=1),
        )


def ended(at: Bed) -> JSON:
    """Return what a story came to: what was concluded, asked of people, done, billed and noted."""
    incident = at.incident(PATIENT)
    diagnosis, hold = incident.diagnosis, incident.hold
    assert diagnosis is not None
    consultation = diagnosis.consultation
    proposal = consultation.proposal if consultation is not None else None
    entries = [entry for number in (1, 2) for entry in transcript.read(at.world.bundles, incident.id, number)]
    return {
        "state": incident.state.value,
        "cause": [diagnosis.cause.value, diagnosis.sureness.value, diagnosis.said_by],
        "lines": [f"{line.id}| {line.text}" for line in diagnosis.lines],
        "came_of_it": consultation.came_of_it if consultation is not None else None,
        "unproven": list(consultation.unproven) if consultation is not None else [],
        "proposal": None if proposal is None else [proposal.runbook, proposal.at_most.value, proposal.because],
        "hold": None if hold is None else [hold.code.value, hold.would.runbook if hold.would else None],
        "refusal": incident.refusal.code.value if incident.refusal is not None else None,
        "ran": [plan.runbook for plan in at.watched.changed],
        "billed": [
            [row.key, row.what, str(row.amount), row.fault or (row.stop.value if row.stop is not None else None)]
            for row in at.store.spending.of(incident.id)
        ],
        "noted": [f"{entry.phase.split()[0]}: {entry.note}" for entry in entries if entry.note],
    }


def write(file: Path, head: JSON, calls: Sequence[JSON], end: JSON) -> None:
    """Write one recording."""
    lines = ({"head": head}, *calls, {"ended": end})
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def read(file: Path) -> tuple[JSON, tuple[JSON, ...], JSON]:
    """Return head, calls and end of one recording."""
    head, *calls, end = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return head["head"], tuple(calls), end["ended"]
