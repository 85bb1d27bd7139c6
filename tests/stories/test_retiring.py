"""Idle hosts: people are asked with the price, and only after a yes is one drained and its group made smaller."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import errands
from agent.model import (
    Answer,
    Closing,
    HoldCode,
    HostName,
    Incident,
    IncidentState,
    Outcome,
    Permissions,
    RefusalCode,
    Request,
    RequestKind,
    RunbookId,
)
from agent.policy import giving_up
from agent.sweep import Sweep
from tests.fakes_fleet import DRAIN, GROUP, member
from tests.memory_engine import Crash
from tests.stories.test_giving_up import SHIPPED, SOUND, Field, model

RETIRE = SHIPPED[RunbookId("retire-host")]


class Yard(Field):
    """Hosts i-1 to i-3 serve, and i-1 has nothing to do."""

    @property
    def idle(self) -> Incident:
        return next(each for each in self.incidents() if each.requested is not None)

    def said(self) -> str:
        return "\n".join(event.text for event in self.store.story.since(0, incident=self.idle.id))

    def notice(self) -> str:
        return self.store.outbox.due(self.clock.now(), limit=100)[-1].notice.body


def made(folder: Path, *, hosts: int = 3, **more: object) -> Yard:
    names = [f"i-{number}" for number in range(1, hosts + 1)]
    yard = Yard(folder=folder, services=tuple(model(each) for each in names), runbooks=(RETIRE,), **more)  # type: ignore[arg-type]
    yard.cloud.here = {each: member(each) for each in names}
    yard.cloud.wanted = hosts
    yard.machine.gpus |= dict.fromkeys(names, SOUND)
    yard.sweep = Sweep(yard.world, yard.engine, [HostName(each) for each in names], discover=True)
    yard.cloud.busy = {"i-1": 0.0} | dict.fromkeys(names[1:], 80.0)
    yard.beat(3)
    return yard


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return made(tmp_path)


def test_an_idle_host_is_asked_about_once_with_what_it_costs_and_nothing_is_touched(yard: Yard) -> None:
    yard.watch.attend()
    yard.later(timedelta(minutes=6))
    yard.beat(3)

    (asked,) = yard.store.approvals.waiting(yard.clock.now())
    assert (asked.plan.runbook, asked.plan.host) == ("retire-host", "i-1")
    assert "its cards were used up to 0 % within 60 min" in asked.plan.why
    assert "that time cost up to 1.01 USD" in asked.plan.why
    assert (
        "* retire-host: 1.006 USD/h less (g5.xlarge on demand, prices of 2026-11-01; spot costs less); 2 hosts are left"
        in asked.impact
    )
    assert "do nothing: 1.006 USD/h goes on being paid for it" in asked.diff
    assert "2. tells g to end it and become one smaller" in asked.diff
    assert yard.acts == []
    assert yard.idle.hold is not None
    assert yard.idle.hold.code is HoldCode.AWAITING_APPROVAL
    assert len(yard.incidents()) == 1


def say_yes(yard: Yard) -> None:
    yard.watch.attend()
    yard.approve()
    yard.watch.attend()


def test_after_a_yes_it_is_drained_the_group_shrinks_and_nobody_comes_in_its_place(yard: Yard) -> None:
    say_yes(yard)

    assert [what.split(" within")[0] for what in yard.acts] == [
        "leave i-1", "retire i-1", "stop web", "keep", f"complete {GROUP} {DRAIN} i-1",
    ]  # fmt: skip
    yard.later(timedelta(minutes=1))
    assert (yard.idle.state, yard.idle.closing) == (IncidentState.CLOSED, Closing.CARRIED_OUT)
    assert yard.idle.attempts[0].outcome is Outcome.HEALED
    assert yard.store.spending.of(yard.idle.id) == ()
    assert "i-1 is gone, and its group is one smaller: i-2, i-3 serve" in yard.said()
    assert (
        "`pulumi config set --stack prod medic:minSize 3` and `pulumi up --stack prod` keep that many at least" in yard.notice()
    )
    assert yard.cloud.wanted == 2
    assert yard.store.departures.standing() == ()


def test_a_host_that_has_work_again_when_the_word_comes_stays(yard: Yard) -> None:
    yard.watch.attend()
    yard.cloud.busy["i-1"] = 60.0

    yard.approve()
    yard.watch.attend()

    assert yard.acts == []
    assert yard.idle.refusal is not None
    assert yard.idle.refusal.code is RefusalCode.IN_USE
    assert "its cards were used up to 60 % within 60 min" in yard.idle.refusal.because


def test_a_no_is_a_no_and_is_not_asked_again_until_people_close_it(yard: Yard) -> None:
    yard.watch.attend()
    yard.store.approvals.answer(yard.asked.id, Answer.DENIED, by="ada", why="a launch tonight", now=yard.clock.now())
    yard.beat()
    yard.later(timedelta(hours=2))

    assert yard.acts == []
    assert yard.idle.refusal is not None
    assert yard.idle.refusal.code is RefusalCode.DENIED
    assert len(yard.incidents()) == 1


@pytest.mark.parametrize("busy", [{}, {"i-1": 5.0, "i-2": 80.0, "i-3": 80.0}], ids=["not heard of", "used"])
def test_a_host_that_is_used_or_not_heard_of_is_not_asked_about(yard: Yard, busy: dict[str, float]) -> None:
    yard.cloud.busy = busy

    yard.watch.attend()

    assert yard.incidents() == ()


@pytest.mark.parametrize("change", ["smallest", "one host", "halt", "dry run", "meter away"])
def test_nobody_is_asked_where_it_could_not_be_done(tmp_path: Path, change: str) -> None:
    more = {"permissions": Permissions(dry_run=True)} if change == "dry run" else {}
    yard = made(tmp_path, hosts=1 if change == "one host" else 3, **more)
    match change:
        case "smallest":
            yard.cloud.smallest = 3
        case "halt":
            yard.halt.why = "a person"
        case "meter away":
            yard.cloud.away = {"use"}

    yard.watch.attend()

    assert yard.incidents() == ()


def test_a_group_that_may_not_become_smaller_any_more_keeps_its_host(yard: Yard) -> None:
    yard.watch.attend()
    yard.cloud.smallest = 3

    yard.approve()
    yard.watch.attend()

    assert yard.acts == []
    assert yard.idle.refusal is not None
    assert yard.idle.refusal.code is RefusalCode.LAST_HOST
    assert "g is to have 3 hosts and may have no fewer than 3 (medic:minSize)" in yard.idle.refusal.because


def test_a_person_who_asks_for_it_is_asked_as_well(yard: Yard) -> None:
    wish = Request(
        id="r", kind=RequestKind.RUN, service=model("i-1").name, by="ada", at=yard.clock.now(), runbook=RETIRE.id, settings=()
    )

    assert errands.answer(wish, yard.world, yard.engine, yard.sweep).accepted
    yard.beat()

    assert yard.acts == []
    assert yard.asked.plan.runbook == "retire-host"


STEPS = ["apply 1", "hold 1", "intend", "start the replacement", "stop the containers", "complete the hook", "drained"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_anywhere_retires_one_host_once(yard: Yard, step: str, moment: str) -> None:
    yard.watch.attend()
    setattr(yard.engine, f"crash_{moment}", step)

    with pytest.raises(Crash):
        yard.say_yes()
    yard.reboot()
    for _ in range(3):
        yard.beat()
        yard.watch.attend()
    yard.later(timedelta(minutes=1))

    assert yard.acts.count("retire i-1") == 1
    assert yard.cloud.wanted == 2
    assert yard.idle.state is IncidentState.CLOSED
    assert len(yard.incidents()) == 1


def test_a_host_that_its_group_does_not_let_go_is_handed_over_and_buys_nothing(yard: Yard) -> None:
    yard.watch.attend()
    yard.approve()
    yard.cloud.away = {"complete"}
    yard.watch.attend()
    yard.cloud.away = set()

    yard.later(timedelta(minutes=16))

    assert yard.idle.state is IncidentState.ESCALATED
    assert yard.cloud.base == 1
    assert yard.idle.refusal is not None
    assert "i-1 was drained to be retired, and its group still has it" in yard.idle.refusal.because


def test_a_retired_host_is_no_replacement_that_counts_for_a_loop(yard: Yard) -> None:
    say_yes(yard)
    (gone,) = yard.store.departures.latest()

    assert giving_up.given_up([gone], GROUP, gone.heard_at - timedelta(hours=1)) == ()
    assert giving_up.given_up([replace(gone, retired=False)], GROUP, gone.heard_at - timedelta(hours=1)) != ()
