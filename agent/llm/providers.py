"""Several providers as one: tried in their order, each with one deadline over everything.

In: a dialogue and how long it may take in all. Out: an answer that can be used, or a `ModelFault`. What is done about a fault
follows from its kind alone:

    rate limited, overloaded, unreachable   wait, ask the same once more, then the next provider
    timeout, garbage, a refused key         the next provider
    bad request, too long                   nobody else is asked: it would be paid for and refused again
    cut at its most output, filtered        as the line above: the answer is whole nowhere

A provider that fails again and again is left alone for a while. Before every try the budget is asked about the very model that
is tried: the one that answers instead may be the dear one (litellm#41344).
"""

import enum
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from agent.llm import tokens
from agent.llm.budget import Budget
from agent.model import FaultKind, ModelAnswer, ModelFault, Price, Said, StopReason, ToolSpec
from agent.ports import Clock, Model

TRIES = 2
"""Of one provider within one call."""
FIRST_WAIT = timedelta(seconds=1)
LEAST = timedelta(seconds=1)
"""With less time than this left, nothing is asked any more."""
OPENS_AFTER = 3
"""Faults in a row after which a provider is left alone."""
FIRST_REST = timedelta(minutes=1)
LONGEST_REST = timedelta(minutes=30)

_AGAIN = frozenset({FaultKind.RATE_LIMITED, FaultKind.OVERLOADED, FaultKind.UNREACHABLE})
_NEXT = _AGAIN | {FaultKind.TIMEOUT, FaultKind.OTHER, FaultKind.REFUSED_KEY}


class Phase(enum.Enum):
    """What a model is asked for: a cheap one may look around, a strong one should judge."""

    INVESTIGATE = "investigate"
    READ = "read"
    CLASSIFY = "classify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider, and which of its models answers what."""

    name: str
    port: Model
    investigate: str
    classify: str
    price: Callable[[str], Price]

    def model(self, phase: Phase) -> str:
        """Return the model for one phase."""
        match phase:
            case Phase.INVESTIGATE | Phase.READ:
                return self.investigate
            case Phase.CLASSIFY:
                return self.classify


class LimitError(Exception):
    """A limit of the budget was reached: nobody is asked any more. The sentence says which."""


class UselessError(ModelFault):
    """A model answered, and what it said cannot be used: cut, withheld or empty. It is paid for."""


class TimeIsOverError(ModelFault):
    """Too little time is left to ask anybody. It says nothing against a provider."""


@dataclass(frozen=True, slots=True)
class _Call:
    """What is asked, whoever is asked."""

    said: Sequence[Said]
    tools: Sequence[ToolSpec]
    phase: Phase
    most_output: int
    schema: str | None
    budget: Budget


@dataclass(slots=True)
class _Circuit:
    """How one provider did of late. Mutable: several heals share it, under the lock of `Providers`."""

    faults: int = 0
    rest: timedelta = FIRST_REST
    until: float = 0.0


class Providers:
    """Shared by every heal. at_once: calls under way at one moment; another waits its turn, inside its own deadline."""

    def __init__(self, providers: Sequence[Provider], clock: Clock, *, at_once: int) -> None:
        self._providers = tuple(providers)
        self._clock = clock
        self._turns = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._circuits = {provider.name: _Circuit() for provider in providers}

    def complete(
        self,
        said: Sequence[Said],
        tools: Sequence[ToolSpec],
        *,
        phase: Phase,
        most_output: int,
        schema: str | None,
        budget: Budget,
    ) -> ModelAnswer:
        """Return a whole answer, before the budget's time is over.

        Raises ModelFault; LimitError before a call that the budget has no room for; StoreError where it cannot be written down.
        """
        if not self._turns.acquire(timeout=budget.left.total_seconds()):
            raise ModelFault("cannot ask a model: others are being asked, and time is over", kind=FaultKind.TIMEOUT)
        try:
            return self._first_that_answers(_Call(said, tools, phase, most_output, schema, budget))
        finally:
            self._turns.release()

    def _first_that_answers(self, call: "_Call") -> ModelAnswer:
        open_ = [provider for provider in self._providers if self._is_open(provider)]
        last = ModelFault("cannot ask a model: every provider failed of late and rests", kind=FaultKind.UNREACHABLE)
        for position, provider in enumerate(open_):
            for tried in range(1, TRIES + 1):
                try:
                    return self._ask(provider, call, share=1 / (len(open_) - position))
                except TimeIsOverError:
                    raise (
                        last
                        if position or tried > 1
                        else ModelFault("cannot ask a model: time is over", kind=FaultKind.TIMEOUT)
                    ) from None
                except LimitError as limit:
                    # What an earlier try came to is not lost over the limit that ended the next one.
                    if position or tried > 1:
                        raise limit from last
                    raise
                except ModelFault as fault:
                    last = fault
                    self._note(provider, fault)
                    if fault.kind not in _NEXT:
                        raise
                if last.kind not in _AGAIN or tried == TRIES:
                    break
                self._clock.sleep(FIRST_WAIT)
        raise last

    def _ask(self, provider: Provider, call: "_Call", *, share: float) -> ModelAnswer:
        """Ask one provider once. share: of the time that is left, since a slow one must not eat that of those behind it."""
        model = provider.model(call.phase)
        price = provider.price(model)  # the first time this may load what it asks through
        limit = call.budget.left * share
        if limit < LEAST:
            raise TimeIsOverError(f"cannot ask {model}: time is over", kind=FaultKind.TIMEOUT)
        counted = tokens.of_dialogue(call.said, call.tools) + (tokens.estimated(call.schema) if call.schema else 0)
        most = price.of(counted, call.most_output)
        refused = call.budget.reserve(model, tokens=counted + call.most_output, most=most)
        if refused is not None:
            raise LimitError(refused)
        try:
            answer = provider.port.complete(
                call.said, call.tools, model=model, deadline=limit, most_output=call.most_output, schema=call.schema
            )
        except ModelFault as fault:
            call.budget.failed(fault)
            raise
        call.budget.settle(answer)
        self._note(provider, None)
        useless = _useless(answer)
        if useless is not None:
            raise UselessError(f"cannot use the answer of {model}: {useless}", kind=FaultKind.BAD_REQUEST)
        return answer

    def _is_open(self, provider: Provider) -> bool:
        with self._lock:
            return self._clock.monotonic() >= self._circuits[provider.name].until

    def _note(self, provider: Provider, fault: ModelFault | None) -> None:
        """Count a fault, or forget them all. A bad request says nothing against whoever refused it."""
        if fault is not None and fault.kind not in _NEXT:
            return
        with self._lock:
            circuit = self._circuits[provider.name]
            if fault is None:
                circuit.faults, circuit.rest, circuit.until = 0, FIRST_REST, 0.0
                return
            circuit.faults += 1
            # A refused key stays refused until a person has changed it.
            if circuit.faults >= OPENS_AFTER or fault.kind is FaultKind.REFUSED_KEY:
                circuit.until = self._clock.monotonic() + circuit.rest.total_seconds()
                circuit.rest = min(circuit.rest * 2, LONGEST_REST)


def _useless(answer: ModelAnswer) -> str | None:
    """Return why an answer is none. What was cut is never completed by guessing."""
    match answer.stop:
        case StopReason.LENGTH:
            return "it was cut at its most output"
        case StopReason.FILTERED:
            return "the provider's filter withheld it"
        case StopReason.END | StopReason.TOOL_CALLS | StopReason.OTHER:
            return None if answer.said.text.strip() or answer.said.calls else "it says nothing"
