"""The only construction site: settings in; adapters, store and engine joined to the ports; a world, or a running daemon, out.

Surfaces call the functions here and nothing else of the house. Imports are lazy, so that a fast command pays only for what
it uses: `medic check` opens no store and no engine.
"""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from agent import labels, look, recall
from agent.adapters.kill_file import KillFile
from agent.adapters.lease import KeptLease, SoleLease
from agent.adapters.system_clock import SystemClock
from agent.errors import ConfigError, LeaseLost, OutsideError
from agent.model import (
    AnsibleSource,
    AuditRow,
    Blind,
    Closing,
    ContainersRequest,
    ContainersSeen,
    Ec2Source,
    FleetLimits,
    Found,
    Here,
    Host,
    HostName,
    HostSeen,
    HttpRequest,
    Incident,
    IncidentId,
    IncidentState,
    Inventory,
    Lead,
    Observation,
    Permissions,
    Plan,
    PlaybookRun,
    ProbeRequest,
    Rehearsal,
    RehearsalStep,
    Request,
    RequestAnswer,
    Rerun,
    Risk,
    Rule,
    Runbook,
    RunbookId,
    RunbookMark,
    RunbookMarkKind,
    RunEnd,
    Service,
    ServiceName,
    SshAccess,
    SsmAccess,
    Standing,
    StoryEvent,
    TaskResult,
    TcpRequest,
    TranscriptEntry,
    Verdict,
)
from agent.ports import Advisor, Containers, EvidenceFiles, Fleet, Lease, Notifier, Prober, Store, World
from agent.settings import AppriseChannel, Channel, FileChannel, ModelSettings, Settings, WebhookChannel

if TYPE_CHECKING:  # types only: importing them for real is what the fast commands must not pay for
    from agent.adapters.ansible_playbooks import AnsiblePlaybooks
    from agent.adapters.aws_clients import AwsClients
    from agent.adapters.host_keys import HostKey
    from agent.adapters.machine import Machine
    from agent.adapters.ssh_ways import SshWays
    from agent.adapters.ways import Ways
    from agent.evaluation import Recording
    from agent.fleet import Snapshot
    from agent.llm.advisor import ModelAdvisor
    from agent.llm.providers import Provider
    from agent.llm.tools import Senses
    from agent.model import Ending, Golden, Member
    from agent.ports import Engine
    from agent.settings import InventorySource
    from agent.watch import Parts
    from infra.quotas import Need
    from infra.settings import FleetSettings

logger = logging.getLogger(__name__)

CLOCK = SystemClock()

STUCK = 70
"""Exit code of a daemon whose heartbeat could not be revived (EX_SOFTWARE): whoever supervises it starts it afresh."""

ANSWER_WITHIN = timedelta(seconds=10)
CONTROL_WITHIN = timedelta(seconds=2)
INVENTORY_AGAIN = timedelta(seconds=10)
"""Between two tries to read an inventory that was never read."""
FOLLOW_WITHIN = timedelta(minutes=30)
FOLLOW_EVERY = timedelta(milliseconds=250)


def settings(config: Path | None) -> Settings:
    """Read medic.yaml and the environment. Raises ConfigError."""
    from agent import config as config_file

    loaded = config_file.load(config, inventory=_inventory)
    _refuse_unknown_runbooks(loaded)
    return loaded


def _inventory(inventory: Inventory) -> Mapping[str, object]:
    """Read what an inventory declares. Raises ConfigError, or OutsideError where it cannot be asked."""
    match inventory.source:
        case AnsibleSource() as source:
            from agent.adapters import ansible_inventory

            return ansible_inventory.read(inventory, source)
        case Ec2Source() as source:
            from agent.adapters import ec2_inventory

            return ec2_inventory.read(inventory, source)


# ------------------------------------------------------------------------------------------------------------- parts


@contextlib.contextmanager
def eyes(using: Settings) -> Iterator[tuple[Containers, Prober]]:
    """Open what looks without changing: the Docker engines of all hosts, and the prober for every kind of request."""
    with ways(using) as reached, _eyes(using, reached) as opened:
        yield opened


@contextlib.contextmanager
def _eyes(using: Settings, reached: "Ways") -> Iterator[tuple[Containers, Prober]]:
    from agent.adapters.docker_engine import DockerEngine
    from agent.adapters.prober import BatchProber

    docker = DockerEngine(using.hosts, CLOCK, far=reached.engines)
    try:
        yield docker, BatchProber(docker, reached)
    finally:
        docker.close()


@contextlib.contextmanager
def ways(using: Settings) -> Iterator["Ways"]:
    """Make the ways to all hosts; nothing connects before it is used. Each kind of host is imported only where there is one."""
    from agent.adapters.local_machine import LocalMachine
    from agent.adapters.ways import Ways, shut

    here = LocalMachine()
    machines: dict[HostName, Machine] = {host.name: here for host in using.hosts if isinstance(host.access, Here)}
    engines, doors = {}, {}
    for host in using.hosts:
        if not isinstance(host.access, Here):
            engines[host.name], doors[host.name] = shut(host.name, "Medic cannot reach hosts of its kind yet")
    with contextlib.ExitStack() as opened:
        if any(isinstance(host.access, SshAccess) for host in using.hosts):
            ssh = _ssh(using.hosts)
            opened.callback(ssh.close)
            machines.update(ssh.machines)
            engines.update(ssh.engines)
            doors.update(ssh.doors)
        yield Ways(machines=machines, engines=engines, doors=doors)


def _ssh(hosts: Sequence[Host]) -> "SshWays":
    """Return the ways to the hosts that are reached over SSH. Raises ConfigError where what that needs is not installed."""
    try:
        from agent.adapters.ssh_ways import SshWays
    except ImportError as exc:
        raise ConfigError(f"cannot reach hosts over SSH: {exc}; install medic-agent[ssh]") from exc
    return SshWays(hosts)


