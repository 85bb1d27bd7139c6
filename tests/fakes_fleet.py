"""A fleet in a make-believe cloud: a group that starts and ends hosts, a queue, a balancer and a bucket, on a fake clock.

Beside the real one (agent/adapters/aws_*.py on moto, tests/infra/test_aws_adapters.py), never in its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from agent.errors import OutsideError
from agent.model import FleetEvent, FleetSize, GpuUse, HostName, Member, Mode, Received, ReplacementLimits
from agent.ports import Clock, Fleet

GROUP, DRAIN = "g", "drain"


def member(instance: str, state: str = "InService", **more: object) -> Member:
    spot = {"group": GROUP, "address": "10.0.0.1", "kind": "g5.xlarge", "zone": "a", "spot": True, **more}
    return Member(instance=instance, state=state, **spot)  # type: ignore[arg-type]


@dataclass
class FakeCloud:
    """Implements every port of a fleet. `done` is what was done to it, in order, with the seconds since it was made."""

    clock: Clock
    here: dict[str, Member] = field(default_factory=dict)
    wanted: int = 2
    base: int = 1
    smallest: int = 1
    busy: dict[str, float] = field(default_factory=dict)
    """The use of each host's busiest card, in percent; who is not named sends no figures."""
    comes: bool = True
    """Whether a replacement comes when a host goes; it warms up until `warm` is called."""
    queue: list[Received] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    done: list[tuple[float, str]] = field(default_factory=list)
    away: set[str] = field(default_factory=set)
    """Names of calls that do not work now."""
    served_until: datetime | None = None
    """When the requests of a host that left the balancer end."""
    stop_takes: timedelta = timedelta(seconds=2)
    on_stop: Callable[[str], None] = lambda _name: None

    def __post_init__(self) -> None:
        self._began = self.clock.now()
        for each in ("i-1", "i-2"):
            self.here.setdefault(each, member(each))

    def _do(self, call: str, what: str = "") -> None:
        if call in self.away:
            raise OutsideError(f"cannot {call}: the cloud is away", transient=True)
        if what:
            self.done.append((round((self.clock.now() - self._began).total_seconds()), what))

    # groups

    def members(self) -> tuple[Member, ...]:
        self._do("members")
        return tuple(self.here[each] for each in sorted(self.here))

    def size(self, group: str = "") -> FleetSize:
        self._do("size")
        return FleetSize(wanted=self.wanted, largest=4, on_demand_base=self.base, on_demand_percent=0, smallest=self.smallest)

    def retire(self, instance: str) -> None:
        self._do("retire", f"retire {instance}")
        self.here[instance] = replace(self.here[instance], state="Terminating:Wait")
        self.wanted -= 1

    # meter

    def use(self, instances: Sequence[str], since: datetime, until: datetime) -> dict[str, GpuUse]:
        self._do("use")
        minutes = round((until - since).total_seconds() / 60)
        return {each: GpuUse(busiest=self.busy[each], minutes=minutes) for each in instances if each in self.busy}

    def replace(self, instance: str) -> None:
        self._do("replace", f"replace {instance}")
        self.here[instance] = replace(self.here[instance], state="Terminating:Wait")
        if self.comes:
            self.starts()

    def complete(self, group: str, hook: str, instance: str) -> bool:
        self._do("complete", f"complete {group} {hook} {instance}")
        waited = self.here.get(instance, member(instance)).state == "Terminating:Wait"
        if waited:
            del self.here[instance]
        return waited

    def raise_on_demand_base(self, to: int) -> None:
        self._do("raise", f"raise to {to}")
        self.base = to

    # events

    def receive(self, wait: timedelta) -> tuple[Received, ...]:
        self._do("receive")
        return tuple(self.queue)

    def delete(self, receipt: str) -> None:
        self.deleted.append(receipt)
        self.queue = [each for each in self.queue if each.receipt != receipt]

    # balancer

    def leave(self, instance: str) -> None:
        self._do("leave", f"leave {instance}")

    def serves(self, instance: str) -> bool:
        self._do("serves")
        return self.served_until is not None and self.clock.now() < self.served_until

    # bucket, containers

    def keep(self, name: str, content: bytes) -> str:
        self._do("keep", "keep")
        self.kept[name] = content
        return f"s3://bucket/crash/{name}"

    def stop(self, host: HostName, container: str, grace: timedelta) -> None:
        self._do("stop", f"stop {container} within {grace.total_seconds():.0f} s")
        self.clock.sleep(min(self.stop_takes, grace))
        self.on_stop(container)

    # story words

    def starts(self) -> None:
        """A host begins to warm up."""
        name = f"i-{len(self.here) + 10}"
        self.here[name] = member(name, "Pending:Wait")

    def warm(self) -> None:
        """Every host that warms up is warm now."""
        self.here = {name: replace(each, state="InService") if each.coming else each for name, each in self.here.items()}

    def says(self, *events: FleetEvent) -> str:
        """Put one message into the queue; return its receipt."""
        receipt = f"r{len(self.queue) + len(self.deleted)}"
        self.queue.append(Received(receipt=receipt, events=events))
        return receipt

    def fleet(
        self,
        *,
        balanced: bool = True,
        on_drought: Mode = Mode.ASK,
        daily: str = "100",
        replacements: ReplacementLimits | None = None,
    ) -> Fleet:
        return Fleet(
            groups=self,
            events=self,
            balancer=self if balanced else None,
            last_words=self,
            stopper=self,
            drain_hook=DRAIN,
            warm_up=timedelta(minutes=15),
            on_drought=on_drought,
            daily_usd=Decimal(daily),
            price=lambda kind: Decimal("1.006") if kind == "g5.xlarge" else None,
            priced_on="2026-11-01",
            stack="medic-prod",
            meter=self,
            replacements=replacements or ReplacementLimits(),
        )
