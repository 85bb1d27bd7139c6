"""The TCP check: does a connection open."""

from collections.abc import Mapping

from agent.checks import frame, place
from agent.model import Blind, ContainerFacts, Judgement, Observation, ProbeRequest, Service, TcpCheck, TcpRequest, TcpSeen


def requests(check: TcpCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the one connection to open, none when there is no address to open it to."""
    request = _request(check, service, facts)
    return (request,) if isinstance(request, TcpRequest) else ()


def judge(
    check: TcpCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge whether the connection opened."""
    request = _request(check, service, facts)
    if not isinstance(request, TcpRequest):
        return place.not_asked(check.name, check.plane, request)
    match observed.get(request):
        case TcpSeen(connected=True):
            return frame.well(check, f"{request.address} accepts connections")
        case TcpSeen(error="timeout"):
            return frame.sick(
                check, ("port-timeout", f"{request.address} did not answer within {check.timeout.total_seconds():g} s")
            )
        case TcpSeen(error=error):
            return frame.sick(check, ("port-closed", f"{request.address}: {error or 'closed'}"))
        case other:
            return frame.unseen(check, other, request.address)


def _request(check: TcpCheck, service: Service, facts: ContainerFacts | Blind) -> TcpRequest | place.Gone | Blind:
    host, _, port = check.address.rpartition(":")
    match place.find(host, facts):
        case str(found):
            address = check.address if found == host else f"{place.bracketed(found)}:{port}"
            return TcpRequest(address=address, timeout=check.timeout, via=place.via(host, service))
        case nowhere:
            return nowhere
