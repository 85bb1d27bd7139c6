"""What a model may look at while it searches: six questions, none of which changes anything.

In: a tool call as the model wrote it. Out: lines of data with ids that may be cited, always: a wrong argument, a host that does
not answer and a tool that there is not are observations, too ("missing data"), never errors. A service is looked at only if it
is in the inventory; text is compared as plain text, never as a pattern; everything is redacted, then bounded.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from agent.diagnosis import log_cut
from agent.errors import OutsideError
from agent.llm import brief, fence
from agent.llm.brief import Redact
from agent.model import (
    Cause,
    ContainerFacts,
    Incident,
    LogLine,
    Question,
    Remembered,
    Service,
    ServiceName,
    ToolCall,
    ToolSpec,
    Verdict,
)
from agent.ports import Clock, Containers

MOST_LINES = 60
"""Of one answer."""
MOST_CHARACTERS = 4_000
"""Of one answer: about 1 300 tokens."""
EVENTS_OF = timedelta(hours=1)
LONGEST_NEEDLE = 100
LONGEST_ARGUMENTS = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """Through what tools look. Read only."""

    containers: Containers
    look: Callable[[Service], Verdict]
    """Asks all checks of one service, once."""
    recent: Callable[[ServiceName], Sequence[Incident]]
    """Earlier incidents of one service, newest first."""
    remembered: Callable[[ServiceName], Sequence[Remembered]]
    """Its troubles, the one that came last first."""
    clock: Clock
    redact: Redact


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of one call."""

    lines: tuple[LogLine, ...]
    """What was seen, each line with an id that may be cited; empty where there is only a note."""
    note: str
    """What is to be said beside it: that data is missing and why, or how it was cut."""
    apart: tuple[str, ...] = ()
    """A log, redacted, that is to be read in a dialogue of its own first (`reader`): it does not fit, or another service wrote it.
    `lines` and `note` are then what is shown where nobody can read it."""

    @property
    def text(self) -> str:
        """As it is told to the model, before its fence."""
        return "\n".join([*([self.note] if self.note else []), *(f"{line.id}| {line.text}" for line in self.lines)])


def _spec(name: str, description: str, **properties: Mapping[str, object]) -> ToolSpec:
    required = [key for key, value in properties.items() if not value.get("optional")]
    shown = {key: {k: v for k, v in value.items() if k != "optional"} for key, value in properties.items()}
    schema = {"type": "object", "additionalProperties": False, "required": required, "properties": shown}
    return ToolSpec(name=name, description=description, schema=json.dumps(schema, separators=(",", ":")))


_SERVICE: Mapping[str, object] = {"type": "string", "description": "A service of the inventory."}
TOOLS = (
    _spec(
        "collect_evidence",
        "Everything known of one service at once: its checks, its container, its latest events.",
        service=_SERVICE,
    ),
    _spec(
        "read_logs",
        "Lines of a service's log since its container started: the last ones, or those that contain a text.",
        service=_SERVICE,
        contains={"type": "string", "description": "Plain text, no pattern. Empty: the last lines.", "optional": True},
    ),
    _spec("inspect", "What Docker says of the container of a service.", service=_SERVICE),
    _spec("probe", "Ask the checks of a service now.", service=_SERVICE),
    _spec(
        "list_runbooks",
        "Runbooks of the catalogue that treat a cause; all of them without one.",
        cause={"type": "string", "description": "A class of cause.", "optional": True},
    ),
    _spec(
        "recall",
        "Earlier incidents and troubles of a service, what was tried, how it ended, what people noted.",
        service=_SERVICE,
    ),
)
"""Every tool. A model that is offered twenty chooses worse than one that is offered six."""

_NAMES = {tool.name: tool for tool in TOOLS}


def use(call: ToolCall, seen_before: int, question: Question, senses: Senses) -> Seen:
    """Answer one call. seen_before: lines that earlier calls showed; the ids (`T1`, `T2`, ...) go on from there."""
    arguments = _arguments(call)
    if isinstance(arguments, str):
        return Seen(lines=(), note=f"missing data: {arguments}")
    try:
        texts = list(_answer(call.name, arguments, question, senses))
    except _UnusableError as wrong:
        return Seen(lines=(), note=f"missing data: {fence.line(str(wrong), senses.redact)}")
    except OutsideError as exc:
        return Seen(lines=(), note=f"missing data, which says nothing about the service: {fence.line(str(exc), senses.redact)}")
    if call.name == "read_logs":
        return _of_log(texts, seen_before, senses.redact, own=arguments["service"] == question.service.name)
    seen = _bounded(texts, seen_before, senses.redact)
    return replace(seen, note=f"{seen.note}\n{notes}".strip()) if (notes := _notes(call.name, arguments, senses)) else seen


class _UnusableError(Exception):
    """An argument that cannot be used."""


def _arguments(call: ToolCall) -> dict[str, str] | str:
    """Return the arguments of a call, or what is wrong with them as a sentence."""
    tool = _NAMES.get(call.name)
    if tool is None:
        return f"there is no tool {call.name[:40]!r}; there are {', '.join(_NAMES)}"
    try:
        given = json.loads(call.arguments or "{}") if len(call.arguments) <= LONGEST_ARGUMENTS else None
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        return f"the arguments of {call.name} are no JSON object"
    schema = json.loads(tool.schema)
    unknown = sorted(set(given) - set(schema["properties"]))
    if unknown:
        return f"{call.name} takes no {unknown[0][:40]!r}"
    absent = [key for key in schema["required"] if key not in given]
    if absent:
        return f"{call.name} needs {absent[0]!r}"
    wrong = [key for key, value in given.items() if not isinstance(value, str)]
    return f"{wrong[0]!r} of {call.name} must be text" if wrong else given


