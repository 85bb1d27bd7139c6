"""`medic runbook test`: puts one runbook to the test on throw-aways, through the very `heal` that runs in the field.

In: a runbook, the files beside it, and a scratch world that knows nobody yet. Out: a `Rehearsal`: what was broken is seen,
explained as expected, mended by this runbook as the first choice, seen to be well, and removed. On the way its dry run must
change nothing, and running it once more must do no harm where it says `rerun: safe`.

What the playbooks beside it (`prepare.yml`, `inject.yml`, `revert.yml`) are given: `container`, `nginx` and `folder` (names that
nobody else has), `image`, `nginx_image` and `docker`. `expect.yaml` declares the services, with the same names in braces.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from agent import config, heal, look, parameters, standing
from agent.errors import ConfigError, OutsideError
from agent.model import (
    Attempt,
    Cause,
    Check,
    Health,
    HoldCode,
    HostName,
    Incident,
    IncidentId,
    IncidentState,
    Limits,
    Mode,
    Outcome,
    Plan,
    PlaybookRun,
    RefusalCode,
    Rehearsal,
    RehearsalStep,
    Rerun,
    Risk,
    Runbook,
    RunbookId,
    RunEnd,
    Service,
    Thresholds,
    Verdict,
)
from agent.ports import Catalogue, Clock, World
from agent.steps import propose
from agent.sweep import Sweep

T = TypeVar("T")

EVERY = timedelta(seconds=1)
STEADY = Thresholds(sick_after=1)
SEEN_WITHIN = timedelta(seconds=20)
"""From the end of inject.yml until the expected symptom must be seen; the same for WELL after prepare.yml."""
HELD_FOR = timedelta(minutes=2)
"""How long holds (a container that is warming) may put the remedy off."""
PLAY_WITHIN = timedelta(minutes=2)
"""For each of prepare.yml, inject.yml and revert.yml."""
VERIFY_WITHIN = timedelta(seconds=30)
CONTAINED_WITHIN = timedelta(seconds=2)
"""The same for a runbook that contains: it does not get well, however long anybody looks."""
PREPARE = "prepare.yml"
"""Optional: makes a service that is WELL, where a runbook goes back to how it was then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One runbook with all that its test needs."""

    runbook: Runbook
    files: Path
    """Its folder."""
    symptoms: tuple[str, ...]
    causes: tuple[Cause, ...]
    """What `expect.yaml` says: one of each must be seen and named."""
    services: Mapping[str, Mapping[str, object]]
    """`services:` of `expect.yaml`, as written: the patient and those around it."""
    asked: bool
    """It is asked for, since a lower rung would be chosen."""
    refused: RefusalCode | None
    """What Medic says after a runbook that contains what it cannot heal; None: all checks must be well after it."""
    name: str
    """The throw-away container; everything that is made begins with it."""
    folder: Path
    """A folder on the host that the playbooks may make and revert.yml must remove."""
    image: str
    nginx_image: str
    host: HostName
    docker: str
    """The engine that the throw-aways live in: a URL."""


class Straight:
    """`ports.Engine` that runs straight through and remembers nothing: a rehearsal that is cut is made anew."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def step(self, _name: str, call: Callable[[], T]) -> T:
        """Run `call`."""
        return call()

    def sleep(self, _name: str, span: timedelta) -> None:
        """Wait."""
        self._clock.sleep(span)


class Nobody:
    """`ports.Workflows` that starts nothing: a look that remembers how a service is while WELL needs one."""

    def start(self, incident: IncidentId, round_: int) -> None:
        """Leave it: the rehearsal heals by itself."""

    def running(self) -> tuple[IncidentId, ...]:
        """Return no heal."""
        return ()


def declared(case: Case, names: Mapping[str, str]) -> tuple[Service, ...]:
    """Return the services that `expect.yaml` declares, the patient first. Raises ConfigError as medic.yaml would.

    names: what stands for each word in braces.
    """
    file = case.files / "expect.yaml"
    there = {name: {"host": case.host, **words} for name, words in case.services.items()}
    document = {"hosts": {case.host: {"docker": case.docker}}, "services": _filled(there, names)}
    found = config.services(document, str(file))
    # The test is the person's word: a runbook whose risk asks would never show here what it does.
    own = tuple(
        replace(
            each,
            checks=tuple(_quick(check) for check in each.checks),
            limits=Limits(start_grace=timedelta(0), verify_within=CONTAINED_WITHIN if case.refused else VERIFY_WITHIN),
            runbook_modes=((case.runbook.id, Mode.ACT),),
            origin="medic runbook test",
        )
        for each in found
    )
    if not own or own[0].name != case.name:
        raise ConfigError(f"cannot read {file}: services: the first must be called '{{container}}', the patient")
    return own


