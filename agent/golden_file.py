"""Reads golden cases from YAML into `model.Golden`, and writes one that was recorded. A case that was misread would measure nothing,
so unknown keys, words and runbooks are refused with the file, the case and the key.

Two forms. By hand, in the words of an operator:

    - name: a container that exited is started
      container: {state: exited, exit_code: 1}
      planes: {container: [container-exited]}      # a health, or the symptoms that make the plane sick
      log: |
        ERROR ...
      declares: [spec]                              # what the declaration holds; see `DECLARES`
      seen: {...}  changed: [image]  tried: [[restart-container, ineffective]]
      events: [[kill, 20, 15], [die, 18]]           # of Docker, oldest first: action, seconds ago, perhaps the signal
      cause: [application_bug]                      # any of them is right; may be left out
      plan: start-container                         # or ask: RUNBOOK, hold: CODE, refusal: CODE

Recorded (`medic incident to-eval`): `recorded:` holds service and evidence as `agent/codec.py` writes them, in place of the first six.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any  # Any: YAML before it was checked

import pydantic
import yaml

from agent import codec
from agent.diagnosis import log_cut
from agent.errors import ConfigError
from agent.model import (
    Cause,
    Change,
    ConfigFile,
    ContainerCheck,
    ContainerEvent,
    ContainerFacts,
    ContainerState,
    Decided,
    Evidence,
    Golden,
    Health,
    HoldCode,
    HostFact,
    HostName,
    HttpCheck,
    IncidentId,
    Judgement,
    LogLine,
    Outcome,
    Plane,
    RefusalCode,
    RunbookId,
    RunSpec,
    Service,
    ServiceName,
    Symptom,
    Thresholds,
    Verdict,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When every case by hand happens: any time will do."""
DECLARES = ("spec", "config-file", "cache-paths")
"""What a case by hand may say that its service declares."""
_ENDS = {each.value: each for each in Decided}


