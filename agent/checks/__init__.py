"""Checks, one kind per file: `requests(check, service, facts)` gives the questions, `judge(...)` makes a `Judgement` of
the observations. Pure: no I/O, no clock. The table below is the whole registry.

facts: the service's own container, or `Blind` when its host could not be listed. `observed` holds every answer of the
batch, the containers of all hosts among them, so that a check can look beside its own service (nginx does).
"""

from collections.abc import Mapping
from typing import Any, Protocol  # Any: each module takes its own kind of check, which the table pairs it with

from agent.checks import certificate, command, completion, container, dns, gpu, host, http, log, nginx, tcp
from agent.model import (
    Blind,
    CertificateCheck,
    Check,
    CommandCheck,
    CompletionCheck,
    ContainerCheck,
    ContainerFacts,
    ContainerState,
    DnsCheck,
    GpuCheck,
    HostCheck,
    HttpCheck,
    Judgement,
    LogCheck,
    NginxCheck,
    Observation,
    ProbeRequest,
    Service,
    TcpCheck,
)

Observed = Mapping[ProbeRequest, Observation]


class Kind(Protocol):
    """One module of this package."""

    def requests(self, check: Any, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
        """Return the questions."""

    def judge(self, check: Any, service: Service, facts: ContainerFacts | Blind, observed: Observed) -> Judgement:
        """Judge the answers."""


KINDS: Mapping[type[Check], Kind] = {
    ContainerCheck: container,
    TcpCheck: tcp,
    HttpCheck: http,
    CompletionCheck: completion,
    CommandCheck: command,
    DnsCheck: dns,
    LogCheck: log,
    HostCheck: host,
    GpuCheck: gpu,
    CertificateCheck: certificate,
    NginxCheck: nginx,
}


def requests(check: Check, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the questions of one check; empty when the container's facts alone decide it."""
    return KINDS[type(check)].requests(check, service, facts)


def judge(check: Check, service: Service, facts: ContainerFacts | Blind, observed: Observed) -> Judgement:
    """Judge what was observed for one check, this once, before thresholds."""
    return KINDS[type(check)].judge(check, service, facts, observed)


def missing(container_name: str) -> ContainerFacts:
    """Return the facts of a container that the engine does not have."""
    return ContainerFacts(name=container_name, id="", state=ContainerState.MISSING, status="no such container")