def _quick(check: Check) -> Check:
    return replace(check, every=EVERY, thresholds=STEADY)


def _filled(part: object, names: Mapping[str, str]) -> object:
    """Return a part of a YAML document with every word in braces replaced by what it stands for."""
    match part:
        case str():
            for word, meaning in names.items():
                part = part.replace(f"{{{word}}}", meaning)
            return part
        case Mapping():
            return {_filled(key, names): _filled(value, names) for key, value in part.items()}
        case list():
            return [_filled(each, names) for each in part]
        case _:
            return part


def rehearse(
    case: Case, world: World, left: Callable[[str], Sequence[str]], on_step: Callable[[RehearsalStep], None]
) -> Rehearsal:
    """Put one runbook to the test.

    world: a scratch world whose store knows nobody, with the real kill switch. left: what there is by the name of a
    throw-away. on_step: called as each step ends. Never raises for what the runbook does; OutsideError where Medic
    itself cannot look.
    """
    began = world.clock.monotonic()
    steps: list[RehearsalStep] = []

    def note(name: str, said: str, *, passed: bool) -> bool:
        steps.append(RehearsalStep(name=name, passed=passed, said=said))
        on_step(steps[-1])
        return passed

    try:
        _until_healed(case, world, note)
    finally:
        _tidy(case, world, left, note)
    took = timedelta(seconds=world.clock.monotonic() - began)
    passed = all(step.passed for step in steps)
    return Rehearsal(runbook=case.runbook.id, hash=case.runbook.hash, passed=passed, took=took, steps=tuple(steps))


class Note(Protocol):
    """Takes down one step, and says whether it passed."""

    def __call__(self, name: str, said: str, *, passed: bool) -> bool:
        """Return `passed`."""


def _until_healed(case: Case, world: World, note: Note) -> None:
    """Break, see, explain, choose, mend, see again: up to the first step that does not pass."""
    if (case.files / PREPARE).is_file() and not _prepared(case, world, note):
        return
    injected = _play("inject", case, world)
    if not note("inject", _said(injected), passed=injected.end is RunEnd.COMPLETED):
        return
    patient = _enrolled(case, world)
    seen = _look_until(lambda verdict: _shows(case, verdict), patient, world)
    if not note("detect", "; ".join(seen.reasons) or "it is well", passed=seen.health is Health.SICK and _shows(case, seen)):
        return
    opened = _open(case, patient, seen, world)
    if not _dry(case, opened, patient, world, note):
        return
    incident = _healed(opened, world)
    first = incident.attempts[0] if incident.attempts else None
    if first is None:
        note("heal", _why_nothing(incident), passed=False)
        return
    ended = first.run is not None and first.run.end is RunEnd.COMPLETED
    if not note("heal", _said(first.run) if first.run else "it did not run", passed=ended):
        return
    if case.refused is not None:
        _contained(case, first, incident, world, note)
        return
    saw = "; ".join(first.verdict.reasons) if first.verdict and first.verdict.reasons else "all checks well"
    outcome = first.outcome.value if first.outcome else "unfinished"
    healed = first.outcome is Outcome.HEALED and first.harm is None
    if note("verify", f"{outcome}: {saw}", passed=healed) and case.runbook.rerun is Rerun.SAFE:
        _again(first, patient, world, note)


def _prepared(case: Case, world: World, note: Note) -> bool:
    """Make the service while it is well, and look at it as a sweep does, which remembers that."""
    run = _play("prepare", case, world)
    if not note("prepare", _said(run), passed=run.end is RunEnd.COMPLETED):
        return False
    patient = _enrolled(case, world)
    seen = _look_until(lambda verdict: verdict.health is Health.WELL, patient, world)
    sweep, end = Sweep(world, Nobody(), (patient.host,), discover=False), world.clock.monotonic() + SEEN_WITHIN.total_seconds()
    sweep.beat(0)
    # On a busy machine one look may not learn when a container started, and keeps no good copy then.
    while not _all_remembered(world) and world.clock.monotonic() < end:
        world.clock.sleep(look.PAUSE)
        sweep.beat(0)
    return note("well", "; ".join(seen.reasons) or "all checks well", passed=seen.health is Health.WELL)


def _all_remembered(world: World) -> bool:
    """Say whether the store knows how every service looks while it is well, its configuration with it."""
    known = {each.service: each for each in world.store.services.records() if each.well_at is not None}
    return all(
        each.name in known and (each.config_file is None or known[each.name].config_hash is not None)
        for each in world.store.services.services()
    )


