"""What a runbook has earned: whether it acts by itself or asks first. Pure: marks in, an answer out.

Trust belongs to a hash. One changed character makes a runbook that nobody has tested, and it asks first until
`medic runbook test` passes; harm and repeated vain use take trust away, and the same test gives it back. What one service shows
is held against a runbook on that service; only several services that agree make it ask everywhere.
Source: docs/decisions/0006-earned-autonomy.md
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import Runbook, RunbookId, RunbookMark, RunbookMarkKind, RunbookRule, ServiceName


def demoted(
    runbooks: Sequence[Runbook], marks: Sequence[RunbookMark], service: ServiceName, rule: RunbookRule, now: datetime
) -> tuple[RunbookId, ...]:
    """Return the runbooks that ask first on one service."""
    return tuple(runbook.id for runbook in runbooks if why_demoted(runbook, marks, service, rule, now) is not None)


def why_demoted(
    runbook: Runbook, marks: Sequence[RunbookMark], service: ServiceName | None, rule: RunbookRule, now: datetime
) -> str | None:
    """Return why a runbook asks first, as words, or None where it has earned to act.

    marks: in the order they were written, which clock steps do not change; those of other hashes are passed over.
    service: the target; None asks for what holds everywhere.
    """
    ours = [mark for mark in marks if mark.hash == runbook.hash]
    passes = [position for position, mark in enumerate(ours) if mark.kind is RunbookMarkKind.PASSED]
    if runbook.unrehearsed is not None:
        return "it cannot be put to the test"
    if not passes and not runbook.tested:
        return f"it was never tested as it is; `medic runbook test {runbook.id}` does"
    since = ours[passes[-1] + 1 :] if passes else ours
    against = [m for m in since if m.kind is RunbookMarkKind.HARMFUL or m.at >= now - rule.window]
    for mark in against:
        if mark.kind is RunbookMarkKind.HARMFUL and mark.service in (None, service):
            return mark.because
    let_down = {mark.service for mark in against if mark.service is not None}
    if len(let_down) >= rule.ineffective_results:
        return f"it let down {len(let_down)} services: {', '.join(sorted(let_down))}"
    vain = [mark for mark in against if mark.kind is RunbookMarkKind.INEFFECTIVE and mark.service == service]
    if len(vain) >= rule.ineffective_results:
        return f"it did not help {service} {len(vain)} times within {_hours(rule.window)}"
    return None


def where_demoted(
    runbook: Runbook, marks: Sequence[RunbookMark], rule: RunbookRule, now: datetime
) -> tuple[tuple[ServiceName | None, str], ...]:
    """Return where a runbook asks first and why: everywhere (None), or each service where it does; empty where it acts."""
    everywhere = why_demoted(runbook, marks, None, rule, now)
    if everywhere is not None:
        return ((None, everywhere),)
    services = sorted({mark.service for mark in marks if mark.hash == runbook.hash and mark.service is not None})
    found = ((service, why_demoted(runbook, marks, service, rule, now)) for service in services)
    return tuple((service, why) for service, why in found if why is not None)


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g} h"
