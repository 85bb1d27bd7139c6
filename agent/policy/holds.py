"""Reasons to do nothing now: each function returns a `Hold` (or, where looking is what is broken, a `Refusal`), or None.

A Hold spends no attempt and says what would change its mind. Pure: facts, findings and `now` in.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agent.model import (
    ContainerEvent,
    ContainerState,
    Decision,
    Findings,
    Health,
    Hold,
    HoldCode,
    Incident,
    Refusal,
    RefusalCode,
    Service,
    Standing,
    Verdict,
)
from agent.policy import alive, breaker, control, spot

BLIND_FOR = timedelta(seconds=30)
EDITED_FOR = timedelta(seconds=15)
HALTED_FOR = timedelta(seconds=5)
LOOK_AT_LOCK = timedelta(seconds=15)
PARENT_FOR = timedelta(minutes=10)
"""At the latest; the sweep ends this Hold as soon as the parents are well."""
DEPLOY_QUIET = timedelta(seconds=60)
"""A replacement less than this ago is a deploy that may go on."""
MADE = frozenset({"create", "rename"})
"""How a new container comes under a name: `docker run`, or Compose, which makes it under another name first."""
NOT_RUNNING = frozenset(
    {"container-exited", "container-dead", "container-missing", "container-created", "container-paused", "container-restarting"}
)
STOPPED_FOR = timedelta(days=1)
"""Shown to people only: the sweep leaves a stopped service alone until somebody starts it, however long that takes."""


def halted(who: str | None) -> Hold | None:
    """People said stop (`medic halt`)."""
    if who is None:
        return None
    return Hold(code=HoldCode.HALTED, because=who, until="`medic resume`", look_again=HALTED_FOR)


def undo_owed(halted: str | None) -> Hold:
    """An undo was not carried out, since people said stop or Medic was going down: it comes first in the next round."""
    because = halted or "Medic was told to stop"
    until = "`medic resume`" if halted else "Medic runs again"
    return Hold(code=HoldCode.HALTED, because=f"{because}; an undo is owed", until=until, look_again=HALTED_FOR)


def edited(why: str) -> Hold:
    """The files of the runbook are not those that the catalogue was read from: an edit is under way, or cannot be read."""
    until = "its files can be read (the log says what is wrong)"
    return Hold(code=HoldCode.RUNBOOK_EDITED, because=why, until=until, look_again=EDITED_FOR)


def cannot_see(incident: Incident, findings: Findings) -> Decision | None:
    """No check could look: never a ground to act. Where that opened the incident, people mend the monitoring."""
    verdict = findings.evidence.verdict
    if verdict.health is not Health.UNKNOWN:
        return None
    because = "; ".join(verdict.reasons) or "no check could look"
    if incident.first.health is Health.UNKNOWN:
        # The streak of UNKNOWN opened this incident: the monitoring is what is broken, and people mend that.
        return Refusal(code=RefusalCode.CANNOT_SEE, because=because)
    return Hold(code=HoldCode.MONITOR_BLIND, because=because, until="a check can look again", look_again=BLIND_FOR)


def stopped_on_purpose(incident: Incident, findings: Findings) -> Hold | None:
    """Somebody else than Medic told Docker to stop the container."""
    container = findings.evidence.container
    if container is None or container.state not in (ContainerState.EXITED, ContainerState.MISSING):
        return None
    ours = tuple((attempt.intent_at, attempt.ran_until) for attempt in incident.attempts)
    stop = stop_by_others(findings.evidence.events, ours=ours, removed=container.state is ContainerState.MISSING)
    if stop is None:
        return None
    return Hold(
        code=HoldCode.STOPPED_ON_PURPOSE,
        because=f"Docker was told to {stop.action} it at {stop.at:%H:%M:%S} UTC, and not by Medic",
        until="a person starts the container",
        look_again=STOPPED_FOR,
    )


def quarantined(findings: Findings) -> Decision | None:
    """The host is marked as one that gets no work: nothing is done to its services until people lift that."""
    found = next((fact for fact in findings.evidence.on_host if fact.name == "host"), None)
    if found is None:
        return None
    if found.value == "quarantined":
        return Refusal(code=RefusalCode.QUARANTINED, because=found.detail)
    return Hold(code=HoldCode.MONITOR_BLIND, because=found.detail, until="the file can be looked at", look_again=BLIND_FOR)


def silenced(standing: Standing) -> Hold | None:
    """People work on it (`medic silence`). When the time is up everything is decided afresh; nothing is replayed."""
    silence = standing.silence
    if silence is None:
        return None
    return Hold(
        code=HoldCode.MAINTENANCE,
        because=f"{silence.by} silenced {silence.service or 'every service'}: {silence.why}",
        until=f"{silence.until:%Y-%m-%d %H:%M:%S} UTC, or `medic silence --end {silence.id}`",
        look_again=silence.until - standing.now,
    )


def blind_network(findings: Findings, standing: Standing) -> Hold | None:
    """Everything sick was seen over the network, and the network is Medic's own trouble at this moment."""
    sick = [judgement for judgement in findings.evidence.verdict.judgements if judgement.health is Health.SICK]
    if standing.monitor_blind is None or not all(control.over_the_network(judgement) for judgement in sick):
        return None
    return Hold(
        code=HoldCode.MONITOR_BLIND,
        because=standing.monitor_blind,
        until="a control target answers again",
        look_again=BLIND_FOR,
    )