def _enrolled(case: Case, world: World) -> Service:
    """Enrol what `expect.yaml` declares and return the patient. Addresses are known only now."""
    names = given(case)
    for word, container in (("{nginx_address}", nginx(case)), ("{parent_address}", f"{case.name}-parent")):
        if word in json.dumps(case.services):
            networks = world.containers.inspect(case.host, container).networks
            names[word.strip("{}")] = next((network.address for network in networks if network.address), "")
    services = declared(case, names)
    for each in services:
        world.store.services.enrol(each, now=world.clock.now())
    return services[0]


def _dry(case: Case, id_: IncidentId, patient: Service, world: World, note: Note) -> bool:
    """Let Medic explain and choose with `dry_run` set: up to the change, and not further."""
    asked = _get(id_, world).requested
    if asked is not None:
        run = _run(asked, f"dry-{id_}", world, check=True)
        return _changed_nothing(_said(run), patient, world, note, passed=run.end is RunEnd.COMPLETED)
    world.store.services.enrol(replace(patient, dry_run=True), now=world.clock.now())
    incident = _healed(id_, world, ends=lambda held: held is HoldCode.DRY_RUN)
    world.store.services.enrol(patient, now=world.clock.now())
    diagnosis = incident.diagnosis
    cause = f"{diagnosis.cause.value} ({diagnosis.said_by}): {diagnosis.summary}" if diagnosis else "nothing was explained"
    if not note("diagnose", cause, passed=diagnosis is not None and diagnosis.cause in case.causes):
        return False
    would = incident.hold.would if incident.hold is not None else None
    if would is None:
        return note("choose", _why_nothing(incident), passed=False)
    if not note("choose", f"{would.runbook}: {would.why}", passed=would.runbook == case.runbook.id):
        return False
    shown = (world.bundles.read(id_, propose.preview_file(1, would)) or b"nothing was shown").decode()
    world.store.incidents.next_round(id_, expected=incident.round)
    return _changed_nothing(shown.partition("\n")[0], patient, world, note, passed=propose.is_whole(shown))


def _changed_nothing(said: str, patient: Service, world: World, note: Note, *, passed: bool) -> bool:
    still = look.at(patient, world.prober, world.clock).health is Health.SICK
    return note("dry run", said if still else "it changed the world", passed=still and passed)


def _contained(case: Case, first: Attempt, incident: Incident, world: World, note: Note) -> None:
    """See that the attempt claims no heal, that nothing more is done after it, and that running it again does no harm."""
    said = f"refused: {incident.refusal.because}" if incident.refusal else "nothing was refused"
    refused = incident.refusal is not None and incident.refusal.code is case.refused
    honest = first.outcome is Outcome.INEFFECTIVE and len(incident.attempts) == 1
    if note("verify", f"{first.outcome.value if first.outcome else 'unfinished'}; {said}", passed=refused and honest):
        run = _run(first.plan, f"again-{first.incident}", world, check=False)
        note("run again", _said(run), passed=run.end is RunEnd.COMPLETED)


def _again(first: Attempt, patient: Service, world: World, note: Note) -> None:
    """Run the plan once more, as after a crash between its last task and its marker."""
    run = _run(first.plan, f"again-{first.incident}", world, check=False)
    seen = _look_until(lambda verdict: verdict.health is Health.WELL, patient, world)
    said = _said(run) if seen.health is Health.WELL else "; ".join(seen.reasons)
    note("run again", said, passed=run.end is RunEnd.COMPLETED and seen.health is Health.WELL)


def _tidy(case: Case, world: World, left: Callable[[str], Sequence[str]], note: Note) -> None:
    halted = world.kill_switch.halted()
    if halted is not None:
        rest = ", ".join(left(case.name)) or "nothing"
        note("revert", f"halted ({halted}), so this is left to remove by hand: {rest}", passed=False)
        return
    reverted = _play("revert", case, world)
    note("revert", _said(reverted), passed=reverted.end is RunEnd.COMPLETED)
    is_there = world.files.usage(case.host, str(case.folder)) is not None
    found = (*left(case.name), *((str(case.folder),) if is_there else ()))
    note("nothing left", ", ".join(found) or "nothing", passed=not found)


def _look_until(enough: Callable[[Verdict], bool], patient: Service, world: World) -> Verdict:
    """Look until it is enough, or until it should have been."""
    end = world.clock.monotonic() + SEEN_WITHIN.total_seconds()
    while True:
        seen = look.at(patient, world.prober, world.clock)
        if enough(seen) or world.clock.monotonic() >= end:
            return seen
        world.clock.sleep(look.PAUSE)


