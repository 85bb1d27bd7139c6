"""A decision that was not carried out is judged by what others did, as far as that can be told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from agent.model import (
    Agreement,
    Closing,
    ContainerFacts,
    ContainerState,
    Deed,
    Hold,
    HoldCode,
    Incident,
    IncidentId,
    IncidentState,
    Network,
    RunbookId,
    Shadow,
    ShadowEnd,
)
from agent.policy import shadow
from agent.wiring import shipped
from tests import escalated
from tests.fakes import START

HOUR = timedelta(hours=1)
BEFORE = ContainerFacts(
    name="web",
    id="c1",
    state=ContainerState.EXITED,
    image_id="sha256:a",
    started_at=START - HOUR,
    networks=(Network(name="net", address="10.0.0.2"),),
)
UP = replace(BEFORE, state=ContainerState.RUNNING)
PLAN = escalated.plan("restart-container", "Restart the container", "it hangs")


def incident(number: int = 1, **changes: object) -> Incident:
    values = {"id": IncidentId(f"I{number}"), "attempts": (), "refusal": None, "state": IncidentState.CLOSED, **changes}
    return escalated.incident(closing=Closing.RECOVERED, **values)


def kept(*deeds: Deed, number: int = 1, runbook: str = "restart-container", **end: object) -> Shadow:
    return Shadow(
        incident=IncidentId(f"I{number}"),
        service=escalated.NAME,
        at=START,
        code=HoldCode.OBSERVING,
        plan=replace(PLAN, runbook=RunbookId(runbook)),
        before=BEFORE,
        ended=ShadowEnd(at=START + HOUR, **{"deeds": deeds, **end}),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (BEFORE, BEFORE, ()),
        (BEFORE, replace(UP, started_at=START), (Deed.STARTED,)),
        (UP, replace(UP, started_at=START), (Deed.STARTED,)),
        (replace(UP, state=ContainerState.PAUSED), UP, (Deed.UNPAUSED,)),
        (BEFORE, replace(UP, id="c2", started_at=START), (Deed.RECREATED,)),
        (BEFORE, replace(UP, id="c2", image_id="sha256:b", started_at=START), (Deed.OTHER_IMAGE,)),
        (replace(UP, networks=()), UP, (Deed.RECONNECTED,)),
        (replace(BEFORE, state=ContainerState.MISSING, id="", image_id=""), replace(UP, started_at=START), (Deed.RECREATED,)),
        (BEFORE, replace(BEFORE, state=ContainerState.MISSING), ()),
        (BEFORE, None, ()),
    ],
    ids=["nothing", "started", "restarted", "unpaused", "recreated", "image", "network", "was gone", "is gone", "unseen"],
)
def test_what_others_did_is_told_by_two_looks(
    before: ContainerFacts, after: ContainerFacts | None, found: tuple[Deed, ...]
) -> None:
    assert shadow.deeds(before, after, (None, None)) == found


@pytest.mark.parametrize(
    ("config", "changed"), [(("a", "b"), True), (("a", "a"), False), ((None, "a"), False), (("a", None), False)]
)
def test_a_configuration_is_another_only_where_both_are_known(config: tuple[str | None, str | None], *, changed: bool) -> None:
    assert (shadow.deeds(BEFORE, BEFORE, config) == (Deed.CONFIGURED,)) is changed


@pytest.mark.parametrize(
    ("decision", "became"),
    [
        (kept(Deed.STARTED), Agreement.AGREED),
        (kept(Deed.STARTED, Deed.CONFIGURED), Agreement.AGREED),
        (kept(Deed.RECREATED), Agreement.DIFFERED),
        (kept(), Agreement.BY_ITSELF),
        (kept(deeds=None), Agreement.UNTOLD),
        (kept(Deed.STARTED, runbook="evict-cache"), Agreement.UNTOLD),
        (kept(Deed.STARTED, ran=(RunbookId("recreate-container"),)), Agreement.DIFFERED),
        (kept(runbook="evict-cache", ran=(RunbookId("evict-cache"),)), Agreement.AGREED),
        (replace(kept(), ended=None), Agreement.UNTOLD),
    ],
    ids=["same", "same and more", "other", "nothing", "unseen", "leaves no trace", "another runbook", "the runbook", "by hand"],
)
def test_each_end_has_one_word(decision: Shadow, became: Agreement) -> None:
    assert shadow.agreement(decision, incident()) is became


def test_what_is_not_over_is_open_and_what_medic_did_later_is_no_agreement() -> None:
    assert shadow.agreement(replace(kept(), ended=None), incident(state=IncidentState.HELD)) is Agreement.OPEN
    assert shadow.agreement(kept(Deed.STARTED), incident(attempts=escalated.attempts())) is Agreement.ACTED


def test_time_is_claimed_only_where_others_did_the_same() -> None:
    decisions = [kept(Deed.STARTED), kept(Deed.RECREATED, number=2), kept(number=3), kept(Deed.STARTED, number=4)]
    incidents = {IncidentId(f"I{n}"): incident(n) for n in range(1, 5)}
    took = {RunbookId("restart-container"): timedelta(minutes=10)}
    found = shadow.report(decisions, incidents, took, START)
    assert [line.saved for line in found.lines] == [timedelta(minutes=50), None, None, timedelta(minutes=50)]
    assert (found.saved, found.ready) == (timedelta(minutes=100), ())
    guess = shadow.report(decisions[:1], incidents, {}, START).lines[0]
    assert (guess.saved, guess.guessed) == (HOUR - PLAN.settle, True)


def test_a_runbook_is_ready_after_three_agreements_and_nothing_else() -> None:
    decisions = [kept(Deed.STARTED, number=n) for n in (1, 2, 3)]
    incidents = {IncidentId(f"I{n}"): incident(n) for n in range(1, 5)}
    assert shadow.report(decisions, incidents, {}, START).ready == ("restart-container",)
    assert shadow.report([*decisions, kept(number=4)], incidents, {}, START).ready == ()
    assert shadow.report(decisions[:2], incidents, {}, START).ready == ()


def test_every_remedy_that_leaves_a_trace_is_one_of_the_catalogue() -> None:
    assert set(shadow.LEAVES) <= {runbook.id for runbook in shipped.runbooks()}


@pytest.mark.parametrize("code", list(HoldCode))
def test_only_what_nobody_but_a_mode_holds_back_is_kept(code: HoldCode) -> None:
    hold = Hold(code=code, because="", until="", look_again=HOUR, would=PLAN)
    assert shadow.is_kept(hold) is (code in (HoldCode.OBSERVING, HoldCode.SUGGESTED, HoldCode.DRY_RUN))
    assert not shadow.is_kept(replace(hold, would=None))
