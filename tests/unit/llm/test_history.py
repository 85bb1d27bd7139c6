"""Whatever happened to a dialogue, what is sent is one that both kinds of provider take, and nothing real is lost on the way."""

import itertools
import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import codec
from agent.llm import history
from agent.model import Role, Said, ToolCall, ToolSpec
from tests import wire

TOOLS = (ToolSpec(name="look", description="looks", schema='{"type": "object"}'),)
SYSTEM = Said(role=Role.SYSTEM, text="you look after services")
USER = Said(role=Role.USER, text="why is web sick?")


def asks(*ids: str, text: str = "", name: str = "look", arguments: str = "{}") -> Said:
    return Said(role=Role.ASSISTANT, text=text, calls=tuple(ToolCall(id=i, name=name, arguments=arguments) for i in ids))


def result(id_: str | None, text: str = "seen") -> Said:
    return Said(role=Role.TOOL, text=text, answers=id_)


def says(text: str) -> Said:
    return Said(role=Role.ASSISTANT, text=text)


def objections(said: tuple[Said, ...]) -> list[str]:
    """What a provider of either kind answers with 400."""
    found = [
        wire.openai_objection(wire.openai_body(said, TOOLS)),
        wire.anthropic_objection(wire.anthropic_body(said, TOOLS)),
    ]
    return [each for each in found if each is not None]


# ------------------------------------------------------------------------------------------------------ one rule, one row

GONE = Said(role=Role.USER, text=history.LOST)
GO_ON = Said(role=Role.USER, text=history.GO_ON)

ROWS = {
    "a call without a result": ((USER, asks("a")), (USER, asks("a"), result("a", history.NO_RESULT))),
    "a result without a call": ((USER, result("a")), (USER,)),
    "a second result": ((USER, asks("a"), result("a"), result("a", "again")), (USER, asks("a"), result("a"))),
    "a result after our placeholder": (
        (USER, asks("a"), result("a", history.NO_RESULT), result("a")),
        (USER, asks("a"), result("a")),
    ),
    "a user between call and result": ((USER, asks("a"), USER, result("a")), (USER, asks("a"), result("a"), USER)),
    "results in another order": (
        (USER, asks("a", "b"), result("b", "B"), result("a", "A")),
        (USER, asks("a", "b"), result("a", "A"), result("b", "B")),
    ),
    "the head cut off": ((result("a"), says("hm"), USER), (GONE, says("hm"), USER)),
    "nothing at all": ((), (GONE,)),
    "only the system": ((SYSTEM,), (SYSTEM, GONE)),
    "a system line in the middle": ((SYSTEM, USER, SYSTEM, says("ok"), USER), (SYSTEM, USER, says("ok"), USER)),
    "the assistant last": ((USER, says("done")), (USER, says("done"), GO_ON)),
    "two users in a row": ((USER, replace(USER, text="and db?")), (replace(USER, text="why is web sick?\n\nand db?"),)),
    "two assistants in a row": ((USER, says("a"), says("b"), USER), (USER, says("a\n\nb"), USER)),
    "blank lines": ((USER, says(" \n"), replace(USER, text="\t"), USER), (replace(USER, text=f"{USER.text}\n\n{USER.text}"),)),
    "a blank result": ((USER, asks("a"), result("a", " ")), (USER, asks("a"), result("a", history.EMPTY))),
    "blank text beside a call": ((USER, asks("a", text=" "), result("a")), (USER, asks("a"), result("a"))),
    "what cannot be sent": (
        (replace(USER, text="a\x00b\ud83d"),),
        (replace(USER, text="a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"),),
    ),
    "half a JSON": (
        (USER, asks("a", arguments='{"at": "we'), result("a")),
        (USER, asks("a", arguments='{"_unparsed": "{\\"at\\": \\"we"}'), result("a")),
    ),
    "a JSON that is no object": (
        (USER, asks("a", arguments="[1]"), result("a")),
        (USER, asks("a", arguments='{"_unparsed": "[1]"}'), result("a")),
    ),
    "a name that is none": (
        (USER, asks("a", name="rm -rf /; drop"), result("a")),
        (USER, asks("a", name="rm_-rf_drop"), result("a")),
    ),
    "no name": ((USER, asks("a", name="!"), result("a")), (USER, asks("a", name="unknown_tool"), result("a"))),
    "calls of a user": ((replace(USER, calls=asks("a").calls, answers="b"),), (USER,)),
}


