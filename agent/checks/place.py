"""Where a network check looks: the host it names, or the container's own address where it says `container`."""

import functools
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from agent.model import Blind, ContainerFacts, ContainerState, Health, HostName, Judgement, Plane, Service

OWN = "container"
"""The host word that stands for the container's own address."""

_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|\[?::1\]?", re.IGNORECASE)

ADDRESSED = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})
"""States in which a container has an address. Docker takes it away when the container stops (Engine API 1.41)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """There is nothing to ask: the container that should have the address does not run."""

    why: str


@functools.lru_cache(maxsize=20_000)
def named_in(url: str) -> str:
    """Return the host that a URL names, empty where it names none. Remembered: the same ones are asked at every beat."""
    return urlsplit(url).hostname or ""


def find(host: str, facts: ContainerFacts | Blind) -> str | Gone | Blind:
    """Return the host to ask for `host`; `Gone` or `Blind` when there is no address to ask."""
    if host != OWN:
        return host
    if isinstance(facts, Blind):
        return facts
    if facts.state not in ADDRESSED:
        return Gone(why=f"the container is {facts.state.value}")
    address = next((network.address for network in facts.networks if network.address), None)
    if address:
        return address
    if on_host_network(facts):
        return "127.0.0.1"
    return Blind(why="the container has no address of its own")


def via(host: str, service: Service) -> HostName | None:
    """Return the host that has to ask for `host`: a container's address and a loopback mean another one on each machine."""
    return service.host if host == OWN or _LOOPBACK.fullmatch(host) else None


def on_host_network(facts: ContainerFacts) -> bool:
    """True where the container shares its host's network, so that its ports are the host's."""
    return any(network.name == "host" for network in facts.networks)


def bracketed(host: str) -> str:
    """Return `host` as URLs and `host:port` write it: an IPv6 address goes into brackets."""
    return f"[{host}]" if ":" in host else host


def not_asked(check: str, plane: Plane, why: Gone | Blind) -> Judgement:
    """Judge a check that had nobody to ask.

    Gone is SICK by consequence and names no symptom: the container check says what is wrong, and only once.
    """
    match why:
        case Gone(why=reason):
            return Judgement(check=check, plane=plane, health=Health.SICK, detail=f"not asked: {reason}")
        case Blind(why=reason):
            return Judgement(check=check, plane=plane, health=Health.UNKNOWN, detail=f"cannot look: {reason}")