@contextlib.contextmanager
def open_store(using: Settings, term: int | None = None) -> Iterator[Store]:
    """Open the store, upgrading it if it is older. Raises ConfigError (newer, corrupt, unwritable) or StoreError.

    term: of the lead that every write is to belong to; None for a command of a person.
    """
    from agent.adapters import state_folder
    from agent.redact import Redactor
    from agent.store import store

    state_folder.private_folder(using.state_dir)
    opened = store.open_store(using.store_url, CLOCK, Redactor(using.secrets), term)
    try:
        yield opened
    finally:
        opened.close()


def kept_files(using: Settings) -> int:
    """Return the bytes of everything that `retention.most_bytes` bounds."""
    from agent.adapters.retention import OldFiles

    return OldFiles(using.state_dir).size()


def audit_rows(store: Store) -> Iterator[AuditRow]:
    """Yield every row of the audit, page by page."""
    last = 0
    while page := store.audit.rows(after=last):
        yield from page
        last = page[-1].id


def kill_file(using: Settings) -> KillFile:
    """Return the kill switch."""
    return KillFile(using.state_dir, environment=using.halted_by_env)


def runbooks() -> tuple[Runbook, ...]:
    """Load the catalogue: of the checkout, or the one that travels in the wheel. Raises ConfigError."""
    from agent import runbook_file

    return runbook_file.load_runbooks(shipped("runbooks"), shipped("ansible") / "playbooks")


def rules() -> tuple[Rule, ...]:
    """Load the diagnosis rules that travel in the package. Raises ConfigError."""
    from agent import rule_file

    return rule_file.load_rules(Path(__file__).parent / "rules")


def shipped(folder: str) -> Path:
    """Return the folder `runbooks` or `ansible`: inside the package when installed from a wheel, else beside it."""
    package = Path(__file__).parent
    inside = package / "_shipped" / folder
    return inside if inside.is_dir() else package.parent / folder


@contextlib.contextmanager
def build(
    using: Settings,
    stopping: Callable[[], bool] = lambda: False,
    lease: Lease = SoleLease(),  # noqa: B008  it is a constant
) -> Iterator[World]:
    """Build the whole world: every port, joined. Raises ConfigError or OutsideError."""
    from agent.adapters.bundles import BundleFiles
    from agent.adapters.good_copies import GoodCopyFiles
    from agent.adapters.host_files import MachineFiles
    from agent.adapters.reports import ReportFiles
    from agent.catalogue import RunbookFiles
    from agent.redact import Redactor

    redact = Redactor(using.secrets)
    playbooks = _playbooks(using, lease.until)
    term = lease.lead.term if isinstance(lease, KeptLease) else None
    try:
        with (
            open_store(using, term) as store,
            ways(using) as reached,
            _eyes(using, reached) as (docker, prober),
            _advisor(using, store, docker, prober, redact, stopping) as advisor,
        ):
            _enrol(using, store)
            yield World(
                clock=CLOCK,
                prober=prober,
                containers=docker,
                files=MachineFiles(reached.machine_of),
                playbooks=playbooks,
                kill_switch=kill_file(using),
                lease=lease,
                store=store,
                bundles=BundleFiles(using.state_dir),
                good_copies=GoodCopyFiles(using.state_dir),
                catalogue=RunbookFiles(shipped("runbooks"), shipped("ansible") / "playbooks"),
                rules=rules(),
                reports=ReportFiles(redact),
                redact=redact,
                channels=tuple(channel.name for channel in using.channels),
                permissions=using.permissions,
                fleet_limits=using.fleet_limits,
                stopping=stopping,
                advisor=advisor,
            )
    finally:
        playbooks.close()


def model_bundle(using: Settings) -> tuple[str, bool]:
    """Return the id of everything that decides what the model is asked, and whether an evaluation of it has passed.

    Raises ConfigError where no model is configured.
    """
    from agent.adapters.eval_records import EvalRecords
    from agent.llm import bundle

    if using.model is None:
        raise ConfigError(f"cannot name the bundle of a model: {using.file} configures none under `model:`")
    id_ = bundle.of(runbooks(), rules(), [(each.investigate, each.model) for each in using.model.providers], using.model.limits)
    return id_, EvalRecords(using.state_dir).passed(id_)


@contextlib.contextmanager
def _advisor(
    using: Settings,
    store: Store,
    docker: Containers,
    prober: Prober,
    redact: Callable[[str], str],
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Advisor | None]:
    """Join the second opinion; None where nobody asked for one. Raises ConfigError where what it needs is not installed."""
    if using.model is None:
        yield None
        return
    from agent.adapters.bundles import BundleFiles
    from agent.llm.tools import Senses

    senses = Senses(
        containers=docker,
        look=lambda service: look.at(service, prober, CLOCK),
        recent=lambda name: store.incidents.recent(service=name, limit=6),
        remembered=lambda name: recall.of(name, store=store, rule=using.fleet_limits.memory, now=CLOCK.now()),
        clock=CLOCK,
        redact=redact,
    )
    bundles = BundleFiles(using.state_dir)
    with _providers(using.model, using.file, redact, stopping) as providers, _traces(using) as on_asked:
        yield _asking(using, using.model, providers, senses, store, bundles, redact, stopping, on_asked)


@contextlib.contextmanager
def _traces(using: Settings) -> Iterator[Callable[[Sequence[TranscriptEntry]], None]]:
    """Yield what is told of each asking: it sends spans where an OTLP endpoint is named. Raises ConfigError without the extra."""
    if using.traces_to is None:
        yield lambda _entries: None
        return
    from importlib import util

    if util.find_spec("opentelemetry") is None or util.find_spec("opentelemetry.exporter") is None:
        raise ConfigError(
            "cannot send traces (OTEL_EXPORTER_OTLP_ENDPOINT): install the extra: pip install 'medic-agent[otel]', or unset it"
        )
    from agent.adapters import otel_spans

    spans = otel_spans.Spans(otel_spans.exporter(using.traces_to))
    try:
        yield spans.asked
    finally:
        spans.close()


