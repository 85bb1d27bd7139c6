"""Checks, one kind per file: `requests(check, service, facts)` gives the questions, `judge(...)` makes a `Judgement` of
the observations. Pure: no I/O, no clock. The table below is the whole registry.

facts: the service's own container, or `Blind` when its host could not be listed. `observed` holds every answer of the
batch, the containers of all hosts among them, so that a check can look beside its own service (nginx does).
"""

from collections.abc import Mapping
from typing import assert_never

from agent.checks import container, http, nginx, tcp
from agent.model import (
    Blind,
    Check,
    ContainerCheck,
    ContainerFacts,
    ContainerState,
    HttpCheck,
    Judgement,
    NginxCheck,
    Observation,
    ProbeRequest,
    Service,
    TcpCheck,
)

Observed = Mapping[ProbeRequest, Observation]


def requests(check: Check, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the questions of one check; empty when the container's facts alone decide it."""
    match check:
        case ContainerCheck():
            return container.requests(check, service, facts)
        case TcpCheck():
            return tcp.requests(check, service, facts)
        case HttpCheck():
            return http.requests(check, service, facts)
        case NginxCheck():
            return nginx.requests(check, service, facts)
        case _:
            assert_never(check)


def judge(check: Check, service: Service, facts: ContainerFacts | Blind, observed: Observed) -> Judgement:
    """Judge what was observed for one check, this once, before thresholds."""
    match check:
        case ContainerCheck():
            return container.judge(check, service, facts, observed)
        case TcpCheck():
            return tcp.judge(check, service, facts, observed)
        case HttpCheck():
            return http.judge(check, service, facts, observed)
        case NginxCheck():
            return nginx.judge(check, service, facts, observed)
        case _:
            assert_never(check)


def missing(container_name: str) -> ContainerFacts:
    """Return the facts of a container that the engine does not have."""
    return ContainerFacts(name=container_name, id="", state=ContainerState.MISSING, status="no such container")