@pytest.mark.parametrize(("broken", "sound"), ROWS.values(), ids=ROWS)
def test_what_is_broken_is_made_sound(broken: tuple[Said, ...], sound: tuple[Said, ...]) -> None:
    repaired = history.repair(broken)
    assert repaired.said == sound
    assert objections(sound) == []
    assert history.repair(sound).log == ()


def test_calls_with_one_id_get_ids_of_their_own_and_keep_their_results() -> None:
    said = (USER, asks("call_0"), result("call_0", "first"), asks("call_0", "x" * 41, ""), result("call_0", "second"))
    repaired = history.repair(said)
    assert objections(repaired.said) == []
    assert [line.text for line in repaired.said if line.role is Role.TOOL] == [
        "first",
        "second",
        history.NO_RESULT,
        history.NO_RESULT,
    ]


def test_an_interrupted_call_does_not_take_the_result_of_a_later_one_with_its_id() -> None:
    said = (USER, asks("call_0"), USER, asks("call_0"), result("call_0", "of the later"))
    texts = [line.text for line in history.repair(said).said if line.role is Role.TOOL]
    assert texts == [history.NO_RESULT, "of the later"]


def test_five_hundred_calls_in_one_turn_are_sent_in_several_and_none_is_lost() -> None:
    ids = [f"c{number}" for number in range(500)]
    repaired = history.repair((USER, asks(*ids), *(result(id_, f"r-{id_}") for id_ in ids))).said
    assert objections(repaired) == []
    assert [line.text for line in repaired if line.role is Role.TOOL] == [f"r-{id_}" for id_ in ids]


def test_a_long_dialogue_is_repaired_without_being_read_again_for_each_line() -> None:
    turns = [line for number in range(2_000) for line in (asks(f"c{number}"), result(f"c{number}"))]
    assert len(history.repair((USER, *turns)).said) == 4_001


# ----------------------------------------------------------------------------------------------------- anything at all


def sound(rnd: random.Random) -> list[Said]:
    """A dialogue as it is led when nothing goes wrong."""
    lines = [SYSTEM, Said(role=Role.USER, text=f"question {rnd.random()}")]
    for turn in range(rnd.randrange(4)):
        ids = [f"call_{turn}_{number}" for number in range(rnd.randrange(1, 4))]
        lines.append(asks(*ids, text=rnd.choice(["", "let me look"]), arguments=json.dumps({"at": rnd.random()})))
        lines += [result(id_, f"result {rnd.random()}") for id_ in ids]
        if rnd.random() < 0.3:
            lines.append(Said(role=Role.USER, text=f"a reminder {rnd.random()}"))
    return lines


NASTY = ("", " ", "\x00", "\ud800", "a" * 41, "é", "call_0_0", "system", '{"a": NaN}', '{"a": "\\ud800"}', "[" * 2_000, "null")
MUTATIONS: tuple[Callable[[random.Random, list[Said]], object], ...] = (
    lambda rnd, lines: lines.pop(rnd.randrange(len(lines))),
    lambda rnd, lines: lines.append(rnd.choice(lines)),
    lambda rnd, lines: lines.insert(rnd.randrange(len(lines)), rnd.choice(lines)),
    lambda rnd, lines: lines.__delitem__(slice(0, rnd.randrange(len(lines)))),
    lambda rnd, lines: lines.__delitem__(slice(rnd.randrange(1, len(lines) + 1), None)),
    lambda rnd, lines: rnd.shuffle(lines),
    lambda rnd, lines: lines.insert(rnd.randrange(len(lines)), Said(role=rnd.choice(list(Role)), text=rnd.choice(NASTY))),
    lambda rnd, lines: change(rnd, lines, lambda line: replace(line, text=rnd.choice(NASTY))),
    lambda rnd, lines: change(rnd, lines, lambda line: replace(line, role=rnd.choice(list(Role)))),
    lambda rnd, lines: change(rnd, lines, lambda line: replace(line, answers=rnd.choice((None, *NASTY)))),
    lambda rnd, lines: change(rnd, lines, lambda line: replace(line, calls=tuple(wild(rnd) for _ in range(rnd.randrange(3))))),
)


def change(rnd: random.Random, lines: list[Said], how: Callable[[Said], Said]) -> None:
    at = rnd.randrange(len(lines))
    lines[at] = how(lines[at])


def wild(rnd: random.Random) -> ToolCall:
    return ToolCall(id=rnd.choice(NASTY), name=rnd.choice(("look", *NASTY)), arguments=rnd.choice(("{}", *NASTY)))