@contextlib.contextmanager
def _providers(
    model: ModelSettings, file: Path | None, redact: Callable[[str], str], stopping: Callable[[], bool] = lambda: False
) -> Iterator[tuple["Provider", ...]]:
    """Open every provider. file: the medic.yaml to blame. Raises ConfigError where what it needs is not installed."""
    from importlib import util

    from agent.adapters.litellm_model import Endpoint, LitellmModel, Workers
    from agent.llm.providers import Provider

    if util.find_spec("litellm") is None:
        raise ConfigError(
            f"cannot read {file}: model: nothing here can ask one; install the extra: pip install 'medic-agent[llm]'"
        )
    workers = Workers(CLOCK, stopping)
    opened = [
        LitellmModel(Endpoint(url=each.url, key=each.key, prices=dict(each.prices)), workers, CLOCK, redact)
        for each in model.providers
    ]
    try:
        yield tuple(
            Provider(
                name=f"{position} {each.model}", port=port, investigate=each.investigate, classify=each.model, price=port.price
            )
            for position, (each, port) in enumerate(zip(model.providers, opened, strict=True), start=1)
        )
    finally:
        workers.close()


def _asking(
    using: Settings,
    model: ModelSettings,
    providers: tuple["Provider", ...],
    senses: "Senses",
    store: Store,
    bundles: EvidenceFiles,
    redact: Callable[[str], str],
    stopping: Callable[[], bool] = lambda: False,
    on_asked: Callable[[Sequence[TranscriptEntry]], None] = lambda _entries: None,
) -> "ModelAdvisor":
    from agent import spending
    from agent.adapters.eval_records import EvalRecords
    from agent.llm.advisor import ModelAdvisor, Setup
    from agent.llm.providers import Providers

    return ModelAdvisor(
        Setup(providers=providers, limits=model.limits, asks=model.asks, rules=rules()),
        Providers(providers, CLOCK, at_once=model.limits.at_once),
        senses,
        spending=store.spending,
        bundles=bundles,
        clock=CLOCK,
        redact=redact,
        has_passed=EvalRecords(using.state_dir).passed,
        on_spent=spending.teller(model.limits, store.outbox, tuple(channel.name for channel in using.channels)),
        on_asked=on_asked,
        stopping=stopping,
    )


@contextlib.contextmanager
def second_opinions(using: Settings, model: ModelSettings) -> Iterator[Callable[["Recording"], "ModelAdvisor"]]:
    """Yield what makes a second opinion over a recording: for evaluations and replays. What it costs is on the ledger.

    Its dialogues are kept only while the context lasts. Raises ConfigError.
    """
    import tempfile

    from agent.adapters.bundles import BundleFiles
    from agent.llm.tools import Senses
    from agent.redact import Redactor

    redact = Redactor(using.secrets)
    with (
        open_store(using) as store,
        _providers(model, using.file, redact) as providers,
        tempfile.TemporaryDirectory() as folder,
    ):

        def made(recording: "Recording") -> "ModelAdvisor":
            senses = Senses(
                containers=recording,
                look=recording.look,
                recent=lambda _name: (),
                remembered=lambda _name: (),
                clock=CLOCK,
                redact=redact,
            )
            return _asking(using, model, providers, senses, store, BundleFiles(Path(folder)), redact)

        yield made


def recordings(using: Settings, store: Store, incident: Incident) -> "tuple[tuple[int, Golden], ...]":
    """Return what each decision of an incident rested on, by attempt number, as its bundle has it. Raises StoreError, ConfigError."""
    from agent import codec, evaluation
    from agent.adapters.bundles import BundleFiles
    from agent.model import Evidence

    service = store.services.service(incident.service)
    if service is None:
        raise ConfigError(f"cannot read {incident.id} again: service {incident.service!r} is no longer declared")
    bundles, found = BundleFiles(using.state_dir), []
    asked = {approval.number for approval in store.approvals.of(incident.id)}
    for number in range(1, len(incident.attempts) + 2):
        content = bundles.read(incident.id, f"evidence-{number}.json")
        if content is None:
            continue
        try:
            evidence = codec.loads(content.decode())
        except ValueError as exc:
            raise ConfigError(f"cannot read evidence-{number}.json of {incident.id}: {exc}") from exc
        if not isinstance(evidence, Evidence):
            raise ConfigError(f"cannot read evidence-{number}.json of {incident.id}: it is no evidence")
        found.append((number, evaluation.recorded(incident, service, number, evidence, asked)))
    return tuple(found)


def standing_at(using: Settings, store: Store, service: Service, at: datetime) -> Standing:
    """Return how a service stands by its declaration and the wishes of now, at a time of the past: what a replay decides in."""
    from agent import parameters, standing
    from agent.adapters.good_copies import GoodCopyFiles

    copies = GoodCopyFiles(using.state_dir)
    return Standing(
        now=at,
        good_copy=parameters.good_copy(service, copies.latest(service.name)),
        around=standing.surroundings(service, store, copies, at),
        permissions=using.permissions,
    )


def keep_evaluation(using: Settings, bundle: str, *, passed: bool, figures: dict[str, float | int | str]) -> None:
    """Note what an evaluation of a bundle showed. Raises StoreError."""
    from agent.adapters.eval_records import EvalRecords

    EvalRecords(using.state_dir).keep(bundle, passed=passed, figures=figures, now=CLOCK.now())


def golden_cases(place: Path | None) -> "tuple[Golden, ...]":
    """Load the golden cases that ship, or those of a file or folder. Raises ConfigError."""
    from agent import golden_file

    if place is None:
        return golden_file.load(Path(__file__).parent / "golden")
    return golden_file.load(place) if place.is_dir() else golden_file.read(place)


