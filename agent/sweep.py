"""One beat: look at every due service in one batch, keep the streaks, decide which to heal, leave a report.

In: the enrolled services, a prober, the store. Out: a `SweepReport` in the store, incidents opened or closed, heals started.
`Sweep` remembers between beats only what a restart may forget: when each check was last asked and its last judgement.
"""

import contextlib
import hashlib
import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from agent import closing, labels, look, notices, policy
from agent.errors import OutsideError
from agent.model import (
    Blind,
    Check,
    Closing,
    ContainerCheck,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    Health,
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
    StoryKind,
    SweepReport,
    Symptom,
    Verdict,
)
from agent.ports import Workflows, World

logger = logging.getLogger(__name__)

HOST = "host:"
"""Incidents about a host that Medic cannot look at are kept under this prefix: one for the host, not one per service."""


BLIND_LOOKS = 3
"""So many sweeps in a row without an answer from a host's engine make an incident of their own."""

CONFIG_LIMIT = 1_048_576
"""Bytes of a configuration file that are kept as its good copy."""

Observed = Mapping[ProbeRequest, Observation]


class Sweep:
    """The batched look of one daemon. One sweep at a time, whoever asks (the beat, an event, a person)."""

    def __init__(self, world: World, workflows: Workflows, hosts: Sequence[HostName], *, discover: bool) -> None:
        self._world = world
        self._workflows = workflows
        self._hosts = tuple(hosts)
        self._discover = discover
        self._one_at_a_time = threading.Lock()
        self._asked_at: dict[tuple[ServiceName, str], datetime] = {}
        self._judged: dict[tuple[ServiceName, str], Judgement] = {}
        self._blind_hosts: dict[HostName, int] = {}
        self._last_at = world.clock.now()

    def beat(self, slot: int) -> SweepReport:
        """Look at every due service, act on what is seen, and leave a report in the store."""
        with self._one_at_a_time:
            return self._sweep(slot, self._world.store.services.services(), everything_due=slot == 0)

    def nudge(self, service: ServiceName) -> Verdict | None:
        """Look at one service now with all its checks and act on it. Leaves no report. None if it is not enrolled."""
        declared = self._world.store.services.service(service)
        if declared is None:
            return None
        self._let_docker_finish(declared)
        with self._one_at_a_time:
            observed = look.hosts((declared.host,), self._world.prober)
            return self._look((declared,), {declared.name: declared.checks}, observed)[0].get(declared.name)

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

    def _let_docker_finish(self, service: Service) -> None:
        """Wait until Docker itself has taken in the event that it told of.

        Docker says `die` while it still holds the container's lock, and lists the container as running until it has let go;
        an inspect waits for that lock. Source: moby 20.10, daemon/monitor.go, `ProcessEvent`; measured 10 to 500 ms.
        """
        with contextlib.suppress(OutsideError):  # the look that follows says that it cannot look
            self._world.containers.inspect(service.host, service.container)

    # ------------------------------------------------------------------------------------------------------ one sweep

    def _sweep(self, slot: int, services: Sequence[Service], *, everything_due: bool) -> SweepReport:
        started, now = self._world.clock.monotonic(), self._world.clock.now()
        observed = look.hosts(self._hosts, self._world.prober)
        if self._discover:
            services = self._enrol_labelled(services, observed, now)
        due = {service.name: self._due(service, now, everything_due=everything_due) for service in services}
        verdicts, opened = self._look([service for service in services if due[service.name]], due, observed)
        opened += self._watch_hosts(observed, now)

        healths = {name: verdict.health for name, verdict in verdicts.items()}
        report = SweepReport(
            slot=slot,
            at=now,
            took=timedelta(seconds=self._world.clock.monotonic() - started),
            checked=tuple(healths),
            sick=tuple(name for name, health in healths.items() if health is Health.SICK),
            unknown=tuple(name for name, health in healths.items() if health is Health.UNKNOWN),
            opened=tuple(opened),
            healed=self._healed_since(self._last_at),
            missing=_missing(services, observed, self._world),
            unrecorded=_unrecorded(services, observed),
        )
        self._last_at = now
        self._world.store.sweeps.keep(report)
        return report

    def _enrol_labelled(self, services: Sequence[Service], observed: Observed, now: datetime) -> Sequence[Service]:
        """Enrol what containers say of themselves. `medic.yaml` wins over a label of the same name."""
        declared = {service.name: service for service in services}
        for host in self._hosts:
            for facts in _containers(host, observed):
                found = labels.read(facts, host)
                if isinstance(found, Service) and declared.get(found.name, found).origin == labels.ORIGIN:
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
            if policy.due(check, asked.get((service.name, check.name)), now, spread_by=service.name)
        }
        # What Docker says of the container comes with the host's one list: judged along with any other check, so that a
        # verdict never rests on an older container than the one its probes were sent to.
        return tuple(check for check in service.checks if check.name in due or (due and isinstance(check, ContainerCheck)))

    def _look(
        self, services: Sequence[Service], due: Mapping[ServiceName, Sequence[Check]], observed: Observed
    ) -> tuple[dict[ServiceName, Verdict], list[IncidentId]]:
        """Look at `services`, settle each verdict, act on it; return the verdicts and the incidents that were opened."""
        now = self._world.clock.now()
        judgements = look.at_all(due, services, self._world.prober, observed)
        unclosed = {
            incident.service: incident for incident in self._world.store.incidents.unclosed() if incident.requested is None
        }
        verdicts, opened = {}, []
        for service in services:
            for check, judgement in zip(due[service.name], judgements[service.name], strict=True):
                self._asked_at[service.name, check.name] = now
                self._judged[service.name, check.name] = judgement
            verdict = self._settle(service, judgements[service.name], now)
            verdicts[service.name] = verdict
            facts = look.container_of(service, observed)
            standing = unclosed.get(service.name)
            if standing is None and verdict.health is not Health.WELL and _saw_nothing_wrong(judgements[service.name]):
                continue
            incident = self._act(service, verdict, facts, standing, now)
            if incident is not None:
                opened.append(incident)
        return verdicts, opened

    def _settle(self, service: Service, fresh: Sequence[Judgement], now: datetime) -> Verdict:
        store = self._world.store.services
        before = store.streaks(service.name)
        streaks = policy.advance(before, service.checks, fresh)
        if streaks != before:
            store.keep_streaks(service.name, streaks)
        known = [self._judged[key] for check in service.checks if (key := (service.name, check.name)) in self._judged]
        return policy.settled(service, streaks, known, now)

    # ------------------------------------------------------------------------------------------------- acting on it

    def _act(
        self, service: Service, verdict: Verdict, facts: ContainerFacts | Blind, incident: Incident | None, now: datetime
    ) -> IncidentId | None:
        """Open, go on with, or close the incident of one service; return it if it was opened."""
        record = self._world.store.services.record(service.name)
        running = isinstance(facts, ContainerFacts) and facts.state is ContainerState.RUNNING
        if record is not None and record.status is Recorded.STOPPED:
            if not running:
                return None  # a person stopped it on purpose: watched and left alone
            self._world.store.services.set_status(
                service.name, Recorded.RUNNING, by="person (started it)", diagnostic="", now=now
            )
        match verdict.health:
            case Health.WELL:
                self._well(service, facts, incident, now)
                return None
            case Health.SICK:
                return self._sick(service, verdict, incident, now)
            case Health.UNKNOWN if not policy.blind(self._world.store.services.streaks(service.name), service.checks):
                return None  # not known yet: too few looks so far
            case Health.UNKNOWN:
                # A host that cannot be seen at all is one incident of its own (`_watch_hosts`), not one per service.
                return None if isinstance(facts, Blind) else self._sick(service, verdict, incident, now)

    def _well(self, service: Service, facts: ContainerFacts | Blind, incident: Incident | None, now: datetime) -> None:
        if incident is not None and not self._is_healing(incident):
            self._recovered(incident)
        if isinstance(facts, ContainerFacts) and incident is None:
            self._remember_well(service, facts, now)

    def _recovered(self, incident: Incident) -> None:
        world = self._world
        closing.close(incident, Closing.RECOVERED, by="medic", store=world.store, channels=world.channels, clock=world.clock)

    def _remember_well(self, service: Service, facts: ContainerFacts, now: datetime) -> None:
        """Keep how the service looks while it is well: the base of "what changed" and of the last good configuration."""
        store = self._world.store.services
        record = store.record(service.name)
        if record is None:
            return
        try:
            digest = self._good_copy(service, facts, record)
        except OutsideError as exc:
            logger.warning("cannot keep a good copy of a configuration", extra={"service": service.name, "cause": str(exc)})
            digest = record.config_hash
        if record.well_at is None or (record.image_id, record.config_hash, record.container_id) != (
            facts.image_id,
            digest,
            facts.id,
        ):
            store.seen_well(service.name, image_id=facts.image_id, config_hash=digest, container_id=facts.id, now=now)

    def _good_copy(self, service: Service, facts: ContainerFacts, record: ServiceRecord) -> str | None:
        """Keep the configuration that the service runs with, and return its digest.

        A file written after the container started is not proven by its being WELL: it may not have been read yet.
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
        self._world.good_copies.keep(service.name, read, content)
        return read

    def _sick(self, service: Service, verdict: Verdict, incident: Incident | None, now: datetime) -> IncidentId | None:
        if incident is None:
            return self._open(service, verdict, now)
        match incident.state:
            case IncidentState.OPEN if not self._is_healing(incident):
                self._next_round(incident)  # its heal ended without an ending: a crash it could not resume from
            case IncidentState.HELD if incident.hold_until is None or now >= incident.hold_until:
                self._next_round(incident)
            case _:
                pass
        return None

    def _open(self, service: Service, verdict: Verdict, now: datetime) -> IncidentId | None:
        fingerprint = policy.fingerprint(service.name, verdict.symptoms)
        incident, fresh = self._world.store.incidents.open(service, verdict, fingerprint=fingerprint, now=now)
        text = "; ".join(verdict.reasons)
        self._world.store.story.tell(incident.id, service.name, StoryKind.SEEN, text, now=now, key="seen")
        self._world.store.outbox.post(notices.opened(incident, now=now), self._world.channels)
        logger.info("incident opened", extra={"service": service.name, "incident": incident.id})
        self._workflows.start(incident.id, incident.round)
        return incident.id if fresh else None

    def _next_round(self, incident: Incident) -> None:
        if self._world.store.incidents.next_round(incident.id, expected=incident.round):
            self._workflows.start(incident.id, incident.round + 1)

    def _is_healing(self, incident: Incident) -> bool:
        return incident.state is IncidentState.OPEN and incident.id in self._workflows.running()

    # ------------------------------------------------------------------------------------------------------- hosts

    def _watch_hosts(self, observed: Observed, now: datetime) -> list[IncidentId]:
        """One incident for a host that cannot be looked at; closed as soon as it can be."""
        opened = []
        for host in self._hosts:
            seen = observed.get(ContainersRequest(host=host))
            name = ServiceName(f"{HOST}{host}")
            if isinstance(seen, Blind):
                self._blind_hosts[host] = self._blind_hosts.get(host, 0) + 1
                unclosed = self._world.store.incidents.unclosed(name)
                if self._blind_hosts[host] == BLIND_LOOKS and not unclosed:
                    incident = self._open(_as_service(host), _blind_verdict(name, seen, now), now)
                    opened += [incident] if incident else []
            elif self._blind_hosts.pop(host, BLIND_LOOKS) >= BLIND_LOOKS:
                # The default makes the first look after a restart close what an earlier run left open.
                for over in self._world.store.incidents.unclosed(name):
                    self._recovered(over)
                self._blind_hosts[host] = 0
        return opened

    def _healed_since(self, since: datetime) -> tuple[ServiceName, ...]:
        recent = self._world.store.incidents.recent(limit=50)
        return tuple(
            i.service for i in recent if i.closing is Closing.HEALED and i.closed_at is not None and i.closed_at >= since
        )


def _containers(host: HostName, observed: Observed) -> tuple[ContainerFacts, ...]:
    seen = observed.get(ContainersRequest(host=host))
    return seen.containers if isinstance(seen, ContainersSeen) else ()


def _saw_nothing_wrong(fresh: Sequence[Judgement]) -> bool:
    """Say whether this very look was well, so that an older streak alone must not open an incident.

    A heal that ends while a sweep writes leaves that sweep's streak behind: sick by what was seen before the remedy.
    """
    return all(judgement.health is Health.WELL for judgement in fresh)


def _missing(services: Sequence[Service], observed: Observed, world: World) -> tuple[str, ...]:
    """Services recorded as running whose container the host does not have."""
    stopped = {record.service for record in world.store.services.records() if record.status is Recorded.STOPPED}
    facts = {service.name: look.container_of(service, observed) for service in services if service.name not in stopped}
    return tuple(n for n, f in facts.items() if isinstance(f, ContainerFacts) and f.state is ContainerState.MISSING)


def _unrecorded(services: Sequence[Service], observed: Observed) -> tuple[str, ...]:
    """Containers that ask to be kept well (`medic.enable`) and are no service, with why where their labels are nonsense."""
    known = {(service.host, service.container) for service in services}
    unrecorded = []
    for request in observed:
        if isinstance(request, ContainersRequest):
            for facts in _containers(request.host, observed):
                found = labels.read(facts, request.host)
                if found is not None and (request.host, facts.name) not in known:
                    unrecorded.append(found if isinstance(found, str) else facts.name)  # a sentence names the container
    return tuple(unrecorded)


def _as_service(host: HostName) -> Service:
    return Service(name=ServiceName(f"{HOST}{host}"), host=host, container="", checks=(), origin="medic")


def _blind_verdict(name: ServiceName, seen: Blind, now: datetime) -> Verdict:
    symptom = Symptom(word="cannot-look", plane=Plane.CONTAINER, detail=seen.why)
    judgement = Judgement(check="docker", plane=Plane.CONTAINER, health=Health.UNKNOWN, detail=seen.why, symptoms=(symptom,))
    return Verdict(service=name, health=Health.UNKNOWN, at=now, judgements=(judgement,))
