"""`medic runbook test`: puts one runbook to the test on a throw-away container, through the very `heal` that runs in the field.

In: a runbook, its `inject.yml`, `expect.yaml` and `revert.yml`, and a scratch world that knows one service. Out: a `Rehearsal`:
what was broken is seen, explained as expected, mended by this runbook as the first choice, seen to be well, and removed.

What an inject.yml is given: `container`, `nginx` and `folder` (names that nobody else has), `image` and `nginx_image`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from agent import heal, look, parameters
from agent.errors import OutsideError
from agent.model import (
    Cause,
    Check,
    ConfigFile,
    ContainerCheck,
    Health,
    HostName,
    HttpCheck,
    Incident,
    IncidentId,
    IncidentState,
    Limits,
    Mode,
    NginxCheck,
    Outcome,
    Plan,
    Plane,
    PlaybookRun,
    Rehearsal,
    RehearsalStep,
    Rerun,
    Risk,
    Runbook,
    RunbookId,
    RunEnd,
    RunSpec,
    Service,
    ServiceName,
    Thresholds,
    Verdict,
)
from agent.ports import Clock, World

T = TypeVar("T")

EVERY = timedelta(seconds=1)
STEADY = Thresholds(sick_after=1)
SEEN_WITHIN = timedelta(seconds=20)
"""From the end of inject.yml until the expected symptom must be seen."""
HELD_FOR = timedelta(minutes=2)
"""How long holds (a container that is warming) may put the remedy off."""
PLAY_WITHIN = timedelta(minutes=2)
"""For inject.yml and for revert.yml."""
VERIFY_WITHIN = timedelta(seconds=30)
PORT = 80
"""Where the throw-away service and its nginx listen, if they do."""
BUSY = ("sleep", "3600")
"""What a throw-away container runs that is recreated from its spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One runbook with all that its test needs."""

    runbook: Runbook
    files: Path
    """Its folder."""
    symptoms: tuple[str, ...]
    causes: tuple[Cause, ...]
    """What `expect.yaml` says: one of each must be seen and named."""
    name: str
    """The throw-away container; everything that is made begins with it."""
    folder: Path
    """A folder that inject.yml may make and revert.yml must remove."""
    image: str
    nginx_image: str


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


def service(case: Case, host: HostName) -> Service:
    """Return the throw-away service, declared with what the runbook needs and the checks that see what is expected."""
    needs = case.runbook.needs
    config = ConfigFile(path=str(case.folder / "service.conf"), template=str(case.folder / "good.conf"))
    spec = RunSpec(image=case.image, command=BUSY, labels=(("medic.test", "runbooks"),), stop_timeout=1)
    return Service(
        name=ServiceName(case.name),
        host=host,
        container=case.name,
        checks=_checks(case),
        limits=Limits(start_grace=timedelta(0), verify_within=VERIFY_WITHIN),
        spec=spec if "spec" in needs else None,
        config_file=config if "config-file" in needs else None,
        # The test is the person's word: a runbook whose risk asks would never show here what it does.
        runbook_modes=((case.runbook.id, Mode.ACT),),
        origin="medic runbook test",
    )


def rehearse(
    case: Case, world: World, left: Callable[[str], Sequence[str]], on_step: Callable[[RehearsalStep], None]
) -> Rehearsal:
    """Put one runbook to the test.

    world: a scratch world whose store knows only `service(case)`, with the real kill switch. left: what there is by the name
    of a throw-away. on_step: called as each step ends. Never raises for what the runbook does; OutsideError where Medic
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
    injected = _play("inject", case, world)
    if not note("inject", _said(injected), passed=injected.end is RunEnd.COMPLETED):
        return
    declared = _through_nginx(case, world)
    seen = _look_for(case, declared, world)
    if not note("detect", "; ".join(seen.reasons) or "it is well", passed=seen.health is Health.SICK and _shows(case, seen)):
        return
    incident = _heal(case, declared, seen, world)
    diagnosis = incident.diagnosis
    cause = f"{diagnosis.cause.value} ({diagnosis.said_by}): {diagnosis.summary}" if diagnosis else "nothing was explained"
    if not note("diagnose", cause, passed=diagnosis is not None and diagnosis.cause in case.causes):
        return
    first = incident.attempts[0] if incident.attempts else None
    if first is None:
        note("choose", _why_nothing(incident), passed=False)
        return
    if not note("choose", f"{first.plan.runbook}: {first.plan.why}", passed=first.plan.runbook == case.runbook.id):
        return
    ended = first.run is not None and first.run.end is RunEnd.COMPLETED
    if not note("heal", _said(first.run) if first.run else "it did not run", passed=ended):
        return
    saw = "; ".join(first.verdict.reasons) if first.verdict and first.verdict.reasons else "all checks well"
    outcome = first.outcome.value if first.outcome else "unfinished"
    note("verify", f"{outcome}: {saw}", passed=first.outcome is Outcome.HEALED and first.harm is None)


def _through_nginx(case: Case, world: World) -> Service:
    """Return the enrolled service, with a check through its nginx where it has one: the address is known only now.

    What nginx itself remembers of its upstreams stands in no configuration; an answer through it tells.
    """
    declared = world.store.services.service(ServiceName(case.name))
    if declared is None:
        raise LookupError(f"cannot rehearse {case.runbook.id!r}: its service is not enrolled")
    if "nginx-check" in case.runbook.needs:
        proxy = world.containers.inspect(declared.host, nginx(case))
        address = proxy.networks[0].address if proxy.networks else ""
        checks = (*declared.checks, _http("direct", "container", Plane.DIRECT), _http("route", address, Plane.NGINX))
        declared = replace(declared, checks=checks)
        world.store.services.enrol(declared, now=world.clock.now())
    return declared


