"""What links a neighbour to what an attempt changes, and whether the neighbour's trouble is laid at its door. Pure.

Services fail together by chance, and an innocent runbook that is undone and demoted helps nobody. So being near is not
enough. A strong tie says that the neighbour hangs on what is changed: then falling sick inside the attempt is harm. A weak
one (a shared network, a shared proxy) says only that harm could have gone that way, and needs a link in kind as well.
Source of every rule: docs/decisions/0007-neighbours.md
"""

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace

from agent.model import (
    ContainerFacts,
    ContainerState,
    Health,
    HostName,
    NginxCheck,
    ParameterSource,
    Plane,
    Runbook,
    RunSpec,
    Service,
    ServiceName,
    Tie,
    Verdict,
)
from agent.policy import dependencies

OnHost = Mapping[tuple[HostName, str], ContainerFacts]
"""What Docker says of each container, by host and name."""

PRIVATE = frozenset({"none"})
"""Docker's networks that nobody shares, although every container on them carries their name."""

OWN_DEATHS = frozenset({132, 134, 135, 136, 137, 139})
"""Exit codes of a process that died of a signal nobody sent through Docker: ILL, ABRT, BUS, FPE, KILL (the kernel), SEGV."""

SEVERAL = 2
"""So many neighbours with nothing but a weak tie that turn sick at once are no accident."""

