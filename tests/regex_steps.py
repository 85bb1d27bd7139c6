"""Counts what a regular expression costs, in steps and not in seconds: the same on every machine, however busy.

A plain backtracking search over the tree that `re` itself compiles, one step for each element that is tried at a place. It
takes the ways that `re` takes, without its shortcuts, so what is linear here is linear there.
"""

import math
import re
import sys
from collections.abc import Callable
from re import _constants as op  # type: ignore[attr-defined]  # there is no public tree of a pattern
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_Next = Callable[[int], int | None]
"""Goes on at a place; returns where the match ends, or None."""
_Match = Callable[[int, _Next], int | None]
_CATEGORIES = {
    op.CATEGORY_DIGIT: str.isdigit,
    op.CATEGORY_NOT_DIGIT: lambda char: not char.isdigit(),
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_NOT_SPACE: lambda char: not char.isspace(),
    op.CATEGORY_WORD: lambda char: char.isalnum() or char == "_",
    op.CATEGORY_NOT_WORD: lambda char: not (char.isalnum() or char == "_"),
}
_LONG = 16
"""A repeat that ends after so many cannot cost much."""
_ASCII = [chr(code) for code in range(128)]


def count(pattern: re.Pattern[str], text: str) -> int:
    """Return the steps that finding every match in `text`, which is ASCII, takes."""
    return _Counted(pattern, text).all_matches()


def beginnings(pattern: re.Pattern[str]) -> list[str]:
    """Return what `pattern` begins with, up to each of its long repeats and three characters into it.

    Repeated, that is the text in which a search begins again and again inside what it has read already.
    """
    found = [""]
    _grow(parser.parse(pattern.pattern, pattern.flags), "", found, bool(pattern.flags & re.IGNORECASE))
    return sorted(set(found) - {""})


def ways(pattern: str) -> float:
    """Return an upper bound of the ways in which `pattern` can be tried from one place; infinite where a repeat has no end."""
    return _ways(parser.parse(pattern))


def _ways(tree: Any) -> float:
    total = 1.0
    for kind, value in tree:
        match kind:
            case op.MAX_REPEAT | op.MIN_REPEAT | op.POSSESSIVE_REPEAT:
                least, most, body = value
                inside = _ways(body)
                total *= math.inf if most is op.MAXREPEAT else most - least + 1 if inside == 1 else inside**most
            case op.SUBPATTERN:
                total *= _ways(value[3])
            case op.BRANCH:
                total *= sum(_ways(branch) for branch in value[1])
            case op.ASSERT | op.ASSERT_NOT:
                total *= _ways(value[1])
            case _:
                pass
    return total


def _grow(tree: Any, before: str, found: list[str], fold: bool) -> str:
    for kind, value in tree:
        match kind:
            case op.MAX_REPEAT | op.MIN_REPEAT | op.POSSESSIVE_REPEAT:
                least, most, body = value
                once = _grow(body, before, found, fold)[len(before) :]
                if most > _LONG:
                    found.append(before + once * max(least, 3))
                before += once * min(least, 40)
            case op.SUBPATTERN:
                before = _grow(value[3], before, found, fold)
            case op.BRANCH:
                before = max((_grow(branch, before, found, fold) for branch in value[1]), key=len)
            case op.AT | op.ASSERT | op.ASSERT_NOT:
                pass
            case _:
                chars = _chars(kind, value, fold)
                before += next(char for char in ("a", "A", "0", *_ASCII[33:], *_ASCII) if char in chars)
    return before


