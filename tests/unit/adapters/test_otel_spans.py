"""An asking becomes spans with the GenAI names, in the trace of its incident, without a word of what was said."""

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent.adapters import otel_spans
from agent.adapters.otel_spans import Spans
from tests.unit.adapters.test_transcript_page import dialogue


def sent() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    for _ in range(2):  # two processes, or one that was restarted
        spans = Spans(exporter)
        spans.asked(dialogue())
        spans.asked(())
        spans._provider.force_flush()
    return exporter


def test_one_agent_span_holds_each_call_and_each_tool_in_the_trace_of_the_incident() -> None:
    spans = sent().get_finished_spans()
    assert [span.name for span in spans[: len(spans) // 2]] == [
        "chat small",
        "chat small",
        "execute_tool read_logs",
        "chat small",
        "chat small",
        "invoke_agent medic",
    ]
    assert len({span.context.trace_id for span in spans}) == 1
    agent = spans[5]
    assert {span.parent.span_id for span in spans[:5] if span.parent} == {agent.context.span_id}
    assert all(span.attributes is not None and span.attributes[otel_spans.CONVERSATION] == "I7" for span in spans)


def test_a_call_tells_tokens_money_time_and_why_it_stopped_or_failed() -> None:
    fault, call, *_ = sent().get_finished_spans()
    assert fault.attributes is not None
    assert (fault.attributes["error.type"], fault.status.is_ok) == ("rate_limited", False)
    told = dict(call.attributes or {})
    assert told == {
        "gen_ai.conversation.id": "I7",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "openai/small",
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.usage.input_tokens": 1_840,
        "gen_ai.usage.output_tokens": 61,
        "medic.cost.usd": 0.0021,
    }
    assert call.end_time is not None
    assert call.start_time is not None
    assert call.end_time - call.start_time == 1_400_000_000


def test_nothing_that_was_said_leaves_the_machine() -> None:
    text = "".join(span.to_json() for span in sent().get_finished_spans())
    assert "upstream_url" not in text
    assert "sick" not in text
