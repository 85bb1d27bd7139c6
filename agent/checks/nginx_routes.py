"""Who is behind an nginx route: its targets, as written, against the containers that really run. Pure.

Docker's DNS answers container names, network aliases and Compose service names inside a shared network. `nginx -T` shows
names unresolved: a name that nginx resolved long ago is seen by an HTTP check through nginx, not here.
"""

import enum
import re
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
    OTHER_SOCKET = "other-socket"
    """A Unix socket that is not the declared one: a replica's or anybody's."""
    NOWHERE = "nowhere"
    """No container has that address or name."""
    UNKNOWN = "unknown"
    """A variable, or a Unix socket where none is declared: nothing to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The containers of one host, with the two that the question is about."""

    own: ContainerFacts
    port: int | None
    nginx: ContainerFacts | None
    """None: nginx runs on the host itself."""
    containers: tuple[ContainerFacts, ...]
    socket: str | None = None
    """The Unix socket that the service listens on, in place of a port."""

    def leads(self, target: NginxTarget) -> Leads:
        """Say where one target leads."""
        if self.socket is not None and target.host.startswith("unix:") and "$" not in target.host:
            return Leads.HERE if target.host == f"unix:{self.socket}" else Leads.OTHER_SOCKET
        if "$" in target.host or target.host.startswith("unix:") or target.port == 0:
            return Leads.UNKNOWN
        if self._is_host(target.host):
            return self._by_published_port(target.port)
        if self.nginx is None and not _is_address(target.host):
            return Leads.UNKNOWN  # the host's resolver knows no names of containers; what else it knows, we do not
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
        return host in GATEWAY or (host in LOOPBACK and (self.nginx is None or place.on_host_network(self.nginx)))

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
            return [self.nginx] if self.nginx else []
        networks = {network.name for network in self.nginx.networks} if self.nginx else set()
        return [facts for facts in self.containers if _has_address(facts, host) or _is_called(facts, host, networks)]


def matching(routes: Sequence[NginxRoute], server_name: str | None, location: str) -> tuple[tuple[NginxRoute, ...], bool]:
    """Return the routes for a location as nginx writes it, of one server name or of all, and whether those are certain.

    The modifiers `=` and `^~` do not matter here; a regular expression matches itself, as text. Of several servers nginx takes
    the exact name, then the longest wildcard, then the first regular expression, then the default. An expression that could
    take for ever is not tried, since it comes from a container: the server that has it makes the answer uncertain.
    """
    if server_name is None:
        return tuple(route for route in routes if _is_at(route, location)), True
    fits = [max((_fit(pattern, server_name) for pattern in route.server_names), default=0) for route in routes]
    best = max(fits, default=0)
    if best:
        chosen = [route for route, fit in zip(routes, fits, strict=True) if fit == best]
        return tuple(route for route in chosen if _is_at(route, location)), True
    tried = [(route, _is_found(route.server_names, server_name)) for route in routes]
    names = next((route.server_names for route, found in tried if found), None)
    chosen = [route for route in routes if (route.default if names is None else route.server_names == names)]
    doubtful = [route for route, found in tried if found is None]
    # Which of several default servers is meant depends on the port that is asked.
    certain = not doubtful and len({route.listen for route in chosen}) <= 1
    return tuple(route for route in (*doubtful, *chosen) if _is_at(route, location)), certain


def repository(image: str) -> str:
    """Return the repository of an image reference: `registry:5000/team/app:v2@sha256:..` gives `registry:5000/team/app`."""
    name = image.partition("@")[0]
    if name.startswith("sha256:"):
        return ""
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name


def _unnumbered(name: str) -> str:
    return name.rstrip("0123456789").rstrip("-_")


def _is_at(route: NginxRoute, location: str) -> bool:
    return route.location.removeprefix("= ").removeprefix("^~ ") == location


_EXACT = 3_000
_LEADING = 2_000
_TRAILING = 1_000
"""How well a name fits, to which the length of a wildcard is added. Source: nginx, "Server names"; names have at most 255."""


def _fit(pattern: str, name: str) -> int:
    """Return how well a server's name fits, 0 where it does not."""
    pattern, name = pattern.lower(), name.lower()
    if pattern in (name, f".{name}"):
        return _EXACT
    if pattern.startswith(("*.", ".")):
        return _LEADING + len(pattern) if name.endswith(pattern.removeprefix("*")) else 0
    return _TRAILING + len(pattern) if pattern.endswith(".*") and name.startswith(pattern[:-1]) else 0


def _is_found(names: Sequence[str], name: str) -> bool | None:
    """Say whether a regular expression among a server's names finds `name`; None where one of them is not tried."""
    patterns = [pattern[1:] for pattern in names if pattern.startswith("~")]
    if any(_could_take_long(pattern) for pattern in patterns):
        return None
    try:
        return any(re.search(pattern.replace("(?<", "(?P<"), name, re.IGNORECASE) for pattern in patterns)
    except re.error:
        return None


def _could_take_long(pattern: str) -> bool:
    """Say whether trying a pattern may take more than a moment: repetition in repetition, or more than two open ones.

    With at most two on a name of at most 253 characters a search takes some 10 000 steps.
    """
    repeated_group = re.search(r"\)[*+{?]", pattern) is not None
    look_around = re.search(r"\(\?(?!<[A-Za-z_]|:)", pattern) is not None
    return len(pattern) > 256 or repeated_group or look_around or len(re.findall(r"[*+{]", pattern)) > 2


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _has_address(facts: ContainerFacts, host: str) -> bool:
    return any(network.address == host for network in facts.networks)


def _is_called(facts: ContainerFacts, host: str, networks: set[str]) -> bool:
    shared = [network for network in facts.networks if network.name in networks]
    if not shared:
        return False
    return host in (facts.name, _label(facts, COMPOSE_SERVICE)) or any(host in network.aliases for network in shared)


def _label(facts: ContainerFacts, name: str) -> str | None:
    return next((value for key, value in facts.labels if key == name), None)