def _shows(case: Case, seen: Verdict) -> bool:
    return any(symptom.word in case.symptoms for symptom in seen.symptoms)


def _open(case: Case, patient: Service, seen: Verdict, world: World) -> IncidentId:
    now = world.clock.now()
    if not case.asked and (case.runbook.treats_causes or case.runbook.treats_symptoms):
        return world.store.incidents.open(patient, seen, fingerprint="rehearsal", now=now)[0].id
    # An undo, or a higher rung: it is not chosen for this sickness at first, so it is asked for, as a person would.
    why = (
        "another would be chosen first, so it was asked for" if case.asked else "treats nothing by itself, so it was asked for"
    )
    around = standing.surroundings(patient, world.store, world.good_copies, now)
    plan = parameters.plan(case.runbook, patient, good_copy=None, settings={}, why=why, around=around)
    return world.store.incidents.request(patient, seen, plan, by="medic runbook test", now=now).id


def _healed(id_: IncidentId, world: World, ends: Callable[[HoldCode], bool] = lambda _held: False) -> Incident:
    """Heal one incident, past the holds that pass by themselves, up to one that `ends` it; return it as it ended."""
    end = world.clock.monotonic() + HELD_FOR.total_seconds()
    while True:
        heal.heal(id_, Straight(world.clock), world)
        incident = _get(id_, world)
        hold = incident.hold
        if incident.state is not IncidentState.HELD or hold is None or ends(hold.code):
            return incident
        if hold.look_again > timedelta(seconds=end - world.clock.monotonic()) or world.kill_switch.halted() is not None:
            return incident
        world.clock.sleep(hold.look_again)
        world.store.incidents.next_round(id_, expected=incident.round)


def _get(id_: IncidentId, world: World) -> Incident:
    incident = world.store.incidents.get(id_)
    if incident is None:
        raise LookupError(f"cannot read incident {id_!r}: it is not in the store")
    return incident


def _why_nothing(incident: Incident) -> str:
    if incident.refusal is not None:
        return f"refused: {incident.refusal.because}"
    return f"held: {incident.hold.because}" if incident.hold else "it got well by itself"


def _play(name: str, case: Case, world: World) -> PlaybookRun:
    """Run one of the playbooks beside the runbook in a guarded process, as every playbook runs."""
    plan = Plan(
        runbook=RunbookId(name),
        runbook_hash=case.runbook.hash,
        title=f"{name} of {case.runbook.id}",
        risk=Risk.SAFE,
        playbook=str(case.files / f"{name}.yml"),
        parameters=tuple((key, json.dumps(value)) for key, value in given(case).items()),
        timeout=PLAY_WITHIN,
        settle=timedelta(0),
        rerun=Rerun.NEVER,
        undo=None,
        why="a rehearsal",
        host=case.host,
    )
    return _run(plan, f"{name}-1", world, check=False)


def _run(plan: Plan, run_id: str, world: World, *, check: bool) -> PlaybookRun:
    def should_stop() -> str | None:
        return "halt" if world.kill_switch.halted() is not None else None

    halted = world.kill_switch.halted()
    if halted is not None:
        return PlaybookRun(end=RunEnd.NOT_RUN, message=f"halted: {halted}")
    try:
        return world.playbooks.run(plan, run_id=run_id, check=check, on_task=lambda _task: None, should_stop=should_stop)
    except OutsideError as exc:
        return PlaybookRun(end=RunEnd.FAILED, message=str(exc))


def given(case: Case) -> dict[str, str]:
    """Return what the playbooks beside a runbook are given, and what stands for each word in braces of its expect.yaml."""
    return {
        "container": case.name,
        "nginx": nginx(case),
        "folder": str(case.folder),
        "image": case.image,
        "nginx_image": case.nginx_image,
        "docker": case.docker,
    }


def nginx(case: Case) -> str:
    """Return the name of the throw-away nginx."""
    return f"{case.name}-nginx"


def _said(run: PlaybookRun) -> str:
    return f"{run.end.value}{': ' + run.message if run.message else ''}"


def images(case: Case) -> tuple[str, ...]:
    """Return the images that the test needs."""
    return (case.image, case.nginx_image) if "{nginx" in json.dumps(case.services) else (case.image,)


def trusting(world: World) -> World:
    """Return the world with every runbook counted as tested: the one under test must not wait for its own pass."""
    return replace(world, catalogue=_Trusted(world.catalogue))


class _Trusted:
    """`ports.Catalogue` in which every runbook has passed its test."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.changed = catalogue.changed

    def runbooks(self) -> tuple[Runbook, ...]:
        return tuple(replace(runbook, tested=True) for runbook in self._catalogue.runbooks())
