"""Whole replacements that people approve: from a broken GPU to a host that Medic itself sees well, on fakes and a fake clock."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import errands, runbook_file
from agent.model import (
    Answer,
    Approval,
    AuditKind,
    Closing,
    FleetEventKind,
    Gpu,
    GpuCheck,
    GpuSeen,
    GpuTool,
    HoldCode,
    HostName,
    Incident,
    IncidentState,
    Outcome,
    RefusalCode,
    ReplacementLimits,
    Request,
    RequestKind,
    RunbookId,
    Service,
    ServiceName,
    Spending,
    SpendingKind,
    Thresholds,
)
from agent.sweep import Sweep
from tests.fakes_fleet import DRAIN, GROUP, member
from tests.memory_engine import Crash
from tests.stories.test_departing import Sky
from tests.stories.world import EVERY, service

ROOT = Path(__file__).parents[2]
SHIPPED = {each.id: each for each in runbook_file.load_runbooks(ROOT / "runbooks", ROOT / "ansible" / "playbooks")}
LOST = GpuSeen(tool=GpuTool.LOST, said="Unable to determine the device handle for GPU0: GPU is lost")
SOUND = GpuSeen(tool=GpuTool.ANSWERED, gpus=(Gpu(index=0, uuid="GPU-1", bus="0000:3b:00"),))


def model(host: str) -> Service:
    gpu = GpuCheck(
        name="gpu", every=EVERY, thresholds=Thresholds(sick_after=2), in_container=False, xids=False, orphan_memory=None
    )
    plain = service(f"web-{host}")
    return replace(plain, host=HostName(host), container="web", group="stack", checks=(*plain.checks, gpu))


class Field(Sky):
    """Hosts i-1 and i-2 serve; a host that comes is declared once it is warm, as a new round of the daemon does."""

    def reboot(self) -> None:
        super().reboot()
        hosts = [HostName(each) for each in self.cloud.here]
        self.sweep = Sweep(self.world, self.engine, hosts, discover=True)

    def come(self) -> None:
        self.cloud.warm()
        for old in self.store.services.services():
            if old.host not in self.cloud.here:
                self.store.services.forget(old.name)
        for each in self.cloud.here:
            if each not in ("i-1", "i-2"):
                self.machine.gpus.setdefault(each, SOUND)
                self.store.services.enrol(model(each), now=self.clock.now())

    @property
    def sick(self) -> Incident:
        return self.incident("web-i-1")

    @property
    def asked(self) -> Approval:
        (waiting,) = self.store.approvals.waiting(self.clock.now())
        return waiting

    def approve(self) -> None:
        assert self.store.approvals.answer(self.asked.id, Answer.APPROVED, by="ada", why="", now=self.clock.now())
        self.beat()

    def say_yes(self) -> None:
        self.approve()
        self.watch.attend()

    def break_gpu(self) -> None:
        self.machine.gpus["i-1"] = LOST
        self.beat_until(lambda: bool(self.store.approvals.waiting(self.clock.now())))

    def story(self) -> str:
        return "\n".join(event.text for event in self.store.story.since(0, incident=self.sick.id))


@pytest.fixture
def field(tmp_path: Path) -> Field:
    return made(tmp_path)


def made(folder: Path, *hosts: str) -> Field:
    services = tuple(model(host) for host in hosts or ("i-1", "i-2"))
    field = Field(folder=folder, services=services, runbooks=(SHIPPED[RunbookId("replace-host")],))
    field.machine.gpus |= dict.fromkeys(hosts or ("i-1", "i-2"), SOUND)
    field.beat(3)
    return field


def test_a_broken_gpu_asks_first_and_shows_the_price_of_every_option(field: Field) -> None:
    field.break_gpu()

    asked = field.asked
    assert asked.plan.runbook == "replace-host"
    assert field.acts == []
    for words in (
        "restart container web: 0 USD",
        "reboot-host: 0 USD",
        "* replace-host: up to 0.25 USD for the 15 min until the new host serves (1.006 USD/h, g5.xlarge on demand, prices of 2026-11-01",
        "do nothing: 1.006 USD/h goes on being paid for it",
    ):
        assert words in asked.impact
        assert words in asked.diff
    assert "2. tells g to end it and start another" in asked.diff


def test_an_approved_replacement_drains_first_and_is_healed_only_once_medic_sees_the_new_host_well(field: Field) -> None:
    field.break_gpu()
    field.approve()
    field.watch.attend()

    assert [what.split(" within")[0] for what in field.acts] == [
        "leave i-1", "replace i-1", "stop web", "keep", f"complete {GROUP} {DRAIN} i-1",
    ]  # fmt: skip
    assert field.sick.state is IncidentState.HELD
    assert field.sick.attempts[0].outcome is None
    field.cloud.warm()
    field.later(timedelta(minutes=1))
    assert field.sick.state is IncidentState.HELD, "the group's word is no proof"
    field.come()
    field.later(timedelta(minutes=1))
    assert (field.sick.state, field.sick.closing) == (IncidentState.CLOSED, Closing.HEALED)
    assert field.sick.attempts[0].outcome is Outcome.HEALED
    assert len(field.store.audit.receipts(field.sick.id)) == 1
    assert "seen well: web-i-1" in field.story()
    assert field.store.departures.standing() == ()
    assert len(field.incidents()) == 1


def test_a_new_host_whose_gpu_is_lost_as_well_heals_nothing_and_goes_to_people(field: Field) -> None:
    field.break_gpu()
    field.approve()
    field.watch.attend()
    field.come()
    for each in field.cloud.here:
        if each not in ("i-1", "i-2"):
            field.machine.gpus[each] = LOST

    field.later(timedelta(minutes=5))
    assert field.sick.state is IncidentState.HELD
    field.later(timedelta(minutes=12))

    assert field.sick.state is IncidentState.ESCALATED
    assert field.sick.attempts[0].outcome is Outcome.INEFFECTIVE
    assert field.sick.refusal is not None
    assert "the group says that i-1 is replaced, but web-i-1" in field.sick.refusal.because


def test_while_the_balancer_still_has_the_old_host_it_is_not_over(field: Field) -> None:
    field.break_gpu()
    field.approve()
    field.watch.attend()
    field.come()
    field.cloud.served_until = field.clock.now() + timedelta(minutes=3)

    field.later(timedelta(minutes=1))
    assert field.sick.state is IncidentState.HELD
    field.later(timedelta(minutes=3))
    assert field.sick.closing is Closing.HEALED


def test_nothing_is_done_without_a_word_and_a_denial_goes_to_people(field: Field) -> None:
    field.break_gpu()
    field.beat(5)
    assert field.acts == []

    field.store.approvals.answer(field.asked.id, Answer.DENIED, by="ada", why="not today", now=field.clock.now())
    field.beat()

    assert field.acts == []
    assert field.sick.refusal is not None
    assert field.sick.refusal.code is RefusalCode.DENIED


def test_the_last_host_that_serves_is_never_given_up_nobody_is_even_asked(tmp_path: Path) -> None:
    field = made(tmp_path)
    field.cloud.here["i-2"] = member("i-2", "Pending:Wait")
    field.machine.gpus["i-1"] = LOST
    field.beat(3)
    field.beat_until(lambda: field.sick.state is IncidentState.ESCALATED)

    assert field.sick.refusal is not None
    assert field.sick.refusal.code is RefusalCode.LAST_HOST
    assert "i-1 is the last host of g that serves" in field.sick.refusal.because
    assert field.acts == []


def test_a_host_that_became_the_last_one_while_people_thought_it_over_stays(field: Field) -> None:
    field.break_gpu()
    field.cloud.here["i-2"] = member("i-2", "Terminating:Wait")

    field.approve()
    field.watch.attend()

    assert field.acts == []
    assert field.sick.state is IncidentState.ESCALATED
    assert field.sick.refusal is not None
    assert field.sick.refusal.code is RefusalCode.LAST_HOST


def test_a_host_that_became_the_last_one_during_a_halt_stays(field: Field) -> None:
    field.break_gpu()
    field.approve()
    field.halt.why = "a person"
    field.watch.attend()
    assert field.sick.hold is not None
    assert field.sick.hold.code is HoldCode.HALTED
    field.cloud.here["i-2"] = member("i-2", "Terminating:Wait")
    field.halt.why = None

    field.later(timedelta(seconds=5))

    assert field.acts == []
    assert field.sick.state is IncidentState.ESCALATED
    assert field.store.departures.standing() == ()
    assert field.sick.attempts[0].outcome is Outcome.CANCELLED


def test_a_replacement_that_does_not_fit_into_the_days_money_is_not_made(field: Field) -> None:
    field.break_gpu()
    spent = Spending(
        key="I0 call 1", kind=SpendingKind.MODEL, what="a model", at=field.clock.now(), amount=field.fleet.daily_usd
    )
    field.store.spending.reserve(spent, field.clock.now(), lambda _spent: None)

    field.approve()
    field.watch.attend()

    assert field.acts == []
    assert field.sick.refusal is not None
    assert field.sick.refusal.code is RefusalCode.NO_MONEY


def test_its_price_is_reserved_once(field: Field) -> None:
    field.break_gpu()
    field.approve()
    field.watch.attend()
    field.beat(3)

    (bought,) = field.store.spending.of(field.sick.id)
    assert (bought.what, f"{bought.amount:.2f}") == ("g5.xlarge", "0.25")


def test_a_notice_of_the_cloud_in_the_middle_opens_no_second_incident_and_drains_once(field: Field) -> None:
    field.break_gpu()
    field.approve()
    field.hear(FleetEventKind.INTERRUPTION, action="terminate")
    field.hear(FleetEventKind.TERMINATE_HOOK, group=GROUP, hook=DRAIN)

    assert {each.service for each in field.incidents()} == {"web-i-1"}
    assert field.acts.count("replace i-1") == 1
    assert field.cloud.queue == []


STEPS = [
    "apply 1", "hold 1", "read the departure", "may it be drained", "intend", "leave the balancer", "start the replacement",
    "let requests finish", "stop the containers", "keep its last words", "complete the hook", "drained", "await the replacement",
]  # fmt: skip


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_anywhere_repeats_nothing_and_ends_healed(field: Field, step: str, moment: str) -> None:
    field.break_gpu()
    setattr(field.engine, f"crash_{moment}", step)

    with pytest.raises(Crash):
        field.say_yes()
    field.reboot()
    for _ in range(3):
        field.beat()
        field.watch.attend()

    assert field.acts.count("replace i-1") == 1
    assert len(field.incidents()) == len(field.sick.attempts) == len(field.store.spending.of(field.sick.id)) == 1
    drains = [row.kind for row in field.store.audit.rows() if row.key.endswith(" drain")]
    assert drains == [AuditKind.INTENT.value, AuditKind.ENDED.value]
    field.come()
    field.later(timedelta(minutes=1))
    assert field.sick.closing is Closing.HEALED


def looped(folder: Path, limits: ReplacementLimits) -> Field:
    """One host of the pool was replaced a moment ago; now the one that came is broken as well."""
    field = made(folder)
    field.allow(field.cloud.fleet(replacements=limits))
    field.reboot()
    field.break_gpu()
    field.approve()
    field.watch.attend()
    field.come()
    field.later(timedelta(minutes=1))
    assert field.sick.closing is Closing.HEALED
    field.reboot()
    field.machine.gpus["i-2"] = LOST
    return field


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ReplacementLimits(of_pool=1), "pool g5.xlarge in a was replaced 1 times within 24 h, 1 are allowed: i-1 at "),
        (ReplacementLimits(of_pool=9, of_fleet=1), "fleet g was replaced 1 times within 24 h"),
    ],
)
def test_a_pool_or_fleet_that_was_replaced_too_often_is_handed_over_with_its_history_also_after_a_restart(
    tmp_path: Path, limits: ReplacementLimits, words: str
) -> None:
    field = looped(tmp_path, limits)
    field.beat(3)
    field.beat_until(lambda: field.incident("web-i-2").state is IncidentState.ESCALATED)

    refusal = field.incident("web-i-2").refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.REPLACEMENT_LOOP
    assert words in refusal.because
    assert field.sick.id in refusal.because
    assert field.acts.count("replace i-2") == 0


def test_within_the_limit_and_after_its_window_there_is_a_further_one(tmp_path: Path) -> None:
    field = looped(tmp_path, ReplacementLimits(of_pool=1, within=timedelta(hours=1)))
    field.clock.move(timedelta(hours=2))

    field.beat_until(lambda: bool(field.store.approvals.waiting(field.clock.now())))

    assert field.asked.service == "web-i-2"


def test_what_a_person_asks_for_is_drained_and_verified_alike(field: Field) -> None:
    asked = Request(
        id="r1", kind=RequestKind.RUN, service=ServiceName("web-i-1"), by="ada", at=field.clock.now(),
        runbook=RunbookId("replace-host"),
    )  # fmt: skip
    answer = errands.answer(asked, field.world, field.engine, field.sweep)
    assert answer.accepted, answer.sentence
    field.watch.attend()
    assert field.acts.count("replace i-1") == 1
    field.come()
    field.later(timedelta(minutes=1))

    assert field.sick.closing is Closing.CARRIED_OUT
    assert field.sick.attempts[0].outcome is Outcome.HEALED
