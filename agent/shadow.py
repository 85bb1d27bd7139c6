"""Keeps decisions that are not carried out, and what became of them without Medic.

In: a decision that a mode or a dry run holds back, and later the end of its incident. Out: rows in the store, which a restart does
not lose, and the report over them. Looking is all it does; `policy/shadow.py` judges.
"""

from datetime import datetime, timedelta

from agent import foreign
from agent.errors import OutsideError
from agent.model import Evidence, Hold, Incident, Origin, Service, ServiceName, Shadow, ShadowEnd, ShadowReport
from agent.policy import restarts
from agent.policy import shadow as rules
from agent.ports import Containers, HostFiles, Store

USUAL_OF = timedelta(days=180)
"""How far back attempts say how long a runbook takes."""


def decided(incident: Incident, hold: Hold, service: Service, evidence: Evidence, *, files: HostFiles, store: Store) -> None:
    """Keep what would have been done, where a Hold keeps it back; the first decision of an incident stands."""
    if hold.would is None or not rules.is_kept(hold):
        return
    store.shadows.decided(
        Shadow(
            incident=incident.id,
            service=incident.service,
            at=evidence.at,
            code=hold.code,
            plan=hold.would,
            before=evidence.container,
            config=_config(service, files),
        )
    )


def ended(
    incident: Incident, service: Service | None, *, containers: Containers, files: HostFiles, store: Store, now: datetime
) -> None:
    """Keep what others did until the service was well again, where Medic had only watched. Raises StoreError."""
    shadow = store.shadows.of(incident.id)
    if shadow is None or shadow.ended is not None or service is None:
        return
    found, by = None, ""
    try:
        after = containers.inspect(service.host, service.container)
        events = containers.events(service.host, service.container, since=now - foreign.EVENTS_OF)
        foreign.note(service, events, after, store=store, now=now)
        since = store.foreign_restarts.since(service.host, service.container, incident.opened_at)
        found, by = rules.deeds(shadow.before, after, (shadow.config, _config(service, files))), restarts.named(since)
    except OutsideError:
        pass  # what cannot be seen is told as that
    if shadow.before is None:
        found = None
    asked = store.incidents.recent(service=incident.service, limit=50)
    ran = tuple(
        attempt.plan.runbook
        for each in asked
        if each.origin is Origin.PERSON and each.opened_at >= incident.opened_at
        for attempt in each.attempts
        if attempt.outcome is None or attempt.outcome.counts
    )
    store.shadows.ended(incident.id, ShadowEnd(at=now, deeds=found, by=by, ran=ran))


def report(store: Store, since: datetime, now: datetime, service: ServiceName | None = None) -> ShadowReport:
    """Return what Medic would have done since then, beside what others did."""
    shadows = [each for each in store.shadows.since(since) if service in (None, each.service)]
    found = {each.incident: store.incidents.get(each.incident) for each in shadows}
    incidents = {id_: incident for id_, incident in found.items() if incident is not None}
    return rules.report(shadows, incidents, rules.usual(store.incidents.opened_since(now - USUAL_OF)), since)


def _config(service: Service, files: HostFiles) -> str | None:
    if service.config_file is None:
        return None
    try:
        return files.digest(service.host, service.config_file.path) or "no file"
    except OutsideError:
        return None
