"""The daemon dies at every step boundary and inside apply, and is started again: nothing lost, repeated or uncounted."""

from pathlib import Path

import pytest

from agent.errors import LeaseLost, StoreError
from agent.model import Closing, IncidentState, Outcome, Rerun, RunEnd, StoryKind
from tests.memory_engine import Crash
from tests.stories.world import RECREATE, START, Lent, Ward, runbook, service

FIRST = ("read the incident", "read the service", "diagnose 1", "plan 1", "apply 1", "settle 1", "verify 1")
HEALED = (*FIRST, "close 1")
DOOMED = (*FIRST, "diagnose 2", "plan 2", "apply 2", "settle 2", "verify 2", "diagnose 3", "plan 3", "escalate 3")
MOMENTS = ("before", "after")


def sick(folder: Path, *, doomed: bool) -> Ward:
    ward = Ward(folder, (service("web"),))
    ward.beat(2)
    if doomed:

        def dies_again() -> None:
            ward.machine.start("web")
            ward.machine.crash("web", exit_code=3)

        ward.machine.effects = {"start-container": dies_again, "recreate-container": dies_again}
    ward.machine.crash("web", exit_code=3)
    return ward


def crash_at(ward: Ward, moment: str, step: str) -> None:
    setattr(ward.engine, f"crash_{moment}", step)
    with pytest.raises(Crash):
        ward.beat()
    ward.reboot()
    ward.beat(2)


@pytest.mark.abuse("1", "15")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", HEALED)
def test_a_heal_cut_at_any_boundary_ends_healed_after_one_attempt(tmp_path: Path, step: str, moment: str) -> None:
    ward = sick(tmp_path, doomed=False)
    crash_at(ward, moment, step)
    (incident,) = ward.incidents()
    assert incident.closing is Closing.HEALED
    assert [(a.number, a.outcome) for a in incident.attempts] == [(1, Outcome.HEALED)]
    assert ward.machine.played == [f"start-container {incident.id}-1"]
    assert ward.notices() == [f"{incident.id}:opened", f"{incident.id}:resolved"]


@pytest.mark.abuse("1")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("step", DOOMED)
def test_a_hopeless_heal_cut_at_any_boundary_escalates_after_two(tmp_path: Path, step: str, moment: str) -> None:
    ward = sick(tmp_path, doomed=True)
    crash_at(ward, moment, step)
    (incident,) = ward.incidents()
    assert incident.state is IncidentState.ESCALATED
    assert [a.outcome for a in incident.attempts] == [Outcome.INEFFECTIVE] * 2
    assert ward.machine.played == [f"start-container {incident.id}-1", f"recreate-container {incident.id}-2"]
    assert ward.told(incident.id) == [
        StoryKind.SEEN,
        StoryKind.EXPLAINED,
        *(StoryKind.TRYING, StoryKind.TASK, StoryKind.TRIED, StoryKind.SEEN_AGAIN) * 2,
        StoryKind.ESCALATED,
    ], "nothing is told twice, nothing is left out"
    assert ward.notices() == [f"{incident.id}:opened", f"{incident.id}:escalated"]


