"""The escalation report: it says what a person needs, and nothing that a container wrote can do anything in it."""

import html.parser
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from agent.adapters import report_view
from agent.adapters.reports import ReportFiles
from agent.model import (
    Attempt,
    ContainerState,
    Evidence,
    LogLine,
    Outcome,
    PlaybookRun,
    RunEnd,
    StoryKind,
    TaskResult,
)
from agent.redact import Redactor
from tests import escalated

FILES = ReportFiles(Redactor(["s3cr3t-of-ours"]))


def render(**changes: object) -> dict[str, str]:
    """Render the sample, with other parts where a test names them."""
    parts: dict[str, object] = {
        "incident": escalated.incident(),
        "service": escalated.service(),
        "evidence": (escalated.evidence(1), escalated.evidence(2)),
        "story": escalated.story(),
        "escalation": escalated.escalation(),
        **changes,
    }
    files = FILES.render(*parts.values())  # type: ignore[arg-type]  # the order of `render`
    return {name: content.decode() for name, content in files.items()}


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its elements, their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


# ------------------------------------------------------------------------------------------------- what it says


def test_every_form_says_what_is_wrong_what_was_done_and_what_to_do_next() -> None:
    files = render()
    page = " ".join("".join(Page(files["report.html"]).text).split())
    for text in (files["report.md"], page):
        plain = text.replace("`", "").replace("\\", "")
        assert "The program refuses its own configuration and exits at once" in plain
        assert "2 counted attempts. Restore the last good configuration and restart: cannot work here" in plain
        assert escalated.ADVICE.replace("`", "") in plain
        assert 'task "Put the good copy in place" failed: Destination /srv/checkout not writable' in plain
        assert re.search("said by:? rule config-rejected", plain, re.IGNORECASE)
        assert "cannot ask the image registry when this tag last moved" in plain
        assert "Could not look: health: the container has no address to ask" in plain


def test_the_first_thing_to_do_stands_before_any_detail() -> None:
    files = render()
    assert files["report.md"].index("What to do first") < files["report.md"].index("## Planes")
    assert files["report.html"].index("What to do next") < files["report.html"].index("<h2>Planes")


def test_cited_log_lines_are_marked_where_they_stand() -> None:
    files = render()
    assert "> L3    2026-03-01T02:59:58Z ERROR config: line 12" in files["report.md"]
    assert "  L4    2026-03-01T02:59:58Z ERROR config: 1 problem" in files["report.md"]
    assert files["report.html"].count('<span class="cited">') == 2 + 2 * 2  # the diagnosis, then each of two looks


def test_a_line_of_another_look_with_the_same_number_is_not_marked() -> None:
    other = escalated.evidence(2, log=("one", "two", "a different third line"))
    view = report_view.make(escalated.incident(), None, [other], (), escalated.escalation())
    assert not any(line.cited for line in view.evidence[0].log)


def test_the_twin_is_the_same_for_machines() -> None:
    twin = json.loads(render()["report.json"])
    assert twin["format"] == 1
    assert twin["incident"]["id"] == "I7"
    assert twin["incident"]["attempts"][1]["outcome"] == "ineffective"
    assert twin["incident"]["diagnosis"]["lines"][0]["id"] == "L3"
    assert twin["evidence"][0]["container"]["exit_code"] == 78
    assert twin["next_steps"][0] == escalated.ADVICE
    assert set(twin["why_not_enough"]) == {"1", "2"}
    assert twin["story"][0]["kind"] == "seen"


@pytest.mark.parametrize(
    ("state", "changed", "words"),
    [
        (ContainerState.EXITED, timedelta(seconds=-42), "config, 40s before it ended: b3c1d2"),
        (ContainerState.RUNNING, timedelta(seconds=-42), "before it was seen sick: b3c1d2"),
        (ContainerState.EXITED, timedelta(seconds=1), "- config: b3c1d2"),
        (ContainerState.EXITED, None, "- config: b3c1d2"),
    ],
)
def test_says_how_long_before_the_trouble_something_changed(
    state: ContainerState, changed: timedelta | None, words: str
) -> None:
    seen = escalated.evidence(1)
    assert seen.container is not None
    change = replace(seen.changes[0], at=None if changed is None else escalated.START + changed)
    seen = replace(seen, container=replace(seen.container, state=state), changes=(change,))
    assert words in render(evidence=(seen,))["report.md"]


