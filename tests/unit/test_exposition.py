"""The text that Prometheus reads: names, labels and numbers as its format wants them."""

import math

import pytest

from agent import exposition


@pytest.mark.parametrize(
    ("family", "lines"),
    [
        (exposition.gauge("age", "How old.", 1.5), ["# HELP age How old.", "# TYPE age gauge", "age 1.5"]),
        (exposition.counter("n_total", "How\nmany.", 3), [r"# HELP n_total How\nmany.", "# TYPE n_total counter", "n_total 3"]),
        (
            exposition.counts("x", "X.", "who", {'a "b"\\\n': math.nan}, counter=False),
            ["# HELP x X.", "# TYPE x gauge", r'x{who="a \"b\"\\\n"} nan'],
        ),
        (
            exposition.histogram("took_seconds", "Took.", (0.5, 2.0, 9.0), (1.0, 3.0)),
            [
                "# HELP took_seconds Took.",
                "# TYPE took_seconds histogram",
                'took_seconds_bucket{le="1"} 1',
                'took_seconds_bucket{le="3"} 2',
                'took_seconds_bucket{le="+Inf"} 3',
                "took_seconds_count 3",
                "took_seconds_sum 11.5",
            ],
        ),
    ],
)
def test_a_family_is_its_meaning_its_kind_and_a_line_for_each_number(family: exposition.Family, lines: list[str]) -> None:
    assert exposition.text([family]).splitlines() == lines
