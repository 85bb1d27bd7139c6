"""What Docker's JSON means: containers and events as nouns of the model. Pure; every field is text from outside.

A field that is missing or has a strange shape becomes "not known" (None or empty) instead of an error: one odd container
must not blind Medic to its neighbours. Shapes: Docker Engine API 1.41, ContainerList, ContainerInspect, SystemEvents.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from agent.model import COMPOSE_PROJECT, ContainerEvent, ContainerFacts, ContainerState, Network

Object = Mapping[str, object]

_SYSTEM = ("/dev", "/etc", "/proc", "/run", "/sys", "/var/run")
"""Folders of the host that containers of all kinds mount (a socket, a time zone): sharing one ties nobody to anybody."""

_STATES = {state.value: state for state in ContainerState}

_ZERO_TIME = "0001-01-01"
"""How Docker writes "never"."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")
_EXIT_CODE = re.compile(r"^(?:Exited|Restarting) \((\d+)\)")
_HEALTH = re.compile(r"\((?:health: )?(starting|healthy|unhealthy)\)")
_AGE = re.compile(r"\b(Less than a|About a|About an|\d+) (second|minute|hour|day|week|month|year)s?\b")
_UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}


def from_list(row: Object) -> ContainerFacts:
    """Return the facts in one row of ContainerList. What only an inspect tells stays None, aliases stay empty."""
    status = _text(row.get("Status"))
    code = _EXIT_CODE.match(status)
    health = _HEALTH.search(status)
    return ContainerFacts(
        name=_own_name(row.get("Names")),
        id=_text(row.get("Id")),
        state=_state(row.get("State")),
        image=_text(row.get("Image")),
        image_id=_text(row.get("ImageID")),
        status=status,
        health=health[1] if health else None,
        labels=_pairs(row.get("Labels")),
        networks=_networks(_object(row.get("NetworkSettings")).get("Networks")),
        ports=_listed_ports(row.get("Ports")),
        network_of=_network_of(_object(row.get("HostConfig"))),
        volumes=_volumes(row.get("Mounts")),
        exit_code=int(code[1]) if code else None,
    )


def from_inspect(found: Object) -> ContainerFacts:
    """Return all facts of one ContainerInspect. `status` is empty: only the list has Docker's sentence."""
    state, config, host = (_object(found.get(key)) for key in ("State", "Config", "HostConfig"))
    network = _object(found.get("NetworkSettings"))
    health = _text(_object(state.get("Health")).get("Status"))
    word = _state(state.get("Status"))
    alive = word in (ContainerState.RUNNING, ContainerState.PAUSED)
    return ContainerFacts(
        name=_text(found.get("Name")).removeprefix("/"),
        id=_text(found.get("Id")),
        state=word,
        image=_text(config.get("Image")),
        image_id=_text(found.get("Image")),
        health=health if health and health != "none" else None,
        labels=_pairs(config.get("Labels")),
        networks=_networks(network.get("Networks")),
        ports=_inspected_ports(network.get("Ports")),
        network_of=_network_of(host),
        volumes=_volumes(found.get("Mounts")),
        exit_code=None if alive else _whole(state.get("ExitCode")),  # Docker says 0 of what has not exited
        oom_killed=state.get("OOMKilled") is True,
        network_mode=_text(host.get("NetworkMode")) or None,
        restart_count=_whole(found.get("RestartCount")),
        restart_policy=_text(_object(host.get("RestartPolicy")).get("Name")) or None,
        error=_text(state.get("Error")) or None,
        started_at=moment(state.get("StartedAt")),
        finished_at=moment(state.get("FinishedAt")),
        log_path=_text(found.get("LogPath")) or None,
        environment=_environment(config.get("Env")),
    )


def _environment(variables: object) -> str | None:
    if not isinstance(variables, list):
        return None
    return hashlib.sha256("\0".join(sorted(map(_text, variables))).encode(errors="replace")).hexdigest()[:4]


def joined(listed: ContainerFacts, inspected: ContainerFacts) -> ContainerFacts:
    """Return the inspected facts under the list's newer state, sentence, health, addresses and ports.

    A container that runs may have lost a child to the OOM killer since it was inspected: that stays unknown.
    """
    aliases = {network.name: network.aliases for network in inspected.networks}
    return replace(
        inspected,
        name=listed.name,
        state=listed.state,
        status=listed.status,
        health=listed.health,
        networks=tuple(replace(network, aliases=aliases.get(network.name, ())) for network in listed.networks),
        ports=listed.ports,
        oom_killed=None if listed.state is ContainerState.RUNNING else inspected.oom_killed,
    )


def attachments(row: Object) -> tuple[str, ...]:
    """Return the ids of a listed container's network endpoints: they change when it is connected anew."""
    networks = _object(_object(row.get("NetworkSettings")).get("Networks"))
    return tuple(sorted(_text(_object(network).get("EndpointID")) for network in networks.values()))


