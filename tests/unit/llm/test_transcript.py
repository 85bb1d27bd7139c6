"""What is said in an asking is kept as it is said, without secrets, and an asking that was cut goes on from it."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from agent.adapters.bundles import BundleFiles
from agent.errors import StoreError
from agent.llm import history, transcript
from agent.llm.transcript import Transcript
from agent.model import (
    EntryKind,
    FaultKind,
    IncidentId,
    ModelAnswer,
    ModelFault,
    Role,
    Said,
    StopReason,
    ToolCall,
    Usage,
)
from agent.redact import Redactor
from tests.fakes import START, FakeClock

I1 = IncidentId("I1")
SECOND = timedelta(seconds=1)
HEAD = Said(role=Role.SYSTEM, text="you look after services")
CASE = Said(role=Role.USER, text="why is web sick?")
ASKS = Said(role=Role.ASSISTANT, text="", calls=(ToolCall(id="c1", name="read_logs", arguments='{"service": "web"}'),))
ANSWER = ModelAnswer(
    said=ASKS,
    stop=StopReason.TOOL_CALLS,
    usage=Usage(input_tokens=900, output_tokens=20, estimated=False),
    model="small",
    cost=Decimal("0.002"),
    took=SECOND,
)


def keeping(folder: Path) -> Transcript:
    return Transcript(I1, 1, BundleFiles(folder), FakeClock(), Redactor())


def test_an_asking_that_was_cut_in_a_tool_call_goes_on_from_what_was_said(tmp_path: Path) -> None:
    before = keeping(tmp_path)
    before.told("investigate", HEAD, CASE)
    before.answered("investigate", ANSWER, Decimal("0.002"))  # and then Medic is killed
    after = keeping(tmp_path)
    assert after.said("investigate") == (HEAD, CASE, ASKS)
    assert after.said("classify") == ()
    repaired = history.repair(after.said("investigate")).said
    assert repaired[-1] == Said(role=Role.TOOL, text=history.NO_RESULT, answers="c1")
    after.told("investigate", Said(role=Role.TOOL, text="L1| boom", answers="c1"), took=SECOND)
    assert [entry.kind for entry in transcript.read(BundleFiles(tmp_path), I1, 1)] == [
        EntryKind.TOLD,
        EntryKind.TOLD,
        EntryKind.ANSWERED,
        EntryKind.TOLD,
    ]


def test_every_entry_names_the_incident_and_a_call_its_cost_tokens_time_and_reason(tmp_path: Path) -> None:
    kept = keeping(tmp_path)
    kept.answered("investigate", ANSWER, Decimal("0.003"))
    kept.failed("investigate", "large", ModelFault("cannot ask large: 429", kind=FaultKind.RATE_LIMITED), SECOND, Decimal(0))
    kept.noted("classify", "a limit was reached")
    answered, failed, note = keeping(tmp_path).entries
    assert {entry.trace for entry in (answered, failed, note)} == {I1}
    assert (answered.cost, answered.stop, answered.took, answered.usage) == (
        Decimal("0.003"),
        StopReason.TOOL_CALLS,
        SECOND,
        ANSWER.usage,
    )
    assert (failed.model, failed.note, failed.at) == ("large", "rate_limited: cannot ask large: 429", START)
    assert note.note == "a limit was reached"


def test_no_secret_and_no_endless_text_is_kept(tmp_path: Path) -> None:
    kept = keeping(tmp_path)
    kept.told("investigate", Said(role=Role.USER, text="password=hunter2hunter2\ud800 " + "x" * 300_000))
    content = (tmp_path / "incidents/I1/dialogue-1.jsonl").read_text()
    assert "hunter2" not in content
    assert len(content) < 110_000
    assert len(keeping(tmp_path).entries) == 1


@pytest.mark.parametrize("content", [b"\xff\n", b"{}\n", b'{"_":"Said","role":1}\n', b'"text"\n', b"half"])
def test_a_file_that_is_no_transcript_is_said_and_not_guessed_at(tmp_path: Path, content: bytes) -> None:
    BundleFiles(tmp_path).keep(I1, "dialogue-1.jsonl", content)
    with pytest.raises(StoreError, match=r"cannot read dialogue-1\.jsonl of I1"):
        transcript.read(BundleFiles(tmp_path), I1, 1)
