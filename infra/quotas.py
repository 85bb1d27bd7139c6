"""Whether an account may have what a stack asks for: settings, quotas and sizes in, one line a quota out. Pure.

New accounts may have no GPU at all: the first `pulumi up` then makes everything but hosts (docs/how-to/deploy.md).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infra.settings import FleetSettings

SPOT, ON_DEMAND = "spot", "on-demand"
CODES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("G", SPOT): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ("G", ON_DEMAND): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    ("P", SPOT): ("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
    ("P", ON_DEMAND): ("L-417A185B", "Running On-Demand P instances"),
}
"""EC2's quotas of GPU hosts, in vCPUs, by family and how a host is bought (Service Quotas, service `ec2`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One quota: what the largest fleet needs of it in vCPUs, were all its hosts of that family, and what is allowed."""

    code: str
    name: str
    needs: int
    allowed: float

    @property
    def enough(self) -> bool:
        """True where the whole fleet fits."""
        return self.needs <= self.allowed


def needs(settings: FleetSettings, vcpus: Mapping[str, int], allowed: Callable[[str], float]) -> tuple[Need, ...]:
    """Return every quota that the stack meets. vcpus: of each type. allowed: asks for one quota by its code."""
    spot = settings.spot_at_most
    hosts = {SPOT: spot, ON_DEMAND: settings.max_size - spot + settings.burst_max_size}
    found = []
    for family in dict.fromkeys(_family(each) for each in settings.instance_types):
        largest = max((vcpus.get(each, 0) for each in settings.instance_types if _family(each) == family), default=0)
        for bought, count in hosts.items():
            if count and (family, bought) in CODES:
                code, name = CODES[family, bought]
                found.append(Need(code=code, name=name, needs=count * largest, allowed=allowed(code)))
    return tuple(found)


def _family(kind: str) -> str:
    return "P" if kind.startswith("p") else "G"