class _ContainerShape(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    state: str
    exit_code: int | None = None
    oom_killed: bool | None = None
    restart_count: int | None = None
    restart_policy: str | None = None
    health: str | None = None
    error: str | None = None
    image: str = "app:1"
    started: float = 3_600
    """Seconds ago."""


class _CaseShape(pydantic.BaseModel):
    """One case as written."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, pydantic.Field(min_length=1, max_length=200)]
    recorded: str | None = None
    container: _ContainerShape | None = None
    planes: dict[str, str | list[str]] = {}
    log: str = ""
    declares: list[str] = []
    seen: dict[str, str] = {}
    changed: list[str] = []
    tried: list[tuple[str, str]] = []
    events: list[tuple[str, float] | tuple[str, float, int]] = []
    cause: list[str] = []
    plan: str | None = None
    ask: str | None = None
    hold: str | None = None
    refusal: str | None = None

    @pydantic.field_validator("tried", "events", mode="before")
    @classmethod
    def _tuples(cls, written: Any) -> Any:
        return [tuple(each) if isinstance(each, list) else each for each in written] if isinstance(written, list) else written

    @pydantic.model_validator(mode="after")
    def _ends_once(self) -> "_CaseShape":
        if sum(getattr(self, name) is not None for name in _ENDS) != 1:
            raise ValueError(f"say one of {', '.join(_ENDS)}: what has to be decided")
        if (self.recorded is None) == (not self.planes):
            raise ValueError("say `planes`, what each of them shows, or `recorded`")
        return self


def load(folder: Path) -> tuple[Golden, ...]:
    """Return the cases of every `*.yaml` in `folder`, in order. Raises ConfigError for the first wrong one."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise ConfigError(f"cannot load golden cases from {folder}: there is no *.yaml file in it")
    return tuple(case for file in files for case in read(file))


def read(file: Path) -> tuple[Golden, ...]:
    """Return the cases of one file. Raises ConfigError."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"cannot load {file}: {exc}") from exc
    if not isinstance(content, list):
        raise ConfigError(f"cannot load {file}: it must be a list of cases")
    return tuple(_case(file, number, written) for number, written in enumerate(content, start=1))


def write(case: Golden) -> str:
    """Return one recorded case as YAML, for the end of a file of cases."""
    ends = {case.decided.value: case.word}
    written = {
        "name": case.id,
        "recorded": codec.dumps((case.service, case.evidence)),
        **({"tried": [[str(runbook), outcome.value] for runbook, outcome in case.tried]} if case.tried else {}),
        **({"cause": [cause.value for cause in case.causes]} if case.causes else {}),
        **ends,
    }
    return yaml.safe_dump([written], sort_keys=False, allow_unicode=True, width=120)


def _case(file: Path, number: int, written: object) -> Golden:
    name = repr(written["name"]) if isinstance(written, dict) and isinstance(written.get("name"), str) else f"number {number}"
    try:
        shape = _CaseShape.model_validate(written)
        return _golden(shape)
    except pydantic.ValidationError as exc:
        error = exc.errors(include_url=False)[0]
        key = ".".join(str(part) for part in error["loc"])
        raise ConfigError(f"cannot load {file}: case {name}: {key + ': ' if key else ''}{error['msg']}") from exc
    except ValueError as exc:
        raise ConfigError(f"cannot load {file}: case {name}: {exc}") from exc


def _golden(shape: _CaseShape) -> Golden:
    service, evidence = _recorded(shape.recorded) if shape.recorded is not None else (_service(shape), _evidence(shape))
    (ends,) = [name for name in _ENDS if getattr(shape, name) is not None]
    word = str(getattr(shape, ends))
    codes: dict[str, Sequence[str]] = {
        "hold": [each.value for each in HoldCode],
        "refusal": [each.value for each in RefusalCode],
    }
    if ends in codes and word not in codes[ends]:
        raise ValueError(f"{ends}: there is no {word!r}; there are {', '.join(codes[ends])}")
    return Golden(
        id=shape.name,
        service=service,
        evidence=evidence,
        tried=tuple((RunbookId(runbook), Outcome(outcome)) for runbook, outcome in shape.tried),
        causes=tuple(Cause(cause) for cause in shape.cause),
        decided=_ENDS[ends],
        word=word,
    )


def _recorded(text: str) -> tuple[Service, Evidence]:
    value = codec.loads(text)
    match value:
        case (Service() as service, Evidence() as evidence):
            return service, evidence
        case _:
            raise ValueError("recorded: it must hold a service and its evidence, as `medic incident to-eval` writes them")


def _service(shape: _CaseShape) -> Service:
    unknown = sorted(set(shape.declares) - set(DECLARES))
    if unknown:
        raise ValueError(f"declares: there is no {unknown[0]!r}; there are {', '.join(DECLARES)}")
    every, thresholds = timedelta(seconds=5), Thresholds()
    return Service(
        name=ServiceName("web"),
        host=HostName("local"),
        container="web",
        checks=(
            ContainerCheck(name="container", every=every, thresholds=thresholds),
            HttpCheck(
                name="http",
                every=every,
                thresholds=thresholds,
                plane=Plane.DIRECT,
                url="http://container:8000/health",
                timeout=timedelta(seconds=2),
            ),
        ),
        spec=RunSpec(image="app:1") if "spec" in shape.declares else None,
        config_file=ConfigFile(path="/etc/web.conf") if "config-file" in shape.declares else None,
        cache_paths=("/srv/web/cache",) if "cache-paths" in shape.declares else (),
    )


def _evidence(shape: _CaseShape) -> Evidence:
    cut = log_cut.cut(log_cut.readable(shape.log.encode()))
    judgements = tuple(_judgement(name, said) for name, said in shape.planes.items())
    worst = next(
        (each for each in (Health.SICK, Health.UNKNOWN, Health.WELL) if any(j.health is each for j in judgements)), Health.SICK
    )
    return Evidence(
        incident=IncidentId("I1"),
        at=NOW,
        verdict=Verdict(service=ServiceName("web"), health=worst, at=NOW, judgements=judgements),
        container=_container(shape.container),
        log=tuple(LogLine(id=f"L{number}", text=text) for number, text in enumerate(cut.lines, start=1)),
        log_note=cut.note,
        events=tuple(_event(*each) for each in shape.events),
        changes=tuple(Change(what=what, before="a", after="b") for what in shape.changed),
        on_host=tuple(HostFact(name=name, value=value, detail="") for name, value in shape.seen.items()),
    )


def _event(action: str, ago: float, signal: int | None = None) -> ContainerEvent:
    return ContainerEvent(
        container="web",
        action=action,
        at=NOW - timedelta(seconds=ago),
        signal=None if signal is None else str(signal),
    )


def _judgement(name: str, said: str | list[str]) -> Judgement:
    plane = Plane(name)
    health = Health(said) if isinstance(said, str) else Health.SICK
    words = () if isinstance(said, str) else tuple(Symptom(word=word, plane=plane, detail=word) for word in said)
    detail = said if isinstance(said, str) else ", ".join(said)
    # As the checks of the declaration are named: whether every one of them is well is asked by name.
    return Judgement(
        check="http" if plane is Plane.DIRECT else name, plane=plane, health=health, detail=f"{name}: {detail}", symptoms=words
    )


def _container(shape: _ContainerShape | None) -> ContainerFacts | None:
    if shape is None:
        return None
    given = shape.model_dump(exclude={"state", "started"})
    started_at = NOW - timedelta(seconds=shape.started)
    return ContainerFacts(name="web", id="c1", state=ContainerState(shape.state), started_at=started_at, **given)
