"""YAML as Medic reads it, and the one sentence a person gets when it is wrong. Pure: text in, plain values out.

Stricter than YAML 1.1, whose surprises have ruined many a configuration: `no` is the text "no", `8080:22` is a text and not
the number 484822, a key written twice is refused, and aliases are refused (a few lines of them fill the memory).
Errors of pydantic come in as plain dictionaries, so that this module needs no pydantic.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any  # Any: plain YAML values and pydantic's error dictionaries have no narrower type

import yaml

from agent.errors import ConfigError

LONGEST = 1_000_000
"""Characters of one file. medic.yaml for a few hundred services is a tenth of that."""


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """Return PyYAML's table, first character -> (tag, pattern), with the scalars of YAML 1.2's core schema.

    Source: yaml.org/spec/1.2.2, section 10.3.2.
    """
    table: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for tag, pattern, first in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
        ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ):
        for character in first:
            table.setdefault(character, []).append((f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$")))
    return table


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2 and without duplicate keys and aliases."""

    yaml_implicit_resolvers = _resolvers()

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # types-PyYAML
            raise yaml.MarkedYAMLError(problem="aliases (`*name`) are not read here: write the value out", problem_mark=mark)
        node = super().compose_node(parent, index)
        if node is not None:
            # Nobody asks where something ended, and of a file with ten thousand checks these marks alone take 25 MB.
            node.end_mark = None
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  PyYAML's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return {key.value: self.construct_object(value, deep=deep) for key, value in node.value}


def parse(text: str, name: str) -> Any:
    """Return the one document in `text` as plain values; every key is a str.

    name: how the file is called in the error. Raises ConfigError with the line and column of what cannot be read.
    """
    if len(text) > LONGEST:
        raise ConfigError(f"cannot read {name}: it is longer than {LONGEST:,} characters")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"cannot read {name}: {where}{_problem(exc)}") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        cause = "it is nested too deeply" if isinstance(exc, RecursionError) else str(exc).splitlines()[0]
        raise ConfigError(f"cannot read {name}: {cause}") from exc


def _problem(exc: yaml.MarkedYAMLError) -> str:
    problem = exc.problem or "this is not YAML"
    return f"{exc.context}, {problem}" if problem.startswith("but ") else problem


def mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)`, or ` (one of: ...)` when nothing known is near `word`, or nothing."""
    names = list(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6) or [each for each in names if word and each.startswith(word)]
    if near:
        return f" (did you mean {near[0]!r}?)"
    return f" (one of: {', '.join(names)})" if names else ""


def unknown_key(key: object, known: Iterable[str]) -> str:
    """Return what is wrong with a key that there is not."""
    return f"there is no such key{mean(str(key), known)}"


def sentence(name: str, document: object, errors: Sequence[Mapping[str, Any]]) -> str:
    """Return the first of pydantic's `errors` as `cannot read <name>: <where>: <what would be right>`.

    document: what was validated; it tells the keys of the file from the tags that pydantic puts into a union's location.
    An unknown key comes first: a typo is the likeliest reason for whatever else is missing.
    """
    first = min(errors, key=lambda error: error["type"] != "unknown_key")
    location = where(_in_file(document, first))
    return f"cannot read {name}: {location + ': ' if location else ''}{_wrong(first)}"


def where(location: Iterable[object]) -> str:
    """Return a location as people write it: `services.web.checks[0].url`."""
    words = ""
    for part in location:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else f"{part}"
    return words


def _in_file(document: Any, error: Mapping[str, Any]) -> list[object]:
    """Return the error's location without the parts that are not in the file.

    Pydantic puts the tag of a union (the value of `kind`) first into the location of what is inside it.
    """
    found: list[object] = []
    here = document
    entering = True
    for part in error["loc"]:
        if entering and isinstance(here, Mapping) and here.get("kind") == part:
            entering = False
            continue
        listed = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if listed or (isinstance(here, Mapping) and part in here):
            found.append(part)
            here = here[part]
            entering = True
    context = error.get("ctx") or {}
    if error["type"] in ("missing", "unknown_key"):
        found.append(context.get("key", error["loc"][-1] if error["loc"] else ""))
    return found


_WRONG = {
    "missing": "is missing",
    "string_type": "must be text, not {given}",
    "int_type": "must be a whole number, not {given}",
    "float_type": "must be a number, not {given}",
    "bool_type": "must be true or false, not {given}",
    "list_type": "must be a list, not {given}",
    "tuple_type": "must be a list, not {given}",
    "dict_type": "must be a mapping of keys, not {given}",
    "model_type": "must be a mapping of keys, not {given}",
    "model_attributes_type": "must be a mapping of keys, not {given}",
    "union_tag_not_found": "its `kind` is missing",
    "greater_than_equal": "must be {ge} or more, not {given}",
    "less_than_equal": "must be {le} or less, not {given}",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_too_long": "is too long ({max_length} characters at most)",
    "too_long": "is too long ({max_length} entries at most)",
    "value_error": "{error}",
}
"""Pydantic's error types in a person's words. Source: docs.pydantic.dev/2.12/errors/validation_errors."""


def _wrong(error: Mapping[str, Any]) -> str:
    """Return what one of pydantic's errors says, and what would be right."""
    context = error.get("ctx") or {}
    match error["type"]:
        case "literal_error" | "enum":
            return f"cannot be {_shown(error['input'])}{mean(str(error['input']), _quoted(context['expected']))}"
        case "union_tag_invalid":
            return f"its kind cannot be {context['tag']!r}{mean(str(context['tag']), _quoted(context['expected_tags']))}"
        case "string_type" if isinstance(error["input"], int | float):
            return f"must be text, not {_shown(error['input'])}: put it in quotes"
        case kind:
            return _WRONG.get(kind, "{msg}").format(given=_shown(error.get("input")), msg=error["msg"], **context)


def _quoted(words: str) -> list[str]:
    """Return the words that pydantic lists as `'a', 'b' or 'c'`."""
    return re.findall(r"'([^']*)'", words)


def _shown(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case _:
            text = repr(value)
            return text if len(text) <= 60 else f"{text[:57]}..."
