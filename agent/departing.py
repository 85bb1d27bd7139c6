"""Hosts that the cloud takes back: events in, one departure a host; a drain started; afterwards a replacement seen warm.

`hear` turns messages into rows, however often and in whatever order they come. `follow_up` looks at every row that is not over:
starts the drain that a crash or a halt kept from starting, closes what was replaced, and where nothing came raises the
on-demand base or asks people. Both only read the store and the group, so that they may be repeated at any time.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent import audit, closing, drift, gate, idle, look, money, notices
from agent.errors import OutsideError
from agent.model import (
    AuditKind,
    Closing,
    Departure,
    DepartureStage,
    FleetSize,
    Health,
    HoldCode,
    HostName,
    Incident,
    IncidentState,
    Judgement,
    Member,
    Mode,
    Outcome,
    Plane,
    Receipt,
    Received,
    Refusal,
    RefusalCode,
    Service,
    ServiceName,
    Spending,
    SpendingKind,
    Stay,
    StoryKind,
    Symptom,
    Verdict,
)
from agent.policy import spot
from agent.policy import streaks as streak_rules
from agent.ports import Fleet, Workflows, World
from agent.steps import escalate

logger = logging.getLogger(__name__)

PREFIX = "spot:"
"""Incidents about a host that goes are kept under this prefix: one a host."""
LISTEN = timedelta(seconds=5)
"""One long poll of the queue: short enough for a daemon that is told to stop."""
SYNC_EVERY = timedelta(seconds=15)
IDLE_EVERY = timedelta(minutes=5)
"""Between two looks at who has nothing to do: one call of the cloud for the whole fleet."""
NOTE_EVERY = timedelta(minutes=1)
"""How often it is written down who is there: a host that goes is missing by no more from what it cost."""
HOURS = 24
"""For so long the price of one more on-demand host is reserved."""


def hear(received: Received, members: Mapping[str, Member], world: World, workflows: Workflows, fleet: Fleet) -> bool:
    """Take one message in. Return whether it may be deleted: nothing that it tells is still to be done.

    One that makes no sense is left: the queue hands it to the dead letters in the end, whose alarm calls people.
    """
    if received.why:
        logger.warning("cannot read an event of the fleet", extra={"cause": received.why})
        return False
    for event in received.events:
        going, changed = world.store.departures.change(
            event.instance,
            lambda known, event=event: spot.heard(
                known, event, members.get(event.instance), fleet.drain_hook, world.clock.now()
            ),  # type: ignore[misc]  # the default binds it
        )
        if going is not None and changed:
            logger.info(
                "a host is on its way out", extra={"instance": going.instance, "stage": going.stage.value, "why": going.why}
            )
        if going is not None and going.stage is DepartureStage.DOOMED:
            begin(going, world, workflows)
    return not any(_still_to_do(event.instance, world) for event in received.events)


def _still_to_do(instance: str, world: World) -> bool:
    return any(each.instance == instance and each.stage is DepartureStage.DOOMED for each in world.store.departures.standing())


def begin(going: Departure, world: World, workflows: Workflows) -> None:
    """Open the incident of a doomed host and start its drain; done twice, it is done once."""
    if going.attempt is not None:  # people gave it up before the cloud spoke of it: it has its incident
        _start(going, world, workflows)
        return
    now, name = world.clock.now(), ServiceName(f"{PREFIX}{going.instance}")
    verdict = _verdict(going, name, going.doomed_at or now)
    about = Service(name=name, host=HostName(going.host), container="", checks=(), origin="medic")
    incident, _ = world.store.incidents.open(
        about, verdict, fingerprint=streak_rules.fingerprint(name, verdict.symptoms), now=now
    )
    world.store.departures.change(going.instance, lambda known: known and replace(known, incident=incident.id))
    text = "; ".join(verdict.reasons)
    world.store.story.tell(incident.id, name, StoryKind.SEEN, text, now=now, key="seen")
    world.store.outbox.post(notices.opened(incident, now=now), world.channels)
    if incident.state is IncidentState.OPEN:
        workflows.start(incident.id, incident.round)


def _verdict(going: Departure, name: ServiceName, now: datetime) -> Verdict:
    end = "ends soon" if going.deadline is None else f"ends at {going.deadline:%H:%M:%S} UTC"
    bought = "spot" if going.spot else "on-demand"
    detail = f"{bought} host {going.instance} ({going.kind}) {end}: {going.why}"
    symptom = Symptom(word="host-doomed", plane=Plane.CONTAINER, detail=detail)
    judgement = Judgement(check="fleet", plane=Plane.CONTAINER, health=Health.SICK, detail=detail, symptoms=(symptom,))
    return Verdict(service=name, health=Health.SICK, at=now, judgements=(judgement,))


def follow_up(members: Sequence[Member], world: World, workflows: Workflows, fleet: Fleet) -> None:
    """Take every departure that is not over one step further. members: of every group, as seen just now."""
    for going in world.store.departures.standing():
        match going.stage:
            case DepartureStage.AT_RISK:
                if all(each.instance != going.instance for each in members):
                    _over(going, world)
            case DepartureStage.DOOMED:
                _start(going, world, workflows)
            case DepartureStage.DRAINED | DepartureStage.ASKED:
                _look_for_replacement(going, members, world, fleet)
            case DepartureStage.OVER:
                pass


def _start(going: Departure, world: World, workflows: Workflows) -> None:
    incident = None if going.incident is None else world.store.incidents.get(going.incident)
    if incident is None:
        begin(going, world, workflows)
    elif incident.state is IncidentState.HELD and _may_go_on(incident, world):
        if world.store.incidents.next_round(incident.id, expected=incident.round):
            workflows.start(incident.id, incident.round + 1)
    elif incident.state in (IncidentState.CLOSED, IncidentState.ESCALATED):
        _over(going, world)


def _may_go_on(incident: Incident, world: World) -> bool:
    code = None if incident.hold is None else incident.hold.code
    match code:
        case HoldCode.HALTED:
            return gate.of(world).halted() is None
        case HoldCode.OBSERVING:
            return not world.permissions.only_watches
        case HoldCode.DRY_RUN:
            return not world.permissions.dry_run
        case HoldCode.HOST_DOOMED:  # given up a moment ago, and its drain has not begun
            return True
        case _:
            return False


def _look_for_replacement(going: Departure, members: Sequence[Member], world: World, fleet: Fleet) -> None:
    incident = None if going.incident is None else world.store.incidents.get(going.incident)
    if incident is None or incident.state is IncidentState.CLOSED:
        _over(going, world)
        return
    if going.wanted is None:
        going = _sized(going, world, fleet)
    late = going.stage is DepartureStage.DRAINED and spot.overdue(going, fleet.warm_up, world.clock.now())
    if spot.is_replaced(going, members):
        seen = () if going.attempt is None else _seen_well(going, members, world, fleet)
        if not isinstance(seen, str):
            _replaced(going, incident, members, seen, world, fleet)
        elif late:
            _ask(going, incident, f"the group says that {going.instance} is replaced, but {seen}", world)
        return
    if late and going.retired:
        _ask(going, incident, f"{going.instance} was drained to be retired, and its group still has it", world)
    elif late:
        _help_out(going, incident, world, fleet)
    elif _is_vain(going, incident, world, fleet):
        _ask(going, incident, "the on-demand base was raised, and still no host became warm", world)


def _seen_well(going: Departure, members: Sequence[Member], world: World, fleet: Fleet) -> tuple[Verdict, ...] | str:
    """Return what Medic itself saw of the hosts that came, all of it well; or why the host does not count as replaced yet.

    The group's word that a host is in service is no proof to whoever gave the old one up: the balancer must be done with that,
    and every service of the new ones be known and well.
    """
    if fleet.balancer is not None:
        try:
            if fleet.balancer.serves(going.instance):
                return f"the balancer still has requests with {going.instance}"
        except OutsideError as exc:
            return str(exc)
    seen: list[Verdict] = []
    for member in spot.came(going, members):
        services = [each for each in world.store.services.services() if each.host == member.instance]
        if not services:
            return f"Medic knows no service of {member.instance} that it could look at"
        for service in services:
            verdict = look.steadily(service, world.prober, world.clock)
            if verdict.health is not Health.WELL:
                return f"{service.name} on {member.instance} is {verdict.health.value}: {'; '.join(verdict.reasons)}"
            seen.append(verdict)
    return tuple(seen)


def _replaced(
    going: Departure,
    incident: Incident,
    members: Sequence[Member],
    seen: Sequence[Verdict],
    world: World,
    fleet: Fleet,
) -> None:
    """Close the incident of a host whose group serves without it, by what was seen."""
    warm = [each.instance for each in spot.warm(going, members)]
    looked = f"; seen well: {', '.join(each.service for each in seen)}" if seen else ""
    text = f"{len(warm)} of {going.wanted} hosts are warm: {', '.join(warm)}{looked}"
    if going.retired:
        text = f"{going.instance} is gone, and its group is one smaller: {', '.join(warm)} serve"
    now = world.clock.now()
    world.store.story.tell(incident.id, incident.service, StoryKind.SEEN_AGAIN, text, now=now, key="replaced")
    if going.attempt is not None:
        verdict = next(iter(seen), None)
        receipt = _receipt(going, incident, seen)
        world.store.attempts.end(incident.id, going.attempt, Outcome.HEALED, verdict, now=now, receipt=receipt)
    how = Closing.HEALED if incident.requested is None else Closing.CARRIED_OUT
    in_stack = _in_stack(going, fleet)
    closing.close(incident, how, by="medic", store=world.store, channels=world.channels, clock=world.clock, in_stack=in_stack)
    _over(going, world)


def _in_stack(going: Departure, fleet: Fleet) -> str:
    """Return what this departure changed of what Pulumi owns, and the commands that keep it or put it back."""
    if going.retired:
        least = drift.change(fleet.stack, "min_size", (going.wanted or 0) + 1)
        return f"Pulumi has nothing to keep: how large the group is belongs to the autoscaler; {least} keep that many at least"
    if going.raised_to is None:
        return "Pulumi has nothing to keep: the group replaced the host, and no setting of the stack names a single one"
    return f"Medic set the on-demand base to {going.raised_to}: {drift.keep(fleet.stack, 'on_demand_base', going.raised_to)}"


def _receipt(going: Departure, incident: Incident, seen: Sequence[Verdict]) -> Receipt | None:
    """Return the receipt of a replacement: the checks that failed on the host that went, well on the one that came.

    None where the new host is asked other questions, or nothing was sick: then nothing is shown by them.
    """
    attempt = next((each for each in incident.attempts if each.number == going.attempt), None)
    if attempt is None or going.drained_at is None or not seen:
        return None
    receipt = Receipt(
        incident=incident.id,
        attempt=attempt.number,
        runbook=attempt.plan.runbook,
        runbook_hash=attempt.plan.runbook_hash,
        opened_by=incident.first,
        before=incident.first,
        ran_until=going.drained_at,
        settle=attempt.plan.settle,
        looks_needed=1,
        looks_made=len(seen),
        looks=tuple(seen),
    )
    return None if audit.objections(receipt) else receipt


def _sized(going: Departure, world: World, fleet: Fleet) -> Departure:
    """Return the row with how large the group is to be, where it says so now: without it nothing counts as replaced."""
    try:
        wanted = fleet.groups.size(going.group).wanted
    except OutsideError as exc:
        logger.debug("cannot tell how large the fleet is to be", extra={"cause": str(exc)})
        return going
    found, _ = world.store.departures.change(going.instance, lambda known: known and replace(known, wanted=wanted))
    return found or going


def _is_vain(going: Departure, incident: Incident, world: World, fleet: Fleet) -> bool:
    """Say whether the raised base brought no host either, and people do not know yet."""
    told = incident.state is IncidentState.ESCALATED
    return not told and going.raised_at is not None and world.clock.now() - going.raised_at > fleet.warm_up


def _help_out(going: Departure, incident: Incident, world: World, fleet: Fleet) -> None:
    """Spot brings no replacement: raise the on-demand base within the day's money, or ask people."""
    late = f"no replacement of {going.instance} was warm within {fleet.warm_up.total_seconds() / 60:.0f} min"
    try:
        size = fleet.groups.size()
    except OutsideError as exc:
        _ask(going, incident, f"{late}, and the group does not answer: {exc}", world)
        return
    to = spot.raised_base(size)
    if to is None:
        _ask(going, incident, f"{late}, and every host of the group is on-demand already", world)
        return
    why_not = _why_not_raise(going, incident, to, world, fleet)
    if why_not is not None:
        _ask(going, incident, f"{late}; {why_not}", world)
        return
    _raise_base(going, incident, size, to, world, fleet)


