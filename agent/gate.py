"""The gate: the one thing that is asked before every change, and every 100 ms while one is made.

In: the kill switch, the lease, the stop flag. Out: a reason to change nothing, or the word that ends a playbook.
"""

from collections.abc import Callable
from dataclasses import dataclass

from agent.ports import KillSwitch, Lease, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Whether anything may be changed at this moment."""

    kill_switch: KillSwitch
    lease: Lease
    stopping: Callable[[], bool]

    def halted(self) -> str | None:
        """Return who said stop and why, or None. Raises LeaseLost where another Medic leads: then nothing is ours to decide."""
        self.lease.confirm()
        return self.kill_switch.halted()

    def should_stop(self) -> str | None:
        """Return the word that ends a playbook under way, or None."""
        if self.kill_switch.halted() is not None:
            return "halt"
        if self.stopping():
            return "stopping"
        return None if self.lease.held() else "lease"


def of(world: World) -> Gate:
    """Return the gate of one world."""
    return Gate(kill_switch=world.kill_switch, lease=world.lease, stopping=world.stopping)