def _tidy(case: Case, world: World, left: Callable[[str], Sequence[str]], note: Note) -> None:
    halted = world.kill_switch.halted()
    if halted is not None:
        rest = ", ".join(left(case.name)) or "nothing"
        note("revert", f"halted ({halted}), so this is left to remove by hand: {rest}", passed=False)
        return
    reverted = _play("revert", case, world)
    note("revert", _said(reverted), passed=reverted.end is RunEnd.COMPLETED)
    found = (*left(case.name), *((str(case.folder),) if case.folder.exists() else ()))
    note("nothing left", ", ".join(found) or "nothing", passed=not found)


def _look_for(case: Case, declared: Service, world: World) -> Verdict:
    """Look until an expected symptom is seen, or until it should have been."""
    end = world.clock.monotonic() + SEEN_WITHIN.total_seconds()
    while True:
        seen = look.at(declared, world.prober, world.clock)
        if _shows(case, seen) or world.clock.monotonic() >= end:
            return seen
        world.clock.sleep(look.PAUSE)


def _shows(case: Case, seen: Verdict) -> bool:
    return any(symptom.word in case.symptoms for symptom in seen.symptoms)


def _heal(case: Case, declared: Service, seen: Verdict, world: World) -> Incident:
    """Open an incident and heal it, past the holds that pass by themselves; return it as it ended."""
    now = world.clock.now()
    if case.runbook.treats_causes or case.runbook.treats_symptoms:
        id_ = world.store.incidents.open(declared, seen, fingerprint="rehearsal", now=now)[0].id
    else:  # an undo: it is never chosen for a sickness, so it is asked for, as a person would
        why = "treats nothing by itself, so it was asked for"
        plan = parameters.plan(case.runbook, declared, good_copy=None, settings={}, why=why)
        id_ = world.store.incidents.request(declared, seen, plan, by="medic runbook test", now=now).id
    end = world.clock.monotonic() + HELD_FOR.total_seconds()
    while True:
        heal.heal(id_, Straight(world.clock), world)
        incident = _get(id_, world)
        patience = timedelta(seconds=end - world.clock.monotonic())
        if incident.state is not IncidentState.HELD or incident.hold is None or incident.hold.look_again > patience:
            return incident
        if world.kill_switch.halted() is not None:
            return incident
        world.clock.sleep(incident.hold.look_again)
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
    """Run inject.yml or revert.yml in a guarded process, as every playbook runs."""
    halted = world.kill_switch.halted()
    if halted is not None:
        return PlaybookRun(end=RunEnd.NOT_RUN, message=f"halted: {halted}")
    try:
        return world.playbooks.run(
            _plan(name, case),
            run_id=f"{name}-1",
            check=False,
            on_task=lambda _task: None,
            should_stop=lambda: "halt" if world.kill_switch.halted() is not None else None,
        )
    except OutsideError as exc:
        return PlaybookRun(end=RunEnd.FAILED, message=str(exc))


def _plan(name: str, case: Case) -> Plan:
    given = {
        "container": case.name,
        "nginx": nginx(case),
        "folder": str(case.folder),
        "image": case.image,
        "nginx_image": case.nginx_image,
    }
    return Plan(
        runbook=RunbookId(name),
        runbook_hash=case.runbook.hash,
        title=f"{name} of {case.runbook.id}",
        risk=Risk.SAFE,
        playbook=str(case.files / f"{name}.yml"),
        parameters=tuple((key, json.dumps(value)) for key, value in given.items()),
        timeout=PLAY_WITHIN,
        settle=timedelta(0),
        rerun=Rerun.NEVER,
        undo=None,
        why="a rehearsal",
    )


def nginx(case: Case) -> str:
    """Return the name of the throw-away nginx."""
    return f"{case.name}-nginx"


def _said(run: PlaybookRun) -> str:
    return f"{run.end.value}{': ' + run.message if run.message else ''}"


def _checks(case: Case) -> tuple[Check, ...]:
    """Return a container check, and one for each other kind of symptom that is expected."""
    checks: list[Check] = [ContainerCheck(name="container", every=EVERY, thresholds=STEADY)]
    has_nginx = "nginx-check" in case.runbook.needs
    if not has_nginx and any(word.startswith(("http-", "port-")) for word in case.symptoms):
        checks.append(_http("http", "container", Plane.DIRECT))
    if has_nginx:
        checks.append(NginxCheck(name="nginx", every=EVERY, thresholds=STEADY, nginx=nginx(case), port=PORT))
    return tuple(checks)


def _http(name: str, host: str, plane: Plane) -> HttpCheck:
    """Return a check that something answers, whatever it is: that is what an inject.yml takes away."""
    return HttpCheck(
        name=name,
        every=EVERY,
        thresholds=STEADY,
        plane=plane,
        url=f"http://{host}:{PORT}/",
        timeout=timedelta(seconds=3),
        status=((200, 499),),
    )


def images(case: Case) -> tuple[str, ...]:
    """Return the images that the test needs."""
    return (case.image, case.nginx_image) if "nginx-check" in case.runbook.needs else (case.image,)


def trusting(world: World) -> World:
    """Return the world with every runbook counted as tested: the one under test must not wait for its own pass."""
    return replace(world, runbooks=tuple(replace(runbook, tested=True) for runbook in world.runbooks))
