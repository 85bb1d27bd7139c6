"""The DNS check: can the container look up a name. Its own resolver is asked, with `getent`, inside it."""

from collections.abc import Mapping

from agent.checks import command, frame, place
from agent.model import Blind, ContainerFacts, DnsCheck, ExecRequest, ExecSeen, Judgement, Observation, ProbeRequest, Service

NO_SUCH_NAME = 2
"""Exit code of `getent` for a key it does not find. Source: getent(1)."""


def requests(check: DnsCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the look-up, none in a container that does not run."""
    return () if command.nowhere(facts) else (_request(check, service),)


def judge(
    check: DnsCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge whether the name was found."""
    why = command.nowhere(facts)
    if why is not None:
        return place.not_asked(check.name, check.plane, why)
    asked = f"the name {check.lookup} in {service.container}"
    match observed.get(_request(check, service)):
        case ExecSeen(exit_code=0):
            return frame.well(check, f"{asked} is found")
        case ExecSeen(exit_code=code) if code == NO_SUCH_NAME:
            return frame.sick(check, ("dns-failed", f"{asked} is not found"))
        case ExecSeen(exit_code=code) if code in command.ENDED_BY_TIMEOUT:
            return frame.sick(check, ("dns-failed", f"{asked} is not found within {check.timeout.total_seconds():g} s"))
        case ExecSeen(exit_code=code):
            return frame.unseen(check, command.unusable(code, asked), asked)
        case other:
            return frame.unseen(check, other, asked)


def _request(check: DnsCheck, service: Service) -> ExecRequest:
    return command.bounded(check, service, ("getent", "hosts", check.lookup))
