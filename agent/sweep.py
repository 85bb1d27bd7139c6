"""One beat: look at every due service in one batch, keep the streaks, decide which to heal, leave a report.

In: the enrolled services, a prober, the store. Out: a `SweepReport` in the store, incidents opened or closed, heals started.
`Sweep` remembers between beats only what a restart may forget: when each check was last asked and its last judgement.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from agent import breakers, closing, foreign, labels, look, notices, redact, standing
from agent.errors import OutsideError
from agent.learning import Learning
from agent.metrics import Tally
from agent.model import (
    MEDIC,
    Blind,
    Check,
    ContainerCheck,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    Health,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Judgement,
    Observation,
    Plane,
    ProbeRequest,
    Recorded,
    Service,
    ServiceName,
    ServiceRecord,
    Standing,
    StoryKind,
    Streak,
    SweepReport,
    Symptom,
    Verdict,
)
from agent.policy import alive, breaker, dependencies, deploys, holds, neighbours, permission
from agent.policy import control as control_rules
from agent.policy import streaks as streak_rules
from agent.ports import Workflows, World

logger = logging.getLogger(__name__)

HOST = "host:"
"""Incidents about a host that Medic cannot look at are kept under this prefix: one for the host, not one per service."""
HOST_KEY = "host-key:"
"""Incidents about a host that showed another key than the pinned one, beside one that it cannot be reached."""

BLIND_LOOKS = 3
"""So many sweeps in a row without an answer from a host's engine make an incident of their own."""

CONFIG_LIMIT = 1_048_576
"""Bytes of a configuration file that are kept as its good copy."""

Observed = Mapping[ProbeRequest, Observation]


