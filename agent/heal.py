"""START HERE. The durable workflow of one incident, from the first SICK verdict to WELL or hand-over.

In: an incident that `sweep` (or a person) opened. Out: it is healed, recovered, held or escalated, and every fact on the
way is in the store. This module only orders the steps; each step is one public function under `agent/steps/`, and they do
not know one another. The engine remembers each step's value, so after a crash the story goes on where it was.

    diagnose ─ plan ─┬─ Plan ──── apply ─ settle ─ verify ─ weigh ─┬─ WELL ── close
                     │                                             ├─ harm ── undo, then the next attempt
                     │                                             └─ else ── the next attempt
                     ├─ Hold ──── people are shown what would be done, where only their word is missing;
                     │            the round ends; the sweep starts the next one when its time has come
                     └─ Refusal ─ escalate (budget spent, nothing known helps, cannot see ...)
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

from agent import (
    berths,
    breakers,
    closing,
    foreign,
    gate,
    incident_at_hand,
    look,
    neighbourhood,
    notices,
    recall,
    shadow,
    standing,
)
from agent.errors import StoreError
from agent.model import (
    Attempt,
    Berth,
    Choice,
    Closing,
    Decision,
    Diagnosis,
    Ending,
    Findings,
    Health,
    Hold,
    HoldCode,
    Incident,
    IncidentId,
    Others,
    Outcome,
    Plan,
    Question,
    Recorded,
    Refusal,
    RefusalCode,
    Remembered,
    Risk,
    Runbook,
    RunEnd,
    Service,
    Standing,
    StoryKind,
    Verdict,
)
from agent.policy import (
    advice,
    alive,
    breaker,
    holds,
    limits,
    memory,
    neighbours,
    permission,
    replicas,
    restarts,
    spot,
    ties,
)
from agent.ports import Engine, Room, World
from agent.steps import apply, diagnose, escalate, plan, propose, undo, verify, weigh

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Around:
    """What lies around a service: looked at once an attempt, for whether a model is worth asking and for the plan.

    All looks cost the network: at up to 200 other services, at the groups of its fleet, at what Docker on its host allows.
    `apply` looks anew.
    """

    others: Others
    berth: Berth | None
    refused: tuple[str, ...]


def heal(incident_id: IncidentId, engine: Engine, world: World) -> Ending:
    """Carry one incident to its end, or to a Hold, which ends this round. Safe to run again after a crash.

    Raises StoreError when the store is away: nothing may be done without a row, and the sweep starts the next round.
    """
    with incident_at_hand.working_on(incident_id):
        try:
            return _story(incident_id, engine, world)
        except StoreError:
            raise
        except Exception as bug:
            # One of the places that catch bugs: an incident must never go silent because Medic stumbled.
            logger.exception("heal met a bug", extra={"incident": incident_id})
            refusal = Refusal(code=RefusalCode.UNEXPECTED, because=f"Medic itself failed: {type(bug).__name__}: {bug}")
            return engine.step("hand over after a bug", lambda: _escalate(incident_id, refusal, world))


def _story(incident_id: IncidentId, engine: Engine, world: World) -> Ending:
    incident = engine.step("read the incident", lambda: _incident(incident_id, world))
    service = engine.step("read the service", lambda: world.store.services.service(incident.service))
    if service is None:
        return engine.step("escalate", lambda: _escalate(incident_id, _no_service(incident), world))
    ending = None
    number = len(incident.attempts)
    if incident.cut is not None:  # an earlier round ended in the middle of it
        ending = _carry_out(incident, number, incident.cut.plan, incident.first, service, engine, world)
    elif neighbours.owes_undo(incident):  # an earlier round was halted before it
        ending = _take_back(incident, incident.attempts[-1], incident.first, service, engine, world)
        ending = ending or _carried_out(incident, number, engine, world)
    while ending is None:  # ends at the latest when `plan` refuses because the attempts are spent
        number += 1
        ending = _one_attempt(incident, number, service, engine, world)
    return ending


def _one_attempt(incident: Incident, number: int, service: Service, engine: Engine, world: World) -> Ending | None:
    """Diagnose, choose, carry out, once. Return how the incident ended, or None to go on with the next attempt."""
    id_ = incident.id
    around = functools.cache(lambda: _look_around(id_, service, world))
    findings = engine.step(f"diagnose {number}", lambda: _diagnose(id_, number, service, around, world))
    if findings.evidence.verdict.health is Health.WELL and incident.requested is None:
        return engine.step(f"recovered {number}", lambda: _recovered(id_, service, world))

    decision = engine.step(f"plan {number}", lambda: _plan(id_, service, findings, around, world))
    match decision:
        case Hold():
            if decision.would is not None and decision.code is not HoldCode.OBSERVING:
                engine.step(f"propose {number}", lambda: _propose(id_, number, decision, service, world))
            return engine.step(f"hold {number}", lambda: _hold(id_, decision, world))
        case Refusal():
            return engine.step(f"escalate {number}", lambda: _escalate(id_, decision, world))
        case Plan():
            return _carry_out(incident, number, decision, findings.evidence.verdict, service, engine, world)


def _carry_out(
    incident: Incident, number: int, chosen: Plan, before: Verdict, service: Service, engine: Engine, world: World
) -> Ending | None:
    """Apply, settle, verify, weigh, and take back what did harm. Return as `_one_attempt` does."""
    id_ = incident.id
    attempt = engine.step(f"apply {number}", lambda: _apply(id_, number, chosen, service, world))
    if isinstance(attempt, Hold):
        no_room = attempt
        return engine.step(f"hold {number}", lambda: _hold(id_, no_room, world))
    if isinstance(attempt, Refusal):
        stays = attempt
        return engine.step(f"escalate {number}", lambda: _escalate(id_, stays, world))
    if attempt.outcome is Outcome.SUPERSEDED:
        return engine.step(f"recovered {number}", lambda: _close(id_, Closing.RECOVERED, world))
    if attempt.outcome is Outcome.CANCELLED:
        return None  # `plan` sees what cancelled it (halted, cannot look) and holds

    engine.sleep(f"settle {number}", chosen.settle)
    engine.step(f"verify {number}", lambda: _verify(incident, number, service, before, world))
    attempt = engine.step(f"weigh {number}", lambda: _weigh(id_, number, before, service, world))
    if attempt.harm is None and attempt.outcome is Outcome.HEALED:
        return engine.step(f"close {number}", lambda: _close(id_, Closing.HEALED, world))
    ending = None if attempt.harm is None else _take_back(incident, attempt, before, service, engine, world)
    return ending or _carried_out(incident, number, engine, world)


def _carried_out(incident: Incident, number: int, engine: Engine, world: World) -> Ending | None:
    """Close what a person asked for: it is done once, whatever came of it. None where nobody asked."""
    if incident.requested is None:
        return None
    return engine.step(f"close {number}", lambda: _close(incident.id, Closing.CARRIED_OUT, world))


def _take_back(
    incident: Incident, attempt: Attempt, before: Verdict, service: Service, engine: Engine, world: World
) -> Ending | None:
    """Undo an attempt that did harm. Return how the round ended, or None to go on with the next attempt."""
    id_, number = incident.id, attempt.number
    if attempt.plan.undo is not None:
        attempt = engine.step(f"undo {number}", lambda: _undo(id_, number, before, service, world))
        if attempt.undo is None:
            return engine.step(
                f"hold the undo {number}", lambda: _hold(id_, holds.undo_owed(world.kill_switch.halted()), world)
            )
    refusal = neighbours.beyond_undo(attempt, before)
    if refusal is None:
        return None
    return engine.step(f"hand over the harm {number}", lambda: _escalate(id_, refusal, world))


# Each function below hands one step the few parts of the world that it uses.


def _incident(incident_id: IncidentId, world: World) -> Incident:
    incident = world.store.incidents.get(incident_id)
    if incident is None:
        raise LookupError(f"cannot read incident {incident_id!r}: it is not in the store")
    return incident


def _diagnose(incident_id: IncidentId, number: int, service: Service, around: Callable[[], _Around], world: World) -> Findings:
    verdict = look.steadily(service, world.prober, world.clock)
    findings = diagnose.explain(
        service,
        incident_id,
        number,
        verdict,
        world.store.services.record(service.name),
        containers=world.containers,
        files=world.files,
        bundles=world.bundles,
        rules=world.rules,
        redact=world.redact,
        clock=world.clock,
        second_opinion=lambda ruled, doubt: _second_opinion(incident_id, number, service, ruled, doubt, around, world),
        past=lambda ruled: _past(incident_id, ruled, world),
    )
    if verdict.health is not Health.WELL:
        _tell_past(incident_id, service, world)
        _explain(incident_id, service, findings.diagnosis, number, world)
    return findings


def _second_opinion(
    incident_id: IncidentId,
    number: int,
    service: Service,
    ruled: Findings,
    doubt: str,
    around: Callable[[], _Around],
    world: World,
) -> Diagnosis | None:
    """Ask the model, where there is one, the service is sick, and its answer could matter to what is decided."""
    incident, evidence, runbooks = _incident(incident_id, world), ruled.evidence, world.runbooks
    if world.advisor is None or incident.requested is not None or evidence.verdict.health is not Health.SICK:
        return None
    decision = plan.choose(incident, service, ruled, runbooks, _standing(service, incident_id, runbooks, around(), world))
    if not advice.worth_asking(decision, number, world.advisor.asks):
        return None
    recent = world.store.incidents.recent(service=service.name, limit=recall.HISTORY)
    question = Question(
        service=service,
        number=number,
        evidence=evidence,
        ruled=ruled.diagnosis,
        doubt=doubt,
        attempts=incident.attempts,
        history=tuple(each for each in recent if each.id != incident_id),
        remembered=_remembered(incident_id, world),
        runbooks=runbooks,
        services=world.store.services.services(),
    )
    return world.advisor.advise(question)


def _remembered(incident_id: IncidentId, world: World) -> Remembered:
    rule, now = world.fleet_limits.memory, world.clock.now()
    fingerprint = _incident(incident_id, world).fingerprint
    return recall.trouble(fingerprint, store=world.store, rule=rule, now=now, besides=incident_id)


def _past(incident_id: IncidentId, ruled: Diagnosis, world: World) -> str | None:
    episode, runbooks = _remembered(incident_id, world).episode, world.runbooks
    remedies = memory.of_now(episode.remedies, runbooks) if episode is not None else ()
    return memory.doubts(ruled, remedies, runbooks, world.fleet_limits.memory)


def _tell_past(incident_id: IncidentId, service: Service, world: World) -> None:
    """Say once what is remembered of this trouble, and what people noted on it."""
    remembered = _remembered(incident_id, world)
    said = [f"{note.by} noted on {note.at:%Y-%m-%d}: {note.text}" for note in remembered.notes]
    if remembered.episode is not None:
        said.insert(0, memory.sentence(remembered.episode, world.fleet_limits.memory))
    if said:
        text = "; ".join(said)
        now = world.clock.now()
        world.store.story.tell(incident_id, service.name, StoryKind.RECALLED, text, now=now, key="recalled")


def _explain(incident_id: IncidentId, service: Service, diagnosis: Diagnosis, number: int, world: World) -> None:
    """Keep the diagnosis, and tell it unless it is the one that was told before."""
    before = _incident(incident_id, world).diagnosis
    if before is None or _gist(before) != _gist(diagnosis):
        text = f"{diagnosis.cause.value}: {diagnosis.summary}"
        if diagnosis.consultation is not None:
            text += f" ({diagnosis.consultation.came_of_it})"
        world.store.story.tell(
            incident_id, service.name, StoryKind.EXPLAINED, text, now=world.clock.now(), key=f"explained {number}"
        )
    world.store.incidents.keep_diagnosis(incident_id, diagnosis)


def _gist(diagnosis: Diagnosis) -> tuple[object, ...]:
    """Return what people are told of a diagnosis: equal ones are told once."""
    asked = diagnosis.consultation
    return diagnosis.cause, diagnosis.summary, None if asked is None else asked.came_of_it


def _plan(
    incident_id: IncidentId, service: Service, findings: Findings, around: Callable[[], _Around], world: World
) -> Decision:
    evidence = findings.evidence
    foreign.note(service, evidence.events, evidence.container, store=world.store, now=world.clock.now())
    runbooks = world.runbooks
    now = _standing(service, incident_id, runbooks, around(), world)
    _tell_restarts(incident_id, service, now, world)
    incident = _incident(incident_id, world)
    decision = plan.choose(incident, service, findings, runbooks, now)
    if isinstance(decision, Hold):
        shadow.decided(incident, decision, service, evidence, files=world.files, store=world.store)
    edited = world.catalogue.changed(decision) if isinstance(decision, Plan) else None
    return decision if edited is None else holds.edited(edited)


def _standing(
    service: Service, incident_id: IncidentId, runbooks: tuple[Runbook, ...], around: _Around, world: World
) -> Standing:
    return standing.read(
        service,
        incident_id,
        store=world.store,
        kill_switch=world.kill_switch,
        good_copies=world.good_copies,
        permissions=world.permissions,
        runbooks=runbooks,
        fleet_limits=world.fleet_limits,
        others=around.others,
        berth=around.berth,
        refused=around.refused,
        replacement_limits=None if world.fleet is None else world.fleet.replacements,
        clock=world.clock,
    )


def _tell_restarts(incident_id: IncidentId, service: Service, now: Standing, world: World) -> None:
    """Say it once where others restarted the service of late: what Medic sees is then not its own doing alone."""
    since = now.now - restarts.KEEPS_WITHIN
    ours = sum(action.service == service.name and action.at > since for action in now.actions)
    text = restarts.sentence(now.restarts, ours, now.now)
    if text is not None:
        world.store.story.tell(incident_id, service.name, StoryKind.EXPLAINED, text, now=now.now, key="restarts")


def _recovered(incident_id: IncidentId, service: Service, world: World) -> Ending:
    """Close it, unless the service comes and goes: then this one incident stays open until it is steady."""
    now = standing.of_hold(
        service, store=world.store, kill_switch=world.kill_switch, fleet_limits=world.fleet_limits, clock=world.clock
    )
    flaps = alive.flapping(now) or alive.looping(now)
    return _close(incident_id, Closing.RECOVERED, world) if flaps is None else _hold(incident_id, flaps, world)


def _hold(incident_id: IncidentId, hold: Hold, world: World) -> Ending:
    incident = _incident(incident_id, world)
    now = world.clock.now()
    if hold.code is HoldCode.STOPPED_ON_PURPOSE:
        world.store.services.set_status(incident.service, Recorded.STOPPED, by=hold.because, diagnostic="", now=now)
    if incident.hold is None or (incident.hold.code, incident.hold.because) != (hold.code, hold.because):
        text = f"{hold.code.value}: {hold.because}; until {hold.until}"
        world.store.story.tell(incident_id, incident.service, StoryKind.HELD, text, now=now, key=f"hold {incident.round}")
    world.store.incidents.hold(incident_id, hold, until=now + hold.look_again)
    return Ending.HELD


def _propose(incident_id: IncidentId, number: int, hold: Hold, service: Service, world: World) -> None:
    if hold.would is not None:
        propose.to_people(
            _incident(incident_id, world),
            number,
            hold,
            hold.would,
            service,
            store=world.store,
            playbooks=world.playbooks,
            bundles=world.bundles,
            gate=gate.of(world),
            permissions=world.permissions,
            channels=world.channels,
            clock=world.clock,
            choice=_choice(hold.would, service, world),
        )


def _choice(chosen: Plan, service: Service, world: World) -> Choice | None:
    """Return what else could be done about a host of a fleet, and what each way costs; None for every other plan."""
    stands = None if chosen.fleet is None else berths.berth(service.host, world.fleet, world.store)
    if chosen.fleet is None or stands is None or world.fleet is None:
        return None
    return berths.choice(chosen.fleet, service, stands, world.fleet, world.store)


def _hand_over(
    incident_id: IncidentId, number: int, chosen: Plan, service: Service, world: World
) -> Callable[[], Hold | Refusal] | None:
    """Return what carries a plan out that no playbook does: the drain of its host. None for every other plan."""
    fleet = world.fleet
    if chosen.fleet is None:
        return None
    if fleet is None:
        gone = Refusal(code=RefusalCode.NO_TARGET, because=f"{service.host} is a host of no fleet that this Medic knows")
        return lambda: gone

    def give_up() -> Hold | Refusal:
        incident = _incident(incident_id, world)
        serves = replicas.answers(look.at(service, world.prober, world.clock))
        return berths.hand_over(incident, number, chosen, serves=serves, fleet=fleet, store=world.store, clock=world.clock)

    return give_up


def _apply(incident_id: IncidentId, number: int, chosen: Plan, service: Service, world: World) -> Attempt | Hold | Refusal:
    incident = _incident(incident_id, world)
    attempt = apply.carry_out(
        incident,
        number,
        chosen,
        service,
        _bystanders(chosen, world),
        _changed(chosen, service, world),
        prober=world.prober,
        playbooks=world.playbooks,
        attempts=world.store.attempts,
        story=world.store.story,
        gate=gate.of(world),
        clock=world.clock,
        room=_room(service, world),
        lapsed=lambda: _why_not_any_more(incident, number, chosen, service, world),
        hand_over=_hand_over(incident_id, number, chosen, service, world),
    )
    if not isinstance(attempt, Attempt):
        return attempt
    if chosen.risk is not Risk.SAFE and attempt.run is not None and attempt.run.end is not RunEnd.NOT_RUN:
        world.store.outbox.post(notices.acted(incident, attempt, now=world.clock.now()), world.channels)
    return attempt


def _why_not_any_more(incident: Incident, number: int, chosen: Plan, service: Service, world: World) -> str | None:
    """Return what has come between the plan and its first change: an edit, and where no person asked, what only holds those."""
    changed = world.catalogue.changed(chosen)
    now = world.clock.now()
    if changed is not None or incident.requested is not None:
        return changed or permission.lapsed(chosen, number, world.store.approvals.of(incident.id), now)
    open_ = breaker.over(service, world.store.breakers.standing())
    silence = standing.silence(service.name, world.store, now)
    window = standing.window(service, world.fleet_limits, now)
    doomed = spot.doomed(world.store.departures.standing(), service.host)
    return (
        permission.lapsed(chosen, number, world.store.approvals.of(incident.id), now)
        or (None if open_ is None else f"the breaker of {open_.scope} has opened")
        or (None if silence is None else f"{silence.by} silenced it: {silence.why}")
        or (None if window is None else f"a maintenance window began: {window[1]}")
        or (None if doomed is None else doomed.because)
        or _who_else(incident, service, world)
    )


def _who_else(incident: Incident, service: Service, world: World) -> str | None:
    """Look round once more: what fails together may have begun to fail since the plan was made."""
    wait = breaker.wait(incident, _others(incident, service, world), world.clock.now())
    return None if wait is None else wait.because


def _look_around(incident_id: IncidentId, service: Service, world: World) -> _Around:
    return _Around(
        others=_others(_incident(incident_id, world), service, world),
        berth=berths.berth(service.host, world.fleet, world.store),
        refused=standing.refused(service, world.containers, world.permissions),
    )


def _others(incident: Incident, service: Service, world: World) -> Others:
    return breakers.others(
        service,
        incident,
        lambda near: neighbourhood.look_bad(near, world.prober),
        store=world.store,
        rule=world.fleet_limits.breaker,
        clock=world.clock,
    )


def _room(service: Service, world: World) -> Room:
    budget, now = world.fleet_limits.budget, world.clock.now()
    return Room(
        since=limits.counted_since(service, budget, now),
        none_left=lambda actions: limits.no_room(actions, service, budget, now),
    )


def _verify(incident: Incident, number: int, service: Service, before: Verdict, world: World) -> Attempt:
    attempt = verify.confirm(
        _attempt(incident.id, number, world),
        service,
        opened_by=incident.first,
        before=before,
        prober=world.prober,
        attempts=world.store.attempts,
        story=world.store.story,
        clock=world.clock,
    )
    if attempt.outcome is not None and attempt.outcome.failed:
        _take_out_of_service(attempt, service, world)
    return attempt


def _take_out_of_service(attempt: Attempt, service: Service, world: World) -> None:
    """Where this failure was one too many on different services, nobody gets this runbook until a person has looked."""
    runbook, now = attempt.plan.runbook, world.clock.now()
    row = breakers.take_out(runbook, store=world.store, rule=world.fleet_limits.runbooks, now=now)
    if row is not None:
        text = f"{runbook} is out of service: {row.because}"
        key = f"out-of-service {attempt.number}"
        world.store.story.tell(attempt.incident, service.name, StoryKind.DEMOTED, text, now=now, key=key)


def _bystanders(plan: Plan, world: World) -> tuple[Service, ...]:
    """Return the services to be looked at around an attempt; none for a runbook that cannot reach beside its own."""
    runbook = _runbook(plan, world)
    if runbook is not None and not neighbours.within_reach(runbook):
        return ()
    sick = {incident.service for incident in world.store.incidents.unclosed()}
    return neighbourhood.supposed_to_run(world.store.services.services(), world.store.services.records(), sick)


def _changed(plan: Plan, service: Service, world: World) -> frozenset[str]:
    runbook = _runbook(plan, world)
    return frozenset({service.container}) if runbook is None else ties.touched(runbook, service)


def _runbook(plan: Plan, world: World) -> Runbook | None:
    return next((runbook for runbook in world.runbooks if runbook.id == plan.runbook), None)


def _weigh(incident_id: IncidentId, number: int, before: Verdict, service: Service, world: World) -> Attempt:
    attempt = _attempt(incident_id, number, world)
    return weigh.judge(
        attempt,
        service,
        before,
        neighbourhood.supposed_to_run(world.store.services.services(), world.store.services.records()),
        prober=world.prober,
        containers=world.containers,
        attempts=world.store.attempts,
        runbook_standing=world.store.runbook_standing,
        story=world.store.story,
        clock=world.clock,
    )


def _undo(incident_id: IncidentId, number: int, before: Verdict, service: Service, world: World) -> Attempt:
    attempt = _attempt(incident_id, number, world)
    harmed = {verdict.service for verdict in attempt.harm.neighbours} if attempt.harm else set()
    return undo.take_back(
        attempt,
        service,
        world.catalogue,
        before,
        tuple(each for each in world.store.services.services() if each.name in harmed),
        prober=world.prober,
        playbooks=world.playbooks,
        attempts=world.store.attempts,
        story=world.store.story,
        gate=gate.of(world),
        clock=world.clock,
    )


def _no_service(incident: Incident) -> Refusal:
    if breaker.is_scope(incident.service):
        return Refusal(code=RefusalCode.FAILED_TOGETHER, because=incident.first.judgements[0].detail)
    if incident.first.health is Health.UNKNOWN:  # an incident about a host that Medic cannot look at
        return Refusal(code=RefusalCode.CANNOT_SEE, because="; ".join(incident.first.reasons))
    return Refusal(code=RefusalCode.NO_TARGET, because=f"service {incident.service!r} is no longer declared")


def _attempt(incident_id: IncidentId, number: int, world: World) -> Attempt:
    return next(attempt for attempt in _incident(incident_id, world).attempts if attempt.number == number)


def _escalate(incident_id: IncidentId, refusal: Refusal, world: World) -> Ending:
    incident = _incident(incident_id, world)
    escalate.hand_over(
        incident,
        world.store.services.service(incident.service),
        refusal,
        store=world.store,
        bundles=world.bundles,
        reports=world.reports,
        channels=world.channels,
        clock=world.clock,
    )
    return Ending.ESCALATED


def _close(incident_id: IncidentId, how: Closing, world: World) -> Ending:
    incident = _incident(incident_id, world)
    if how is Closing.RECOVERED:
        closing.recovered(incident, world)
        return Ending.RECOVERED
    closing.close(incident, how, by="medic", store=world.store, channels=world.channels, clock=world.clock)
    return Ending.HEALED if how is Closing.HEALED else Ending.RECOVERED
