"""What a stack in the cloud is like now, as far as its settings and its program say what it should be: for `agent/drift.py`."""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """It could not be looked at. why: the sentence of the error."""

    why: str


Look: TypeAlias = T | Unseen | None
"""What one look brought: a fact, that nothing is there (None), or why nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFacts:
    """One Auto Scaling group. Sizes are hosts; the on-demand figures and what follows are of a mixed group, else empty."""

    smallest: int
    largest: int
    wanted: int
    kinds: tuple[str, ...]
    """Instance types that it may start."""
    on_demand_base: int
    on_demand_percent: int
    spot_strategy: str
    spot_price_cap: str
    rebalances: bool
    suspended: tuple[str, ...]
    """Processes that somebody suspended."""
    version: str
    """Of the launch template that it starts hosts from."""
    set_aside: tuple[str, ...]
    """Hosts on standby: they count and do not serve."""
    other_version: tuple[str, ...]
    """Hosts that were started from another version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFacts:
    """One lifecycle hook. otherwise: what becomes of a host that nobody speaks for in time, CONTINUE or ABANDON."""

    name: str
    transition: str
    seconds: int
    otherwise: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFacts:
    """The version of the launch template that the group uses. newest: the last there is."""

    newest: str
    ami_id: str
    tokens: str
    """`required`: only IMDSv2 is answered."""
    hops: int
    encrypted: bool
    volume_gib: int
    doors: tuple[str, ...]
    """Security groups of its hosts."""
    image: str | None
    """The inference server that its user data starts; None where they are not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One rule of a security group. peer: a security group, a network or a prefix list. ports: None for all."""

    id: str
    inwards: bool
    protocol: str
    ports: tuple[int, int] | None
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveStack:
    """Everything that was looked at, each by itself: what one role may not read leaves the rest."""

    group: Look[GroupFacts]
    burst: Look[GroupFacts]
    """None also where the stack has no burst group."""
    hooks: Look[tuple[HookFacts, ...]]
    template: Look[TemplateFacts]
    host_doors: Look[tuple[Door, ...]]
    agent_doors: Look[tuple[Door, ...]]
    versioning: Look[str]
    encryption: Look[str]
    closed_to_public: Look[bool]
    old_versions_end: Look[bool]
    """Whether the bucket's rule that ends old versions of models is in force."""