def _why_not_raise(going: Departure, incident: Incident, to: int, world: World, fleet: Fleet) -> str | None:
    """Return why Medic does not raise the base by itself; None once the money for it is reserved."""
    price = fleet.price(going.kind)
    costs = "at a price that nobody knows" if price is None else f"up to {price * HOURS:.2f} USD a day"
    setting = drift.change(fleet.stack, "on_demand_base", to)
    if fleet.on_drought is not Mode.ACT:
        return f"one more on-demand host ({costs}) asks first: {setting} bring it, or on_drought: act"
    halted = gate.of(world).halted()
    if halted is not None:
        return f"people said stop ({halted}): {setting} would bring one ({costs})"
    if price is None:
        return f"{going.kind} has no price in the price file, so the day's money cannot be kept to; {setting} would bring one"
    now = world.clock.now()
    bought = Spending(
        key=f"{incident.id} on-demand base {to}",
        kind=SpendingKind.CLOUD,
        what=going.kind,
        at=now,
        amount=price * HOURS,
        incident=incident.id,
    )
    return world.store.spending.reserve(bought, now - money.DAY, lambda spent: money.no_room(spent, bought, fleet.daily_usd))


def _raise_base(going: Departure, incident: Incident, size: FleetSize, to: int, world: World, fleet: Fleet) -> None:
    now = world.clock.now()
    world.store.audit.append(audit.of_drain(AuditKind.STARTED, incident.id, raised_to=to, before=size.on_demand_base))
    try:
        fleet.groups.raise_on_demand_base(to)
    except OutsideError as exc:
        _ask(going, incident, str(exc), world)
        return
    text = f"raised the on-demand base from {size.on_demand_base} to {to}: {drift.keep(fleet.stack, 'on_demand_base', to)}"
    world.store.story.tell(incident.id, incident.service, StoryKind.TRIED, text, now=now, key="raised")
    world.store.departures.change(
        going.instance, lambda known: known and replace(known, stage=DepartureStage.ASKED, raised_at=now, raised_to=to)
    )


