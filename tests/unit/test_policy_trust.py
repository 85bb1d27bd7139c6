"""What a runbook has earned: tables over its marks, and that no order of marks but a pass gives trust back."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import runbook_file
from agent.model import Rerun, Risk, Runbook, RunbookId, RunbookMark, RunbookMarkKind, RunbookRule, ServiceName
from agent.policy import trust
from tests.fakes import START

WEB, API, DB, CART = (ServiceName(name) for name in ("web", "api", "db", "cart"))
RULE = RunbookRule(ineffective_results=3, window=timedelta(hours=24))
HOUR = timedelta(hours=1)
RUNBOOK = Runbook(
    id=RunbookId("restart-container"),
    title="Restart",
    treats_causes=(),
    treats_symptoms=(),
    never_for=(),
    container_states=(),
    needs=(),
    rung=10,
    risk=Risk.SAFE,
    parameters=(),
    playbook="restart-container.yml",
    timeout=HOUR,
    settle=timedelta(),
    rerun=Rerun.SAFE,
    undo=None,
    evidence_required=True,
    hash="ab12",
    tested=True,
)


def mark(kind: str, *, service: ServiceName | None = None, ago: timedelta = HOUR, hash_: str = "ab12") -> RunbookMark:
    return RunbookMark(
        runbook=RUNBOOK.id,
        hash=hash_,
        kind=RunbookMarkKind(kind),
        at=START - ago,
        service=service,
        because=kind,
        key=f"{kind} {ago} {service}",
    )


PASSED, HARMFUL, VAIN = mark("passed"), mark("harmful"), mark("ineffective", service=WEB)
OTHERS = (mark("ineffective", service=API), mark("ineffective", service=DB))


@pytest.mark.parametrize(
    ("tested", "marks", "asks"),
    [
        (True, (), False),
        (False, (), True),
        (False, (PASSED,), False),
        (False, (mark("passed", hash_="cd34"),), True),
        (True, (HARMFUL,), True),
        (True, (HARMFUL, PASSED), False),
        (True, (PASSED, HARMFUL), True),
        (True, (mark("harmful", service=WEB),), True),
        (True, (mark("harmful", service=API),), False),
        (True, (mark("harmful", hash_="cd34"),), False),
        (True, (VAIN,) * 2, False),
        (True, (VAIN,) * 3, True),
        (True, (mark("ineffective", service=API),) * 9, False),
        (True, (VAIN, VAIN, mark("ineffective", service=API)), False),
        (True, (VAIN, mark("ineffective", service=API)), False),
        (True, (mark("ineffective", service=API), mark("ineffective", service=DB), mark("harmful", service=CART)), True),
        (True, (*OTHERS, mark("ineffective", service=CART)), True),
        (True, (*OTHERS, mark("ineffective", service=CART, ago=25 * HOUR)), False),
        (True, (*OTHERS, mark("harmful", service=CART, ago=25 * HOUR)), True),
        (True, (*OTHERS, PASSED, mark("ineffective", service=CART)), False),
        (True, (VAIN, VAIN, PASSED, VAIN), False),
        (True, (VAIN, VAIN, mark("ineffective", service=WEB, ago=25 * HOUR)), False),
        (True, (VAIN, VAIN, mark("ineffective", service=WEB, ago=24 * HOUR)), True),
    ],
)
def test_trust_is_lost_by_harm_and_vain_use_and_restored_by_a_pass(
    tested: bool, marks: Sequence[RunbookMark], asks: bool
) -> None:
    assert (trust.demoted((replace(RUNBOOK, tested=tested),), marks, WEB, RULE, START) == (RUNBOOK.id,)) is asks


def test_harm_to_one_service_says_nothing_where_no_service_is_asked_for() -> None:
    assert trust.why_demoted(RUNBOOK, (mark("harmful", service=WEB),), None, RULE, START) is None


@pytest.mark.parametrize(
    ("marks", "where"),
    [
        ((), ()),
        ((VAIN,) * 3, ((WEB, "it did not help web 3 times within 24 h"),)),
        ((*OTHERS, VAIN), ((None, "it let down 3 services: api, db, web"),)),
        ((HARMFUL, *(VAIN,) * 3), ((None, "harmful"),)),
        ((mark("harmful", service=API), *(VAIN,) * 3), ((API, "harmful"), (WEB, "it did not help web 3 times within 24 h"))),
        ((mark("harmful", service=API), PASSED), ()),
    ],
)
def test_people_are_told_where_a_runbook_asks_first_and_why(
    marks: Sequence[RunbookMark], where: tuple[tuple[ServiceName | None, str], ...]
) -> None:
    assert trust.where_demoted(RUNBOOK, marks, RULE, START) == where


@given(st.lists(st.sampled_from((PASSED, HARMFUL, VAIN)), max_size=8))
def test_after_harm_only_a_pass_gives_trust_back(marks: list[RunbookMark]) -> None:
    asks = trust.why_demoted(RUNBOOK, (HARMFUL, *marks), WEB, RULE, START) is not None
    if PASSED not in marks:
        assert asks
    if marks and marks[-1] == PASSED:
        assert not asks


def test_one_changed_character_makes_runbooks_that_were_never_tested(tmp_path: Path) -> None:
    root = Path(runbook_file.__file__).parents[1]
    folder, ansible = tmp_path / "runbooks", tmp_path / "ansible"
    for name, target in (("runbooks", folder), ("ansible", ansible)):
        for path in (root / name).rglob("*"):
            if path.is_file():
                copy = target / path.relative_to(root / name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    before = runbook_file.load_runbooks(folder, ansible / "playbooks")
    (folder / runbook_file.TESTED).write_text(runbook_file.tested_text(before, before))
    playbook = ansible / "playbooks" / "restart-container.yml"
    playbook.write_text(playbook.read_text() + "#")
    after = runbook_file.load_runbooks(folder, ansible / "playbooks")
    sharing = [runbook.id for runbook in after if runbook.playbook == playbook.name]
    assert "restart-container" in sharing
    assert [runbook.id for runbook in after if not runbook.tested] == sharing