def deploying(findings: Findings, standing: Standing) -> Hold | None:
    """Somebody else replaces the container right now: the declared lock stands, or another was made under its name a moment ago.

    A careful deploy renames the old one away, and Docker's events of the name then tell of no removal; that another one lived
    under the name, or was last WELL, is what tells. Where there is none, nothing was put in its place.
    """
    evidence = findings.evidence
    until = "the deploy is over"
    if evidence.deploying is not None:
        return Hold(code=HoldCode.DEPLOY_IN_PROGRESS, because=evidence.deploying, until=until, look_again=LOOK_AT_LOCK)
    ours = standing.own_changes
    theirs = [event for event in evidence.events if not any(within(event.at, begin, end) for begin, end in ours)]
    recent = [event for event in theirs if standing.now - event.at < DEPLOY_QUIET]
    actions = {event.action for event in recent}
    made = max((event.at for event in recent if event.action in MADE), default=standing.now)
    lived = any(event.action in ("destroy", "start") and event.at < made for event in theirs)
    other = "destroy" in actions or lived or any(change.what == "container" for change in evidence.changes)
    if not (other and actions & MADE) or evidence.container is None or evidence.container.state is ContainerState.MISSING:
        return None
    last = max(event.at for event in recent if event.action in MADE | {"destroy", "start"})
    ago = max(0.0, (standing.now - last).total_seconds())
    return Hold(
        code=HoldCode.DEPLOY_IN_PROGRESS,
        because=f"its container was replaced, not by Medic, {ago:.0f} s ago",
        until=f"{DEPLOY_QUIET.total_seconds():.0f} s have passed without another change",
        look_again=min(last + DEPLOY_QUIET - standing.now, DEPLOY_QUIET),
    )


def parent_down(standing: Standing) -> Hold | None:
    """What it depends on is not well: only the parent is healed, and this one is looked at again when that is done."""
    if not standing.parents_down:
        return None
    return Hold(
        code=HoldCode.PARENT_DOWN,
        because="; ".join(standing.parents_down),
        until="what it depends on is well",
        look_again=PARENT_FOR,
    )


def ended_early(hold: Hold, service: Service, verdict: Verdict, standing: Standing) -> bool:  # noqa: C901  (one case per code)
    """Say whether the reason of a Hold is gone before its time, so that the sweep decides afresh at once.

    verdict: what the sweep sees now. STOPPED_ON_PURPOSE is asked only of a container that runs again.
    """
    match hold.code:
        case HoldCode.MAINTENANCE:
            return standing.silence is None and standing.maintenance is None
        case HoldCode.HALTED:
            return standing.halted is None
        case HoldCode.PARENT_DOWN:
            return not standing.parents_down
        case HoldCode.STOPPED_ON_PURPOSE:
            return True
        case HoldCode.WARMING:
            return any(symptom.word in NOT_RUNNING for symptom in verdict.symptoms)
        case HoldCode.OVERLOAD:
            return not alive.is_overload(verdict)
        case HoldCode.WRONG_PROBE:
            return not alive.is_wrong_probe(service, verdict)
        case HoldCode.FLAPPING:
            return alive.flapping(standing) is None
        case HoldCode.BREAKER_OPEN | HoldCode.OTHERS_FAILING:
            return breaker.is_decided(hold, standing)
        case HoldCode.HOST_DOOMED:
            return spot.doomed(standing.departures, service.host) is None
        case _:
            return False


OWN_SLACK = timedelta(seconds=2)
"""Docker stamps its events with its own clock, and an event of our own restart may come just after the playbook's end."""


DEADLY = ("2", "3", "9", "15")
"""Signals that end a process by default and that people send to end one: INT, QUIT, KILL, TERM. A HUP asks for a reload."""

STOP_TAKES = timedelta(seconds=60)
"""A death later than this after a signal is not that signal's doing."""


def stop_by_others(
    events: Sequence[ContainerEvent], *, ours: Sequence[tuple[datetime, datetime | None]], removed: bool
) -> ContainerEvent | None:
    """Return the event by which somebody else than Medic stopped the container, if that is why it does not run.

    Docker tells `kill` (a signal was sent through its API) before `die`, and `stop` after it, when it was told to stop a
    container; a crash is a `die` alone. A removed container counts as stopped on purpose only after a `stop` (`docker stop`,
    `compose down`): `docker rm -f` of something that should run is not a decision to do without it.
    ours: (begin, end) of our own attempts; their events are not somebody else's. An end of None means "not over".
    Source: events of Docker 20.10, tests/contracts/test_containers.py.
    """
    theirs = [event for event in events if not any(within(event.at, begin, end) for begin, end in ours)]
    starts = [position for position, event in enumerate(theirs) if event.action == "start"]
    last_life = theirs[starts[-1] :] if starts else theirs
    if not any(event.action == "die" for event in last_life):
        return None
    died = next(event.at for event in reversed(last_life) if event.action == "die")
    for event in reversed(last_life):
        killed = event.action == "kill" and event.signal in DEADLY and died - event.at <= STOP_TAKES
        if event.action == "stop" or (killed and not removed):
            return event
    return None


def told_meanwhile(events: Sequence[ContainerEvent], ours: tuple[datetime, datetime | None]) -> bool:
    """Say whether Docker was told to stop, kill or remove a container while one attempt of ours ran."""
    deadly = {"stop", "destroy"}
    told = (e for e in events if e.action in deadly or (e.action == "kill" and e.signal in DEADLY))
    return any(within(event.at, *ours) for event in told)


def within(at: datetime, begin: datetime, end: datetime | None) -> bool:
    """Say whether something happened while an attempt of ours was under way, as far as two clocks can tell."""
    return begin - OWN_SLACK <= at and (end is None or at <= end + OWN_SLACK)
