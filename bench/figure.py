"""One figure: what was measured, the bar it is held to, and what limits it where the bar is missed."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measured number beside its bar."""

    name: str
    """Stable between versions: what a later run is compared by."""
    what: str
    value: float | None
    """None where it could not be measured; `limit` says why."""
    unit: str
    bar: float
    at_least: bool = False
    """Whether more is better."""
    limit: str
    """What keeps the number from being better, as far as it is known."""
    more: Mapping[str, float | int | str] = field(default_factory=dict)
    """What was measured along with it."""

    @property
    def is_met(self) -> bool:
        """Whether the bar is reached."""
        if self.value is None:
            return False
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def line(figure: Figure) -> str:
    """Return the figure as a person reads it; a miss says by how much, and what limits it."""
    if figure.value is None:
        return f"{figure.what:<62} not measured: {figure.limit}"
    sign = "≥" if figure.at_least else "≤"
    head = f"{figure.what:<62} {text(figure.value):>9} {figure.unit:<14} {sign} {text(figure.bar):<8}"
    if figure.is_met:
        return f"{head} met"
    return f"{head} MISSED by {text(abs(figure.value - figure.bar))} {figure.unit}: {figure.limit}"


def document(figure: Figure) -> dict[str, object]:
    """Return the figure as JSON."""
    return {
        "name": figure.name,
        "what": figure.what,
        "value": figure.value,
        "unit": figure.unit,
        "bar": figure.bar,
        "at_least": figure.at_least,
        "met": figure.is_met,
        "limit": figure.limit,
        **({"more": dict(figure.more)} if figure.more else {}),
    }


def text(value: float) -> str:
    """Return a number with three digits that matter: 0.0123, 1.23, 123, 12300."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` of all values do not exceed (nearest rank). Raises ValueError when there is none."""
    if not values:
        raise ValueError("cannot take a percentile of nothing")
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * round(share * 100) // 100) - 1)]