def _ask(going: Departure, incident: Incident, because: str, world: World) -> None:
    if going.attempt is not None:
        # The first writer wins: a host that comes later still closes the incident, but healed nothing.
        world.store.attempts.end(incident.id, going.attempt, Outcome.INEFFECTIVE, None, now=world.clock.now())
    escalate.hand_over(
        incident,
        None,
        Refusal(code=RefusalCode.NO_REPLACEMENT, because=because),
        store=world.store,
        bundles=world.bundles,
        reports=world.reports,
        channels=world.channels,
        clock=world.clock,
    )
    world.store.departures.change(going.instance, lambda known: known and replace(known, stage=DepartureStage.ASKED))


def _over(going: Departure, world: World) -> None:
    now = world.clock.now()
    world.store.departures.change(
        going.instance, lambda known: known and replace(known, stage=DepartureStage.OVER, ended_at=now)
    )


def stays(members: Sequence[Member], now: datetime) -> tuple[Stay, ...]:
    """Return who is there now, as it is kept for what they cost."""
    return tuple(
        Stay(
            instance=each.instance,
            group=each.group,
            kind=each.kind,
            zone=each.zone,
            spot=each.spot,
            began_at=min(each.launched_at or now, now),
            seen_at=now,
        )
        for each in members
    )


