"""Whole departures: from what the cloud says of a host to a replacement that is seen warm, on fakes and a fake clock."""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import drain, heal
from agent.departing import FleetWatch
from agent.model import (
    AuditKind,
    Closing,
    DepartureStage,
    Ending,
    FleetEvent,
    FleetEventKind,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Mode,
    Permissions,
    Received,
    RefusalCode,
    Spending,
    SpendingKind,
)
from agent.ports import Engine, Fleet, World
from agent.sweep import Sweep
from infra.settings import BALANCER_DELAY
from tests.fakes_fleet import DRAIN, GROUP, FakeCloud, member
from tests.memory_engine import Crash
from tests.stories.world import Ward, service

HOST = HostName("i-1")


@dataclass
class Sky(Ward):
    """A ward whose hosts come from a cloud; container `web` runs on host i-1."""

    cloud: FakeCloud = None  # type: ignore[assignment]  # made from the ward's clock
    fleet: Fleet = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.cloud = FakeCloud(self.clock)
        self.fleet = self.cloud.fleet()
        super().__post_init__()

    def reboot(self) -> None:
        super().reboot()
        self.sweep = Sweep(self.world, self.engine, (HOST,), discover=True)
        self.watch = FleetWatch(self.fleet, self.world, self.engine, lambda: (self.cloud.members(), False))

    def _world(self) -> World:
        return replace(super()._world(), fleet=self.fleet)

    def allow(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.watch = FleetWatch(self.fleet, self.world, self.engine, lambda: (self.cloud.members(), False))

    def _body(self, incident: IncidentId, steps: Engine) -> Ending:
        if drain.is_due(incident, self.store):
            return drain.drain(incident, steps, self.world, self.fleet)
        return heal.heal(incident, steps, self.world)

    def hear(self, *kinds: FleetEventKind, **more: object) -> None:
        for kind in kinds:
            self.cloud.says(self.event(kind, **more))
        self.watch.attend()

    def event(self, kind: FleetEventKind, instance: str = "i-1", **more: object) -> FleetEvent:
        return FleetEvent(kind=kind, instance=instance, at=self.clock.now(), **more)  # type: ignore[arg-type]

    def later(self, span: timedelta) -> None:
        self.clock.move(span)
        self.watch.attend()

    @property
    def going(self) -> Incident:
        return self.incident("spot:i-1")

    @property
    def acts(self) -> list[str]:
        return [what for _, what in self.cloud.done]


@pytest.fixture
def sky(tmp_path: Path) -> Sky:
    return Sky(folder=tmp_path, services=(replace(service("web"), host=HOST),))


NOTICE, HINT, HOOK = FleetEventKind.INTERRUPTION, FleetEventKind.REBALANCE, FleetEventKind.TERMINATE_HOOK


def test_a_notice_is_drained_by_the_timetable_and_ends_healed_once_the_replacement_is_warm(sky: Sky) -> None:
    sky.cloud.served_until = sky.clock.now() + timedelta(seconds=7)

    sky.hear(NOTICE, action="terminate")

    assert sky.cloud.done == [
        (0, "leave i-1"),
        (0, "replace i-1"),
        (7, "stop web within 75 s"),
        (9, "keep"),
        (9, f"complete {GROUP} {DRAIN} i-1"),
    ]
    assert sky.going.state is IncidentState.HELD
    sky.later(timedelta(minutes=3))
    assert sky.going.state is IncidentState.HELD
    sky.cloud.warm()
    sky.later(timedelta(seconds=30))
    assert (sky.going.state, sky.going.closing) == (IncidentState.CLOSED, Closing.HEALED)
    assert sky.cloud.queue == []
    assert sky.store.departures.standing() == ()
    assert "Pulumi has nothing to keep" in _last_notice(sky)


def test_who_is_in_the_fleet_is_written_down_once_a_minute_for_what_it_costs(sky: Sky) -> None:
    sky.cloud.here["i-2"] = member("i-2", launched_at=sky.clock.now() - timedelta(hours=3), spot=False)
    sky.watch.attend()
    first = sky.clock.now()
    sky.later(timedelta(seconds=30))
    assert {each.seen_at for each in sky.store.stays.since(first)} == {first}
    sky.later(timedelta(seconds=30))
    del sky.cloud.here["i-1"]
    sky.later(timedelta(minutes=5))

    gone, here = sorted(sky.store.stays.since(first), key=lambda each: each.instance)
    assert (gone.began_at, gone.seen_at, gone.spot) == (first, first + timedelta(minutes=1), True)
    assert (here.began_at, here.seen_at) == (first - timedelta(hours=3), first + timedelta(minutes=6))


def test_a_hint_marks_the_host_and_touches_nothing(sky: Sky) -> None:
    sky.hear(HINT)

    (going,) = sky.store.departures.standing()
    assert going.stage is DepartureStage.AT_RISK
    assert sky.acts == []
    assert sky.incidents() == ()
    assert sky.cloud.queue == []


def test_a_host_at_risk_that_left_by_itself_is_forgotten(sky: Sky) -> None:
    sky.hear(HINT)
    del sky.cloud.here["i-1"]

    sky.later(timedelta(minutes=5))

    assert sky.store.departures.standing() == ()


@pytest.mark.parametrize("kinds", [(NOTICE, NOTICE, NOTICE), (HINT, NOTICE, HINT), (NOTICE, HINT, NOTICE)])
def test_however_often_and_in_whatever_order_it_is_said_there_is_one_incident_and_one_drain(
    sky: Sky, kinds: tuple[FleetEventKind, ...]
) -> None:
    sky.hear(*kinds)
    sky.hear(*kinds)

    assert len(sky.incidents()) == 1
    assert sky.acts.count("replace i-1") == sky.acts.count("stop web within 82 s") == 1
    assert sky.cloud.queue == []


def test_another_fleets_host_is_left_alone_and_its_message_goes(sky: Sky) -> None:
    sky.cloud.says(sky.event(NOTICE, instance="i-999"))
    sky.watch.attend()

    assert (sky.acts, sky.incidents(), sky.cloud.queue) == ([], (), [])


def test_a_message_that_makes_no_sense_is_left_for_the_dead_letters(sky: Sky) -> None:
    sky.cloud.queue.append(Received(receipt="odd", why="KeyError: source"))

    sky.watch.attend()

    assert [each.receipt for each in sky.cloud.queue] == ["odd"]


def test_a_notice_with_twenty_seconds_left_still_leaves_stops_and_completes_in_time(sky: Sky) -> None:
    sky.cloud.served_until = sky.clock.now() + timedelta(minutes=5)
    sky.cloud.stop_takes = timedelta(minutes=5)

    sky.hear(NOTICE, action="terminate", deadline=sky.clock.now() + timedelta(seconds=20))

    assert [what.split(" within")[0] for what in sky.acts] == [
        "leave i-1",
        "replace i-1",
        "stop web",
        "keep",
        f"complete {GROUP} {DRAIN} i-1",
    ]
    assert sky.cloud.done[-1][0] <= 10
    assert "the balancer had not let go of i-1 after" in _story(sky)


def test_a_balancer_that_shows_a_host_as_draining_for_all_of_its_delay_is_no_loss(sky: Sky) -> None:
    sky.cloud.served_until = sky.clock.now() + timedelta(seconds=BALANCER_DELAY)

    sky.hear(NOTICE, action="terminate")

    stopped_at = next(at for at, what in sky.cloud.done if what.startswith("stop web"))
    assert stopped_at < BALANCER_DELAY
    assert "the balancer had not let go of i-1 after 40 s; whether it had requests left is not known" in _story(sky)
    (going,) = sky.store.departures.standing()
    assert going.lost == ()
    assert "lost" not in _story(sky)


def test_a_notice_that_comes_too_late_completes_the_hook_and_says_what_was_lost(sky: Sky) -> None:
    sky.hear(NOTICE, action="terminate", deadline=sky.clock.now() - timedelta(seconds=5))

    assert sky.acts[-1] == f"complete {GROUP} {DRAIN} i-1"
    assert "there was no time to end the containers of i-1" in _story(sky)


def _last_notice(sky: Sky) -> str:
    return sky.store.outbox.due(sky.clock.now(), limit=100)[-1].notice.body


def _story(sky: Sky) -> str:
    return "\n".join(event.text for event in sky.store.story.since(0, incident=sky.going.id))


@pytest.mark.parametrize("away", ["leave", "members", "size", "serves", "stop", "keep", "complete"])
def test_what_does_not_work_is_said_and_keeps_nothing_else_waiting(sky: Sky, away: str) -> None:
    sky.cloud.says(sky.event(NOTICE, action="terminate"))
    sky.watch._look()
    sky.cloud.away = {away}
    if away == "members":
        sky.watch._sync = lambda: ((member("i-1"), member("i-2")), False)

    sky.watch.attend()

    assert sky.going.state is IncidentState.HELD
    if away != "complete":
        assert sky.acts[-1] == f"complete {GROUP} {DRAIN} i-1"
    if away not in ("serves", "size"):
        assert f"cannot {away}: the cloud is away" in _story(sky)


def test_a_late_completion_is_as_good(sky: Sky) -> None:
    sky.cloud.comes = False
    sky.cloud.here["i-1"] = member("i-1", "Terminating:Proceed")

    sky.hear(HOOK, group=GROUP, hook=DRAIN)

    assert "the group did not wait for it any more" in _story(sky)
    assert "replace i-1" not in sky.acts


def test_nothing_is_mended_in_place_on_a_doomed_host(sky: Sky) -> None:
    sky.hear(NOTICE, action="terminate")
    sky.machine.crash("web")
    sky.beat(3)

    incident = sky.incident("web")
    assert incident.state is IncidentState.HELD
    assert incident.hold is not None
    assert incident.hold.code is HoldCode.HOST_DOOMED
    assert incident.attempts == ()


def test_after_a_halt_nothing_is_touched_until_it_is_resumed(sky: Sky) -> None:
    sky.halt.why = "a person"
    sky.hear(NOTICE, action="terminate")
    assert sky.acts == []
    assert sky.going.state is IncidentState.HELD

    sky.halt.why = None
    sky.later(timedelta(seconds=5))

    assert "stop web" in " ".join(sky.acts)


def test_a_dry_run_says_so_and_touches_nothing(tmp_path: Path) -> None:
    sky = Sky(folder=tmp_path, services=(replace(service("web"), host=HOST),), permissions=Permissions(dry_run=True))

    sky.hear(NOTICE, action="terminate")

    assert sky.acts == []
    assert "dry_run is on; i-1 is not drained and ends at" in _story(sky)


STEPS = [
    "intend", "leave the balancer", "start the replacement", "let requests finish", "stop the containers", "keep its last words",
    "complete the hook", "drained", "await the replacement",
]  # fmt: skip


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_anywhere_in_a_drain_loses_and_repeats_no_count(sky: Sky, step: str, moment: str) -> None:
    setattr(sky.engine, f"crash_{moment}", step)

    with pytest.raises(Crash):
        sky.hear(NOTICE, action="terminate")
    sky.reboot()
    sky.watch.attend()

    assert sky.acts.count("replace i-1") == 1
    assert len(sky.incidents()) == 1
    assert sky.going.state is IncidentState.HELD
    assert sky.cloud.queue == []
    kinds = [row.kind for row in sky.store.audit.rows() if row.key.endswith(" drain")]
    assert kinds == [AuditKind.INTENT.value, AuditKind.ENDED.value]
    sky.cloud.warm()
    sky.later(timedelta(minutes=1))
    assert sky.going.closing is Closing.HEALED


def drought(sky: Sky, **allowed: object) -> None:
    sky.cloud.comes = False
    sky.allow(sky.cloud.fleet(**allowed))  # type: ignore[arg-type]
    sky.hear(NOTICE, action="terminate")
    sky.later(timedelta(minutes=14))
    assert sky.cloud.base == 1
    sky.later(timedelta(minutes=2))


def test_without_a_replacement_people_are_asked_with_the_setting_and_its_price(sky: Sky) -> None:
    drought(sky)

    assert sky.going.state is IncidentState.ESCALATED
    assert sky.going.refusal is not None
    assert sky.going.refusal.code is RefusalCode.NO_REPLACEMENT
    assert (
        "up to 24.14 USD a day) asks first: `pulumi config set --stack prod medic:onDemandBase 2` and `pulumi up --stack prod`"
        in sky.going.refusal.because
    )
    assert sky.cloud.base == 1


def test_where_it_may_the_on_demand_base_is_raised_once_within_the_days_money(sky: Sky) -> None:
    drought(sky, on_drought=Mode.ACT)
    sky.later(timedelta(minutes=1))

    assert sky.acts.count("raise to 2") == 1
    keeps = "`pulumi config set --stack prod medic:onDemandBase 2` to keep it; `pulumi up --refresh --stack prod` puts it back"
    assert f"raised the on-demand base from 1 to 2: {keeps}" in _story(sky)
    (bought,) = sky.store.spending.of(sky.going.id)
    assert (bought.kind, bought.what) == (SpendingKind.CLOUD, "g5.xlarge")
    sky.cloud.starts()
    sky.cloud.warm()
    sky.later(timedelta(minutes=4))
    assert sky.going.closing is Closing.HEALED
    assert f"Medic set the on-demand base to 2: {keeps}." in _last_notice(sky)


def test_when_the_days_money_is_spent_people_are_asked(sky: Sky) -> None:
    model = Spending(key="I0 call 1", kind=SpendingKind.MODEL, what="a model", at=sky.clock.now(), amount=sky.fleet.daily_usd)
    sky.store.spending.reserve(model, sky.clock.now(), lambda _spent: None)

    drought(sky, on_drought=Mode.ACT)

    assert sky.cloud.base == 1
    assert sky.going.state is IncidentState.ESCALATED
    assert sky.going.refusal is not None
    assert "of 100.00 USD a day for hosts and models 100.00 are spent" in sky.going.refusal.because


def test_a_raised_base_that_brings_nobody_goes_to_people_and_is_not_raised_again(sky: Sky) -> None:
    drought(sky, on_drought=Mode.ACT)
    sky.later(timedelta(minutes=16))
    sky.later(timedelta(minutes=16))

    assert sky.acts.count("raise to 2") == 1
    assert sky.going.state is IncidentState.ESCALATED
    sky.cloud.starts()
    sky.cloud.warm()
    sky.later(timedelta(minutes=1))
    assert sky.going.state is IncidentState.CLOSED


def test_two_hosts_at_once_are_two_departures_and_one_waits_for_both_to_be_replaced(sky: Sky) -> None:
    sky.cloud.says(sky.event(NOTICE, action="terminate"))
    sky.cloud.says(sky.event(NOTICE, instance="i-2", action="terminate"))
    sky.watch.attend()

    assert {each.service for each in sky.incidents()} == {"spot:i-1", "spot:i-2"}
    assert [what for what in sky.acts if what.startswith("complete")] == [
        f"complete {GROUP} {DRAIN} i-1",
        f"complete {GROUP} {DRAIN} i-2",
    ]
