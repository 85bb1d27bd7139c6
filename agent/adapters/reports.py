"""The escalation report of one incident, as `ports.Reports`: Markdown, JSON twin, one self-contained HTML page, re-check script.

In: values of the model. Out: the files' bytes. Everything is redacted before it is shortened or rendered. Templates are
files of ours; text from logs, containers or models is only ever a value in them: escaped in HTML, quoted in Markdown.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import jinja2
from markupsafe import Markup, escape

from agent import codec
from agent.adapters import recheck, report_view
from agent.errors import OutsideError
from agent.model import Escalation, Evidence, Health, Incident, LogLine, Service, StoryEvent

FORMAT = 1
"""Of `report.json`. A reader refuses a larger one."""
_LONGEST_TEXT = 20_000
"""Characters of one text in the JSON twin."""

T = TypeVar("T")


class ReportFiles:
    """Renders reports. redact: applied to every text of the inputs before anything else is done with it."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        html = _environment(autoescape=True)
        html.filters["code"] = _with_code
        self._html = html.get_template("report.html.j2")
        plain = _environment(autoescape=False)  # Markdown: the filters below do the escaping
        plain.filters.update(md=_markdown, quoted=_quoted)
        plain.globals["mark"] = _mark
        self._markdown = plain.get_template("report.md.j2")

    def render(
        self,
        incident: Incident,
        service: Service | None,
        evidence: Sequence[Evidence],
        story: Sequence[StoryEvent],
        escalation: Escalation,
    ) -> Mapping[str, bytes]:
        """Return `report.md`, `report.json`, `report.html` and `recheck.sh`. Raises OutsideError when a template does not render."""
        shown, seen = _Clean(self._redact).value(incident), [self._evidence(look) for look in evidence]
        declared = _Clean(self._redact).value(service)
        handed = _Clean(self._redact).value(escalation)
        told = [_Clean(self._redact).value(event) for event in story]
        view = report_view.make(shown, declared, seen, told, handed)
        twin = {
            "format": FORMAT,
            "escalation": handed,
            "next_steps": view.next_steps,
            "incident": shown,
            "why_not_enough": {str(a.number): report_view.why_not_enough(a) for a in shown.attempts},
            "service": declared,
            "evidence": tuple(seen),
            "story": tuple(told),
            "gaps": view.gaps,
        }
        try:
            page, text = self._html.render(v=view), self._markdown.render(v=view)
        except jinja2.TemplateError as exc:
            raise OutsideError(f"cannot render the report of {incident.id}: {exc}", transient=False) from exc
        return {
            "report.md": re.sub(r"\n{3,}", "\n\n", text).encode(),
            "report.json": json.dumps(
                {key: _plain(value) for key, value in twin.items()}, ensure_ascii=False, indent=1
            ).encode(),
            "report.html": page.encode(),
            # The declaration as it stands, not the cleaned one: a script that looks elsewhere would be no re-check.
            "recheck.sh": recheck.script(incident, service, self._redact).encode(),
        }

    def _evidence(self, evidence: Evidence) -> Evidence:
        """Redact one look's evidence; its log as one text, since a private key goes over many lines."""
        texts = [line.text.replace("\n", " ") for line in evidence.log]
        redacted = self._redact("\n".join(texts)).split("\n")
        if len(redacted) != len(texts):  # the redactor withheld it
            redacted = [*redacted[:1], *([""] * (len(texts) - 1))] if texts else []
        log = tuple(LogLine(id=line.id, text=text) for line, text in zip(evidence.log, redacted, strict=True))
        return replace(_Clean(self._redact).value(replace(evidence, log=())), log=log)


def _environment(*, autoescape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("agent", "templates"),
        autoescape=autoescape,  # noqa: S701  # off for Markdown only, whose filters escape for themselves
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


class _Clean:
    """Redacts and bounds every text inside a value of the model, keeping its type."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact

    def value(self, value: T) -> T:
        """Return the same value with every text redacted."""
        cleaned = self._any(value)
        if not isinstance(cleaned, type(value)):
            raise TypeError(f"cannot redact {type(value).__name__}: it became {type(cleaned).__name__}")
        return cleaned

    def _any(self, value: object) -> object:
        match value:
            case str():
                return self._text(value)
            case (str(name), str(setting)):
                return self._text(name), self._setting(name, setting)
            case tuple():
                return tuple(self._any(part) for part in value)
            case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
                return replace(value, **{f.name: self._any(getattr(value, f.name)) for f in dataclasses.fields(value)})
            case _:
                return value

    def _text(self, value: str) -> str:
        redacted = self._redact(value)
        left_out = len(redacted) - _LONGEST_TEXT
        return redacted if left_out <= 0 else f"{redacted[:_LONGEST_TEXT]} [... {left_out} characters left out ...]"

    def _setting(self, name: str, value: str) -> str:
        """Redact a value whose name says that it is a secret: ("DB_PASSWORD", "x") tells nothing apart."""
        together = self._redact(f"{name}={value}")
        return self._text(value) if together == f"{name}={value}" else together.partition("=")[2] or together


def _plain(value: object) -> object:
    return {key: _plain(part) for key, part in value.items()} if isinstance(value, dict) else codec.as_dict(value)


# ---------------------------------------------------------------------------------------------------------- Markdown

_CODE = re.compile(r"((?<!`)`[^`]+`(?!`))")
_SPECIAL = re.compile(r"([\\`*\[\]<|~&]|(?<!\w)_|_(?!\w))")
_FIRST = re.compile(r"^([-+=#>]|\d+(?=[.)]\s))")
_AUTOLINK = re.compile(r"\b(https?|ftp|mailto|www)([:.])", re.IGNORECASE)


def _markdown(value: object) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no link, no table cell of its own; on one line.

    Code spans stay: `this` is how our own sentences name commands, and nothing inside one means anything.
    """
    flat = " ".join(str(value).split())
    parts = [part.replace("|", "\\|") if _CODE.fullmatch(part) else _escaped(part) for part in _CODE.split(flat)]
    return _FIRST.sub(lambda found: found[0] + "\\" if found[0].isdigit() else "\\" + found[0], "".join(parts))


def _escaped(text: str) -> str:
    # GitHub turns bare addresses into links: where a log says "click here", nothing should be there to click.
    return _AUTOLINK.sub("\\1\u200b\\2", _SPECIAL.sub(r"\\\1", text))


def _with_code(value: str) -> Markup:
    """Return text for HTML, escaped, with its code spans as such."""
    parts = [
        Markup("<code>{}</code>").format(part[1:-1]) if _CODE.fullmatch(part) else escape(part) for part in _CODE.split(value)
    ]
    return Markup("").join(parts)


def _quoted(lines: Sequence[LogLine | report_view.ShownLine]) -> str:
    """Return log lines as a code block whose fence is longer than any in them; cited lines are marked with `>`."""
    shown = [f"{'>' if isinstance(line, LogLine) or line.cited else ' '} {line.id:<6}{line.text}".rstrip() for line in lines]
    text = "\n".join(shown) or "(nothing)"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}text\n{text}\n{fence}"


def _mark(health: str) -> str:
    return {Health.WELL.value: "✓", Health.SICK.value: "✗"}.get(health, "?")