class FleetWatch:
    """What one daemon remembers of its fleet between two looks: messages that wait for their drain, and who was there.

    sync: reads who is there; returns the members and whether hosts or services differ from those that this daemon was built with.
    """

    def __init__(
        self, fleet: Fleet, world: World, workflows: Workflows, sync: Callable[[], tuple[Sequence[Member], bool]]
    ) -> None:
        self._fleet, self._world, self._workflows, self._sync = fleet, world, workflows, sync
        self._members: Sequence[Member] = ()
        self._synced: float | None = None
        self._noted: float | None = None
        self._looked_idle: float | None = None
        self._changed = False
        self._kept: dict[str, Received] = {}

    def attend(self) -> bool:
        """Listen once, and take everything one step further; return whether the fleet is another now. Raises OutsideError."""
        if self._synced is None or self._world.clock.monotonic() - self._synced >= SYNC_EVERY.total_seconds():
            self._look()
        received = self._fleet.events.receive(LISTEN)
        if received:
            self._look()  # a host that came a moment ago may be spoken of
        here = {each.instance: each for each in self._members}
        for each in received:
            if hear(each, here, self._world, self._workflows, self._fleet):
                self._fleet.events.delete(each.receipt)
            elif not each.why:
                self._kept[each.receipt] = each
        for receipt, each in list(self._kept.items()):
            if not any(_still_to_do(event.instance, self._world) for event in each.events):
                self._fleet.events.delete(receipt)
                del self._kept[receipt]
        if any(each.drained_at is not None for each in self._world.store.departures.standing()):
            self._look()  # what is called warm must be so now
        follow_up(self._members, self._world, self._workflows, self._fleet)
        now = self._world.clock.monotonic()
        if self._looked_idle is None or now - self._looked_idle >= IDLE_EVERY.total_seconds():
            self._looked_idle = now
            idle.ask(self._members, self._world, self._workflows, self._fleet)
        return self._changed

    def _look(self) -> None:
        before = {each.instance for each in self._members}
        self._members, self._changed = self._sync()
        self._synced = self._world.clock.monotonic()
        is_due = self._noted is None or self._synced - self._noted >= NOTE_EVERY.total_seconds()
        if is_due or before != {each.instance for each in self._members}:
            self._world.store.stays.note(stays(self._members, self._world.clock.now()))
            self._noted = self._synced
