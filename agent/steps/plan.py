"""plan: what to do about a diagnosed incident. Pure: facts in, a decision out. The one place that grants permission to act.

In: the incident with its attempts, the findings, the catalogue of runbooks, and `Standing` (the past and people's wishes).
Out: `Plan` (carry this out), `Hold` (do nothing now, because) or `Refusal` (nothing may or can be done: people take over).

The order below is the order of the questions: a person's word, can we see, may we act, does anything help. Each rule is a
function of `agent/policy/`.
"""

from agent.model import Decision, Findings, Incident, Runbook, Service, Standing
from agent.policy import holds, ladder, limits


def choose(
    incident: Incident, service: Service, findings: Findings, runbooks: tuple[Runbook, ...], standing: Standing
) -> Decision:
    """Return the decision for one incident at this moment."""
    return (
        holds.halted(standing.halted)
        or incident.requested
        or holds.cannot_see(incident, findings)
        or holds.stopped_on_purpose(incident, findings)
        or holds.warming(service, findings, standing.now)
        or limits.spent(incident, service, standing.heals_in_window)
        or limits.unsaved(findings, runbooks)
        or ladder.remedy(incident, service, findings, runbooks, standing.good_copy)
    )