def test_what_a_model_was_asked_and_could_not_show_is_said() -> None:
    diagnosis = replace(escalated.diagnosis(), consultation=escalated.consultation())
    files = render(incident=escalated.incident(diagnosis=diagnosis))
    page = " ".join("".join(Page(files["report.html"]).text).split())
    for text in (files["report.md"].replace("\\", ""), page):
        assert "Asked because no rule names a cause: model anthropic/claude-x says disk_full" in text
        assert "3 calls, 7100 tokens in, 420 out, $0.0276" in text
        assert "Unproven, a ground for nothing: it cites 'L99', which it was never shown" in text
        assert "Bundle 0123456789abcdef" in text
    assert "A model was asked" not in render()["report.md"]


def test_an_incident_without_anything_still_makes_a_report() -> None:
    bare = escalated.incident(attempts=(), diagnosis=None, refusal=None)
    files = render(incident=bare, service=None, evidence=(), story=())
    assert "Nothing was changed: no attempt was made." in files["report.md"]
    assert "The cause is not known. Seen: container: the container exited with code 78" in files["report.md"]
    assert "No evidence could be read" in files["report.html"]
    assert "no longer declared" in files["recheck.sh"]


RUN = PlaybookRun(end=RunEnd.FAILED, message="", tasks=(TaskResult(name="T", status="failed", message="said no"),))


@pytest.mark.parametrize(
    ("outcome", "run", "words"),
    [
        (None, None, "cut off in the middle"),
        (Outcome.HEALED, RUN, "well again"),
        (Outcome.INEFFECTIVE, replace(RUN, end=RunEnd.COMPLETED), "was not the remedy. Still wrong: container:"),
        (Outcome.INEFFECTIVE, RUN, 'did not finish: task "T" failed: said no. Still wrong: container:'),
        (Outcome.PERMANENT, RUN, 'cannot work here: task "T" failed: said no'),
        (Outcome.TRANSIENT, RUN, "was not ready for it"),
        (Outcome.AMBIGUOUS, None, "Nobody saw how the playbook ended"),
        (Outcome.INTERRUPTED, None, "Medic was stopped"),
        (Outcome.SUPERSEDED, None, "does not count"),
        (Outcome.CANCELLED, None, "does not count"),
    ],
)
def test_says_why_each_attempt_was_not_enough(outcome: Outcome | None, run: PlaybookRun | None, words: str) -> None:
    attempt: Attempt = replace(escalated.attempts()[0], outcome=outcome, run=run)
    assert words in report_view.why_not_enough(attempt)


# ---------------------------------------------------------------------------------------- what must not happen in it

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "</pre></main><style>body{display:none}</style><iframe src=//evil.example>",
    "{{ 7 * 7 }} {% for x in range(9) %}boo{% endfor %} {{ config.__class__ }}",
    "```\n# I am a heading now\n[click](javascript:alert(1)) ![](http://evil.example/x.png)",
    "````````` <b onmouseover=x> | a | b |\n|---|---|",
    "\x1b[2J\x1b[31mred\x1b[0m \u202eevil\u202c \u200b\ufeff \x00\x07 \ud800",
    "ʇxǝʇ 漢字 🙂 \U0001f468\u200d\U0001f469 \u2028 \r\n next",
    "' onload='alert(1)' \" autofocus onfocus=\"alert(1)",
    "]]> --> <!-- --!> &lt;b&gt; &#x3C;script&#x3E;",
)


def poisoned(text: str) -> dict[str, object]:
    """Put one text everywhere that something outside could have written it."""
    first, second = escalated.attempts()
    look = escalated.evidence(1, log=(text, "plain", *text.split("\n")))
    assert look.container is not None
    look = replace(
        look,
        container=replace(look.container, status=text, error=text, image=text, labels=((text, text),)),
        log_note=text,
        gaps=(text,),
        verdict=_with_detail(look, text),
    )
    task = TaskResult(name=text, status="failed", message=text)
    first = replace(first, run=PlaybookRun(end=RunEnd.FAILED, message=text, tasks=(task,), diff=text), verdict=look.verdict)
    diagnosis = replace(escalated.diagnosis(), lines=(LogLine(id="L1", text=text),), summary=text, facts=((text, text),))
    return {
        "incident": escalated.incident(attempts=(first, second), diagnosis=diagnosis, first=look.verdict),
        "evidence": (look,),
        "story": tuple(replace(event, text=text) for event in escalated.story()),
        "escalation": replace(escalated.escalation(), because=text, next_step=text),
    }


