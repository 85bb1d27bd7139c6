"""Medic only watches: it decides, keeps what it would have done, does nothing, and is compared with what people did."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent import shadow
from agent.errors import OutsideError
from agent.model import Agreement, Closing, ContainerFacts, HostName, Limits, Mode, Permissions, ServiceName, ShadowReport
from tests.machine import Machine
from tests.stories.world import RECREATE, RESTART, START, Ward, service

LIMITS = Limits(start_grace=timedelta(0), same_signature=1000, heals_in_window=1000, actions_per_service=1000)


def ward(folder: Path, mode: Mode = Mode.OBSERVE) -> Ward:
    made = Ward(
        folder, (service("web", limits=LIMITS),), runbooks=(START, RESTART, RECREATE), permissions=Permissions(mode=mode)
    )
    made.beat(3)
    return made


def report(made: Ward) -> ShadowReport:
    now = made.clock.now()
    return shadow.report(made.store, now - timedelta(days=30), now)


def breaks(made: Ward, fault: Callable[[], None], repair: Callable[[], None]) -> None:
    """The service breaks, Medic watches for a while, a person repairs it, and it is well again."""
    made.clock.move(timedelta(days=1))
    made.beat(3)
    before = len(made.incidents())
    fault()
    made.beat_until(lambda: len(made.incidents()) > before)
    made.beat(6)
    repair()
    made.beat_until(lambda: made.incident("web").closing is not None)


def hang(made: Ward) -> None:
    made.machine.boxes["web"].answers = False


def answer(made: Ward) -> None:
    made.machine.boxes["web"].answers = True


def restart(made: Ward) -> None:
    made.machine.restart_by_others("web")
    answer(made)


def recreate(made: Ward) -> None:
    made.machine.remove("web")
    made.machine.add("web")
    made.machine.start("web")


def test_twenty_repairs_by_a_person_are_told_as_they_were(tmp_path: Path) -> None:
    made = ward(tmp_path)
    script = [(restart, Agreement.AGREED)] * 11 + [(recreate, Agreement.DIFFERED)] * 5 + [(answer, Agreement.BY_ITSELF)] * 4
    for position, (repair, _) in enumerate(script):
        breaks(made, lambda: hang(made), lambda repair=repair: repair(made))  # type: ignore[misc]
        if position == 9:
            made.reboot()
    found = report(made)
    assert made.machine.played == []
    assert [line.agreement for line in found.lines] == [became for _, became in script]
    assert {line.would for line in found.lines} == {"restart-container"}
    ((_, counts),) = found.counts
    assert (dict(counts)[Agreement.AGREED], dict(counts)[Agreement.DIFFERED], dict(counts)[Agreement.BY_ITSELF]) == (11, 5, 4)
    assert found.saved > timedelta(0)
    assert "somebody through Docker's API" in found.lines[0].did


def test_nothing_is_done_and_nobody_is_told_what_would_be(tmp_path: Path) -> None:
    made = ward(tmp_path)
    made.machine.crash("web")
    made.beat(200)
    incident = made.incident("web")
    assert (made.machine.played, incident.attempts) == ([], ())
    assert made.notices() == [f"{incident.id}:opened"]
    (line,) = report(made).lines
    assert (line.would, line.agreement, line.told) == ("start-container", Agreement.OPEN, False)


def test_a_service_can_be_watched_while_others_are_healed(tmp_path: Path) -> None:
    made = Ward(tmp_path, (replace(service("web"), mode=Mode.OBSERVE), service("api")))
    made.beat(2)
    made.machine.crash("web")
    made.machine.crash("api")
    made.machine.effects["start-container"] = lambda: made.machine.start("api")
    made.beat(3)
    assert made.incident("api").closing is Closing.HEALED
    assert [line.service for line in report(made).lines] == ["web"]


@pytest.mark.parametrize(("mode", "told"), [(Mode.OBSERVE, False), (Mode.SUGGEST, True)])
def test_whether_people_were_told_is_said(tmp_path: Path, mode: Mode, *, told: bool) -> None:
    made = ward(tmp_path, mode)
    breaks(made, lambda: made.machine.crash("web"), lambda: made.machine.start("web"))
    (line,) = report(made).lines
    assert (line.agreement, line.told) == (Agreement.AGREED, told)


def test_what_nobody_could_look_at_is_untold(tmp_path: Path) -> None:
    made = ward(tmp_path)
    made.machine.crash("web")
    made.beat(3)
    made.machine.start("web")
    incident = made.incident("web")

    class Away(Machine):
        def inspect(self, host: HostName, container: str) -> ContainerFacts:
            raise OutsideError("cannot ask Docker: it does not answer", transient=True)

    shadow.ended(
        incident,
        made.services[0],
        containers=Away(made.clock),
        files=made.machine,
        store=made.store,
        now=made.clock.now(),
    )
    (line,) = report(made).lines
    assert (line.agreement, line.did) == (Agreement.UNTOLD, "nobody could look")


def test_once_medic_may_act_its_own_doing_is_no_agreement(tmp_path: Path) -> None:
    made = ward(tmp_path)
    made.machine.crash("web")
    made.beat(3)
    made.permissions = Permissions()
    made.reboot()
    made.clock.move(timedelta(minutes=11))
    made.beat_until(lambda: made.incident("web").closing is Closing.HEALED)
    assert [line.agreement for line in report(made).lines] == [Agreement.ACTED]


def test_the_report_is_of_one_service_where_one_is_asked_for(tmp_path: Path) -> None:
    made = ward(tmp_path)
    made.machine.crash("web")
    made.beat(3)
    now = made.clock.now()
    assert shadow.report(made.store, now - timedelta(days=1), now, ServiceName("api")).lines == ()
