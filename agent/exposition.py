"""Numbers as Prometheus reads them: the text format 0.0.4. Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/. In: families of samples. Out: one text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric: its name, what it means, and a number for each set of labels."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    samples: Sequence[tuple[str, Labels, float]]
    """What is added to the name (empty, or `_bucket` and its like), the labels, the number."""


def counts(name: str, meaning: str, label: str, numbers: Mapping[str, float], *, counter: bool = True) -> Family:
    """Return a family with one label and a number for each of its values."""
    samples = [("", {label: value}, number) for value, number in numbers.items()]
    return Family(name=name, kind="counter" if counter else "gauge", meaning=meaning, samples=samples)


def gauge(name: str, meaning: str, number: float, labels: Labels | None = None) -> Family:
    """Return a family of one number."""
    return Family(name=name, kind="gauge", meaning=meaning, samples=[("", labels or {}, number)])


def counter(name: str, meaning: str, number: float) -> Family:
    """Return a family of one count."""
    return Family(name=name, kind="counter", meaning=meaning, samples=[("", {}, number)])


def histogram(name: str, meaning: str, seconds: Sequence[float], bounds: Sequence[float]) -> Family:
    """Return how many of `seconds` took at most each of `bounds` (rising), their number and their sum."""
    samples: list[tuple[str, Labels, float]] = [
        ("_bucket", {"le": f"{bound:g}"}, sum(each <= bound for each in seconds)) for bound in bounds
    ]
    samples += [("_bucket", {"le": "+Inf"}, len(seconds)), ("_count", {}, len(seconds)), ("_sum", {}, sum(seconds))]
    return Family(name=name, kind="histogram", meaning=meaning, samples=samples)


def text(families: Iterable[Family]) -> str:
    """Return the families as one text."""
    lines: list[str] = []
    for family in families:
        meaning = family.meaning.replace("\\", r"\\").replace("\n", r"\n")
        lines += [f"# HELP {family.name} {meaning}", f"# TYPE {family.name} {family.kind}"]
        lines += [f"{family.name}{suffix}{_labels(labels)} {number:.15g}" for suffix, labels, number in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
