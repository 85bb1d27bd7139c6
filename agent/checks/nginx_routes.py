"""Who is behind an nginx route: its targets, as written, against the containers that really run. Pure.

Docker's DNS answers container names, network aliases and Compose service names inside a shared network. `nginx -T` shows
names unresolved: a name that nginx resolved long ago is seen by an HTTP check through nginx, not here.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from agent.checks import place
from agent.model import ContainerFacts, NginxRoute, NginxTarget

COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_PROJECT = "com.docker.compose.project"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
GATEWAY = frozenset({"host.docker.internal", "host-gateway"})
"""Names by which containers reach their host (Docker Engine 20.10, `--add-host ...:host-gateway`)."""


class Leads(enum.Enum):
    """Where one target leads, seen from one service."""

    HERE = "here"
    WRONG_PORT = "wrong-port"
    KIN = "kin"
    """Another container of the same thing: a replica."""
    ELSEWHERE = "elsewhere"
    """A container of something else."""
    NOWHERE = "nowhere"
    """No container has that address or name."""
    UNKNOWN = "unknown"
    """A variable or a Unix socket: nothing to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The containers of one host, with the two that the question is about."""

    own: ContainerFacts
    port: int
    nginx: ContainerFacts
    containers: tuple[ContainerFacts, ...]

    def leads(self, target: NginxTarget) -> Leads:
        """Say where one target leads."""
        if "$" in target.host or target.host.startswith("unix:") or target.port == 0:
            return Leads.UNKNOWN
        if self._is_host(target.host):
            return self._by_published_port(target.port)
        found = self._behind(target.host)
        if self.own.name in {facts.name for facts in found}:
            return Leads.HERE if target.port == self.port else Leads.WRONG_PORT
        if not found:
            return Leads.NOWHERE
        return Leads.KIN if all(self.is_kin(facts) for facts in found) else Leads.ELSEWHERE

    def is_kin(self, facts: ContainerFacts) -> bool:
        """True for a replica of the service's own container: the same Compose service, or the same image and numbered name.

        The image alone does not do: one `python:3.11` serves many things.
        """
        service = _label(self.own, COMPOSE_SERVICE)
        if service is not None:
            return service == _label(facts, COMPOSE_SERVICE) and _label(self.own, COMPOSE_PROJECT) == _label(
                facts, COMPOSE_PROJECT
            )
        same_image = repository(facts.image) == repository(self.own.image) != ""
        return same_image and _unnumbered(facts.name) == _unnumbered(self.own.name)

    def has_stopped_kin(self) -> bool:
        """True where a replica is down: an address that nobody has may be its."""
        return any(
            facts.state not in place.ADDRESSED and facts.name != self.own.name and self.is_kin(facts)
            for facts in self.containers
        )

    def _is_host(self, host: str) -> bool:
        return host in GATEWAY or (host in LOOPBACK and place.on_host_network(self.nginx))

    def _by_published_port(self, port: int) -> Leads:
        if (self.port, port) in self.own.ports or (place.on_host_network(self.own) and port == self.port):
            return Leads.HERE
        if any(port == published for _, published in self.own.ports):
            return Leads.WRONG_PORT
        owners = [facts for facts in self.containers if any(port == published for _, published in facts.ports)]
        if not owners:
            return Leads.NOWHERE
        return Leads.KIN if all(self.is_kin(facts) for facts in owners) else Leads.ELSEWHERE

    def _behind(self, host: str) -> list[ContainerFacts]:
        if host in LOOPBACK:
            return [self.nginx]
        networks = {network.name for network in self.nginx.networks}
        return [facts for facts in self.containers if _has_address(facts, host) or _is_called(facts, host, networks)]


def matching(routes: Sequence[NginxRoute], server_name: str | None, location: str) -> tuple[NginxRoute, ...]:
    """Return the routes for a location as nginx writes it, of one server name or of all.

    The modifiers `=` and `^~` do not matter here; a regular expression matches itself, as text.
    """
    return tuple(
        route
        for route in routes
        if route.location.removeprefix("= ").removeprefix("^~ ") == location
        and (server_name is None or any(_names(pattern, server_name) for pattern in route.server_names))
    )


def repository(image: str) -> str:
    """Return the repository of an image reference: `registry:5000/team/app:v2@sha256:..` gives `registry:5000/team/app`."""
    name = image.partition("@")[0]
    if name.startswith("sha256:"):
        return ""
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name


def _unnumbered(name: str) -> str:
    return name.rstrip("0123456789").rstrip("-_")


def _names(pattern: str, name: str) -> bool:
    pattern, name = pattern.lower(), name.lower()
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    if pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    if pattern.endswith(".*"):
        return name.startswith(pattern[:-1])
    return pattern == name


def _has_address(facts: ContainerFacts, host: str) -> bool:
    return any(network.address == host for network in facts.networks)


def _is_called(facts: ContainerFacts, host: str, networks: set[str]) -> bool:
    shared = [network for network in facts.networks if network.name in networks]
    if not shared:
        return False
    return host in (facts.name, _label(facts, COMPOSE_SERVICE)) or any(host in network.aliases for network in shared)


def _label(facts: ContainerFacts, name: str) -> str | None:
    return next((value for key, value in facts.labels if key == name), None)