class Sweep:
    """The batched look of one daemon. One sweep at a time, whoever asks (the beat, an event, a person)."""

    def __init__(
        self,
        world: World,
        workflows: Workflows,
        hosts: Sequence[HostName],
        *,
        discover: bool,
        control: Sequence[ProbeRequest] = (),
        tally: Tally | None = None,
    ) -> None:
        """control: what should always answer; when none of it does, the network is Medic's own trouble. tally: counts looks."""
        self._world = world
        self._workflows = workflows
        self._hosts = tuple(hosts)
        # Of incidents that are about no host; a fleet may have none at this moment.
        self._place = self._hosts[0] if self._hosts else HostName(MEDIC)
        self._discover = discover
        self._one_at_a_time = threading.Lock()
        self._asked_at: dict[tuple[ServiceName, str], datetime] = {}
        self._judged: dict[tuple[ServiceName, str], Judgement] = {}
        self._blind: dict[ServiceName, int] = {}
        """Looks in a row that each trouble of a host has lasted, by the name of its incident."""
        self._last_at = world.clock.now()
        self._control = tuple(control)
        self._tally = tally or Tally()
        self._learning = Learning(world.store.starts)

    def beat(self, slot: int) -> SweepReport:
        """Look at every due service, act on what is seen, and leave a report in the store."""
        with self._one_at_a_time:
            return self._sweep(slot, self._world.store.services.services(), everything_due=slot == 0)

    def nudge(self, service: ServiceName) -> Verdict | None:
        """Look at one service now with all its checks and act on it. Leaves no report. None if it is not enrolled."""
        declared = self._world.store.services.service(service)
        if declared is None:
            return None
        facts = self._let_docker_finish(declared)
        with self._one_at_a_time:
            family = self._with_parents(declared)
            observed = look.hosts([each.host for each in family], self._world.prober)
            verdict = self._look(family, {each.name: each.checks for each in family}, observed)[0].get(declared.name)
        self._note_restarts(declared, facts)
        return verdict

    def _with_parents(self, service: Service) -> tuple[Service, ...]:
        """Return the service and what it depends on: a child is not decided on what its parents were a while ago."""
        known = {each.name: each for each in self._world.store.services.services()} if service.depends_on else {}
        parents = dependencies.parents(service.name, {name: each.depends_on for name, each in known.items()})
        return (*(known[parent] for parent in parents if parent in known), service)

    def heal_now(self, service: Service) -> Verdict:
        """Look at one service now and, if it is SICK, heal it without waiting for its streak: a person asked."""
        with self._one_at_a_time:
            now = self._world.clock.now()
            verdict = look.at(service, self._world.prober, self._world.clock)
            unclosed = [i for i in self._world.store.incidents.unclosed(service.name) if i.requested is None]
            if verdict.health is Health.SICK:
                self._world.store.services.set_status(service.name, Recorded.RUNNING, by="person", diagnostic="", now=now)
                if unclosed and unclosed[0].state is IncidentState.HELD:
                    self._next_round(unclosed[0])
                else:
                    self._sick(service, verdict, unclosed[0] if unclosed else None, now)
            return verdict

    def _let_docker_finish(self, service: Service) -> ContainerFacts | None:
        """Wait until Docker itself has taken in the event that it told of.

        Docker says `die` while it still holds the container's lock, and lists the container as running until it has let go;
        an inspect waits for that lock. Source: moby 20.10, daemon/monitor.go, `ProcessEvent`; measured 10 to 500 ms.
        """
        with contextlib.suppress(OutsideError):  # the look that follows says that it cannot look
            return self._world.containers.inspect(service.host, service.container)
        return None

    def _note_restarts(self, service: Service, facts: ContainerFacts | None) -> None:
        """Keep the restarts by others while Docker still remembers them."""
        world, now = self._world, self._world.clock.now()
        with contextlib.suppress(OutsideError):  # the next event, or the next diagnosis, reads them again
            events = world.containers.events(service.host, service.container, since=now - foreign.EVENTS_OF)
            foreign.note(service, events, facts, store=world.store, now=now)

    # ------------------------------------------------------------------------------------------------------ one sweep

    def _sweep(self, slot: int, services: Sequence[Service], *, everything_due: bool) -> SweepReport:
        started, now = self._world.clock.monotonic(), self._world.clock.now()
        observed = look.hosts(self._hosts, self._world.prober)
        if self._discover:
            services = self._enrol_labelled(services, observed, now)
        due = {service.name: self._due(service, now, everything_due=everything_due) for service in services}
        verdicts, opened = self._look([service for service in services if due[service.name]], due, observed)
        opened += self._watch_hosts(observed, now)
        self._go_on_with_requests(now)

        healths = {name: verdict.health for name, verdict in verdicts.items()}
        report = SweepReport(
            slot=slot,
            at=now,
            took=timedelta(seconds=self._world.clock.monotonic() - started),
            checked=tuple(healths),
            sick=tuple(name for name, health in healths.items() if health is Health.SICK),
            unknown=tuple(name for name, health in healths.items() if health is Health.UNKNOWN),
            opened=tuple(opened),
            healed=self._world.store.incidents.healed_since(self._last_at),
            missing=_missing(services, observed, self._world),
            unrecorded=_unrecorded(services, observed),
            held=self._held(),
        )
        self._last_at = now
        self._world.store.sweeps.keep(report)
        return report

    def _enrol_labelled(self, services: Sequence[Service], observed: Observed, now: datetime) -> Sequence[Service]:
        """Enrol what containers say of themselves. `medic.yaml` wins over a label of the same name."""
        declared = {service.name: service for service in services}
        for found in labels.services(observed):
            if declared.get(found.name, found).origin == labels.ORIGIN:
                if declared.get(found.name) != found:
                    self._world.store.services.enrol(found, now=now)
                declared[found.name] = found
        return tuple(declared.values())

    def _due(self, service: Service, now: datetime, *, everything_due: bool) -> tuple[Check, ...]:
        if everything_due:
            return service.checks
        asked = self._asked_at
        due = {
            check.name
            for check in service.checks
            if streak_rules.due(check, asked.get((service.name, check.name)), now, spread_by=service.name)
        }
        # What Docker says of the container comes with the host's one list: judged along with any other check, so that a
        # verdict never rests on an older container than the one its probes were sent to.
        return tuple(check for check in service.checks if check.name in due or (due and isinstance(check, ContainerCheck)))

    def _look(
        self, services: Sequence[Service], due: Mapping[ServiceName, Sequence[Check]], observed: Observed
    ) -> tuple[dict[ServiceName, Verdict], list[IncidentId]]:
        """Look at `services`, settle each verdict, act on it; return the verdicts and the incidents that were opened.

        All verdicts are settled before the first is acted on, and parents come before their children, so that no child is
        healed for what its parent lacks.
        """
        now = self._world.clock.now()
        judgements = look.at_all(due, services, self._world.prober, observed)
        blind = self._own_network(judgements, now)
        if blind is not None:
            judgements = {name: tuple(_not_trusted(j, blind) for j in judged) for name, judged in judgements.items()}
        unclosed = {
            incident.service: incident for incident in self._world.store.incidents.unclosed() if incident.requested is None
        }
        self._tally.looked([judgement.health for judged in judgements.values() for judgement in judged])
        verdicts, streaks = {}, self._world.store.services.all_streaks()
        facts = {service.name: look.container_of(service, observed) for service in services}
        for service in services:
            asked = {judgement.check: at for judgement, at in self._latest(service)}
            for check, judgement in zip(due[service.name], judgements[service.name], strict=True):
                self._asked_at[service.name, check.name] = now
                self._judged[service.name, check.name] = judgement
            latest = self._latest(service)
            verdicts[service.name] = self._settle(
                service, streaks.get(service.name, ()), judgements[service.name], asked, latest, now
            )
            self._learning.seen(service, verdicts[service.name], facts[service.name], latest, now)
        opened = self._watch_breakers(verdicts, unclosed, facts, now)
        records = {record.service: record for record in self._world.store.services.records()}
        for service in dependencies.parents_first(services):
            verdict, incident = verdicts[service.name], unclosed.get(service.name)
            if blind is not None and verdict.health is Health.UNKNOWN:
                continue  # one incident tells of Medic's own network, not one per service
            if incident is None and verdict.health is not Health.WELL and _saw_nothing_wrong(judgements[service.name]):
                continue
            fresh = self._act(service, verdict, facts[service.name], incident, records.get(service.name), now)
            if fresh is not None:
                opened.append(fresh)
                self._count_detection(facts[service.name])
        return verdicts, opened

    def _count_detection(self, facts: ContainerFacts | Blind) -> None:
        """Count how long ago the container died whose incident was just opened. Of other troubles nobody knows the beginning."""
        if isinstance(facts, ContainerFacts) and facts.state is not ContainerState.RUNNING and facts.finished_at is not None:
            self._tally.detected(self._world.clock.now() - facts.finished_at)

    def _watch_breakers(
        self,
        verdicts: Mapping[ServiceName, Verdict],
        unclosed: Mapping[ServiceName, Incident],
        facts: Mapping[ServiceName, ContainerFacts | Blind],
        now: datetime,
    ) -> list[IncidentId]:
        """Before anything is acted on: stop healing where much fails together, in one incident that names it all."""
        world = self._world
        seen = {name: found for name, found in facts.items() if isinstance(found, ContainerFacts)}
        breakers.trip(
            verdicts,
            unclosed,
            seen,
            lambda service: self._on_purpose(service, seen.get(service.name), now),
            store=world.store,
            rule=world.fleet_limits.breaker,
            now=now,
        )
        opened = []
        for row in world.store.breakers.standing():
            if row.incident is None and breaker.is_scope(row.scope):
                reasons = {name: incident.first for name, incident in unclosed.items()} | dict(verdicts)
                self._open(_as_service(ServiceName(row.scope), self._place), breakers.verdict(row, reasons, now), now)
                correlated = world.store.incidents.unclosed(ServiceName(row.scope))[0].id
                world.store.breakers.names(row.scope, correlated)
                opened.append(correlated)
        return opened

    def _on_purpose(self, service: Service, facts: ContainerFacts | None, now: datetime) -> bool:
        """Say whether Docker was told by others to stop a service, or its Compose project is being brought up or down."""
        world, since = self._world, now - foreign.EVENTS_OF
        try:
            events = world.containers.events(service.host, service.container, since=since)
            name = deploys.project_of(facts, events)
            project = world.containers.project(service.host, name, since=since) if name else None
        except OutsideError:  # who did it is not known: what fails together stays what it looks like
            return False
        removed = facts is None or facts.state is ContainerState.MISSING
        down = removed or (facts is not None and facts.state is ContainerState.EXITED)
        ours = standing.own_changes(service.name, world.store)
        if down and holds.stop_by_others(events, ours=ours, removed=removed) is not None:
            return True
        actions = world.store.attempts.actions_since(since)
        return project is not None and deploys.is_handled(project, actions, service.host, now)

    def _latest(self, service: Service) -> tuple[tuple[Judgement, datetime], ...]:
        """Return the latest judgement of each check of a service that was ever asked, and when that was."""
        keys = [(service.name, check.name) for check in service.checks]
        return tuple((self._judged[key], self._asked_at[key]) for key in keys if key in self._judged)

    def _own_network(self, judgements: Mapping[ServiceName, Sequence[Judgement]], now: datetime) -> str | None:
        """Say why Medic's own network cannot be trusted, None when it can; keep the one incident about it.

        Asked only when a service looks sick over the network, or while that incident is open.
        """
        unclosed = self._world.store.incidents.unclosed(MEDIC) if self._control else ()
        red = any(control_rules.over_the_network(judgement) for judged in judgements.values() for judgement in judged)
        if not self._control or not (red or unclosed):
            return None
        answers = self._world.prober.ask(self._control, look.DEADLINE)
        silent = control_rules.silent(answers)
        if silent is None:
            for over in unclosed:
                closing.recovered(over, self._world)
        elif not unclosed:
            self._open(_as_service(MEDIC, self._place), _blind_verdict(MEDIC, Blind(why=silent), now, "control"), now)
        return silent

    def _settle(
        self,
        service: Service,
        before: Sequence[Streak],
        fresh: Sequence[Judgement],
        asked: Mapping[str, datetime],
        latest: Sequence[tuple[Judgement, datetime]],
        now: datetime,
    ) -> Verdict:
        streaks = streak_rules.advance(before, service.checks, fresh, now, asked)
        if streaks != before:
            self._world.store.services.keep_streaks(service.name, streaks)
        return streak_rules.settled(service, streaks, [judgement for judgement, _ in latest], now)

    # ------------------------------------------------------------------------------------------------- acting on it

    def _act(
        self,
        service: Service,
        verdict: Verdict,
        facts: ContainerFacts | Blind,
        incident: Incident | None,
        record: ServiceRecord | None,
        now: datetime,
    ) -> IncidentId | None:
        """Open, go on with, or close the incident of one service; return it if it was opened."""
        running = isinstance(facts, ContainerFacts) and facts.state is ContainerState.RUNNING
        if record is not None and record.status is Recorded.STOPPED:
            if not running:
                return None  # a person stopped it on purpose: watched and left alone
            self._world.store.services.set_status(
                service.name, Recorded.RUNNING, by="person (started it)", diagnostic="", now=now
            )
        match verdict.health:
            case Health.WELL if incident is not None and (neighbours.owes_undo(incident) or _is_cut(incident)):
                # It got well, and a neighbour paid for it; or what came of its last attempt is still to be found out.
                return self._sick(service, verdict, incident, now)
            case Health.WELL:
                self._well(service, facts, incident, record, now)
                return None
            case Health.SICK:
                return self._sick(service, verdict, incident, now)
            case Health.UNKNOWN if not streak_rules.blind(self._world.store.services.streaks(service.name), service.checks):
                return None  # not known yet: too few looks so far
            case Health.UNKNOWN:
                # A host that cannot be seen at all is one incident of its own (`_watch_hosts`), not one per service.
                return None if isinstance(facts, Blind) else self._sick(service, verdict, incident, now)

    def _well(
        self,
        service: Service,
        facts: ContainerFacts | Blind,
        incident: Incident | None,
        record: ServiceRecord | None,
        now: datetime,
    ) -> None:
        if incident is not None and not self._is_healing(incident):
            now_stands = self._standing(service)
            if alive.looping(now_stands) or (_is_held(incident, HoldCode.FLAPPING) and alive.flapping(now_stands)):
                return  # it comes and goes: this one incident stays open until it is steady
            closing.recovered(incident, self._world)
        if isinstance(facts, ContainerFacts) and incident is None and record is not None:
            self._remember_well(service, facts, record, now)

    def _remember_well(self, service: Service, facts: ContainerFacts, record: ServiceRecord, now: datetime) -> None:
        """Keep how the service looks while it is well: the base of "what changed" and of the last good configuration."""
        store = self._world.store.services
        try:
            digest = self._good_copy(service, facts, record)
        except OutsideError as exc:
            logger.warning("cannot keep a good copy of a configuration", extra={"service": service.name, "cause": str(exc)})
            digest = record.config_hash
        # A container's variables stay as they are for as long as it lives; a list alone does not tell them.
        environment = facts.environment or (record.environment if record.container_id == facts.id else None)
        looked = (record.image_id, record.config_hash, record.container_id, record.environment)
        if record.well_at is None or looked != (facts.image_id, digest, facts.id, environment):
            store.seen_well(
                service.name,
                image_id=facts.image_id,
                config_hash=digest,
                container_id=facts.id,
                environment=environment,
                now=now,
            )

    def _good_copy(self, service: Service, facts: ContainerFacts, record: ServiceRecord) -> str | None:
        """Keep the configuration that the service runs with, and return its digest.

        A file written after the container started is not proven by its being WELL: it may not have been read yet. Of a file
        that holds a secret only the digest is kept.
        """
        if service.config_file is None:
            return None
        files, path = self._world.files, service.config_file.path
        digest = files.digest(service.host, path)
        if digest is None or digest == record.config_hash:
            return record.config_hash
        written = files.modified(service.host, path)
        if facts.started_at is None or written is None or written > facts.started_at:
            return record.config_hash
        content = files.read(service.host, path, limit=CONFIG_LIMIT + 1)
        if content is None or len(content) > CONFIG_LIMIT:
            raise OutsideError(f"cannot keep {path!r}: it is larger than {CONFIG_LIMIT} bytes", transient=False)
        read = hashlib.sha256(content).hexdigest()
        if redact.is_clean(content, self._world.redact):
            self._world.good_copies.keep(service.name, read, content)
        else:
            # A copy of an older file is no good copy any more, and one with a secret in it is not Medic's to keep.
            self._world.good_copies.forget(service.name)
            logger.warning("no good copy: the configuration holds a secret", extra={"service": service.name, "file": path})
        return read

    def _sick(self, service: Service, verdict: Verdict, incident: Incident | None, now: datetime) -> IncidentId | None:
        if incident is None:
            return self._open(service, verdict, now)
        match incident.state:
            case IncidentState.OPEN if not self._is_healing(incident):
                self._next_round(incident)  # its heal ended without an ending: a crash it could not resume from
            case IncidentState.HELD if _has_run_out(incident, now):
                self._next_round(incident)
            case IncidentState.HELD if self._is_answered(incident):
                self._next_round(incident)
            case IncidentState.HELD if incident.hold is not None and holds.ended_early(
                incident.hold, service, verdict, self._standing(service, incident)
            ):
                self._next_round(incident)
            case _:
                pass
        return None

    def _standing(self, service: Service, incident: Incident | None = None) -> Standing:
        world = self._world
        waited_for = None
        if incident is not None and _is_held(incident, HoldCode.OTHERS_FAILING):
            rule = world.fleet_limits.breaker
            # This very beat looked at them: what it left of their streaks is enough.
            waited_for = breakers.others(service, incident, lambda _: (), store=world.store, rule=rule, clock=world.clock)
        return standing.of_hold(
            service,
            store=world.store,
            kill_switch=world.kill_switch,
            fleet_limits=world.fleet_limits,
            clock=world.clock,
            others=waited_for,
        )

    def _held(self) -> tuple[tuple[ServiceName, HoldCode], ...]:
        """Return the services about which nothing is done, and why."""
        unclosed = self._world.store.incidents.unclosed()
        return tuple((i.service, i.hold.code) for i in unclosed if i.state is IncidentState.HELD and i.hold is not None)

    def _open(self, service: Service, verdict: Verdict, now: datetime) -> IncidentId | None:
        fingerprint = streak_rules.fingerprint(service.name, verdict.symptoms)
        incident, fresh = self._world.store.incidents.open(service, verdict, fingerprint=fingerprint, now=now)
        text = "; ".join(verdict.reasons)
        self._world.store.story.tell(incident.id, service.name, StoryKind.SEEN, text, now=now, key="seen")
        if standing.silence(service.name, self._world.store, now) is None:
            self._world.store.outbox.post(notices.opened(incident, now=now), self._world.channels)
        logger.info("incident opened", extra={"service": service.name, "incident": incident.id})
        self._workflows.start(incident.id, incident.round)
        return incident.id if fresh else None

    def _next_round(self, incident: Incident) -> None:
        if _is_held(incident, HoldCode.MAINTENANCE):
            # Nobody was told while people worked on it. Where they were, the notice's key keeps it from coming twice.
            self._world.store.outbox.post(notices.opened(incident, now=self._world.clock.now()), self._world.channels)
        if self._world.store.incidents.next_round(incident.id, expected=incident.round):
            self._workflows.start(incident.id, incident.round + 1)

    def _go_on_with_requests(self, now: datetime) -> None:
        """Start the next round of what was asked for and held: by a halt, with an undo that is owed, or until a person answered."""
        halted = self._world.kill_switch.halted() is not None
        for incident in self._world.store.incidents.unclosed():
            if incident.requested is None or incident.state is not IncidentState.HELD:
                continue
            over = incident.hold_until is None or now >= incident.hold_until
            if over or (_is_held(incident, HoldCode.HALTED) and not halted) or self._is_answered(incident):
                self._next_round(incident)

    def _is_answered(self, incident: Incident) -> bool:
        """A person has answered what this incident waits for; the next round makes of it what it is worth."""
        hold = incident.hold
        if hold is None or hold.code is not HoldCode.AWAITING_APPROVAL or hold.would is None:
            return False
        waits_for = (len(incident.attempts) + 1, permission.digest(hold.would))
        requests = self._world.store.approvals.of(incident.id)
        return any((each.number, each.digest) == waits_for and each.answer is not None for each in requests)

    def _is_healing(self, incident: Incident) -> bool:
        return incident.state is IncidentState.OPEN and incident.id in self._workflows.running()

    # ------------------------------------------------------------------------------------------------------- hosts

    def _watch_hosts(self, observed: Observed, now: datetime) -> list[IncidentId]:
        """One incident for a host that cannot be looked at, another for one that shows a wrong key; closed once it can be.

        A host behind a jump host that is lost has no incident of its own: that of the jump host names it.
        """
        opened = []
        behind = _behind(self._hosts, observed)
        for host in self._hosts:
            seen = observed.get(ContainersRequest(host=host))
            for prefix, check, word, looks in (
                (HOST, "docker", "cannot-look", BLIND_LOOKS),
                (HOST_KEY, "host-key", "host-key-changed", 1),  # nothing but a person can make that right
            ):
                name = ServiceName(f"{prefix}{host}")
                if not isinstance(seen, Blind):
                    self._sees_again(name, looks)
                elif host in behind:
                    continue
                elif seen.security is (prefix == HOST_KEY):
                    self._blind[name] = self._blind.get(name, 0) + 1
                    if self._blind[name] == looks and not self._world.store.incidents.unclosed(name):
                        told = replace(seen, why=_with_those_behind(seen.why, host, behind))
                        incident = self._open(_as_service(name, host), _blind_verdict(name, told, now, check, word), now)
                        opened += [incident] if incident else []
        return opened

    def _sees_again(self, name: ServiceName, looks: int) -> None:
        # The default makes the first look after a restart close what an earlier run left open.
        if self._blind.get(name, looks) >= looks:
            for over in self._world.store.incidents.unclosed(name):
                closing.recovered(over, self._world)
        self._blind[name] = 0


