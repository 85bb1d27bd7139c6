"""The first step of `heal`: gather evidence, save it, then say why the service is sick: the rules first, a model where they doubt.

In: the service, its verdict and three ports to look through. Out: `Findings`. Evidence comes first and is on disk before
any rule reads it, since the remedy that follows may destroy what it rests on. Each part is gathered by itself: one that
cannot be had becomes a sentence in `gaps`, never an error. Every text from outside is cleaned, bounded and redacted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from agent import codec, host_facts
from agent.diagnosis import doubt, log_cut, match
from agent.errors import OutsideError, StoreError
from agent.model import (
    Change,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Diagnosis,
    Evidence,
    Findings,
    IncidentId,
    LogLine,
    ProjectSeen,
    Rule,
    Service,
    ServiceRecord,
    Verdict,
)
from agent.policy import deploys
from agent.ports import Clock, Containers, EvidenceFiles, HostFiles
from agent.redact import pair

EVENTS_OF = timedelta(hours=1)
"""How far back Docker's events are asked for: longer than any start-up, shorter than yesterday's trouble."""
BEFORE_START = timedelta(seconds=2)
"""Docker stamps a start after the process wrote its first lines, and both clocks are its own."""

MOST_EVENTS = 200
"""A container that restarts every second fills an hour with thousands of events; the latest ones are kept."""

UPTIME = "/proc/uptime"
PACKAGES = ("/var/lib/dpkg/status", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite", "/lib/apk/db/installed")
"""Where package managers write down what is installed, each time it changes: Debian, Fedora and openSUSE, RHEL, Alpine."""
RECENT = timedelta(hours=1)
"""A reboot or new packages of the host that lie further back are ones that the service has been well with."""

T = TypeVar("T")


def explain(
    service: Service,
    incident: IncidentId,
    number: int,
    verdict: Verdict,
    record: ServiceRecord | None,
    *,
    containers: Containers,
    files: HostFiles,
    bundles: EvidenceFiles,
    rules: tuple[Rule, ...],
    redact: Callable[[str], str],
    clock: Clock,
    second_opinion: Callable[[Findings, str], Diagnosis | None] = lambda _findings, _doubt: None,
    past: Callable[[Diagnosis], str | None] = lambda _ruled: None,
) -> Findings:
    """Gather and save the evidence of one attempt, then apply the rules to it, then ask for a second opinion where they are in doubt.

    number: of the attempt this is gathered for; names the files, so that a repeated step replaces its own bundle only.
    record: how the service looked when last WELL; None when Medic never saw it so.
    second_opinion: given what the rules make of it, with the log, and why that is in doubt; None: theirs stands.
    past: why what was done against this trouble before speaks against what the rules say, or None.
    The evidence comes back without its log: the lines stay in the bundle, the diagnosis carries those it rests on.
    """
    gathering = _Gathering(service=service, redact=redact, clean=lambda text: log_cut.clean(redact(text)))
    evidence = gathering.evidence(incident, verdict, record, containers=containers, files=files, now=clock.now())
    evidence, why_not_saved = _save(evidence, number, bundles)
    diagnosis = match.diagnose(evidence, rules)
    findings = Findings(evidence=evidence, diagnosis=diagnosis, saved=not why_not_saved, why_not_saved=why_not_saved)
    unsettled = doubt.why(diagnosis, evidence) or past(diagnosis)
    opinion = second_opinion(findings, unsettled) if unsettled is not None and findings.saved else None
    return replace(findings, evidence=replace(evidence, log=()), diagnosis=opinion or diagnosis)


@dataclass(slots=True, kw_only=True)
class _Gathering:
    """Collects the parts of one evidence, and a sentence for each part that could not be had."""

    service: Service
    redact: Callable[[str], str]
    clean: Callable[[str], str]
    gaps: list[str] = field(default_factory=list)

    def evidence(
        self,
        incident: IncidentId,
        verdict: Verdict,
        record: ServiceRecord | None,
        *,
        containers: Containers,
        files: HostFiles,
        now: datetime,
    ) -> Evidence:
        service = self.service
        container = self._try(lambda: containers.inspect(service.host, service.container))
        log, note = self._log(container, containers)
        events = self._try(lambda: containers.events(service.host, service.container, since=now - EVENTS_OF)) or ()
        changes = _first_first((*self._changes(container, record, files), *self._of_host(files, now)))
        deploying = self._deploying(files)
        looks = host_facts.looks(service, container, files, containers)
        on_host = tuple(fact for each in looks if (fact := self._try(each)) is not None)
        return Evidence(
            incident=incident,
            at=now,
            verdict=_redacted_verdict(verdict, self.clean),
            container=_redacted_container(container, self.clean) if container is not None else None,
            log=log,
            log_note=note,
            events=tuple(_redacted_event(event, self.clean) for event in events[-MOST_EVENTS:]),
            changes=changes,
            on_host=on_host,
            deploying=deploying,
            project=self._project(container, events, containers, now - EVENTS_OF),
            gaps=tuple(self.gaps),
        )

    def _log(self, container: ContainerFacts | None, containers: Containers) -> tuple[tuple[LogLine, ...], str]:
        """Return the cut, redacted lines and how they were cut."""
        service = self.service
        if container is not None and container.state is ContainerState.MISSING:
            return (), "there is no container, so there is no log"
        # Only the last life of the container: an error of a week ago must not be taken for today's cause.
        since = container.started_at - BEFORE_START if container is not None and container.started_at else None
        raw = self._try(lambda: containers.logs(service.host, service.container, limit=log_cut.RAW_BYTES, since=since))
        if raw is None:
            return (), "the log could not be read"
        # Redacted in one piece and before the cut: a private key spans lines, and half a secret looks like none.
        cut = log_cut.cut(self.redact(log_cut.readable(raw)))
        return tuple(LogLine(id=f"L{number}", text=text) for number, text in enumerate(cut.lines, start=1)), cut.note

    def _changes(self, container: ContainerFacts | None, record: ServiceRecord | None, files: HostFiles) -> tuple[Change, ...]:
        """Return what is not as it was when the service was last WELL."""
        if record is None or record.well_at is None:
            self.gaps.append("cannot say what changed: the service was never seen well")
            return ()
        service = self.service
        found: list[Change] = []
        started = container.started_at if container is not None else None
        if record.image_id and container is not None and container.image_id and container.image_id != record.image_id:
            found.append(Change(what="image", before=record.image_id, after=container.image_id, at=started))
        if record.container_id and container is not None and container.id not in ("", record.container_id):
            found.append(Change(what="container", before=record.container_id[:12], after=container.id[:12], at=started))
        known = container.environment if container is not None else None
        if record.environment and known and known != record.environment:
            found.append(Change(what="environment", before=record.environment, after=known, at=started))
        config = service.config_file
        if config is not None and record.config_hash is not None:
            try:
                digest = files.digest(service.host, config.path)
                at = files.modified(service.host, config.path) if digest != record.config_hash else None
            except OutsideError as exc:
                self.gaps.append(self.clean(str(exc)))
            else:
                if digest != record.config_hash:
                    found.append(Change(what="config", before=record.config_hash, after=digest or "no file", at=at))
        return tuple(found)

    def _of_host(self, files: HostFiles, now: datetime) -> Iterator[Change]:
        """Yield what its host went through so short a time ago that the service may not have been well with it."""
        host = self.service.host
        try:
            uptime = (files.read(host, UPTIME, limit=64) or b"").split()
            booted = now - timedelta(seconds=float(uptime[0])) if uptime else None
            written = ((path, files.modified(host, path)) for path in PACKAGES)
            installed = next(((path, at) for path, at in written if at is not None), None)
        except (OutsideError, ValueError):
            return  # a host whose files nobody can read has a gap already where one is declared
        if booted is not None and now - booted <= RECENT:
            yield Change(what="reboot", before="another boot", after=f"up since {booted:%Y-%m-%d %H:%M} UTC", at=booted)
        if installed is not None and timedelta(0) <= now - installed[1] <= RECENT:
            yield Change(what="packages", before="others", after=f"{installed[0]} was written", at=installed[1])

    def _deploying(self, files: HostFiles) -> str | None:
        """Return what is known of the declared deploy lock. One that cannot be looked at is taken to stand."""
        lock = self.service.deploy_lock
        if lock is None:
            return None
        try:
            return f"the deploy lock {lock} stands" if files.digest(self.service.host, lock) is not None else None
        except OutsideError as exc:
            return f"nobody can say whether the deploy lock stands: {self.clean(str(exc))}"

    def _project(
        self, container: ContainerFacts | None, events: Sequence[ContainerEvent], containers: Containers, since: datetime
    ) -> ProjectSeen | None:
        """Return the Compose project of the container, or of the one that was there; its events are bounded like its own."""
        name = deploys.project_of(container, events)
        seen = self._try(lambda: containers.project(self.service.host, name, since=since)) if name else None
        if seen is None:
            return None
        cleaned = tuple(_redacted_event(event, self.clean) for event in seen.events[-MOST_EVENTS:])
        return replace(seen, name=self.clean(seen.name), events=cleaned)

    def _try(self, call: Callable[[], T]) -> T | None:
        """Return what `call` gives, or None after noting why it could not."""
        try:
            return call()
        except OutsideError as exc:
            self.gaps.append(self.clean(str(exc)))
            return None


def _first_first(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return changes in the order in which they came, those of unknown time last: the first may have brought the others about."""
    return tuple(sorted(changes, key=lambda change: (change.at is None, change.at or datetime.max.replace(tzinfo=UTC))))


