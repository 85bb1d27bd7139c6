"""Names, and the closed sets of words for how things are."""

import enum
from typing import NewType

ServiceName = NewType("ServiceName", str)
HostName = NewType("HostName", str)
IncidentId = NewType("IncidentId", str)
RunbookId = NewType("RunbookId", str)

MEDIC = ServiceName("medic")
"""Incidents about Medic's own network are kept under this name; no service may have it."""


class Health(enum.Enum):
    """Three values. UNKNOWN means "could not look": it never starts a remedy."""

    WELL = "well"
    SICK = "sick"
    UNKNOWN = "unknown"


class Plane(enum.Enum):
    """Where a check looks from. The planes that disagree name what is broken before a log line is read."""

    HOST = "host"
    """The machine itself: disks, memory, clock, its Docker engine, files on it."""
    CONTAINER = "container"
    """What Docker says of the container: state, exit code, its own HEALTHCHECK."""
    DIRECT = "direct"
    """The container's own address, past published ports and proxies."""
    HOST_PORT = "host-port"
    """The published port on the host."""
    ENGINE = "engine"
    """Inside an inference engine: a real request that must return tokens."""
    NGINX = "nginx"
    """Through the reverse proxy, or what the proxy's configuration routes."""
    PUBLIC = "public"
    """The URL that users have."""


class ContainerState(enum.Enum):
    """Docker's own words for a container, plus MISSING for "the engine answered and has no such container"."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"
    MISSING = "missing"


class Mode(enum.Enum):
    """How far Medic may go by itself, from the most careful on. Where several are set, the most careful one holds."""

    OBSERVE = "observe"
    """Look, explain, write down what would be done."""
    SUGGEST = "suggest"
    """That, and tell people what would be done."""
    ASK = "ask"
    """That, and do it once a person has approved it."""
    ACT = "act"
    """Do it."""


class Recorded(enum.Enum):
    """The desired state of a service, kept in the store."""

    RUNNING = "running"
    """It should run. Dead while recorded so: it is started again."""
    STOPPED = "stopped"
    """A person stopped it on purpose. It is watched and left alone until a person starts it."""
    ERROR = "error"
    """It should run and Medic could not make it so. Its diagnostic says why; people own it now."""