def _refuse_unknown_runbooks(using: Settings) -> None:
    """Refuse a mode for a runbook that there is not: a slip would let the one that was meant run unasked."""
    from agent import yaml_text

    named = [("runbooks", id_) for id_, _ in using.permissions.runbook_modes]
    named += [(f"services.{service.name}.runbooks", id_) for service in using.services for id_, _ in service.runbook_modes]
    known = [str(runbook.id) for runbook in runbooks()] if named else []
    for place, id_ in named:
        if id_ not in known:
            raise ConfigError(f"cannot read {using.file}: {place}: there is no runbook {id_!r}{yaml_text.mean(id_, known)}")


def _enrol(using: Settings, store: Store) -> None:
    """Keep what medic.yaml declares; drop what it once declared and no longer does."""
    declared = {service.name for service in using.services}
    for service in using.services:
        store.services.enrol(service, now=CLOCK.now())
    for old in store.services.services():
        if old.name not in declared and old.origin != labels.ORIGIN:
            for incident in store.incidents.unclosed(old.name):
                store.incidents.close(incident.id, Closing.BY_PERSON, by="medic.yaml (no longer declared)", now=CLOCK.now())
            store.services.forget(old.name)


def notifier(channel: Channel, redact: Callable[[str], str]) -> Notifier:
    """Return the notifier of one channel. Raises ConfigError."""
    from agent.adapters.apprise_notifier import AppriseNotifier
    from agent.adapters.file_notifier import FileNotifier
    from agent.adapters.webhook_notifier import WebhookNotifier

    match channel:
        case AppriseChannel():
            return AppriseNotifier(channel.name, channel.url, redact=redact)
        case WebhookChannel():
            return WebhookNotifier(channel.name, channel.url, secret=channel.secret, redact=redact)
        case FileChannel():
            return FileNotifier(channel.name, channel.path, redact=redact)


# ------------------------------------------------------------------------------------------------------- looking by hand


def check(using: Settings, service: ServiceName | None) -> tuple[Verdict, ...]:
    """Look at every declared service (or one) once, without thresholds. Changes nothing and opens no incident."""
    with eyes(using) as (_, prober):
        observed = look.hosts([host.name for host in using.hosts], prober)
        labelled = labels.services(observed) if using.discover_labels else ()
        found = {each.name: each for each in (*labelled, *using.services)}
        chosen = [each for each in found.values() if service in (None, each.name)]
        judgements = look.at_all({each.name: each.checks for each in chosen}, chosen, prober, observed)
    verdicts = tuple(look.verdict(name, judged, CLOCK) for name, judged in judgements.items())
    from agent import redact

    return redact.within(verdicts, redact.Redactor(using.secrets))  # they quote what services answer


def dry_run(using: Settings, service: ServiceName, runbook: RunbookId, values: Mapping[str, str]) -> PlaybookRun:
    """Run one runbook in Ansible's check mode with diff: says what it would change, and changes nothing."""
    from agent import errands, parameters, standing

    with build(using) as world:
        declared = errands.service_of(service, world)
        plan = parameters.plan(
            errands.runbook_of(runbook, world.runbooks),
            declared,
            good_copy=errands.good_copy(declared, world),
            settings=values,
            why="dry run",
            around=standing.surroundings(declared, world.store, world.good_copies, world.clock.now()),
        )
        run_id = f"dry-{os.getpid()}"
        return world.playbooks.run(plan, run_id=run_id, check=True, on_task=lambda _task: None, should_stop=lambda: None)


# ---------------------------------------------------------------------------------------------------------------- hosts


def hosts(using: Settings) -> tuple[HostSeen, ...]:
    """Return every declared host, and whether its engine answers now."""
    with eyes(using) as (_, prober):
        observed = look.hosts([host.name for host in using.hosts], prober)
    return tuple(_seen(host, observed.get(ContainersRequest(host=host.name))) for host in using.hosts)


def _seen(host: Host, observed: Observation | None) -> HostSeen:
    match host.access:
        case Here():
            reached = "here"
        case SshAccess(address=address, port=port, user=user, jump=jump):
            reached = f"{user}@{address}:{port}{'' if jump is None else f' through {jump}'}"
        case SsmAccess(instance=instance, region=region):
            reached = f"{instance} in {region}"
    seen = observed if isinstance(observed, ContainersSeen) else None
    trouble = observed.why if isinstance(observed, Blind) else "it was not asked"
    return HostSeen(
        name=host.name,
        reached=reached,
        answers=seen is not None,
        trouble="" if seen is not None else trouble,
        containers=None if seen is None else len(seen.containers),
        origin=host.origin,
    )


def check_host(using: Settings, name: str) -> tuple[Found, ...]:
    """Ask a host what it has and lacks for playbooks. Reads only."""
    from agent.adapters import host_condition

    host = next(host for host in using.hosts if host.name == name)
    with contextlib.closing(_playbooks(using, lambda: None)) as playbooks:
        way = None if isinstance(host.access, Here) else playbooks.way(host)
    return host_condition.look(host.name, host.docker, way, CLOCK)


def prepare_host(using: Settings, name: str, *, check: bool, on_task: Callable[[TaskResult], None]) -> PlaybookRun:
    """Install what modules need on a host. Raises ConfigError while halted, OutsideError when it cannot be started."""
    halted = kill_file(using).halted()
    if halted is not None and not check:
        raise ConfigError(f"cannot prepare {name!r}: halted: {halted}; `medic resume` ends that")
    plan = Plan(
        runbook=RunbookId("prepare-host"),
        runbook_hash="",
        title="Prepare the host",
        risk=Risk.DISRUPTIVE,
        playbook=str(shipped("ansible") / "hosts" / "prepare.yml"),
        parameters=(),
        timeout=timedelta(minutes=20),
        settle=timedelta(0),
        rerun=Rerun.SAFE,
        undo=None,
        why="asked for by a person",
        host=HostName(name),
    )
    with contextlib.closing(_playbooks(using, lambda: None)) as playbooks:
        halt = kill_file(using)
        return playbooks.run(
            plan,
            run_id=f"prepare-{os.getpid()}",
            check=check,
            on_task=on_task,
            should_stop=lambda: None if halt.halted() is None or check else "halt",
        )


