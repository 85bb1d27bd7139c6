"""A prober that answers from a table."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from agent.model import Blind, Observation, ProbeRequest


class FakeProber:
    """`ports.Prober` on a table of answers. What the table lacks was not seen: `Blind`.

    answers: may be changed between looks, to let the world get well or sick.
    """

    def __init__(self, answers: Mapping[ProbeRequest, Observation] | None = None) -> None:
        self.answers: dict[ProbeRequest, Observation] = dict(answers or {})

    def ask(self, requests: Sequence[ProbeRequest], deadline: timedelta) -> Mapping[ProbeRequest, Observation]:
        """Answer from the table."""
        return {request: self.answers.get(request, Blind(why="the fake was told nothing of it")) for request in requests}
