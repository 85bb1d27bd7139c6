"""A language model by script: `ports.Model` that says what a story tells it to, and remembers what it was asked."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from agent.llm.providers import Provider
from agent.model import FaultKind, ModelAnswer, ModelFault, Price, Role, Said, StopReason, ToolCall, ToolSpec, Usage

PRICE = Price(input=Decimal(1), output=Decimal(4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call as it reached the provider."""

    said: tuple[Said, ...]
    tools: tuple[str, ...]
    model: str
    deadline: timedelta
    schema: str | None

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.said)


Step = Said | ModelFault | Callable[[Asked], Said]


def says(text: str = "", *calls: tuple[str, dict[str, object]]) -> Said:
    """A line of a model: text, and calls as (tool, arguments)."""
    made = tuple(
        ToolCall(id=f"c{number}", name=name, arguments=json.dumps(arguments)) for number, (name, arguments) in enumerate(calls)
    )
    return Said(role=Role.ASSISTANT, text=text, calls=made)


def verdict(
    cause: str = "bad_configuration",
    runbook: str = "inconclusive",
    evidence: Sequence[str] = ("L1",),
    confidence: float = 0.9,
    summary: str = "The configuration is wrong.",
    parameters: Sequence[tuple[str, str]] = (),
) -> Said:
    """The last word of a model, in the form that it is asked for."""
    return says(
        json.dumps(
            {
                "cause": cause,
                "runbook": runbook,
                "parameters": [{"name": name, "value": value} for name, value in parameters],
                "evidence": list(evidence),
                "confidence": confidence,
                "summary": summary,
            }
        )
    )


class ScriptedModel:
    """Says one step after the other; the last one is repeated."""

    def __init__(self, *steps: Step, stop: StopReason | None = None) -> None:
        self.steps = list(steps)
        self.asked: list[Asked] = []
        self.stop = stop

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
        asked = Asked(said=tuple(said), tools=tuple(tool.name for tool in tools), model=model, deadline=deadline, schema=schema)
        self.asked.append(asked)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, ModelFault):
            raise step
        line = step if isinstance(step, Said) else step(asked)
        stop = self.stop or (StopReason.TOOL_CALLS if line.calls else StopReason.END)
        usage = Usage(input_tokens=1_000, output_tokens=100, estimated=False)
        cost = PRICE.of(usage.input_tokens, usage.output_tokens)
        return ModelAnswer(said=line, stop=stop, usage=usage, model=model, cost=cost, took=timedelta(seconds=1))


def provider(model: ScriptedModel, name: str = "scripted") -> Provider:
    return Provider(name=name, port=model, investigate=f"{name}/cheap", classify=f"{name}/strong", price=lambda _: PRICE)


def fault(kind: FaultKind) -> ModelFault:
    return ModelFault(f"cannot ask scripted: {kind.value}", kind=kind)