def _containers(host: HostName, observed: Observed) -> tuple[ContainerFacts, ...]:
    seen = observed.get(ContainersRequest(host=host))
    return seen.containers if isinstance(seen, ContainersSeen) else ()


def _behind(hosts: Sequence[HostName], observed: Observed) -> dict[HostName, HostName]:
    """Return the hosts that cannot be looked at because their jump host cannot be used, with that jump host."""
    seen = {host: observed.get(ContainersRequest(host=host)) for host in hosts}
    return {
        host: answer.behind
        for host, answer in seen.items()
        if isinstance(answer, Blind) and answer.behind is not None and answer.behind in seen
    }


def _with_those_behind(why: str, host: HostName, behind: Mapping[HostName, HostName]) -> str:
    lost = sorted(name for name, jump in behind.items() if jump == host)
    return f"{why}; out of sight behind it: {', '.join(lost)}" if lost else why


def _saw_nothing_wrong(fresh: Sequence[Judgement]) -> bool:
    """Say whether this very look was well, so that an older streak alone must not open an incident.

    A heal that ends while a sweep writes leaves that sweep's streak behind: sick by what was seen before the remedy.
    """
    return all(judgement.health is Health.WELL for judgement in fresh)


def _missing(services: Sequence[Service], observed: Observed, world: World) -> tuple[str, ...]:
    """Services recorded as running whose container the host does not have."""
    facts = {service.name: look.container_of(service, observed) for service in services}
    gone = [n for n, f in facts.items() if isinstance(f, ContainerFacts) and f.state is ContainerState.MISSING]
    records = world.store.services.records() if gone else ()
    stopped = {record.service for record in records if record.status is Recorded.STOPPED}
    return tuple(name for name in gone if name not in stopped)


