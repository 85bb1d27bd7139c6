"""Reads what `plan` needs to know of the past and of people's wishes: one `Standing` per decision.

In: the store, the kill switch, the kept copies. Out: a plain value, so that the rules of `agent/policy/` stay pure.
"""

from agent import parameters
from agent.model import IncidentId, Permissions, Service, Standing
from agent.ports import Clock, GoodCopies, KillSwitch, Store


def read(
    service: Service,
    incident: IncidentId,
    *,
    store: Store,
    kill_switch: KillSwitch,
    good_copies: GoodCopies,
    permissions: Permissions,
    clock: Clock,
) -> Standing:
    """Return where one service stands now."""
    now = clock.now()
    return Standing(
        now=now,
        halted=kill_switch.halted(),
        good_copy=parameters.good_copy(service, good_copies.latest(service.name)),
        heals_in_window=store.incidents.heals_since(service.name, now - service.limits.window),
        permissions=permissions,
        approvals=store.approvals.of(incident),
    )
