"""The one object that is asked before every call of a model and before every tool it wants: may this still be?

In: the limits, and the ledger of spending, which survives restarts. Out: permission, or `LimitReached`. Nothing in here trusts the
model: a call is reserved at the most it can cost before it is made, and counts at that price until its true one is known; a
provider that forgets to say what it used is billed what was estimated, never nothing.

A repeat is judged by the call *and* the state of the world: the same question is worth asking again once something changed.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from agent import money
from agent.model import (
    FaultKind,
    IncidentId,
    LimitReached,
    ModelAnswer,
    ModelFault,
    ModelLimit,
    ModelLimits,
    Spending,
    SpendingKind,
    ToolCall,
    Usage,
)
from agent.ports import Clock, SpendingStore

HOUR = timedelta(hours=1)
REPEATS = 2
"""Refused repeats in one asking before it ends: a model that was told twice will not hear it the third time (one repeated a call
85 times under a running warning, hermes-agent#67829)."""
_FREE = frozenset(
    {
        FaultKind.RATE_LIMITED,
        FaultKind.OVERLOADED,
        FaultKind.REFUSED_KEY,
        FaultKind.BAD_REQUEST,
        FaultKind.TOO_LONG,
        FaultKind.UNREACHABLE,
    }
)
"""Faults for which no provider charges. A call that timed out or made no sense may well be on the bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One tool call is not carried out, and the asking goes on: `note` is told to the model in its place."""

    note: str


class Budget:
    """The limits of one asking: one diagnosis of one incident, with its tools. Not shared between threads."""

    def __init__(
        self,
        limits: ModelLimits,
        incident: IncidentId,
        number: int,
        spending: SpendingStore,
        clock: Clock,
        on_spent: Callable[[Decimal, datetime], None] = lambda _spent, _now: None,
        daily_usd: Decimal | None = None,
    ) -> None:
        """Begin or resume an asking; the wall clock starts now. Raises StoreError.

        number: of the attempt it is for: the calls of one (incident, number) are one asking, also across a crash.
        on_spent: told, after each bill, what models cost within the last 24 hours. daily_usd: the cap over hosts and models together;
        None where models are all that is bought, and their own limit is all there is.
        """
        self._limits, self._incident, self._asking = limits, incident, f"{incident}-{number} call "
        self._spending, self._clock, self._on_spent, self._daily = spending, clock, on_spent, daily_usd
        self._began = clock.monotonic()
        mine = [row for row in spending.of(incident) if row.key.startswith(self._asking)]
        self._steps = len(mine)
        self._tokens = sum(row.usage.input_tokens + row.usage.output_tokens for row in mine if row.usage is not None)
        self._reserved: Spending | None = None
        self._asked_at = 0.0
        self.reached: LimitReached | None = None
        """What `reserve` was refused for last."""
        self.last_cost = Decimal(0)
        """US dollars: what the call that was billed last came to."""
        self._tools = 0
        self._asked: dict[tuple[str, int], int] = {}
        self._last: deque[tuple[str, int]] = deque(maxlen=4)
        self._refused = 0
        self._seen: set[str] = set()
        self._stale = 0

    @property
    def left(self) -> timedelta:
        """How much of the wall clock is left; the deadline of whatever is done next. Never negative."""
        return max(timedelta(0), self._limits.wall - timedelta(seconds=self._clock.monotonic() - self._began))

    @property
    def steps_left(self) -> int:
        """How many calls of the model this asking may still make."""
        return max(0, self._limits.steps - self._steps)

    # -------------------------------------------------------------------------------------------------- calls of the model

    def reserve(self, model: str, *, tokens: int, most: Decimal) -> str | None:
        """Ask for one call before it is made, and reserve its money; return why it may not be made, or None.

        tokens: estimated input plus the most output. most: what those cost, US dollars. What was refused stands in `reached`.
        Raises StoreError: without a ledger no call is made.
        """
        self.reached = self._over(tokens)
        if self.reached is not None:
            return self.reached.because
        now = self._clock.now()
        wanted = Spending(
            key=f"{self._asking}{self._steps + 1}",
            kind=SpendingKind.MODEL,
            what=model,
            at=now,
            amount=max(most, Decimal(0)),
            incident=self._incident,
        )
        before = self._spending.of(self._incident)

        def no_room(spent: Sequence[Spending]) -> str | None:
            self.reached = no_money(self._limits, spent, wanted, before, self._daily)
            return None if self.reached is None else self.reached.because

        refused = self._spending.reserve(wanted, now - money.DAY, no_room)
        if refused is None:
            self._steps += 1
            self._reserved, self._asked_at = wanted, self._clock.monotonic()
        return refused

    def _over(self, tokens: int) -> LimitReached | None:
        limits = self._limits
        if self._steps >= limits.steps:
            return LimitReached(
                limit=ModelLimit.STEPS, because=f"{limits.steps} calls of the model are all that one asking has"
            )
        if self.left <= timedelta(0):
            seconds = f"{limits.wall.total_seconds():g}"
            return LimitReached(limit=ModelLimit.WALL, because=f"the {seconds} s of one asking are over")
        if self._tokens + tokens > limits.tokens:
            return LimitReached(
                limit=ModelLimit.TOKENS, because=f"{self._tokens} tokens are used, and {tokens} more pass {limits.tokens}"
            )
        return None

    def settle(self, answer: ModelAnswer) -> None:
        """Bill the call that was reserved last. What the provider left out is taken as it was reserved. Raises StoreError."""
        usage, reserved = answer.usage, self._taken()
        if usage.input_tokens <= 0 and usage.output_tokens <= 0:
            usage = Usage(input_tokens=1, output_tokens=1, estimated=True)
        cost = answer.cost if answer.cost > 0 else reserved.amount
        self._bill(replace(reserved, amount=cost, usage=usage, stop=answer.stop, took=answer.took))

    def failed(self, fault: ModelFault) -> None:
        """Bill the call that was reserved last and failed: nothing where no provider charges for that, else what was reserved.

        Raises StoreError.
        """
        reserved = self._taken()
        took = timedelta(seconds=self._clock.monotonic() - self._asked_at)
        amount = Decimal(0) if fault.kind in _FREE else reserved.amount
        self._bill(replace(reserved, amount=amount, fault=fault.kind.value, took=took))

    def _taken(self) -> Spending:
        if self._reserved is None:
            raise AssertionError("a call is reserved before it is billed")
        reserved, self._reserved = self._reserved, None
        return reserved

    def _bill(self, call: Spending) -> None:
        self._spending.bill(replace(call, billed=True))
        if call.usage is not None:
            self._tokens += call.usage.input_tokens + call.usage.output_tokens
        self.last_cost = call.amount
        now = self._clock.now()
        self._on_spent(spent_on_models(self._spending.since(now - money.DAY)), now)

    # --------------------------------------------------------------------------------------------------------------- tools

    def tools(self, calls: Sequence[ToolCall]) -> LimitReached | None:
        """Ask whether the tool calls of one answer may be looked at at all: too many at once is a model that has run away."""
        most = self._limits.tool_calls_at_once
        if len(calls) > most:
            return LimitReached(limit=ModelLimit.TOOL_CALLS_AT_ONCE, because=f"{len(calls)} tools at once; {most} are allowed")
        return None

    def tool(self, call: ToolCall, world: int = 0) -> Refused | LimitReached | None:
        """Ask before each tool call; None: carry it out.

        world: a number that differs once anything was changed: the same question may be asked again then.
        """
        if self.left <= timedelta(0):
            return LimitReached(
                limit=ModelLimit.WALL, because=f"the {self._limits.wall.total_seconds():g} s of one asking are over"
            )
        if self._tools >= self._limits.tool_calls:
            most = self._limits.tool_calls
            return LimitReached(limit=ModelLimit.TOOL_CALLS, because=f"{most} tool calls are all that one asking has")
        key = (canonical(call), world)
        self._last.append(key)
        if _swings(self._last):
            return LimitReached(limit=ModelLimit.OSCILLATION, because="it goes back and forth between the same two questions")
        if key in self._asked:
            self._refused += 1
            if self._refused > REPEATS:
                return LimitReached(limit=ModelLimit.REPEATS, because="it asks again what was answered, though it was told so")
            return Refused(
                note="not carried out: you asked this already and nothing has changed since; the answer stands above"
            )
        self._asked[key] = self._tools
        self._tools += 1
        return None

    def saw(self, lines: Iterable[str]) -> LimitReached | None:
        """Note what a tool call showed, without ids or times of asking; reached where nothing was new for too long."""
        fresh = set(lines) - self._seen
        self._seen |= fresh
        self._stale = 0 if fresh else self._stale + 1
        if self._stale >= self._limits.no_news:
            return LimitReached(limit=ModelLimit.NO_NEWS, because=f"the last {self._stale} answers of tools showed nothing new")
        return None


def no_money(
    limits: ModelLimits,
    spent: Sequence[Spending],
    wanted: Spending,
    of_incident: Sequence[Spending],
    daily: Decimal | None = None,
) -> LimitReached | None:
    """Return why one more call does not fit beside what was spent within 24 hours, or None. Pure.

    daily: the cap over hosts and models together (`money.no_room`), beside the models' own share of it.
    """
    calls = [row for row in spent if row.kind is SpendingKind.MODEL]
    mine = {row.key: row for row in (*of_incident, *(row for row in calls if row.incident == wanted.incident))}
    of_models, mine_money = spent_on_models(calls), spent_on_models(mine.values())
    last_hour = sum(row.at > wanted.at - HOUR for row in calls)
    checks = (
        (len(mine) >= limits.calls_per_incident, ModelLimit.CALLS_PER_INCIDENT, f"{len(mine)} calls for this incident"),
        (last_hour >= limits.calls_per_hour, ModelLimit.CALLS_PER_HOUR, f"{last_hour} calls within an hour"),
        (len(calls) >= limits.calls_per_day, ModelLimit.CALLS_PER_DAY, f"{len(calls)} calls within a day"),
        (
            mine_money + wanted.amount > limits.money_per_incident,
            ModelLimit.MONEY_PER_INCIDENT,
            f"${mine_money:.4f} went to this incident, and this call may cost ${wanted.amount:.4f} of ${limits.money_per_incident}",
        ),
        (
            of_models + wanted.amount > limits.money_per_day,
            ModelLimit.MONEY_PER_DAY,
            f"${of_models:.4f} went to models within a day, and this call may cost ${wanted.amount:.4f} of ${limits.money_per_day}",
        ),
    )
    own = next((LimitReached(limit=limit, because=because) for over, limit, because in checks if over), None)
    if own is not None or daily is None:
        return own
    because = money.no_room(spent, wanted, daily)
    return None if because is None else LimitReached(limit=ModelLimit.MONEY_PER_DAY, because=because)


def spent_on_models(rows: Iterable[Spending]) -> Decimal:
    """Return what these calls of models cost, US dollars, reservations included."""
    return sum((row.amount for row in rows if row.kind is SpendingKind.MODEL), Decimal(0))


def canonical(call: ToolCall) -> str:
    """Return a call so that the same question reads the same, whatever the order of its arguments and their spacing."""
    try:
        arguments = json.dumps(json.loads(call.arguments or "{}"), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        arguments = call.arguments
    return f"{call.name} {arguments}"


def _swings(last: Sequence[tuple[str, int]]) -> bool:
    """Say whether the last four calls were A, B, A, B."""
    return len(last) == 4 and last[0] == last[2] != last[1] == last[3]
