"""The page of an incident's dialogues shows who said what, marks what was cited, and lets nothing in it act."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser

from agent.adapters import transcript_page, transcript_view
from agent.model import (
    EntryKind,
    FaultKind,
    Role,
    Said,
    StopReason,
    ToolCall,
    TranscriptEntry,
    Usage,
)
from agent.redact import Redactor
from tests import escalated
from tests.fakes import START

SECOND = timedelta(seconds=1)
EVIL = "<script>alert(1)</script> <img src=http://evil.example/x> ![x](http://evil.example)"
CASE = """Service checkout on host local is sick. Find out why. Why you are asked: no rule names a cause.

<<<DATA 4f1b
## Planes
P1| container: sick by check container: the container exited with code 78
## Log of shop-checkout
L11| loading /srv/checkout/app.conf
L12| fatal: upstream_url: no scheme in "payments:9000"
L13| {evil}
## Could not be seen
none
DATA 4f1b>>>""".replace("{evil}", EVIL)


def entry(seconds: float, said: Said | None = None, **more: object) -> TranscriptEntry:
    base = TranscriptEntry(
        trace=escalated.ID, at=START + timedelta(seconds=seconds), kind=EntryKind.TOLD, phase="investigate", said=said
    )
    return replace(base, **more)  # type: ignore[arg-type]


def dialogue() -> tuple[TranscriptEntry, ...]:
    cost = {
        "kind": EntryKind.ANSWERED,
        "model": "openai/small",
        "cost": Decimal("0.0021"),
        "took": 1.4 * SECOND,
        "usage": Usage(input_tokens=1_840, output_tokens=61, estimated=False),
    }
    calls = (ToolCall(id="call_1", name="read_logs", arguments='{"service": "checkout", "contains": "upstream_url"}'),)
    verdict = '{"cause": "bad_configuration", "runbook": "restore-config", "parameters": [], "evidence": ["L12", "T2"], "confidence": 0.86, "summary": "The file lost its scheme."}'
    return (
        entry(0, Said(role=Role.SYSTEM, text="You help an operations agent to find out why one service is sick.")),
        entry(0, Said(role=Role.USER, text=CASE)),
        entry(
            0.4,
            kind=EntryKind.FAULT,
            model="openai/small",
            cost=Decimal(0),
            took=0.4 * SECOND,
            note=f"{FaultKind.RATE_LIMITED.value}: cannot ask openai/small: 429",
        ),
        entry(
            2,
            Said(role=Role.ASSISTANT, text="L12 says that a setting has no scheme. Has it ever worked?", calls=calls),
            stop=StopReason.TOOL_CALLS,
            **cost,
        ),
        entry(
            2.3,
            Said(
                role=Role.TOOL,
                text="<<<DATA 4f1b\nT1| loading /srv/checkout/app.conf\nT2| upstream_url changed 4 minutes ago\nDATA 4f1b>>>",
                answers="call_1",
            ),
            took=0.3 * SECOND,
        ),
        entry(
            4,
            Said(role=Role.ASSISTANT, text="The configuration was edited and lost its scheme: L12, T2."),
            stop=StopReason.END,
            **cost,
        ),
        entry(5, Said(role=Role.USER, text="Answer with one JSON object."), phase="classify"),
        entry(7, Said(role=Role.ASSISTANT, text=verdict), stop=StopReason.END, phase="classify", **cost),
        entry(
            7, kind=EntryKind.NOTE, phase="classify", note="It proposes restore-config; a person is asked (a model chose it)."
        ),
    )


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def page(entries: tuple[TranscriptEntry, ...] | None = None) -> str:
    shown = dialogue() if entries is None else entries
    return transcript_page.render(escalated.incident(), {1: shown, 2: ()}, escalated.story(), Redactor())


def test_the_page_needs_nothing_from_outside_and_nothing_in_it_acts() -> None:
    reader = Reader()
    reader.feed(page())
    names = {name for name, _ in reader.tags}
    assert names.isdisjoint({"script", "img", "link", "iframe", "form", "a", "object", "embed"})
    assert not any(
        attribute.startswith("on") or attribute in {"src", "href"} for _, found in reader.tags for attribute in found
    )
    assert "&lt;script&gt;" in page()


def test_cited_lines_are_marked_and_others_are_not() -> None:
    (asking,) = transcript_view.make(escalated.incident(), {1: dialogue()}, ()).askings
    (name, turns), _ = asking.phases
    lines = {line.id: line.cited for turn in turns for block in turn.blocks for line in block.data if line.id}
    assert name == "The search"
    assert [turn.title for turn in turns if turn.who == "tool"] == ["read_logs answers"]
    heads = [line.text for turn in turns for block in turn.blocks for line in block.data if line.heads]
    assert heads == ["Planes", "Log of shop-checkout", "Could not be seen"]
    assert lines == {"P1": False, "L11": False, "L12": True, "L13": False, "T1": False, "T2": True}


def test_the_figures_add_up() -> None:
    tiles = dict(transcript_view.make(escalated.incident(), {1: dialogue()}, ()).tiles)
    assert (tiles["calls of a model"], tiles["tool calls"], tiles["tokens in"], tiles["cost"]) == ("4", "1", "5,520", "$0.0063")


def test_a_secret_in_an_old_file_is_not_shown() -> None:
    leaked = entry(0, Said(role=Role.USER, text="Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123"))
    assert "abcdefghijklmnop" not in page((leaked,))


def test_an_incident_without_a_model_says_so() -> None:
    assert "No model was asked" in page(())