def least_age(status: str) -> timedelta:
    """Return how long ago, at least, the container last started or stopped, from Docker's sentence; 0 when it has no age.

    `Exited (137) 3 seconds ago` -> 3 s, `Up About a minute` -> 1 min, `Up 2 hours` -> 1.5 h (Docker rounds hours), `Created` -> 0.
    Source: github.com/docker/go-units, HumanDuration.
    """
    age = _AGE.search(status)
    if age is None or age[1] == "Less than a":
        return timedelta(0)
    count = 1.0 if age[1].startswith("About") else float(min(int(age[1]), 1000))
    return _UNITS[age[2]] * (count - 0.5 if age[2] == "hour" else count)


def moment(text: object) -> datetime | None:
    """Return Docker's time as aware UTC, cut to microseconds; None for its zero time and for anything else.

    `2026-03-01T03:00:00.123456789Z` is the shape; an offset instead of `Z` is accepted.
    """
    found = _TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[0].startswith(_ZERO_TIME):
        return None
    try:
        return datetime.fromisoformat(found[1] + (found[2] or "")[:7] + found[3]).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def event(said: Object) -> ContainerEvent | None:
    """Return one SystemEvents message as an event, None when it is not about a container or has no time."""
    actor = _object(said.get("Actor"))
    facts = _object(actor.get("Attributes"))
    nanoseconds = _whole(said.get("timeNano"))
    action = _text(said.get("Action"))
    if said.get("Type") != "container" or nanoseconds is None or not action:
        return None
    code = _text(facts.get("exitCode"))
    return ContainerEvent(
        container=_text(facts.get("name")) or _text(actor.get("ID")),
        action=action,
        at=datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC) + timedelta(microseconds=nanoseconds // 1_000 % 1_000_000),
        exit_code=int(code) if code.isascii() and code.isdigit() else None,
        signal=_text(facts.get("signal")) or None,
        project=_text(facts.get(COMPOSE_PROJECT)) or None,  # the engine copies a container's labels into its events
    )


def _state(word: object) -> ContainerState:
    # A word this version does not know must neither look well nor be healed as dead; "removing" is left alone by everyone.
    return _STATES.get(_text(word), ContainerState.REMOVING)


def _own_name(names: object) -> str:
    # The list also names legacy links, as `/other/alias`; the container's own name has no second slash.
    listed = [_text(name).removeprefix("/") for name in names] if isinstance(names, list) else []
    return next((name for name in listed if "/" not in name), "")


def _networks(networks: object) -> tuple[Network, ...]:
    found = []
    for name, said in sorted(_object(networks).items()):
        network = _object(said)
        aliases = network.get("Aliases")
        words = tuple(_text(alias) for alias in aliases) if isinstance(aliases, list) else ()
        found.append(Network(name=name, address=_text(network.get("IPAddress")), aliases=words))
    return tuple(found)


def _network_of(host: Object) -> str | None:
    return _text(host.get("NetworkMode")).partition("container:")[2] or None


def _volumes(mounts: object) -> tuple[str, ...]:
    """Return what the container may write of what outlives it: volumes by name, folders of the host by path."""
    found = set()
    for said in mounts if isinstance(mounts, list) else ():
        mount = _object(said)
        name = _text(mount.get("Name")) if mount.get("Type") == "volume" else _text(mount.get("Source"))
        if name and mount.get("RW") is True and not name.startswith(_SYSTEM):
            found.add(name)
    return tuple(sorted(found))


def _listed_ports(ports: object) -> tuple[tuple[int, int], ...]:
    # Docker lists a port once per address family (0.0.0.0 and ::).
    rows = [_object(port) for port in ports] if isinstance(ports, list) else []
    pairs = {(_whole(row.get("PrivatePort")), _whole(row.get("PublicPort"))) for row in rows}
    return tuple(sorted((inside, outside) for inside, outside in pairs if inside and outside))


def _inspected_ports(ports: object) -> tuple[tuple[int, int], ...]:
    pairs = set()
    for key, bindings in _object(ports).items():
        inside = key.partition("/")[0]
        for binding in bindings if isinstance(bindings, list) else ():
            outside = _text(_object(binding).get("HostPort"))
            if inside.isdigit() and outside.isdigit():
                pairs.add((int(inside), int(outside)))
    return tuple(sorted(pairs))


def _pairs(labels: object) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, _text(value)) for name, value in _object(labels).items()))


def _object(said: object) -> Object:
    return said if isinstance(said, Mapping) else {}


def _text(said: object) -> str:
    return said if isinstance(said, str) else ""


def _whole(said: object) -> int | None:
    return said if isinstance(said, int) and not isinstance(said, bool) else None