class _Counted:
    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self._text = text
        self._fold = bool(pattern.flags & re.IGNORECASE)
        self._steps = 0
        self._match = self._sequence(parser.parse(pattern.pattern, pattern.flags))

    def all_matches(self) -> int:
        deepest = sys.getrecursionlimit()
        sys.setrecursionlimit(max(deepest, 20 * len(self._text) + 1_000))
        try:
            at = 0
            while at <= len(self._text):
                end = self._match(at, lambda here: here)
                at = at + 1 if end is None or end == at else end
        finally:
            sys.setrecursionlimit(deepest)
        return self._steps

    def _sequence(self, tree: Any) -> _Match:
        parts = [self._part(kind, value) for kind, value in tree]

        def match(at: int, then: _Next, index: int = 0) -> int | None:
            if index == len(parts):
                return then(at)
            return parts[index](at, lambda here: match(here, then, index + 1))

        return match

    def _part(self, kind: Any, value: Any) -> _Match:
        match kind:
            case op.SUBPATTERN:
                return self._sequence(value[3])
            case op.BRANCH:
                branches = [self._sequence(branch) for branch in value[1]]
                return lambda at, then: next((end for b in branches if (end := b(at, then)) is not None), None)
            case op.MAX_REPEAT | op.MIN_REPEAT:
                least, most, body = value
                if len(body) == 1 and body[0][0] in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
                    return self._run(_chars(*body[0], self._fold), least, most, lazy=kind is op.MIN_REPEAT)
                return self._repeat(self._sequence(body), least, most, lazy=kind is op.MIN_REPEAT)
            case op.ASSERT | op.ASSERT_NOT:
                return self._look(value, wanted=kind is op.ASSERT)
            case op.AT:
                return lambda at, then: then(at) if self._stands(value, at) else None
            case _:
                return self._one(_chars(kind, value, self._fold))

    def _one(self, chars: frozenset[str]) -> _Match:
        def match(at: int, then: _Next) -> int | None:
            self._steps += 1
            return then(at + 1) if at < len(self._text) and self._text[at] in chars else None

        return match

    def _run(self, chars: frozenset[str], least: int, most: int, *, lazy: bool) -> _Match:
        """A repeat of one character, without a call for each."""

        def match(at: int, then: _Next) -> int | None:
            longest = at
            while longest - at < most and longest < len(self._text) and self._text[longest] in chars:
                longest += 1
            self._steps += longest - at + 1
            ends = range(at + least, longest + 1)
            for end in ends if lazy else reversed(ends):
                self._steps += 1
                if (found := then(end)) is not None:
                    return found
            return None

        return match

    def _repeat(self, body: _Match, least: int, most: int, *, lazy: bool) -> _Match:
        def match(at: int, then: _Next, done: int = 0) -> int | None:
            def again() -> int | None:
                if done >= most:
                    return None
                return body(at, lambda here: match(here, then, done + 1) if here > at else None)

            if done < least:
                return again()
            first, second = (lambda: then(at), again) if lazy else (again, lambda: then(at))
            found = first()
            return second() if found is None else found

        return match

    def _look(self, value: Any, *, wanted: bool) -> _Match:
        direction, tree = value
        inside, width = self._sequence(tree), tree.getwidth()[0]

        def match(at: int, then: _Next) -> int | None:
            start = at if direction > 0 else at - width
            seen = start >= 0 and inside(start, lambda here: here if direction > 0 or here == at else None) is not None
            return then(at) if seen is wanted else None

        return match

    def _stands(self, where: Any, at: int) -> bool:
        self._steps += 1
        match where:
            case op.AT_BEGINNING | op.AT_BEGINNING_STRING:
                return at == 0
            case op.AT_END:
                return self._text[at:] in ("", "\n")
            case op.AT_END_STRING:
                return at == len(self._text)
            case op.AT_BOUNDARY | op.AT_NON_BOUNDARY:
                before, after = (
                    bool(re.match(r"\w", char)) for char in (self._text[at - 1 : at] if at else "", self._text[at : at + 1])
                )
                return (before is not after) is (where is op.AT_BOUNDARY)
            case _:
                raise NotImplementedError(where)


def _chars(kind: Any, value: Any, fold: bool) -> frozenset[str]:
    match kind:
        case op.LITERAL:
            chars = {chr(value)}
        case op.NOT_LITERAL:
            return frozenset(_ASCII) - _chars(op.LITERAL, value, fold)
        case op.ANY:
            return frozenset(_ASCII) - {"\n"}
        case op.RANGE:
            chars = {chr(code) for code in range(value[0], min(value[1], 127) + 1)}
        case op.CATEGORY:
            chars = set(filter(_CATEGORIES[value], _ASCII))
        case op.IN:
            negated = value[0][0] is op.NEGATE
            chars = set().union(*(_chars(*part, fold) for part in value[negated:]))
            return frozenset(_ASCII) - chars if negated else frozenset(chars)
        case _:
            raise NotImplementedError(kind)
    return frozenset(chars | {char.swapcase() for char in chars}) if fold else frozenset(chars)
