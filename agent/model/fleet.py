"""A fleet of hosts in the cloud that come and go, and what is known of one that is about to go."""

import enum
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from agent.model.health import IncidentId


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One host of a fleet, as its group knows it."""

    instance: str
    group: str
    address: str
    """Inside the network; empty while it has none."""
    kind: str
    """Its type, such as g5.xlarge."""
    zone: str
    spot: bool
    state: str
    """The group's word: `Pending:Wait`, `InService`, `Terminating:Wait` ..."""
    healthy: bool = True
    launched_at: datetime | None = None
    """When the cloud started it, and its bill; None where the cloud does not say."""

    @property
    def in_service(self) -> bool:
        """True once the launch hook let it in: its model answered."""
        return self.state == "InService" and self.healthy

    @property
    def coming(self) -> bool:
        """True while it warms up."""
        return self.state.startswith("Pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One host's time in the fleet, as far as Medic saw it. Key: instance."""

    instance: str
    group: str
    kind: str
    zone: str
    spot: bool
    began_at: datetime
    """When the cloud started it, or when it was first seen."""
    seen_at: datetime
    """When it was last seen."""

    def with_(self, other: "Stay") -> "Stay":
        """Return this stay, lengthened by what was seen of the same host another time."""
        return replace(self, began_at=min(self.began_at, other.began_at), seen_at=max(self.seen_at, other.seen_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotPrice:
    """What one hour of a type costs in one zone from a moment on, until the next price. usd: US dollars."""

    kind: str
    zone: str
    at: datetime
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSize:
    """How large the spot group is to be, in hosts. on_demand_base: so many are on-demand before any is spot."""

    wanted: int
    largest: int
    on_demand_base: int
    on_demand_percent: int
    smallest: int = 0
    """It may not become smaller."""


class FleetAct(enum.Enum):
    """What an approved runbook does to a host of a fleet in place of a playbook."""

    REPLACE = "replace"
    """It is drained; the group ends it and starts another."""
    RETIRE = "retire"
    """It is drained; the group ends it and becomes one smaller. Never without a person's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What the cards of one host did within a time. busiest: the highest minute of its busiest card, in percent; None: not told."""

    busiest: float | None
    minutes: int
    """Of how many minutes there is a figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleRule:
    """From when on a host counts as idle: no card of it used for `under` percent or more, in any minute of `within`."""

    under: float = 5.0
    within: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Berth:
    """Where one host stands in its fleet at this moment, and what it costs: what a decision about it rests on."""

    member: Member
    others: tuple[Member, ...]
    """The other hosts of its group that are in service."""
    sick: tuple[str, ...]
    """Those of them with a service that Medic does not see well."""
    size: FleetSize
    price: Decimal | None
    """US dollars an hour, on demand; None where the price file does not have its type."""
    priced_on: str
    """The day the price file was written."""
    warm_up: timedelta
    """How long a new host may take until it serves."""
    replaced: tuple["Departure", ...] = ()
    """Hosts of the group that Medic gave up inside `ReplacementLimits.within`, oldest first."""

    @property
    def well(self) -> tuple[Member, ...]:
        """The others that serve as far as Medic sees."""
        return tuple(each for each in self.others if each.instance not in self.sick)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementLimits:
    """From how many replacements on, within a time, another host would only meet the same end."""

    of_fleet: int = 4
    of_pool: int = 2
    """A pool is one instance type in one zone."""
    within: timedelta = timedelta(hours=24)


class FleetEventKind(enum.Enum):
    """What the cloud, or a host itself, says of a host."""

    INTERRUPTION = "interruption"
    """A spot host is taken back in two minutes."""
    REBALANCE = "rebalance"
    """A spot host is likely to be taken back."""
    TERMINATE_HOOK = "terminate-hook"
    """The group ends it and waits for us."""
    LAUNCH_HOOK = "launch-hook"
    """The group starts it and waits until it is warm."""
    STATE = "state"
    """It is shutting down, stopping or gone."""
    HEALTH = "health"
    """Work on its hardware is scheduled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetEvent:
    """One thing said of one host. at: when it was said. deadline: when the host ends, where that is known."""

    kind: FleetEventKind
    instance: str
    at: datetime
    action: str = ""
    """`terminate`, `stop`, `hibernate`; the state; or the code of the work."""
    deadline: datetime | None = None
    group: str = ""
    hook: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message of the queue. why: it makes no sense; then there are no events."""

    receipt: str
    events: tuple[FleetEvent, ...] = ()
    why: str = ""


class DepartureStage(enum.Enum):
    """How far a host is on its way out. It never goes back."""

    AT_RISK = "at-risk"
    DOOMED = "doomed"
    DRAINED = "drained"
    """It has been drained; its replacement is awaited."""
    ASKED = "asked"
    """No replacement came, and the on-demand base was raised or people were asked."""
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """One host on its way out: one row however many messages tell of it. Key: instance."""

    instance: str
    host: str
    group: str
    stage: DepartureStage
    why: str
    """The kinds of events that told of it, in the order they came, separated by `, `."""
    heard_at: datetime
    """When it was first heard of."""
    doomed_at: datetime | None = None
    deadline: datetime | None = None
    """When the host ends: the earliest that anybody named."""
    action: str = "terminate"
    spot: bool = True
    kind: str = ""
    hook: str = ""
    """The terminate hook in which it waits, once that is known."""
    incident: IncidentId | None = None
    drained_at: datetime | None = None
    wanted: int | None = None
    """Hosts that the group is to have: the replacement is there when so many are warm without this one. None: not known yet."""
    lost: tuple[str, ...] = ()
    """What the drain could not do, a sentence each."""
    raised_at: datetime | None = None
    raised_to: int | None = None
    """The on-demand base that Medic set; a setting of the stack, which `pulumi up` puts back unless it is set there too."""
    ended_at: datetime | None = None
    attempt: int | None = None
    """The attempt of `incident` that gave it up; None: the cloud takes it back."""
    after_round: int = 0
    """The round of `incident` in which it was given up: the rounds after it are those of its drain."""
    zone: str = ""
    before: tuple[str, ...] = ()
    """Who was in service when it was given up: whoever serves beside them afterwards is its replacement."""
    serves: bool = True
    """Whether it still answered somebody when it was given up."""
    retired: bool = False
    """Nobody comes in its place: the group becomes one smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """Until when each part of a drain may go on, cut to fit the time there is: moments, each not before the one above."""

    leave: datetime
    """The balancer must have been told."""
    finish: datetime
    """For requests to end."""
    stop: datetime
    """For containers to end after SIGTERM, all at once."""
    keep: datetime
    """For the host's last words."""
    complete: datetime
    """Everything is over, and the group is told."""