def _unrecorded(services: Sequence[Service], observed: Observed) -> tuple[str, ...]:
    """Containers that ask to be kept well (`medic.enable`) and are no service, with why where their labels are nonsense."""
    known = {(service.host, service.container) for service in services}
    unrecorded = []
    for request in observed:
        if isinstance(request, ContainersRequest):
            for facts in _containers(request.host, observed):
                if (request.host, facts.name) in known:
                    continue
                found = labels.read(facts, request.host)
                if found is not None:
                    unrecorded.append(found if isinstance(found, str) else facts.name)  # a sentence names the container
    return tuple(unrecorded)


def _as_service(name: ServiceName, host: HostName) -> Service:
    return Service(name=name, host=host, container="", checks=(), origin="medic")


def _blind_verdict(name: ServiceName, seen: Blind, now: datetime, check: str, word: str = "cannot-look") -> Verdict:
    symptom = Symptom(word=word, plane=Plane.CONTAINER, detail=seen.why)
    judgement = Judgement(check=check, plane=Plane.CONTAINER, health=Health.UNKNOWN, detail=seen.why, symptoms=(symptom,))
    return Verdict(service=name, health=Health.UNKNOWN, at=now, judgements=(judgement,))


def _not_trusted(judgement: Judgement, why: str) -> Judgement:
    """Return what a sick judgement is worth when Medic's own network is away: nothing is known."""
    if not control_rules.over_the_network(judgement):
        return judgement
    return replace(judgement, health=Health.UNKNOWN, detail=f"{judgement.detail}, but {why}", symptoms=())


def _is_held(incident: Incident, code: HoldCode) -> bool:
    return incident.state is IncidentState.HELD and incident.hold is not None and incident.hold.code is code


def _is_cut(incident: Incident) -> bool:
    """Say whether what came of its last attempt is still to be found out, and no person has taken over."""
    return incident.state is IncidentState.OPEN and incident.cut is not None


def _has_run_out(incident: Incident, now: datetime) -> bool:
    """Whether it is time to decide afresh. A Hold that lasts longer than it was made for saw the clock being set back."""
    if incident.hold is None or incident.hold_until is None:
        return True
    left = incident.hold_until - now
    return left <= timedelta(0) or left > incident.hold.look_again
