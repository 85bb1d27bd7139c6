"""What the demo breaks, one case per service, and how each should end."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

from tests.lab import faults
from tests.lab.stage import Stage


class Expected(enum.Enum):
    """How a case should end."""

    HEALED = "healed"
    ESCALATED = "escalated"
    LEFT_ALONE = "left alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One service, what is done to it, and how that should end.

    slow: the next case does not wait for its end. The others follow one another: a service that breaks while a neighbour is
    being mended would look like harm done by the mending, and Medic would say so.
    """

    service: str
    what: str
    fault: Callable[[Stage, str], None]
    expected: Expected
    slow: bool = False


CASES = (
    Case(
        service="billing",
        what="wrong declared setting",
        fault=faults.deploy_a_mistake,
        expected=Expected.ESCALATED,
    ),
    Case(service="reports", what="stopped by a person", fault=faults.stop_on_purpose, expected=Expected.LEFT_ALONE, slow=True),
    Case(service="shop", what="crash", fault=faults.crash, expected=Expected.HEALED),
    Case(service="search", what="hang without HEALTHCHECK", fault=faults.hang, expected=Expected.HEALED),
    Case(service="embed", what="killed for memory", fault=faults.exhaust_memory, expected=Expected.HEALED),
    Case(service="api", what="stale address in nginx", fault=faults.strand_nginx, expected=Expected.HEALED),
)

BYSTANDERS = ("cache", "web")
"""Nothing is done to these, and nothing may happen to them."""