class TestInsideApply:
    """The playbook is under way when the daemon dies."""

    def crash_inside(self, ward: Ward, *, changed: bool) -> None:
        """Die in the middle of the first playbook, after its change or before it, and start again."""
        self.cut_inside(ward, changed=changed)
        ward.machine.effects["start-container"] = lambda: ward.machine.start("web")
        ward.reboot()
        ward.beat(2)

    def cut_inside(self, ward: Ward, *, changed: bool) -> None:

        def cut() -> RunEnd | None:
            del ward.machine.effects["start-container"]
            if changed:
                ward.machine.start("web")
            raise Crash("apply")

        ward.machine.effects["start-container"] = cut
        with pytest.raises(Crash):
            ward.beat()

    def test_the_change_was_made_so_a_look_says_healed_and_nothing_runs_again(self, tmp_path: Path) -> None:
        ward = sick(tmp_path, doomed=False)
        self.crash_inside(ward, changed=True)
        (incident,) = ward.incidents()
        assert incident.closing is Closing.HEALED
        assert ward.machine.played == [f"start-container {incident.id}-1"]
        assert [a.run.end for a in incident.attempts if a.run] == [RunEnd.LOST]

    def test_it_did_not_finish_and_may_be_repeated_so_the_same_attempt_goes_on(self, tmp_path: Path) -> None:
        ward = sick(tmp_path, doomed=False)
        self.crash_inside(ward, changed=False)
        (incident,) = ward.incidents()
        assert incident.closing is Closing.HEALED
        assert ward.machine.played == [f"start-container {incident.id}-1"] * 2
        assert [(a.number, a.runs) for a in incident.attempts] == [(1, 2)]

    def test_it_did_not_finish_and_may_not_be_repeated_so_it_is_ambiguous_and_counts(self, tmp_path: Path) -> None:
        once = runbook(
            "start-container", symptoms=START.treats_symptoms, states=START.container_states, rung=10, rerun=Rerun.NEVER
        )
        ward = Ward(tmp_path, (service("web"),), runbooks=(once, RECREATE))
        ward.machine.effects["recreate-container"] = lambda: ward.machine.start("web")
        ward.beat(2)
        ward.machine.crash("web", exit_code=3)
        self.crash_inside(ward, changed=False)
        (incident,) = ward.incidents()
        assert [a.outcome for a in incident.attempts] == [Outcome.AMBIGUOUS, Outcome.HEALED]
        assert ward.machine.played == [f"start-container {incident.id}-1", f"recreate-container {incident.id}-2"]

    def test_a_daemon_that_keeps_dying_in_it_does_not_go_on_for_ever(self, tmp_path: Path) -> None:
        ward = sick(tmp_path, doomed=False)

        def deadly() -> RunEnd | None:
            raise Crash("apply")

        ward.machine.effects = {"start-container": deadly, "recreate-container": lambda: ward.machine.start("web")}
        with pytest.raises(Crash):
            ward.beat()
        for _ in range(2):
            with pytest.raises(Crash):
                ward.reboot()
        ward.reboot()
        (incident,) = ward.incidents()
        assert [a.outcome for a in incident.attempts] == [Outcome.AMBIGUOUS, Outcome.HEALED]
        assert [a.runs for a in incident.attempts] == [3, 1]


def test_an_attempt_that_the_store_lost_sight_of_is_finished_by_the_next_round(tmp_path: Path) -> None:
    ward = sick(tmp_path, doomed=False)
    ran = ward.store.attempts.ran

    def away(*_arguments: object, **_more: object) -> None:
        raise StoreError("cannot write attempt: disk full", transient=True)

    ward.store.attempts.ran = away  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        ward.beat()
    ward.store.attempts.ran = ran  # type: ignore[method-assign]
    ward.engine.pending.clear()  # DBOS ends a workflow that raised
    ward.beat(3)
    (incident,) = ward.incidents()
    assert incident.closing is Closing.HEALED
    assert [attempt.outcome for attempt in incident.attempts] == [Outcome.HEALED], "it is well, and why is found out first"
    assert ward.machine.played == [f"start-container {incident.id}-1"], "what ran once is not run again"


class TestAnotherMedicTakesOver:
    """This Medic is stopped for so long that another leads; then it goes on."""

    def take_over(self, ward: Ward) -> None:
        """The other one starts over the same store, from a state folder of its own."""
        ward.lease = Lent(place="there")
        ward.machine.markers.clear()  # they lie on the host of the dead one
        ward.reboot()
        ward.beat(2)

    @pytest.mark.parametrize("moment", ["at the gate", "after the looks"])
    def test_who_lost_the_lead_changes_nothing_and_the_other_heals(self, tmp_path: Path, moment: str) -> None:
        ward = sick(tmp_path, doomed=False)
        if moment == "at the gate":
            ward.lease.taken = True
        else:
            ward.lease.taken_after = 1
        with pytest.raises(LeaseLost):
            ward.beat()
        assert ward.machine.played == []
        assert [a.runs for a in ward.incident("web").attempts] == [0]

        self.take_over(ward)
        (incident,) = ward.incidents()
        assert [(a.number, a.outcome, a.runs) for a in incident.attempts] == [(1, Outcome.HEALED, 1)]
        assert ward.machine.played == [f"start-container {incident.id}-1"]

    @pytest.mark.parametrize("changed", [True, False])
    def test_what_the_dead_one_began_is_looked_at_and_never_repeated(self, tmp_path: Path, changed: bool) -> None:
        ward = sick(tmp_path, doomed=False)
        ward.machine.effects["recreate-container"] = lambda: ward.machine.start("web")
        TestInsideApply().cut_inside(ward, changed=changed)
        self.take_over(ward)
        (incident,) = ward.incidents()
        assert incident.closing is Closing.HEALED
        assert [a.runs for a in incident.attempts][:1] == [1]
        assert ward.machine.played.count(f"start-container {incident.id}-1") == 1
        ends = [(a.run.end, a.outcome) for a in incident.attempts if a.run]
        assert ends == (
            [(RunEnd.LOST, Outcome.HEALED)]
            if changed
            else [(RunEnd.LOST, Outcome.AMBIGUOUS), (RunEnd.COMPLETED, Outcome.HEALED)]
        )
