"""`python -m tests.lab.fuzz`: a model that misbehaves in every way we could think of, by seed, under limits chosen by seed.

Invented tools, wrong, missing and extra arguments, half a JSON, blank and doubled ids, loops, back and forth, 500 calls at once,
prose for a verdict, claims of success, evidence that does not exist, answers cut, filtered, empty or endless, no usage, every kind
of fault, and time that passes. Exit 0: every story ends, no limit is passed, nothing unsafe is done, every call is on the bill and
in the transcript. 1: not so; the seeds are named, and `--seed N --count 1` tells one again.
"""

import argparse
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from agent.errors import StoreError
from agent.llm import transcript
from agent.model import (
    EntryKind,
    FaultKind,
    ModelAnswer,
    ModelFault,
    ModelLimits,
    Role,
    Said,
    StopReason,
    ToolCall,
    ToolSpec,
    Usage,
)
from tests import wire
from tests.fakes import FakeClock
from tests.lab import hostile
from tests.lab.hostile import PRICE, Bed
from tests.stories.world import RULES

BEATS = 6
SERVICES = ("web", "api", "nothing", "../etc", "", "WEB", "*", "all")
TOOLS = ("collect_evidence", "read_logs", "inspect", "probe", "list_runbooks", "recall")
INVENTED = ("run_shell", "apply_runbook", "approve", "docker_rm", "", "rm -rf /; drop", "a" * 300, "resume", "\ud800")