def _answer(name: str, arguments: Mapping[str, str], question: Question, senses: Senses) -> Iterable[str]:
    if name == "list_runbooks":
        return _runbooks(arguments.get("cause", ""), question)
    service = _service(arguments["service"], question)
    match name:
        case "collect_evidence":
            return (*_probe(service, senses), *_inspect(service, senses), *_events(service, senses))
        case "read_logs":
            return _logs(service, arguments.get("contains", ""), senses)
        case "inspect":
            return _inspect(service, senses)
        case "probe":
            return _probe(service, senses)
        case _:
            return _recall(service, senses)


def _service(name: str, question: Question) -> Service:
    found = next((each for each in question.services if each.name == name), None)
    if found is None:
        known = ", ".join(sorted(str(each.name) for each in question.services)[:30])
        raise _UnusableError(f"there is no service {name[:60]!r} in the inventory; there are {known}")
    return found


def _probe(service: Service, senses: Senses) -> list[str]:
    return [
        f"{judgement.plane.value}: {judgement.health.value} by check {judgement.check}: {judgement.detail}"
        for judgement in senses.look(service).judgements
    ]


def _inspect(service: Service, senses: Senses) -> list[str]:
    seen = senses.containers.inspect(service.host, service.container)
    return [f"container {service.container}: {_of(seen)}", *([f"Docker's own error: {seen.error}"] if seen.error else [])]


def _of(seen: ContainerFacts) -> str:
    facts = {
        "state": seen.state.value,
        "status": seen.status,
        "exit code": seen.exit_code,
        "OOM killed": seen.oom_killed,
        "health": seen.health,
        "image": seen.image,
        "restarts by Docker": seen.restart_count,
        "restart policy": seen.restart_policy,
        "started": seen.started_at,
        "networks": ", ".join(network.name for network in seen.networks),
    }
    return "; ".join(f"{name} {value}" for name, value in facts.items() if value not in (None, ""))


def _events(service: Service, senses: Senses) -> list[str]:
    events = senses.containers.events(service.host, service.container, since=senses.clock.now() - EVENTS_OF)
    return [
        f"{event.at:%H:%M:%S} {event.action}{f', exit code {event.exit_code}' if event.exit_code is not None else ''}"
        for event in events[-brief.MOST_EVENTS :]
    ]


def _logs(service: Service, contains: str, senses: Senses) -> list[str]:
    if len(contains) > LONGEST_NEEDLE:
        raise _UnusableError(f"contains is longer than {LONGEST_NEEDLE} characters")
    started = senses.containers.inspect(service.host, service.container).started_at
    raw = senses.containers.logs(service.host, service.container, limit=log_cut.RAW_BYTES, since=started)
    # Redacted in one piece and before the cut, as diagnose does: a private key spans lines.
    lines = senses.redact(log_cut.readable(raw)).split("\n")
    needle = contains.lower()
    found = [line for line in lines if line.strip() and needle in line.lower()]
    if not found:
        raise _UnusableError(f"no line of the log contains {contains!r}" if contains else "the log is empty")
    return found


def _of_log(texts: Sequence[str], seen_before: int, redact: Redact, *, own: bool) -> Seen:
    """Return lines of a log. Those of the sick service stand in its case anyway, and are shown as far as they fit, the last ones."""
    seen = _bounded(texts, seen_before, redact, last=True)
    if own:
        return seen if len(seen.lines) == len(texts) else replace(seen, apart=tuple(texts))
    return Seen(lines=(), note="missing data: nobody could read this log in a dialogue of its own", apart=tuple(texts))


def _recall(service: Service, senses: Senses) -> list[str]:
    troubles = [each.episode for each in senses.remembered(service.name) if each.episode is not None]
    return [*(brief.trouble(each) for each in troubles), *(brief.episode(each) for each in senses.recent(service.name))]


def _notes(tool: str, arguments: Mapping[str, str], senses: Senses) -> str:
    """Return what people noted on a service, without ids: it shows nothing."""
    if tool != "recall":
        return ""
    notes = [note for each in senses.remembered(ServiceName(arguments["service"])) for note in each.notes]
    text = brief.hearsay(notes, senses.redact)
    return f"People noted, which shows nothing by itself:\n{text}" if text else ""


def _runbooks(cause: str, question: Question) -> list[str]:
    if cause and cause not in {each.value for each in Cause}:
        raise _UnusableError(f"there is no cause {cause[:40]!r}; there are {', '.join(each.value for each in Cause)}")
    treating = [each for each in question.runbooks if not cause or cause in {c.value for c in each.treats_causes}]
    return brief.catalogue(treating).splitlines()[1:]


def _bounded(texts: Sequence[str], seen_before: int, redact: Redact, *, last: bool = False) -> Seen:
    """Return the lines that fit, each redacted before it is cut. last: where not all fit, the last ones and not the first."""
    fits: list[str] = []
    left = MOST_CHARACTERS
    for text in reversed(texts) if last else texts:
        shown = fence.line(text, redact)
        left -= len(shown)
        if left < 0 or len(fits) == MOST_LINES:
            break
        fits.append(shown)
    kept = fits[::-1] if last else fits
    lines = tuple(LogLine(id=f"T{number}", text=text) for number, text in enumerate(kept, start=seen_before + 1))
    left_out = len(texts) - len(lines)
    return Seen(
        lines=lines,
        note="missing data: nothing was found" if not texts else f"{left_out} more lines were left out" if left_out else "",
    )