def fetch_host_key(address: str, port: int) -> "HostKey":
    """Return the best key that a host shows. It is for a person to say whether it is the right one. Raises OutsideError."""
    from agent.adapters import host_keys

    return host_keys.fetch(address, port)


def pin_host_key(file: Path, address: str, port: int, key: "HostKey") -> bool:
    """Write a key that a person agreed to into a known_hosts file; False if it stood there. Raises ConfigError."""
    from agent.adapters import host_keys

    return host_keys.pin(file, address, port, key)


def _playbooks(using: Settings, until: Callable[[], float | None]) -> "AnsiblePlaybooks":
    from agent.adapters.ansible_playbooks import AnsiblePlaybooks
    from agent.redact import Redactor

    return AnsiblePlaybooks(
        ansible=shipped("ansible"),
        state_dir=using.state_dir,
        redact=Redactor(using.secrets),
        hosts=using.hosts,
        agent_socket=using.ssh_agent,
        until=until,
    )


# ----------------------------------------------------------------------------------------------------------- rehearsals


IMAGE = "medic-lab/tiny"
NGINX_IMAGE = "medic-lab/base"
"""The lab's images, built by `python -m tests.lab.images` in a checkout."""


def rehearse(
    using: Settings, runbook: Runbook, image: str, nginx_image: str, on_step: Callable[[RehearsalStep], None]
) -> Rehearsal:
    """Put one runbook to the test on a throw-away container, in a scratch state folder, under the real kill switch.

    Raises OutsideError where an image is missing or Docker is away.
    """
    import tempfile
    import uuid

    from agent import rehearsal, runbook_file
    from agent.adapters.docker_engine import DockerEngine

    files = shipped("runbooks") / runbook.id
    expected = runbook_file.load_expectation(files)
    if not using.hosts:
        raise ConfigError(f"cannot test {runbook.id!r}: no host is declared to make a throw-away container on")
    host = using.hosts[0]
    docker = DockerEngine((host,), CLOCK)
    try:
        with tempfile.TemporaryDirectory(prefix="medic-rehearsal-", ignore_cleanup_errors=True) as scratch:
            case = rehearsal.Case(
                runbook=runbook,
                files=files,
                symptoms=tuple(expected.symptoms),
                causes=tuple(expected.causes),
                asked=expected.asked,
                refused=expected.refused,
                services=expected.services,
                name=f"medic-rehearsal-{uuid.uuid4().hex[:8]}",
                folder=Path(scratch) / "folder",
                image=image,
                nginx_image=nginx_image,
                host=host.name,
                docker=host.docker,
            )
            for needed in rehearsal.images(case):
                if not docker.has_image(host.name, needed):
                    raise OutsideError(
                        f"cannot test {runbook.id!r}: host {host.name!r} has no image {needed!r}; build it with"
                        " `python -m tests.lab.images` in a checkout, or name another with --image or --nginx-image",
                        transient=False,
                    )
            state = Path(scratch) / "state"
            small = replace(
                using,
                state_dir=state,
                store_url=f"sqlite:///{state / 'medic.db'}",
                hosts=(host,),
                services=(),
                channels=(),
                permissions=Permissions(),
                fleet_limits=FleetLimits(),
            )
            with build(small) as world:
                scratch_world = rehearsal.trusting(replace(world, kill_switch=kill_file(using)))
                done = rehearsal.rehearse(case, scratch_world, lambda name: docker.named(host.name, name), on_step)
    finally:
        docker.close()
    return done


def keep_pass(using: Settings, done: Rehearsal) -> None:
    """Note that a runbook passed its test: it acts by itself again, until it shows otherwise."""
    now = CLOCK.now()
    mark = RunbookMark(
        runbook=done.runbook,
        hash=done.hash,
        kind=RunbookMarkKind.PASSED,
        at=now,
        because="`medic runbook test` passed",
        key=f"{done.hash} passed {now.isoformat()}",
    )
    with open_store(using) as store:
        store.runbook_standing.note(mark)


def record_tested(passed: Iterable[Runbook]) -> Path:
    """Write the file TESTED beside the runbooks, with those that passed now; return its path. Raises ConfigError."""
    from agent import runbook_file

    path = shipped("runbooks") / runbook_file.TESTED
    try:
        path.write_text(runbook_file.tested_text(runbooks(), passed), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}") from exc
    return path


# ------------------------------------------------------------------------------------------------------- what was said


def dialogue_page(using: Settings, incident: Incident, story: Sequence[StoryEvent]) -> str:
    """Return what was said with models about one incident, as a self-contained HTML page. Raises OutsideError."""
    from agent.adapters import transcript_page
    from agent.adapters.bundles import BundleFiles
    from agent.llm import transcript
    from agent.redact import Redactor

    bundles = BundleFiles(using.state_dir)
    # One more than the attempts: what was asked before an attempt that was never made.
    dialogues = {number: transcript.read(bundles, incident.id, number) for number in range(1, len(incident.attempts) + 2)}
    return transcript_page.render(incident, dialogues, story, Redactor(using.secrets))


# --------------------------------------------------------------------------------------------------------------- halting


