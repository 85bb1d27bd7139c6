"""What `plan` never does, whatever is seen and whatever has been: over the runbooks that ship."""

from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from agent import runbook_file
from agent.model import Cause, ContainerState, Hold, HoldCode, Outcome, Plan, Sureness
from tests.cases import test_plan as cases

PLANES = ("container", "direct", "host-port", "engine", "nginx", "public")
SAYS = st.one_of(
    st.sampled_from(("well", "sick", "unknown")),
    st.lists(st.sampled_from(runbook_file.SYMPTOMS), min_size=1, max_size=2, unique=True),
)
TRIED = st.tuples(
    st.sampled_from(("start-container", "restart-container", "recreate-container")),
    st.sampled_from([outcome.value for outcome in Outcome]),
).map(list)
REASONS: dict[str, Any] = {
    "halted": "ada",
    "silence": "moving",
    "parents_down": ["db is sick"],
    "others_failing": ["api", "cart"],
    "heals": 99,
    "saved": False,
}
WORLDS = st.builds(
    lambda planes, container, diagnosis, tried, reasons: {
        "planes": planes,
        "container": container,
        "diagnosis": list(diagnosis),
        "tried": tried,
        **{reason: REASONS[reason] for reason in reasons},
    },
    # What is WELL as a whole never comes to `plan`: heal closes it as recovered.
    st.dictionaries(st.sampled_from(PLANES), SAYS, min_size=1, max_size=4).filter(
        lambda planes: any(said != "well" for said in planes.values())
    ),
    st.sampled_from(("running", "exited", *(state.value for state in ContainerState))),
    st.tuples(st.sampled_from([cause.value for cause in Cause]), st.sampled_from([each.value for each in Sureness])),
    st.just([]) | st.lists(TRIED, max_size=3),
    st.just(frozenset[str]()) | st.frozensets(st.sampled_from(sorted(REASONS)), max_size=2),
)
MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def counted(told: dict[str, Any]) -> list[str]:
    return [runbook for runbook, outcome in told["tried"] if Outcome(outcome).counts]


@MANY
@given(WORLDS)
def test_a_plan_needs_something_sick_and_no_reason_against_it(told: dict[str, Any]) -> None:
    decision = cases.decide(told)
    event(type(decision).__name__)
    if not isinstance(decision, Plan):
        return
    assert any(said == "sick" or isinstance(said, list) for said in told["planes"].values()), "unknown starts no remedy"
    assert not REASONS.keys() & told.keys() - {"saved"}
    assert told.get("saved", True) or not cases.RUNBOOKS[decision.runbook].evidence_required
    assert len(counted(told)) < 2, "two attempts are all there are"
    assert decision.runbook not in counted(told), "what was tried is not tried again"
    assert decision.runbook_hash == cases.RUNBOOKS[decision.runbook].hash


@MANY
@given(WORLDS)
def test_nothing_goes_before_a_persons_halt(told: dict[str, Any]) -> None:
    decision = cases.decide(told | {"halted": "ada"})
    assert isinstance(decision, Hold)
    assert decision.code is HoldCode.HALTED


@MANY
@given(WORLDS)
def test_the_same_facts_make_the_same_decision_and_a_hold_ends_some_day(told: dict[str, Any]) -> None:
    decision = cases.decide(told)
    assert decision == cases.decide(told)
    if isinstance(decision, Hold):
        assert decision.look_again.total_seconds() > 0
        assert decision.until