def _save(evidence: Evidence, number: int, bundles: EvidenceFiles) -> tuple[Evidence, str]:
    """Write the bundle durably; return the evidence with the names of its files, and why it could not be saved, if so."""
    text = "".join(f"{line.id:<5} {line.text}\n" for line in evidence.log)
    try:
        log = bundles.keep(evidence.incident, f"log-{number}.txt", f"{evidence.log_note}\n\n{text}".encode())
        evidence = replace(evidence, files=(log,))
        whole = bundles.keep(evidence.incident, f"evidence-{number}.json", codec.dumps(evidence).encode())
    except StoreError as exc:
        return evidence, str(exc)
    return replace(evidence, files=(log, whole)), ""


def _redacted_verdict(verdict: Verdict, clean: Callable[[str], str]) -> Verdict:
    """Judgements quote what services said: bodies, headers, nginx's own sentences."""
    return replace(
        verdict,
        judgements=tuple(
            replace(
                judgement,
                detail=clean(judgement.detail),
                symptoms=tuple(replace(symptom, detail=clean(symptom.detail)) for symptom in judgement.symptoms),
            )
            for judgement in verdict.judgements
        ),
    )


def _redacted_container(container: ContainerFacts, clean: Callable[[str], str]) -> ContainerFacts:
    """Labels are written by anybody, and Docker's error quotes the command."""
    return replace(
        container,
        image=clean(container.image),
        status=clean(container.status),
        error=clean(container.error) if container.error is not None else None,
        labels=tuple(pair(key, value, clean) for key, value in container.labels),
    )


def _redacted_event(event: ContainerEvent, clean: Callable[[str], str]) -> ContainerEvent:
    """The action `exec_create: <command>` carries a whole command line."""
    return replace(event, action=clean(event.action), project=clean(event.project) if event.project else None)
