"""Closing an incident: by `heal` when its attempt healed, by `sweep` when the service is steadily WELL again, by a person.

One place, so that the state, the service's record, the story and the notice always move together and in this order. Safe to
repeat: the compare-and-set on the incident's state decides, everything after it has a natural key.
"""

from agent import notices, shadow
from agent.model import Closing, HoldCode, Incident, IncidentState, Origin, Recorded, StoryKind
from agent.ports import Clock, Store, World

_KIND = {
    Closing.HEALED: StoryKind.HEALED,
    Closing.RECOVERED: StoryKind.RECOVERED,
    Closing.BY_PERSON: StoryKind.CLOSED,
    Closing.CARRIED_OUT: StoryKind.CLOSED,
}


def recovered(incident: Incident, world: World) -> None:
    """Close an incident whose service is well without Medic's doing, and keep what others did where Medic only watched."""
    store = world.store
    service, now = store.services.service(incident.service), world.clock.now()
    shadow.ended(incident, service, containers=world.containers, files=world.files, store=store, now=now)
    close(incident, Closing.RECOVERED, by="medic", store=store, channels=world.channels, clock=world.clock)


def close(
    incident: Incident,
    how: Closing,
    *,
    by: str,
    store: Store,
    channels: tuple[str, ...],
    clock: Clock,
    in_stack: str = "",
) -> bool:
    """Close one incident. Returns False if it was closed already (the story and the notice are made sure of all the same).

    in_stack: what the heal changed of what Pulumi owns, and what keeps it; told where the end is told.
    """
    now = clock.now()
    moved = store.incidents.close(incident.id, how, by=by, now=now)
    record = store.services.record(incident.service)
    if record is not None and record.status is Recorded.ERROR and incident.origin is Origin.HEARTBEAT:
        store.services.set_status(incident.service, Recorded.RUNNING, by="medic", diagnostic="", now=now)
    if how in (Closing.HEALED, Closing.RECOVERED):
        # It was seen steadily well: a streak from before would make it sick again at the next look.
        store.services.keep_streaks(incident.service, ())
    text = f"{how.value} after {(now - incident.opened_at).total_seconds():.1f} s" + (
        f", by {by}" if how is Closing.BY_PERSON else ""
    )
    text += f"; {in_stack}" if in_stack else ""
    store.story.tell(incident.id, incident.service, _KIND[how], text, now=now, key="closed")
    # Nobody was told that a person's own run began; where a host of a fleet went, all are told what that changed.
    if (incident.origin is Origin.HEARTBEAT and not _untold(incident)) or in_stack:
        store.outbox.post(notices.resolved(incident, how, now=now, in_stack=in_stack), channels)
    return moved


def _untold(incident: Incident) -> bool:
    """Say whether it began and ended inside a maintenance, of which nobody was told either."""
    held = incident.state is IncidentState.HELD and incident.round == 1
    return held and not incident.attempts and incident.hold is not None and incident.hold.code is HoldCode.MAINTENANCE
