"""Whether the network is Medic's own trouble: what the control targets of medic.yaml make of a red check. Pure."""

from collections.abc import Mapping

from agent.model import Health, HttpRequest, HttpSeen, Judgement, Observation, ProbeRequest, TcpRequest, TcpSeen

NETWORK_WORDS = ("http-", "port-")
"""Symptoms that begin so were seen over the network; Docker's socket tells all others."""


def over_the_network(judgement: Judgement) -> bool:
    """Say whether a check is sick, and only the network says so."""
    words = [symptom.word for symptom in judgement.symptoms]
    return judgement.health is Health.SICK and bool(words) and all(word.startswith(NETWORK_WORDS) for word in words)


def silent(answers: Mapping[ProbeRequest, Observation]) -> str | None:
    """Return the sentence that no control target answers; None when one of them does, or when there is none.

    Any status is an answer: the question is whether the way there is open.
    """
    if not answers or any(_answered(observation) for observation in answers.values()):
        return None
    return f"no control target answers either ({', '.join(_place(request) for request in answers)})"


def _answered(observation: Observation) -> bool:
    match observation:
        case HttpSeen(status=status):
            return status is not None
        case TcpSeen(connected=connected):
            return connected
        case _:
            return False


def _place(request: ProbeRequest) -> str:
    match request:
        case HttpRequest(url=url):
            return url
        case TcpRequest(address=address):
            return address
        case _:
            return request.host
