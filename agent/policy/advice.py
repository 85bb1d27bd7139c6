"""What a model's answer may do to a decision. Pure. It can lower what Medic does by itself, and never raise it.

Rules and facts come first: a remedy that they choose stays chosen, whatever a model says. Where they find none, the runbook that
a model proposes is looked at like any other, and a person is asked before it runs. docs/decisions/0011-a-model-proposes.md
"""

from collections.abc import Sequence

from agent.model import Asks, Decision, Diagnosis, Hold, Mode, Plan, Refusal, RefusalCode, Risk, Runbook
from agent.policy import permission

_HELPED_BY_AN_ANSWER = frozenset({RefusalCode.NOTHING_KNOWN_HELPS, RefusalCode.NO_TARGET, RefusalCode.LAST_REPLICA})
"""Refusals that another runbook could turn into a plan, or a cause into a better report."""


def worth_asking(decision: Decision, number: int, asks: Asks) -> bool:
    """Say whether a model's answer could matter beside what is decided without it.

    decision: what the rules' answer alone leads to, as attempt `number`. A Hold that no remedy changes needs no cause.
    """
    match decision:
        case Hold():
            return decision.would is not None
        case Refusal():
            return decision.code in _HELPED_BY_AN_ANSWER
        case Plan():
            return asks is Asks.DOUBT or number > 1 or decision.risk is not Risk.SAFE


def at_most(plan: Plan, diagnosis: Diagnosis, runbooks: Sequence[Runbook]) -> Mode:
    """Return how far Medic may go with a plan, for all that a model has to do with it.

    A plan that a model proposed asks. One that facts chose asks too, where the cause that a model names with evidence is one
    that the runbook is never for: rules would refuse it, and a model's word is worth a question.
    """
    consultation = diagnosis.consultation
    if plan.proposed_by:
        proposal = consultation.proposal if consultation is not None else None
        return permission.most_careful((Mode.ASK, proposal.at_most if proposal is not None else Mode.SUGGEST))
    runbook = next((each for each in runbooks if each.id == plan.runbook), None)
    doubted = runbook is not None and consultation is not None and consultation.cause in runbook.never_for
    return Mode.ASK if doubted else Mode.ACT


def is_named_by_model(diagnosis: Diagnosis) -> bool:
    """Say whether the cause is a model's word and not a rule's."""
    return diagnosis.said_by.startswith("model:")
