"""The codec gives back what it was given, for every class of the model, and knows no other class."""

import dataclasses
import enum
import functools
import json
import types
import typing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import codec, model
from agent.model import Health, HostName, IncidentId, Limits, Symptom

CLASSES = [
    thing
    for thing in vars(model).values()
    if isinstance(thing, type) and dataclasses.is_dataclass(thing) and thing.__module__.startswith(f"{model.__name__}.")
]

_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(max_size=20),
    int: st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    datetime: st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])),
    # A span crosses as seconds in a float, which holds microseconds exactly for about 285 years.
    timedelta: st.timedeltas(timedelta(days=-36_500), timedelta(days=36_500)),
}


@functools.cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Every value that a field annotated with `kind` may hold, with short tuples."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, typing.NewType):
        return values(kind.__supertype__)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return st.one_of(*map(values, typing.get_args(kind)))
    if typing.get_origin(kind) is tuple:
        members = typing.get_args(kind)
        if members[1:] == (...,):
            return st.lists(st.deferred(lambda: values(members[0])), max_size=2).map(tuple)
        return st.tuples(*map(values, members))
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    hints = typing.get_type_hints(kind)
    return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_of_the_model_comes_back_as_it_was(kind: type) -> None:
    @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(values(kind))
    def comes_back(value: object) -> None:
        text = codec.dumps(value)
        assert codec.loads(text) == value
        assert codec.loads(json.dumps(json.loads(text))) == value

    comes_back()


@pytest.mark.parametrize("value", [None, True, 0, 1.5, "", "é \x00 \N{PILE OF POO}", (), ((), ("a", 1))])
def test_plain_values_come_back_as_they_were(value: object) -> None:
    assert codec.loads(codec.dumps(value)) == value


def test_an_equal_moment_of_another_time_zone_comes_back_in_utc() -> None:
    there = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert codec.loads(codec.dumps(there)).isoformat() == "2026-03-01T10:00:00+00:00"


@pytest.mark.parametrize("value", [b"bytes", {"a": 1}, {1}, object(), Decimal("NaN"), Health, Symptom, 1j])
def test_refuses_to_encode_what_the_model_does_not_allow(value: object) -> None:
    with pytest.raises(TypeError, match="cannot encode"):
        codec.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"_":"Path","is":"/etc"}',
        '{"_":"os.system","is":"true"}',
        '{"_":"Enum","is":"well"}',
        '{"_":"ServiceName","is":"web"}',
        '{"_":"dataclass"}',
        '{"_":"NoSuchClass","name":"web"}',
        '{"_":7}',
        '{"a":1}',
        "{}",
        '[{"_":"Object"}]',
        '{"_":"Health","is":"fine"}',
        '{"_":"datetime","is":"yesterday"}',
        '{"_":"Host"}',
        '{"_":"Decimal","is":"a lot"}',
        '{"_":"Decimal","is":"Infinity"}',
        "not json",
        "",
    ],
)
def test_refuses_text_that_names_no_shape_of_the_model(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  json, enum and datetime each have words of their own
        codec.loads(text)


def test_a_row_that_lacks_a_newer_field_takes_its_default() -> None:
    old = codec.loads('{"_":"Limits","attempts":1}')
    assert old == Limits(attempts=1)


def test_a_field_that_is_gone_is_dropped() -> None:
    text = '{"_":"Host","name":"here","shoe_size":44}'
    assert codec.loads(text) == model.Host(name=HostName("here"))


def test_what_people_read_holds_no_type_tags() -> None:
    event = model.ContainerEvent(container="web-1", action="die", at=datetime(2026, 3, 1, tzinfo=UTC), exit_code=1)
    assert codec.as_dict((event, Health.SICK, timedelta(seconds=1.5), IncidentId("I1"))) == [
        {
            "container": "web-1",
            "action": "die",
            "at": "2026-03-01T00:00:00+00:00",
            "exit_code": 1,
            "signal": None,
            "project": None,
        },
        "sick",
        1.5,
        "I1",
    ]