def stopped_since(using: Settings, began: datetime, within: timedelta) -> tuple[str, ...]:
    """Return what a halt that began then has stopped, a sentence for each playbook, waiting for those still under way.

    Makes no store where there is none. Raises ConfigError or StoreError when the store cannot be asked.
    """
    if _is_file(using) and watch_is_running(using) is None:
        return ()  # a store that is one file has one daemon: without it nothing is under way
    end = CLOCK.monotonic() + within.total_seconds()
    with open_store(using) as store:
        while True:
            attempts = [attempt for incident in store.incidents.recent() for attempt in incident.attempts]
            running = [attempt for attempt in attempts if attempt.runs and attempt.run is None]
            if not running or CLOCK.monotonic() >= end:
                break
            CLOCK.sleep(FOLLOW_EVERY)
    stopped = [
        a for a in attempts if a.run is not None and a.run.end is RunEnd.CANCELLED and a.ran_until and a.ran_until >= began
    ]
    return (
        *(f"stopped {a.plan.runbook} ({a.incident}-{a.number}): {a.run.message}" for a in stopped if a.run is not None),
        *(f"still under way: {a.plan.runbook} ({a.incident}-{a.number})" for a in running),
    )


# ------------------------------------------------------------------------------------------------------------ the daemon


class _Ended(threading.Event):
    """Set once the daemon is to end; ends the round under way as well."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop = stop

    def set(self) -> None:
        super().set()
        self._stop.set()


def watch(
    using: Settings,
    on_story: Callable[[StoryEvent], None],
    once_ready: Callable[[], None],
    stands_by: Callable[[Lead], None],
) -> None:
    """Run the daemon until SIGTERM or SIGINT; a second one ends the process at once. Where several share a store, stand by
    until this one leads.

    Raises OutsideError if one runs already on this state folder, LeaseLost when another has taken over meanwhile.
    """
    from agent import watch as daemon
    from agent.adapters.service_manager import ServiceManager
    from agent.adapters.watch_lock import WatchLock

    stop = threading.Event()
    ended = _Ended(stop)
    manager = ServiceManager(using.supervision.socket)

    def told(_signal: int, _frame: FrameType | None) -> None:
        if ended.is_set():
            os._exit(130)
        ended.set()
        manager.stopping()

    def ready() -> None:
        manager.ready()
        once_ready()

    def waits(lead: Lead) -> None:
        manager.ready()  # standing by is what it was started for
        stands_by(lead)

    with WatchLock(using.state_dir).held():
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, told)
        with _leading(using, ended, waiting_for=waits) as lease:
            using = _with_fleet_of_now(using, ended, manager.ready)
            while lease is not None and not ended.is_set():
                with _parts(using, stop, ended, lease, on_story, ready) as parts, _metrics(using, parts):
                    daemon.run(parts)
                # Without a word to end it was the fleet that changed: the same daemon goes on with other hosts.
                stop.clear()
                using = _with_fleet_of_now(using, ended, manager.ready)


@contextlib.contextmanager
def _metrics(using: Settings, parts: "Parts") -> Iterator[None]:
    """Serve what Prometheus asks for while the daemon runs. A port that is taken is said, and keeps nobody from being healed."""
    if using.metrics_port is None:
        yield
        return
    from importlib import metadata

    from agent import exposition
    from agent.adapters.metrics_server import MetricsServer
    from agent.metrics import Metrics

    version = metadata.version("medic-agent")
    numbers = Metrics(parts.world.store, parts.tally, CLOCK, beat_age=lambda: parts.heartbeat.age, version=version)
    try:
        server = MetricsServer(using.metrics_port, numbers.text, exposition.CONTENT_TYPE)
    except OutsideError as exc:
        logger.error("healing goes on without metrics", extra={"cause": str(exc)})
        yield
        return
    try:
        yield
    finally:
        server.stop()


def watch_is_running(using: Settings) -> int | None:
    """Return the pid of the daemon that owns the state folder, or None."""
    from agent.adapters.watch_lock import WatchLock

    return WatchLock(using.state_dir).owner()


def leader(using: Settings) -> Lead | None:
    """Return the Medic that leads on a store that several share; None where nobody does, or the store is a file."""
    if _is_file(using):
        return None
    with open_store(using) as store:
        standing = store.leads.standing()
    return standing[0] if standing is not None and standing[1] else None


def leader_elsewhere(using: Settings) -> Lead | None:
    """Return the Medic that leads from another state folder than ours, if there is one."""
    from agent.adapters import state_folder

    lead = leader(using)
    return None if lead is None or lead.place == state_folder.place(using.state_dir) else lead


def _is_file(using: Settings) -> bool:
    return using.store_url.startswith("sqlite")


@contextlib.contextmanager
def _leading(using: Settings, stop: threading.Event, *, waiting_for: Callable[[Lead], None]) -> Iterator[Lease | None]:
    """Lead for as long as the body lasts; `stop` is set when another takes over meanwhile. None if `stop` came first.

    waiting_for: called where another leads; it may raise rather than stand by. Raises LeaseLost after the body.
    The state folder must be ours: that is why one that an earlier process of it held is taken back at once.
    """
    from agent.adapters import lease, state_folder
    from agent.adapters.service_manager import ServiceManager
    from heartbeat.pulse import Pulse

    if _is_file(using):
        yield SoleLease()
        return
    seconds = using.interval.total_seconds()
    pulse = Pulse(using.interval, using.state_dir / "beat", stuck=lambda: None)

    def alive() -> None:  # who stands by lives as well
        pulse.end(int(CLOCK.now().timestamp() // seconds))
        ServiceManager(using.supervision.socket).alive()

    with open_store(using) as store:
        kept = lease.stand_by(
            store.leads,
            f"{socket.gethostname()} (pid {os.getpid()})",
            state_folder.place(using.state_dir),
            using.lease,
            stop=stop,
            waiting_for=waiting_for,
            alive=alive,
        )
        if kept is None:
            yield None
            return
        kept.keep(on_lost=stop.set)
        try:
            yield kept
        finally:
            kept.end()
        if kept.lost:
            raise LeaseLost("go on", "another Medic has taken over; start this one again to stand by")


@contextlib.contextmanager
def _parts(
    using: Settings,
    stop: threading.Event,
    ended: threading.Event,
    lease: Lease,
    on_story: Callable[[StoryEvent], None],
    once_ready: Callable[[], None],
) -> Iterator["Parts"]:
    from agent import watch
    from agent.adapters import own_limits
    from agent.adapters.retention import OldFiles
    from agent.adapters.service_manager import ServiceManager
    from agent.departing import FleetWatch
    from agent.distress import Distress
    from agent.engine import SOLE_EXECUTOR, DbosEngine, StoppableClock
    from agent.housekeeping import Housekeeping
    from agent.metrics import Tally
    from agent.sweep import Sweep
    from heartbeat.pulse import Pulse
    from heartbeat.schedule import Heartbeat

    own_limits.raise_open_files()
    with build(using, ended.is_set, lease) as world, _fleet(using, world) as fleet:
        healing = replace(world, clock=StoppableClock(CLOCK, stop.is_set))
        engine = DbosEngine(
            using.engine_url,
            lambda incident, steps: _body(incident, steps, healing, fleet),
            CLOCK,
            world.redact,
            executor=f"term-{lease.lead.term}" if isinstance(lease, KeptLease) else SOLE_EXECUTOR,
        )
        hosts = [host.name for host in using.hosts]
        tally = Tally()
        sweep = Sweep(world, engine, hosts, discover=using.discover_labels, control=_control(using), tally=tally)
        notifiers = {channel.name: notifier(channel, world.redact) for channel in using.channels}
        distress = Distress(notifiers, CLOCK)
        manager = ServiceManager(using.supervision.socket)
        pulse = Pulse(
            using.interval,
            using.state_dir / "beat",
            stuck=lambda: os._exit(STUCK),
            alive=manager.alive,
            silence=using.supervision.silence,
        )
        yield watch.Parts(
            world=world,
            engine=engine,
            sweep=sweep,
            heartbeat=Heartbeat(using.interval, lambda slot: watch.one_beat(sweep, distress, tally, slot), pulse),
            distress=distress,
            notifiers=notifiers,
            hosts=hosts,
            fleet=None if fleet is None else FleetWatch(fleet, world, engine, lambda: _sync_and_compare(using)),
            housekeeping=Housekeeping(world.store, OldFiles(using.state_dir), engine, using.retention, CLOCK),
            tally=tally,
            stop=stop,
            on_story=on_story,
            once_ready=once_ready,
        )


def _body(incident: IncidentId, steps: "Engine", world: World, fleet: Fleet | None) -> "Ending":
    """What the engine carries through for one incident: a drain where it tells of a host that goes, else a heal."""
    from agent import drain, heal

    if fleet is not None and world.store.departures.of(incident) is not None:
        return drain.drain(incident, steps, world, fleet)
    return heal.heal(incident, steps, world)


# ------------------------------------------------------------------------------------------------------------- the fleet


def sync_inventory(using: Settings) -> "Snapshot":
    """Read the stack's inventory and who is in its groups now, and keep both in the state folder.

    Raises ConfigError (no `inventory:`, a newer version, boto3 missing) or OutsideError (AWS does not answer).
    """
    from agent import fleet
    from agent.adapters import fleet_file
    from infra import inventory

    source = _source(using)
    clients = _aws(source.region)
    from agent.adapters.aws_fleet import AwsFleet
    from agent.adapters.aws_parameters import AwsParameters

    parameters = AwsParameters(clients)
    try:
        stack = inventory.parse(parameters.text(source.ssm_parameter))
    except inventory.InventoryError as exc:
        raise ConfigError(f"{exc} ({source.ssm_parameter} in {source.region})") from exc
    snapshot = fleet.Snapshot(
        inventory=stack,
        members=AwsFleet(clients, [each for each in (stack.group, stack.burst_group) if each]).members(),
        keys=parameters.under(stack.host_keys),
        at=CLOCK.now(),
    )
    fleet_file.keep(using.state_dir, snapshot)
    return snapshot


def preflight(fleet: "FleetSettings") -> tuple[tuple["Need", ...], tuple[str, ...]]:
    """Return the quotas that a stack meets, and the types of it that its region does not have. Raises OutsideError, ConfigError."""
    from infra import quotas

    clients = _aws(fleet.region)
    from agent.adapters.aws_quotas import AwsQuotas

    account = AwsQuotas(clients)
    vcpus = account.vcpus(fleet.instance_types)
    lacking = tuple(each for each in fleet.instance_types if each not in vcpus)
    return quotas.needs(fleet, vcpus, account.allowed), lacking


def kept_inventory(using: Settings) -> "Snapshot":
    """Return the fleet as it was last read. Raises ConfigError."""
    _source(using)
    if using.fleet is None:
        raise ConfigError("cannot show the inventory: it was never read; `medic inventory sync` reads it")
    return using.fleet


def _source(using: Settings) -> "InventorySource":
    if using.inventory is None:
        raise ConfigError(
            f"cannot read an inventory: {using.file or 'medic.yaml'} names none; write `inventory:` with ssm_parameter and region"
        )
    return using.inventory


def _aws(region: str) -> "AwsClients":
    """Return clients of AWS. Raises ConfigError where what that needs is not installed."""
    try:
        from agent.adapters.aws_clients import AwsClients
    except ImportError as exc:
        raise ConfigError(f"cannot speak to AWS: {exc}; install medic-agent[aws]") from exc
    return AwsClients(region)


def _with_fleet_of_now(using: Settings, ended: threading.Event, waits: Callable[[], None]) -> Settings:
    """Return settings with the fleet as it is, or where AWS does not answer as it was last read: its hosts need us all the more.

    Where it was never read, wait until it can be, or until `ended`; `waits` is told first: whoever supervises us is not kept waiting.
    """
    from agent import config as config_file

    while using.inventory is not None:
        try:
            return config_file.with_fleet(using, sync_inventory(using))
        except OutsideError as exc:
            if using.fleet is not None:
                logger.warning("goes on with the inventory that was last read", extra={"cause": str(exc)})
                return using
            logger.error("waits for the inventory", extra={"cause": str(exc)})
        waits()
        if ended.wait(INVENTORY_AGAIN.total_seconds()):
            break
    return using


def _sync_and_compare(using: Settings) -> tuple["Sequence[Member]", bool]:
    """Read who is there now; return them, and whether this daemon was built with others."""
    now = sync_inventory(using)
    return now.members, using.fleet is None or now.shape != using.fleet.shape


@contextlib.contextmanager
def _fleet(using: Settings, world: World) -> Iterator[Fleet | None]:
    """Open what a drain needs of the cloud; None where there is no inventory, or it was never read."""
    if using.inventory is None or using.fleet is None:
        yield None
        return
    from agent.adapters.aws_balancer import AwsBalancer
    from agent.adapters.aws_bucket import AwsBucket
    from agent.adapters.aws_events import AwsEvents
    from agent.adapters.aws_fleet import AwsFleet
    from agent.adapters.docker_engine import DockerEngine
    from infra import prices

    stack, clients = using.fleet.inventory, _aws(using.inventory.region)
    book = prices.load().on_demand
    docker = world.containers
    if not isinstance(docker, DockerEngine):
        raise TypeError("the world of a daemon looks through a Docker engine")
    yield Fleet(
        groups=AwsFleet(clients, [each for each in (stack.group, stack.burst_group) if each]),
        events=AwsEvents(clients, stack.queue_url),
        balancer=AwsBalancer(clients, stack.target_group_arn) if stack.target_group_arn else None,
        last_words=AwsBucket(clients, stack.bucket),
        stopper=docker,
        drain_hook=stack.drain_hook,
        warm_up=timedelta(seconds=stack.warm_up_seconds),
        on_drought=using.inventory.on_drought,
        daily_usd=using.inventory.money_per_day,
        price=lambda kind: Decimal(str(book[kind])) if kind in book else None,
    )


def _control(using: Settings) -> tuple[ProbeRequest, ...]:
    """Return the questions to the control targets, each with a short time of its own."""
    return tuple(
        HttpRequest(url=target, timeout=CONTROL_WITHIN)
        if "://" in target
        else TcpRequest(address=target, timeout=CONTROL_WITHIN)
        for target in using.control
    )


# ---------------------------------------------------------------------------------------------------------------- asking


def ask(using: Settings, request: Request, on_story: Callable[[StoryEvent], None]) -> RequestAnswer:
    """Ask the running daemon and follow what comes of it live; without one, take the lock and do it in the foreground.

    Raises ConfigError when the request names what there is not, OutsideError when the daemon does not answer in time.
    """
    from agent.adapters.watch_lock import WatchLock

    if watch_is_running(using) is not None or leader(using) is not None:
        with open_store(using) as store:
            store.requests.ask(request)
            answer = _sensible(_wait_for_answer(store, request.id))
            if answer.accepted and answer.incident is not None:
                _follow(store, answer.incident, on_story)
            return answer

    stop = threading.Event()

    def refuse(lead: Lead) -> None:
        raise OutsideError(f"cannot ask: {lead.holder} has just begun to lead; ask again", transient=True)

    with WatchLock(using.state_dir).held(), _leading(using, stop, waiting_for=refuse) as lease:
        assert lease is not None  # noqa: S101  nothing sets `stop` before
        with _parts(using, stop, stop, lease, on_story, lambda: None) as parts:
            return _in_the_foreground(parts, request, on_story)


def _in_the_foreground(parts: "Parts", request: Request, on_story: Callable[[StoryEvent], None]) -> RequestAnswer:
    from agent import errands, outbox

    parts.engine.launch()
    try:
        answer = _sensible(errands.answer(request, parts.world, parts.engine, parts.sweep))
        if answer.accepted and answer.incident is not None:
            _follow(parts.world.store, answer.incident, on_story)
        _wait_for_others(parts)
        return answer
    finally:
        parts.stop.set()
        parts.engine.stop(timedelta(seconds=10))
        outbox.deliver_due(parts.world.store.outbox, parts.notifiers, CLOCK)


def _wait_for_others(parts: "Parts") -> None:
    """Starting the engine resumed whatever an earlier crash had cut: let it end rather than cut it again."""
    end = CLOCK.monotonic() + FOLLOW_WITHIN.total_seconds()
    while parts.engine.running() and CLOCK.monotonic() < end:
        CLOCK.sleep(FOLLOW_EVERY)


def _wait_for_answer(store: Store, request: str) -> RequestAnswer:
    end = CLOCK.monotonic() + ANSWER_WITHIN.total_seconds()
    while CLOCK.monotonic() < end:
        answer = store.requests.answered(request)
        if answer is not None:
            return answer
        CLOCK.sleep(FOLLOW_EVERY)
    raise OutsideError(
        f"cannot follow request {request!r}: the daemon did not answer within {ANSWER_WITHIN.total_seconds():.0f} s",
        transient=True,
    )


def _sensible(answer: RequestAnswer) -> RequestAnswer:
    if answer.mistaken:
        raise ConfigError(answer.sentence)
    return answer


def _follow(store: Store, incident: IncidentId, on_story: Callable[[StoryEvent], None]) -> None:
    """Tell the incident's story as it grows, until its round ends."""
    told = 0
    end = CLOCK.monotonic() + FOLLOW_WITHIN.total_seconds()
    while CLOCK.monotonic() < end:
        now = store.incidents.get(incident)
        for event in store.story.since(told, incident=incident):
            on_story(event)
            told = event.id
        if now is None or now.state is not IncidentState.OPEN:
            return
        CLOCK.sleep(FOLLOW_EVERY)
