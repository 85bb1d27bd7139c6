"""Frozen dataclasses of `agent.model` to JSON and back: the one codec for everything that crosses the engine or the store.

Each dataclass becomes an object with its class name under `_`, so that unions decode by themselves. Only classes of
`agent.model` decode: text from a database can never name any other type.
"""

import dataclasses
import enum
import functools
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any  # JSON in and out: the values here have no narrower type

from agent import model

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]

_CLASSES: dict[str, type] = {
    name: thing for name, thing in vars(model).items() if isinstance(thing, type) and dataclasses.is_dataclass(thing)
}


def dumps(value: object) -> str:
    """Return `value` as compact JSON text."""
    return json.dumps(encode(value), ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> Any:
    """Return the value that `dumps` made `text` of. Raises ValueError for anything else."""
    return decode(json.loads(text))


def encode(value: object) -> JSON:
    """Return `value` as plain JSON. Raises TypeError for a type that the model does not allow."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case enum.Enum():
            return {"_": type(value).__name__, "is": encode(value.value)}
        case datetime():
            return {"_": "datetime", "is": value.astimezone(UTC).isoformat()}
        case timedelta():
            return {"_": "timedelta", "is": value.total_seconds()}
        case Decimal() if value.is_finite():
            return {"_": "Decimal", "is": str(value)}
        case tuple() | list():
            return [encode(part) for part in value]
        case _ if dataclasses.is_dataclass(value) and type(value).__name__ in _CLASSES:
            fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return {"_": type(value).__name__, **fields}
        case _:
            raise TypeError(f"cannot encode {type(value).__name__}: not a value of agent.model")


def decode(plain: Any) -> Any:
    """Return the value that `encode` made `plain` of. Lists come back as tuples. Raises ValueError for unknown shapes."""
    match plain:
        case None | bool() | int() | float() | str():
            return plain
        case list():
            return tuple(decode(part) for part in plain)
        case {"_": "datetime", "is": str(text)}:
            return datetime.fromisoformat(text)
        case {"_": "timedelta", "is": int(seconds) | float(seconds)}:
            return timedelta(seconds=seconds)
        case {"_": "Decimal", "is": str(text)}:
            return _finite(text)
        case {"_": str(name), "is": value} if name in _enums():
            return _enums()[name](value)
        case {"_": str(name), **fields} if name in _CLASSES:
            known = _field_names(name)
            # A row written by an older version lacks new fields and takes their defaults; a field that is gone is dropped.
            given = {key: decode(part) for key, part in fields.items() if key in known}
            try:
                return _CLASSES[name](**given)
            except TypeError as exc:
                raise ValueError(f"cannot decode {str(plain)[:80]!r}: {exc}") from exc
        case _:
            raise ValueError(f"cannot decode {str(plain)[:80]!r}: no shape of agent.model")


def as_dict(value: object) -> JSON:
    """Return `value` for people and `--json`: no type tags, enums as their words, times as ISO, spans in seconds."""
    match value:
        case enum.Enum():
            return as_dict(value.value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case timedelta():
            return value.total_seconds()
        case tuple() | list():
            return [as_dict(part) for part in value]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: as_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _finite(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as exc:
        raise ValueError(f"cannot decode {text[:80]!r}: no number") from exc
    if not value.is_finite():
        raise ValueError(f"cannot decode {text[:80]!r}: not a finite number")
    return value


@functools.cache
def _enums() -> dict[str, type[enum.Enum]]:
    return {name: thing for name, thing in vars(model).items() if isinstance(thing, type) and issubclass(thing, enum.Enum)}


@functools.cache
def _field_names(name: str) -> frozenset[str]:
    return frozenset(f.name for f in dataclasses.fields(_CLASSES[name]))
