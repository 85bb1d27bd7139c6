"""Budgets: each function returns a `Refusal` when one is spent, or None. Pure."""

from agent.model import Findings, Incident, Outcome, Plan, Refusal, RefusalCode, Runbook, Service


def spent(incident: Incident, service: Service, heals_in_window: int) -> Refusal | None:
    """The attempts of this incident are spent, or the service was healed too often to believe in another heal."""
    limits = service.limits
    counted = [attempt for attempt in incident.attempts if attempt.outcome is None or attempt.outcome.counts]
    if len(counted) >= limits.attempts:
        tried = ", then ".join(_tried(attempt.plan, attempt.outcome) for attempt in counted)
        return Refusal(code=RefusalCode.ATTEMPTS_SPENT, because=f"{len(counted)} attempts did not help: {tried}")
    if not counted and heals_in_window >= limits.heals_in_window:
        hours = limits.window.total_seconds() / 3600
        return Refusal(
            code=RefusalCode.CHRONIC, because=f"healed {heals_in_window} times in {hours:.0f} h: it does not stay well"
        )
    return None


def _tried(plan: Plan, outcome: Outcome | None) -> str:
    return f"{plan.runbook} ({outcome.value if outcome else 'unfinished'})"


def unsaved(findings: Findings, runbooks: tuple[Runbook, ...]) -> Refusal | None:
    """Evidence comes before change: without a saved bundle nothing may run."""
    if findings.saved or not all(runbook.evidence_required for runbook in runbooks):
        return None
    return Refusal(
        code=RefusalCode.NO_EVIDENCE, because=f"evidence could not be saved, so nothing is changed: {findings.why_not_saved}"
    )
