"""What was said with models as OpenTelemetry spans, in today's GenAI names; the only importer of opentelemetry. Loaded where it is used.

In: the transcript of one asking, after it has ended. Out: one `invoke_agent` span, with a `chat` span for each call of a model and an
`execute_tool` span for each tool, all in the trace of their incident. What was said is not in them: that stays in the bundle.

Source of the names: opentelemetry-semantic-conventions 0.66b2, "GenAI", still in development; they stand here and nowhere else.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from importlib import metadata

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags

from agent.model import EntryKind, IncidentId, Role, TranscriptEntry

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CONVERSATION = "gen_ai.conversation.id"
AGENT = "gen_ai.agent.name"
TOOL_NAME = "gen_ai.tool.name"
TOOL_CALL = "gen_ai.tool.call.id"
ERROR = "error.type"
COST = "medic.cost.usd"
"""Ours: the conventions have no name for money."""

DEADLINE = timedelta(seconds=5)
"""For what is still on its way when Medic stops."""


def exporter(endpoint: str) -> SpanExporter:
    """Return what sends spans to an OTLP endpoint over HTTP (`http://host:4318`)."""
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=DEADLINE.total_seconds())


class Spans:
    """Sends spans from a thread of its own; what cannot be sent is lost and holds nothing up."""

    def __init__(self, to: SpanExporter) -> None:
        resource = Resource.create({"service.name": "medic", "service.version": metadata.version("medic-agent")})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(to))
        self._tracer = self._provider.get_tracer("medic")

    def asked(self, entries: Sequence[TranscriptEntry]) -> None:
        """Send the spans of one asking."""
        if not entries:
            return
        incident = entries[0].trace
        whole = self._tracer.start_span(
            "invoke_agent medic",
            context=trace.set_span_in_context(NonRecordingSpan(_of(incident))),
            start_time=_ns(min(entry.at - (entry.took or timedelta(0)) for entry in entries)),
            attributes={OPERATION: "invoke_agent", AGENT: "medic", CONVERSATION: incident},
        )
        inside = trace.set_span_in_context(whole)
        tools = {call.id: call.name for entry in entries if entry.said is not None for call in entry.said.calls}
        for entry in entries:
            named = _attributes(entry, tools)
            if named is None:
                continue
            name, attributes = named
            span = self._tracer.start_span(
                name, context=inside, start_time=_ns(entry.at - (entry.took or timedelta(0))), attributes=attributes
            )
            if ERROR in attributes:
                span.set_status(Status(StatusCode.ERROR))
            span.end(end_time=_ns(entry.at))
        whole.end(end_time=_ns(entries[-1].at))

    def close(self) -> None:
        """Send what is left, within `DEADLINE`."""
        self._provider.force_flush(int(DEADLINE.total_seconds() * 1_000))
        self._provider.shutdown()


def _of(incident: IncidentId) -> SpanContext:
    """Return the trace of an incident: the same in every process and after every restart."""
    digest = hashlib.sha256(incident.encode()).digest()
    return SpanContext(
        trace_id=int.from_bytes(digest[:16]) or 1,
        span_id=int.from_bytes(digest[16:24]) or 1,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _attributes(
    entry: TranscriptEntry, tools: dict[str, str]
) -> tuple[str, dict[str, str | int | float | Sequence[str]]] | None:
    """Return the name and attributes of an entry's span, None for an entry that took no time."""
    found: dict[str, str | int | float | Sequence[str]] = {CONVERSATION: entry.trace}
    match entry.kind:
        case EntryKind.ANSWERED | EntryKind.FAULT:
            provider, _, model = entry.model.rpartition("/")
            found |= {OPERATION: "chat", PROVIDER: provider or "unknown", REQUEST_MODEL: model or entry.model}
            if entry.usage is not None:
                found |= {INPUT_TOKENS: entry.usage.input_tokens, OUTPUT_TOKENS: entry.usage.output_tokens}
            if entry.stop is not None:
                found |= {FINISH_REASONS: (entry.stop.value,), RESPONSE_MODEL: entry.model}
            if entry.cost is not None:
                found[COST] = float(entry.cost)
            if entry.kind is EntryKind.FAULT:
                found[ERROR] = entry.note.partition(":")[0] or "other"
            return f"chat {model or entry.model}", found
        case EntryKind.TOLD if entry.said is not None and entry.said.role is Role.TOOL and entry.took is not None:
            name = tools.get(entry.said.answers or "", "unknown")
            found |= {OPERATION: "execute_tool", TOOL_NAME: name, TOOL_CALL: entry.said.answers or ""}
            return f"execute_tool {name}", found
        case _:
            return None


def _ns(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000_000)