DOWN = frozenset({ContainerState.EXITED, ContainerState.DEAD, ContainerState.MISSING, ContainerState.RESTARTING})
BEYOND_PROXY = frozenset({Plane.NGINX, Plane.PUBLIC})


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A neighbour that was WELL before an attempt and is SICK after it, and what is known of how that came."""

    tie: Tie
    verdict: Verdict
    container: ContainerFacts
    """As it is now."""
    told: bool = False
    """Docker was told to stop, kill or remove it while the playbook ran."""
    said: str = ""
    """What its container wrote since the change, redacted or not: it is searched here and kept nowhere."""


def touched(runbook: Runbook, patient: Service) -> frozenset[str]:
    """Return the containers that a runbook acts on for this service."""
    sources = {parameter.source for parameter in runbook.parameters}
    proxies = set(_proxies(patient))
    own = {patient.container} if sources - {ParameterSource.NGINX, ParameterSource.PERSON} else set()
    return frozenset(own | (proxies if ParameterSource.NGINX in sources else set()))


def of(patient: Service, changed: Set[str], services: Sequence[Service], facts: OnHost) -> tuple[Tie, ...]:
    """Return how every other service is tied to the containers that are changed; nothing for those that are not at all.

    changed: names of containers on the patient's host.
    """
    graph = {service.name: service.depends_on for service in (patient, *services)}
    owners = tuple(service for service in (patient, *services) if service.host == patient.host and service.container in changed)
    names = _names(owners, changed, patient.host, facts)
    found = []
    for other in services:
        if other.name == patient.name:
            continue
        strong = _strong(other, patient, owners, changed, graph, facts)
        why = strong or _weak(other, patient, changed, facts)
        if why is not None:
            proxy = _shared_proxy(other, patient)
            found.append(Tie(service=other.name, strong=strong is not None, why=why, proxy=proxy, names=names))
    return tuple(found)


def blamed(suspects: Sequence[Suspect]) -> tuple[Suspect, ...]:
    """Return the suspects whose trouble the attempt has to answer for, each with its tie as the reason of that."""
    found = {each.verdict.service: reason for each in suspects if (reason := _reason(each)) is not None}
    rest = [each for each in suspects if each.verdict.service not in found and each.container.state not in DOWN]
    if len(rest) >= SEVERAL:
        together = f"{len(rest)} at once: {', '.join(sorted(each.verdict.service for each in rest))}"
        found |= {each.verdict.service: replace(each.tie, why=f"{each.tie.why}; {together}") for each in rest}
    return tuple(replace(each, tie=found[each.verdict.service]) for each in suspects if each.verdict.service in found)


def _reason(suspect: Suspect) -> Tie | None:
    """Return the tie with what makes it count for this one suspect alone, None where nothing does."""
    tie = suspect.tie
    if suspect.told:
        return replace(tie, strong=True, why="Docker was told to stop it while the playbook ran")
    if _died_of_its_own(suspect.container):
        return None
    if tie.strong:
        return tie
    if points_at(_words(suspect), tie.names):
        return replace(tie, why=f"{tie.why}; its trouble names what was changed")
    if tie.proxy is not None and _only_beyond_the_proxy(suspect.verdict):
        return replace(tie, why=f"{tie.why}; it fails only behind {tie.proxy}")
    return None


def points_at(text: str, names: Sequence[str]) -> bool:
    """Say whether a text speaks of one of these names as of a place to reach, and not as of any word.

    `db:5432`, `//db/`, `@db`, `"db"`, `lookup db`, `host db`, `ENOTFOUND db` name the host `db`; `the db is slow` does not.
    A port of the host is written `:8080` by Docker where it is taken.
    """
    words = "|".join(re.escape(name) for name in names if name and not name.startswith(":"))
    ports = "|".join(re.escape(name) for name in names if name.startswith(":"))
    place = rf"(?:(?:[/@\"'`]|\b(?:ENOTFOUND|EAI_AGAIN|lookup|host|upstream)\s)(?:{words})(?=[:/\"'`\s,;)]|$))|(?<![\w.-])(?:{words}):\d"
    taken = rf"(?:{ports})\b.*(?:already allocated|already in use)"
    return bool((words and re.search(place, text)) or (ports and re.search(taken, text)))


def _died_of_its_own(container: ContainerFacts) -> bool:
    """Say whether the container is down of a cause that no change beside it can be: out of memory, a crash of its own."""
    return container.state in DOWN and (container.oom_killed is True or container.exit_code in OWN_DEATHS)


def _only_beyond_the_proxy(verdict: Verdict) -> bool:
    sick = {judgement.plane for judgement in verdict.judgements if judgement.health is Health.SICK}
    return bool(sick) and sick <= BEYOND_PROXY


def _words(suspect: Suspect) -> str:
    return "\n".join((*suspect.verdict.reasons, suspect.container.error or "", suspect.said))


def _strong(
    other: Service,
    patient: Service,
    owners: Sequence[Service],
    changed: Set[str],
    graph: Mapping[ServiceName, Sequence[ServiceName]],
    facts: OnHost,
) -> str | None:
    """Return why a service hangs on what is changed, None where it does not."""
    for owner in owners:
        if owner.name in dependencies.parents(other.name, graph):
            return f"it depends on {owner.name}"
        if other.name in dependencies.parents(owner.name, graph):
            return f"{owner.name} depends on it"
    if patient.container in changed and other.group is not None and other.group == patient.group:
        return f"it is of the same group, {other.group}"
    if other.host != patient.host:
        return None
    if other.container in changed:
        return "its own container is changed"
    behind = _proxies(other) & changed
    if behind:
        return f"it stands behind {min(behind)}"
    if any(other.container in _proxies(owner) for owner in owners):
        return f"it is the nginx in front of {patient.name}"
    return _shared_container(other, patient.host, changed, facts)


def _shared_container(other: Service, host: HostName, changed: Set[str], facts: OnHost) -> str | None:
    """Return which namespace or volume a service shares with a container that is changed."""
    its = facts.get((host, other.container))
    for name in sorted(changed):
        ours = facts.get((host, name))
        if its is not None and its.network_of and its.network_of in (name, ours.id if ours else name):
            return f"it lives in the network of {name}"
        if its is not None and ours is not None and ours.network_of in (its.id, its.name):
            return f"{name} lives in its network"
        volumes = set(its.volumes if its else ()) & set(ours.volumes if ours else ())
        if volumes:
            return f"it shares {min(volumes)} with {name}"
    return None


def _weak(other: Service, patient: Service, changed: Set[str], facts: OnHost) -> str | None:
    if other.host != patient.host:
        return None
    its = _networks(other, facts)
    shared = {network for name in changed for network in _networks_of(name, patient, facts)} & its - PRIVATE
    if shared:
        return f"it shares the network {min(shared)}"
    proxy = _shared_proxy(other, patient)
    return f"it shares the proxy {proxy}" if proxy else None


def _shared_proxy(other: Service, patient: Service) -> str | None:
    return min(_proxies(other) & _proxies(patient), default=None) if other.host == patient.host else None


def _networks_of(container: str, patient: Service, facts: OnHost) -> frozenset[str]:
    if container == patient.container:
        return _networks(patient, facts)
    found = facts.get((patient.host, container))
    return frozenset(network.name for network in found.networks) if found else frozenset()


def _networks(service: Service, facts: OnHost) -> frozenset[str]:
    """Return the networks of a service's container as Docker says, or as declared where there is no container."""
    found = facts.get((service.host, service.container))
    if found is not None and found.networks:
        return frozenset(network.name for network in found.networks)
    return frozenset(service.spec.networks) if isinstance(service.spec, RunSpec) else frozenset()


def _names(owners: Sequence[Service], changed: Set[str], host: HostName, facts: OnHost) -> tuple[str, ...]:
    """Return what others call the containers that are changed: names, addresses, and ports of the host as `:<port>`."""
    found = {*changed, *(owner.name for owner in owners)}
    for name in changed:
        container = facts.get((host, name))
        for network in container.networks if container else ():
            found |= {network.address, *network.aliases}
        found |= {f":{outside}" for _inside, outside in container.ports} if container else set()
    return tuple(sorted(name for name in found if name))


def _proxies(service: Service) -> frozenset[str]:
    """Return the containers of nginx that a service stands behind."""
    return frozenset(check.nginx for check in service.checks if isinstance(check, NginxCheck) and check.nginx)
