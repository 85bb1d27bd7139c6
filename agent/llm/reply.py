"""What is believed of a model's answer: nothing that is not in the closed lists, and no claim without a line that exists.

In: the text that a model gave as its verdict, and what it was shown. Out: a `Claim`, or `Malformed` with a sentence that it may
be told once. Permissions are not decided here: a claim names a runbook, and `plan` treats it like any other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar  # Any: JSON as a model wrote it has no narrower type

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent import parameters, redact
from agent.model import Cause, LogLine, Runbook, RunbookId, Service

LONGEST = 20_000
"""Characters of an answer. A real one has a thousand."""
MOST_CITED = 12
"""Lines of a log that a summary may name: more of them would be the log again."""
NOBODY = ("inconclusive", "escalate")
"""What stands in place of a runbook where none is proposed."""


_Form = TypeVar("_Form", bound=BaseModel)


class _Parameter(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    name: Annotated[str, Field(max_length=64)]
    value: Annotated[str | int | bool, Field(union_mode="left_to_right")]


class _SummaryReply(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    lines: Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=MOST_CITED)]
    summary: Annotated[str, Field(max_length=1_000)]


class _Reply(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    cause: Annotated[str, Field(max_length=64)]
    runbook: Annotated[str, Field(max_length=64)]
    parameters: Annotated[list[_Parameter], Field(max_length=20)]
    evidence: Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=40)]
    confidence: Annotated[float, Field(ge=0, le=1, strict=False, allow_inf_nan=False)]
    summary: Annotated[str, Field(max_length=2_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a model says, checked against what it was shown and what there is."""

    cause: Cause
    proven: bool
    """It cites lines, and every one of them was shown to it."""
    runbook: RunbookId | None
    """Of the catalogue; None where it proposes none, or what it proposes is worth nothing."""
    escalates: bool
    """It says that a person has to do it."""
    parameters: tuple[tuple[str, str], ...]
    lines: tuple[LogLine, ...]
    """The lines that it cites and that exist, verbatim as they were shown."""
    confidence: float
    summary: str
    objections: tuple[str, ...]
    """Why a part of it counts for nothing, one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What is brought back of a log that was read in a dialogue of its own."""

    lines: tuple[LogLine, ...]
    """Those that it names, each of which was shown, in the order of the log and verbatim. None: nothing bears on the trouble."""
    text: str
    """In the words of who read it: no evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """An answer that is none, and what is wrong with it."""

    why: str


def schema(runbooks: Sequence[Runbook]) -> str:
    """Return the JSON schema of an answer, as text: closed lists for cause and runbook, every key required."""
    whole: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["cause", "runbook", "parameters", "evidence", "confidence", "summary"],
        "properties": {
            "cause": {"type": "string", "enum": [cause.value for cause in Cause]},
            "runbook": {"type": "string", "enum": [*sorted(str(runbook.id) for runbook in runbooks), *NOBODY]},
            "parameters": {
                "type": "array",
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["name", "value"],
                    "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
                },
            },
            "evidence": {"type": "array", "items": {"type": "string"}},
            "confidence": {"type": "number"},
            "summary": {"type": "string"},
        },
    }
    return json.dumps(whole, separators=(",", ":"))


def read(text: str, exhibits: Sequence[LogLine], runbooks: Sequence[Runbook], service: Service) -> Claim | Malformed:
    """Return what an answer claims.

    exhibits: every line that was shown, by id. service: whose declaration, beside the catalogue, is the only place that a
    parameter's value may come from.
    """
    reply = _in_form(text, _Reply)
    if isinstance(reply, Malformed):
        return reply
    try:
        cause = Cause(reply.cause)
    except ValueError:
        return Malformed(why=f"cause: {reply.cause[:40]!r} is none of the causes")
    known = {str(runbook.id): runbook for runbook in runbooks}
    if reply.runbook not in known and reply.runbook not in NOBODY:
        return Malformed(why=f"runbook: {reply.runbook[:40]!r} is not in the catalogue")
    return _claim(reply, cause, exhibits, known.get(reply.runbook), service)


def summary_schema() -> str:
    """Return the JSON schema of a summary, as text."""
    whole: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": ["lines", "summary"],
        "properties": {"lines": {"type": "array", "items": {"type": "string"}}, "summary": {"type": "string"}},
    }
    return json.dumps(whole, separators=(",", ":"))


def read_summary(text: str, shown: Sequence[LogLine]) -> Summary | Malformed:
    """Return what an answer brings back of a log. shown: every line that was there to be read, by id."""
    reply = _in_form(text, _SummaryReply)
    if isinstance(reply, Malformed):
        return reply
    named = set(reply.lines)
    absent = sorted(named - {line.id for line in shown})
    if absent:
        return Malformed(why=f"lines: {absent[0]!r} was not shown")
    return Summary(lines=tuple(line for line in shown if line.id in named), text=reply.summary)


def _in_form(text: str, form: type[_Form]) -> _Form | Malformed:
    """Return an answer in the form that it was asked for in."""
    if len(text) > LONGEST:
        return Malformed(why=f"it is longer than {LONGEST} characters")
    try:
        plain = json.loads(_unwrapped(text), object_pairs_hook=_without_doubles, parse_constant=_refuse_constant)
        return form.model_validate(plain)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return Malformed(why=f"{place[:80] or 'it'}: {first['msg']}")
    except (ValueError, RecursionError) as exc:
        return Malformed(why=f"it is no single JSON object: {str(exc)[:120]}")


def _claim(reply: _Reply, cause: Cause, exhibits: Sequence[LogLine], runbook: Runbook | None, service: Service) -> Claim:
    shown = {line.id: line for line in exhibits}
    cited = list(dict.fromkeys(reply.evidence))
    absent = [id_ for id_ in cited if id_ not in shown]
    objections = []
    if absent:
        objections.append(f"it cites {', '.join(repr(id_) for id_ in absent[:5])}, which it was never shown")
    if not cited and cause is not Cause.INCONCLUSIVE:
        objections.append("it cites nothing")
    given = tuple((each.name, _text(each.value)) for each in reply.parameters)
    tainted = (
        None if runbook is None else next((name for name, value in given if not _declared(value, name, runbook, service)), None)
    )
    if tainted is not None:
        objections.append(
            f"its value for {tainted[:40]!r} stands in no declaration: it comes from text that nobody vouches for"
        )
    proposes = runbook is not None and tainted is None
    return Claim(
        cause=cause,
        proven=bool(cited) and not absent,
        runbook=runbook.id if runbook is not None and proposes else None,
        escalates=reply.runbook == "escalate",
        parameters=given if proposes else (),
        lines=tuple(shown[id_] for id_ in cited if id_ in shown),
        confidence=reply.confidence,
        summary=reply.summary,
        objections=tuple(objections),
    )


def _declared(value: str, name: str, runbook: Runbook, service: Service) -> bool:
    """Say whether a value stands, whole, in the declaration of the service or in the catalogue."""
    parameter = next((each for each in runbook.parameters if each.name == name), None)
    offered = () if parameter is None else (*parameter.choices, parameter.default)
    declared = {*redact.texts_of(service), service.container, str(parameters.stop_timeout(service))}
    return bool(value) and (value in offered or value in declared)


def _text(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _unwrapped(text: str) -> str:
    """Return the text without the code fence that some models put around JSON, whatever they are told."""
    stripped = text.strip()
    if stripped.startswith("```") and stripped.endswith("```") and "\n" in stripped:
        return stripped.partition("\n")[2].removesuffix("```")
    return stripped


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError("a key is there twice")
    return dict(pairs)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")