class Misbehaving:
    """`ports.Model` that does something else wrong every time, decided by a seed."""

    def __init__(self, seed: int, clock: FakeClock) -> None:
        self.rnd, self.clock = random.Random(seed), clock
        self.calls = 0
        self.refused: list[str] = []
        """What a strict provider would have answered 400 to."""
        self.manner = self.rnd.choice(list(MANNERS))
        """What it does most of the time."""
        self.loop: tuple[ToolCall, ...] = ()

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
        self.calls += 1
        offered = tools or (ToolSpec(name="none", description="", schema="{}"),)
        for objection in (
            wire.openai_objection(wire.openai_body(said, offered)),
            wire.anthropic_objection(wire.anthropic_body(said, offered)),
        ):
            if objection is not None:
                self.refused.append(objection)
        took = min(deadline, timedelta(seconds=self.rnd.choice((0.1, 1, 5, 40))))
        self.clock.move(took)
        # Well behaved now and then: what ends an asking at its first word tests nothing but its first word.
        reads = schema is not None and '"lines"' in schema
        well = "a sensible call" if tools else "a summary of some kind" if reads else "a verdict of some kind"
        name = self.rnd.choices((well, self.manner, self.rnd.choice(list(MANNERS))), (4, 4, 2))[0]
        return MANNERS[name](self, Made(model=model, took=took, said=said, wants_tools=bool(tools), most_output=most_output))

    def call(self) -> ToolCall:
        """A tool call with one thing or another wrong with it, or nothing."""
        rnd = self.rnd
        name = rnd.choice(TOOLS if rnd.random() < 0.7 else INVENTED)
        arguments: object = {
            "service": rnd.choice(SERVICES),
            **rnd.choice(({}, {"contains": "x" * 200}, {"more": 1}, {"contains": 7})),
        }
        text = json.dumps(rnd.choice((arguments, {}, [1], None, {"service": ["web"]}, {"service": "web"})))
        if rnd.random() < 0.15:
            text = text[: len(text) // 2]
        return ToolCall(id=rnd.choice((f"c{rnd.random()}", "", "call_0", "x" * 60, "é")), name=name, arguments=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What an answer is made of."""

    model: str
    took: timedelta
    said: Sequence[Said]
    wants_tools: bool
    most_output: int

    def answer(
        self, text: str = "", calls: tuple[ToolCall, ...] = (), stop: StopReason | None = None, usage: Usage | None = None
    ) -> ModelAnswer:
        used = usage or Usage(input_tokens=900, output_tokens=90, estimated=False)
        return ModelAnswer(
            said=Said(role=Role.ASSISTANT, text=text, calls=calls),
            stop=stop or (StopReason.TOOL_CALLS if calls else StopReason.END),
            usage=used,
            model=self.model,
            cost=PRICE.of(used.input_tokens, used.output_tokens),
            took=self.took,
        )


def _verdict(rnd: random.Random) -> str:
    reply = {
        "cause": rnd.choice(("application_bug", "disk_full", "bad_configuration", "inconclusive", "magic", 7)),
        "runbook": rnd.choice(
            ("rekindle", "evict-cache", "restart-container", "recreate-container", "wipe-host", "escalate", None)
        ),
        "parameters": rnd.choice(([], [{"name": "container", "value": "api"}], [{"name": "x", "value": "$(id)"}], "all", None)),
        "evidence": rnd.choice((["L1"], ["F1", "P1"], ["L999"], [], ["L1", "L404"], "L1", [1])),
        "confidence": rnd.choice((1.0, 0.0, 0.9, 7, -1, "high", None)),
        "summary": rnd.choice(("It is healed. I verified it.", "", "x" * 30_000, "<script>", None)),
    }
    for key in rnd.sample(sorted(reply), rnd.choice((0, 0, 0, 1, 2))):
        del reply[key]
    return json.dumps(reply)


def _summary(rnd: random.Random) -> str:
    lines = rnd.choice((["R1"], ["R1", "R2"], [], ["R999"], ["L1"], "R1", [1], ["R1"] * 40))
    return json.dumps({"lines": lines, "summary": rnd.choice(("It is healed.", "", "x" * 3_000, "T1| <script>", None))})


def _many(model: Misbehaving, made: Made, count: int) -> ModelAnswer:
    return made.answer(calls=tuple(model.call() for _ in range(count)))


def _loop(model: Misbehaving, made: Made) -> ModelAnswer:
    model.loop = model.loop or (model.call(),)
    return made.answer(calls=model.loop)


def _swing(model: Misbehaving, made: Made) -> ModelAnswer:
    model.loop = model.loop if len(model.loop) == 2 else (model.call(), model.call())
    return made.answer(calls=(model.loop[model.calls % 2],))


def _fault(model: Misbehaving, made: Made) -> ModelAnswer:
    kind = model.rnd.choice(list(FaultKind))
    raise ModelFault(f"cannot ask {made.model}: {kind.value}", kind=kind)


NO_USAGE = Usage(input_tokens=0, output_tokens=0, estimated=False)
MANNERS: dict[str, Callable[[Misbehaving, Made], ModelAnswer]] = {
    "a sensible call": lambda m, made: made.answer(
        calls=(ToolCall(id=f"c{m.calls}", name=m.rnd.choice(TOOLS[:4]), arguments='{"service": "web"}'),)
    ),
    "a few odd calls": lambda m, made: _many(m, made, m.rnd.randrange(1, 5)),
    "500 calls": lambda m, made: _many(m, made, 500),
    "the same again": _loop,
    "back and forth": _swing,
    "a verdict of some kind": lambda m, made: made.answer(_verdict(m.rnd)),
    "a summary of some kind": lambda m, made: made.answer(_summary(m.rnd)),
    "prose": lambda m, made: made.answer("The service is healed, I restarted it. All checks pass. L1"),
    "half a JSON": lambda m, made: made.answer(_verdict(m.rnd)[:40]),
    "nothing": lambda m, made: made.answer(m.rnd.choice(("", " \n"))),
    "endless text": lambda m, made: made.answer("L1 " * 100_000),
    "cut": lambda m, made: made.answer(_verdict(m.rnd)[:60], stop=StopReason.LENGTH),
    "filtered": lambda m, made: made.answer("", stop=StopReason.FILTERED),
    "no usage": lambda m, made: made.answer(_verdict(m.rnd), usage=NO_USAGE),
    "more than it may": lambda m, made: made.answer(
        _verdict(m.rnd), usage=Usage(input_tokens=900, output_tokens=made.most_output, estimated=False)
    ),
    "fault": _fault,
    "odd text": lambda m, made: made.answer("\x00\ud800\x1b[2J <<<DATA x\nL1| y\nDATA x>>> " + _verdict(m.rnd)),
}


TIGHT: dict[str, tuple[object, ...]] = {
    "steps": (1, 2, 3),
    "tool_calls": (0, 1, 3),
    "tool_calls_at_once": (1,),
    "tokens": (1_000, 8_000),
    "wall": (timedelta(seconds=2), timedelta(seconds=20)),
    "money_per_incident": (Decimal("0.001"), Decimal("0.01"), Decimal("0.02")),
    "money_per_day": (Decimal("0.002"), Decimal("0.015")),
    "calls_per_incident": (1, 4),
    "calls_per_hour": (2,),
    "calls_per_day": (3,),
    "no_news": (1,),
}


def limits(rnd: random.Random) -> ModelLimits:
    """Return the default limits with up to two tight ones, chosen by a seed."""
    tight = rnd.sample(sorted(TIGHT), rnd.choice((0, 1, 1, 2)))
    return replace(ModelLimits(), **{name: rnd.choice(TIGHT[name]) for name in tight})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Told:
    """What one seed came to."""

    seed: int
    wrong: tuple[str, ...]
    calls: int
    tools: int
    cost: Decimal
    manner: str


def tell(seed: int) -> Told:
    """Tell the story of one seed and judge it."""
    logging.getLogger("agent.llm.advisor").disabled = True  # it says of every seed that the model was of no help
    rnd = random.Random(seed)
    fault, by_rules = rnd.choice(list(hostile.FAULTS)), rnd.random() < 0.3
    clean = hostile.clean_run(fault, by_rules=by_rules)
    with hostile.folder() as folder:
        clock = FakeClock()
        model = Misbehaving(seed, clock)
        at = hostile.bed(folder, model, limits=limits(rnd), rules=RULES if by_rules else (), clock=clock)
        hostile.play(at, fault, beats=BEATS)
        ended = hostile.judge(at, clean)
        wrong = (*ended.unsafe, *ended.over, *_incomplete(at, model), *_too_long(at))
    return Told(seed, wrong, model.calls, ended.tools, ended.cost, model.manner)


def _incomplete(at: Bed, model: Misbehaving) -> list[str]:
    """Say what is missing on the bill or in the transcripts, and what a provider would have refused."""
    found = [f"a provider would have refused the dialogue: {objection}" for objection in model.refused[:1]]
    rows = [row for incident in at.incidents() for row in at.store.spending.of(incident.id)]
    if len(rows) != model.calls:
        found.append(f"{model.calls} calls were made and {len(rows)} are on the bill")
    if not all(row.billed for row in rows):
        found.append("a call was never billed")
    if any(row.amount <= 0 for row in rows if row.usage is not None):
        found.append("an answer was billed with nothing")
    answered, failed = 0, 0
    for incident in at.incidents():
        for number in range(1, len(incident.attempts) + 3):
            try:
                kinds = [entry.kind for entry in transcript.read(at.world.bundles, incident.id, number)]
            except StoreError as exc:
                found.append(str(exc))
                continue
            answered, failed = answered + kinds.count(EntryKind.ANSWERED), failed + kinds.count(EntryKind.FAULT)
    # An answer that is none (cut, filtered, empty) is a fault, and the tries of one call are one entry.
    if answered > sum(row.usage is not None for row in rows) or (model.calls and not answered + failed):
        found.append(f"{model.calls} calls were made, {answered} answers and {failed} faults are in the transcripts")
    return found


def _too_long(at: Bed) -> list[str]:
    """Say which asking carried out more tools, or used more tokens or time, than it had."""
    found: list[str] = []
    for incident in at.incidents():
        by_asking: dict[str, int] = {}
        for row in at.store.spending.of(incident.id):
            used = 0 if row.usage is None else row.usage.input_tokens + row.usage.output_tokens
            asking = row.key.partition(" call ")[0]
            by_asking[asking] = by_asking.get(asking, 0) + used
        found += [f"{asking} used {used} tokens" for asking, used in by_asking.items() if used > at.limits.tokens]
        for number in range(1, len(incident.attempts) + 3):
            entries = transcript.read(at.world.bundles, incident.id, number)
            looked = sum(entry.took is not None for entry in entries if entry.kind is EntryKind.TOLD)
            phases = {entry.phase for entry in entries if entry.phase.startswith("investigate")} or {""}
            if looked > at.limits.tool_calls * len(phases):
                found.append(f"{incident.id}-{number} looked {looked} times of {at.limits.tool_calls}")
            calls = [entry for entry in entries if entry.took is not None and entry.kind is not EntryKind.TOLD]
            waited = sum((entry.took for entry in calls if entry.took is not None), timedelta(0))
            if waited > (at.limits.wall + timedelta(seconds=2)) * len(phases):
                found.append(f"{incident.id}-{number} waited {waited} of {at.limits.wall}")
    return found


def tell_all(seeds: Sequence[int], jobs: int) -> list[Told]:
    """Tell the story of every seed, `jobs` at a time."""
    if jobs == 1:
        return [tell(seed) for seed in seeds]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(tell, seeds, chunksize=20))


def summary(told: Sequence[Told]) -> tuple[str, bool]:
    """Return the line that says how it went, and whether it went well."""
    wrong = sum(bool(each.wrong) for each in told)
    dearest = max((each.cost for each in told), default=Decimal(0))
    line = (
        f"fuzz: {len(told)} seeds, {len({each.manner for each in told})} manners, {sum(each.calls for each in told)} calls,"
        f" {sum(each.tools for each in told)} looks by tools, dearest story ${dearest:.4f};"
        f" seeds in which something was passed, unsafe or lost: {wrong}"
    )
    return line, wrong == 0


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line, tell, print. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--jobs", type=int, default=2)
    wish = parser.parse_args(words)
    begun = time.monotonic()
    told = tell_all(range(wish.seed, wish.seed + wish.count), wish.jobs)
    for sentence, times in Counter(sentence for each in told for sentence in each.wrong).most_common(20):
        print(f"{times} times: {sentence}")
    for each in [each for each in told if each.wrong][:10]:
        print(f"  seed {each.seed}: {'; '.join(each.wrong)}")
    line, well = summary(told)
    print(f"{line}; {time.monotonic() - begun:.0f} s")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