def _with_detail(look: Evidence, text: str) -> object:
    return replace(look.verdict, judgements=tuple(replace(judgement, detail=text) for judgement in look.verdict.judgements))


@pytest.mark.abuse("88")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_in_html(text: str) -> None:
    clean, dirty = Page(render()["report.html"]), Page(render(**poisoned(text))["report.html"])
    assert dirty.tags <= clean.tags | {"code", "ul", "li"}
    assert dirty.attributes <= clean.attributes
    assert "49" not in re.findall(r"(?<![\w:.])\d+(?![\w:.])", "".join(dirty.text))


@pytest.mark.abuse("88")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert_in_markdown(text: str) -> None:
    headings = [line for line in render(**poisoned(text))["report.md"].splitlines() if line.startswith("#")]
    outside = "\n".join(_outside_fences(render(**poisoned(text))["report.md"]))
    assert [line for line in outside.splitlines() if line.startswith("#")] == [h for h in headings if h in outside]
    assert "\n# I am" not in outside
    assert not re.search(r"(?<!\\)<[a-zA-Z/!]", re.sub(r"(?<!\\)`[^`\n]+`", "", outside))
    assert not re.search(r"(?<!\\)\]\(", re.sub(r"(?<!\\)`[^`\n]+`", "", outside))
    assert "https://" not in re.sub(r"(?<!\\)`[^`\n]+`", "", outside)


def _outside_fences(text: str) -> Sequence[str]:
    """Return the lines that Markdown does not take as code, by its own rule: a fence ends at one at least as long."""
    out, fence = [], ""
    for line in text.splitlines():
        ticks = re.match(r"`{3,}", line)
        if fence:
            if ticks and len(ticks[0]) >= len(fence) and line.strip() == ticks[0]:
                fence = ""
        elif ticks:
            fence = ticks[0]
        else:
            out.append(line)
    assert not fence
    return out


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_reaches_the_script(text: str) -> None:
    assert render(**poisoned(text))["recheck.sh"] == render()["recheck.sh"]


def test_nothing_is_loaded_and_nothing_runs() -> None:
    page = render()["report.html"]
    assert "default-src 'none'" in page
    assert not Page(page).tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert not re.search(r"url\(|@import|\bsrc=|\bhref=", page)


@pytest.mark.abuse("80")
def test_a_megabyte_of_log_is_bounded() -> None:
    look = escalated.evidence(1, log=("x" * 1_000_000, *(f"line {n} " + "y" * 2_000 for n in range(500))))
    files = render(evidence=(look,))
    assert len(files["report.html"]) < 400_000
    assert len(files["report.md"]) < 400_000
    assert "more characters]" in files["report.md"]
    assert "more lines in the evidence file" in files["report.html"]


# ----------------------------------------------------------------------------------------------------------- secrets

SECRET_LINES = (
    "connecting to postgres://app:hunter2hunter2@db:5432/x",
    "Authorization: Bearer abcdefghijklmnopqrstuvwxyz012345",
    "-----BEGIN RSA PRIVATE KEY-----",
    "MIIEpAIBAAKCAQEA7bq1zNnUe0Zk3uOq1yq2Qz8mJ5oJ8n1Qp3u9c1t5a7v9b2xX",
    "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4",
    "-----END RSA PRIVATE KEY-----",
    "ours is s3cr3t-of-ours",
)
CANARIES = (
    "hunter2hunter2",
    "abcdefghijklmnopqrstuvwxyz",
    "MIIEpAIBAAK",
    "Zm9vYmFyYmF6",
    "s3cr3t-of-ours",
    "correcthorsebattery",
    "0123456789abcdef0123",
)


def test_no_secret_leaves_in_any_file() -> None:
    first, second = escalated.attempts()
    leak = "; ".join(SECRET_LINES[:2] + SECRET_LINES[-1:])
    first = replace(
        first, run=PlaybookRun(end=RunEnd.FAILED, message=leak, tasks=(TaskResult(name="T", status="failed", message=leak),))
    )
    files = render(
        incident=escalated.incident(attempts=(first, second)),
        evidence=(escalated.evidence(1, log=SECRET_LINES),),
        story=tuple(replace(event, text=leak) for event in escalated.story() if event.kind is StoryKind.TASK),
    )
    for name, text in files.items():
        assert [canary for canary in CANARIES if canary in text] == [], name
    assert "[REDACTED:url-password]" in files["report.md"]