def mutated(seed: int) -> tuple[Said, ...]:
    rnd = random.Random(seed)
    lines = sound(rnd)
    for _ in range(rnd.randrange(1, 5)):
        if lines:
            rnd.choice(MUTATIONS)(rnd, lines)
    return tuple(lines)


SEEDS = st.integers(0, 2**63)
AT_ONCE = 8
"""Dialogues made of each number that hypothesis draws: its own work is not paid for ten thousand times, only 1 250 times."""
MANY = settings(max_examples=10_000 // AT_ONCE, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@MANY
@given(SEEDS)
def test_anything_becomes_sound_and_nothing_real_is_lost(seed: int) -> None:
    for said in (mutated(seed + number) for number in range(AT_ONCE)):
        becomes_sound(said)


def becomes_sound(said: tuple[Said, ...]) -> None:
    repaired = history.repair(said).said
    assert objections(repaired) == []
    assert history.repair(repaired) == history.Repaired(said=repaired, log=())
    assert intact(said) <= intact(repaired)
    head = itertools.takewhile(lambda line: line.role is Role.SYSTEM, said)
    assert sum(line.role is Role.SYSTEM for line in repaired) <= len(list(head))  # nobody else speaks as the system
    assert sum(len(line.calls) for line in repaired) == sum(
        len(line.calls) for line in said if line.role is Role.ASSISTANT
    )  # none invented, none lost


def intact(said: tuple[Said, ...]) -> set[tuple[str, str]]:
    """The calls that are asked once in the whole dialogue and answered once and behind it, each with its result."""
    asked = [(at, call) for at, line in enumerate(said) if line.role is Role.ASSISTANT for call in line.calls]
    given_ = [(at, line) for at, line in enumerate(said) if line.role is Role.TOOL]
    found = set()
    for at, call in asked:
        mine = [(place, line) for place, line in given_ if line.answers == call.id]
        once = sum(other.id == call.id for _, other in asked) == 1
        if once and len(mine) == 1 and mine[0][0] > at and call.id.startswith("call_") and mine[0][1].text.startswith("result"):
            found.add((call.id, mine[0][1].text))
    return found


@settings(max_examples=500, deadline=None, database=None)
@given(SEEDS)
def test_what_is_sound_stays_as_it_is(seed: int) -> None:
    lines = sound(random.Random(seed))
    joined = history.repair(lines)
    assert (joined.said, joined.log) == (tuple(lines), ())


def test_the_mutations_really_break_dialogues() -> None:
    broken = sum(bool(history.repair(mutated(seed)).log) for seed in range(1_000))
    assert broken > 700


def test_the_same_dialogue_is_repaired_alike_by_every_process() -> None:
    dialogues = tuple(mutated(seed) for seed in range(50))
    program = (
        "import sys\nfrom agent import codec\nfrom agent.llm import history\n"
        "sys.stdout.write(ascii([codec.dumps(history.repair(said).said) for said in codec.loads(ascii_in())]))"
    ).replace("ascii_in()", "__import__('ast').literal_eval(sys.stdin.read())")
    there = subprocess.run(
        [sys.executable, "-c", program],
        input=ascii(codec.dumps(dialogues)),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "7"},
        timeout=60,
    ).stdout
    assert there == ascii([codec.dumps(history.repair(said).said) for said in dialogues])


# ------------------------------------------------------------------------------------------------------------ compaction

LOG = "\n".join(f"L{number} some line of a log that is long enough to matter {'x' * 60}" for number in range(1, 80))


def test_a_short_dialogue_is_left_alone() -> None:
    said = (SYSTEM, USER, asks("a"), result("a", LOG), asks("b"), result("b"))
    assert history.compact(said, 1_000_000) == said


def test_old_results_are_shortened_and_their_evidence_stays_nameable() -> None:
    cites = asks("b", text="L7 and L9 look bad")
    said = (SYSTEM, USER, asks("a"), result("a", LOG), cites, result("b", LOG))
    shorter = history.compact(said, 10_000)
    assert history.size(shorter) <= 10_000 < history.size(said)
    kept = shorter[3].text
    lines = LOG.split("\n")
    assert lines[6] in kept.split("\n")
    assert lines[8] in kept.split("\n")
    assert "L1-L6, L8, L10-L79" in kept
    assert (shorter[:3], shorter[4:]) == (said[:3], said[4:])
    assert history.compact(shorter, 10_000) == shorter
    assert objections(shorter) == []


def test_what_nobody_has_read_yet_is_never_shortened() -> None:
    said = (SYSTEM, USER, asks("a"), result("a", LOG))
    assert history.compact(said, 10) == said
