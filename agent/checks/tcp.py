"""The TCP check: does a connection open."""

from collections.abc import Mapping

from agent.checks import place
from agent.model import (
    Blind,
    ContainerFacts,
    Health,
    Judgement,
    Observation,
    ProbeRequest,
    Service,
    Symptom,
    TcpCheck,
    TcpRequest,
    TcpSeen,
)


def requests(check: TcpCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:  # noqa: ARG001 (one signature for all checks)
    """Return the one connection to open, none when there is no address to open it to."""
    request = _request(check, facts)
    return (request,) if isinstance(request, TcpRequest) else ()


def judge(
    check: TcpCheck,
    service: Service,  # noqa: ARG001 (one signature for all checks)
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge whether the connection opened."""
    request = _request(check, facts)
    if not isinstance(request, TcpRequest):
        return place.not_asked(check.name, check.plane, request)
    match observed.get(request):
        case TcpSeen(connected=True):
            return _judgement(check, Health.WELL, f"{request.address} accepts connections")
        case TcpSeen(error="timeout"):
            detail = f"{request.address} did not answer within {check.timeout.total_seconds():g} s"
            return _judgement(check, Health.SICK, detail, word="port-timeout")
        case TcpSeen(error=error):
            return _judgement(check, Health.SICK, f"{request.address}: {error or 'closed'}", word="port-closed")
        case Blind(why=why):
            return _judgement(check, Health.UNKNOWN, f"cannot look: {why}")
        case _:
            return _judgement(check, Health.UNKNOWN, f"cannot look: {request.address} was not asked")


def _request(check: TcpCheck, facts: ContainerFacts | Blind) -> TcpRequest | place.Gone | Blind:
    host, _, port = check.address.rpartition(":")
    match place.find(host, facts):
        case str(found):
            address = check.address if found == host else f"{place.bracketed(found)}:{port}"
            return TcpRequest(address=address, timeout=check.timeout)
        case nowhere:
            return nowhere


def _judgement(check: TcpCheck, health: Health, detail: str, *, word: str | None = None) -> Judgement:
    symptoms = (Symptom(word=word, plane=check.plane, detail=detail),) if word else ()
    return Judgement(check=check.name, plane=check.plane, health=health, detail=detail, symptoms=symptoms)
