"""Reads `runbooks/<id>/` into `model.Runbook`, and publishes the schema that editors check `runbook.yaml` against.

In: a folder of runbooks and the playbooks they name. Out: the catalogue, or a ConfigError that names the file, the key and what
would be right: a remedy that was misread would change the wrong thing. `python -m agent.runbook_file` writes the schema.
"""

import contextlib
import functools
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar  # Any: YAML and what pydantic hands to a validator are not typed yet

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from agent import parameters, spans, yaml_text
from agent.diagnosis import facts as structural
from agent.errors import ConfigError
from agent.model import (
    Cause,
    ContainerState,
    FleetAct,
    Parameter,
    ParameterSource,
    RefusalCode,
    Rerun,
    Risk,
    Runbook,
    RunbookId,
)

SYMPTOMS = (
    "container-exited",
    "container-dead",
    "container-created",
    "container-missing",
    "container-paused",
    "container-restarting",
    "network-missing",
    "oom-killed",
    "healthcheck-red",
    "image-drift",
    "port-closed",
    "port-timeout",
    "http-refused",
    "http-timeout",
    "http-broken",
    "http-status",
    "http-body",
    "http-json",
    "http-header",
    "http-not-reused",
    "http-slow",
    "certificate-expired",
    "certificate-expiring",
    "certificate-untrusted",
    "certificate-unreadable",
    "certificate-open",
    "engine-no-tokens",
    "engine-cut",
    "engine-slow",
    "command-failed",
    "command-timeout",
    "dns-failed",
    "log-large",
    "log-flood",
    "disk-full",
    "inodes-full",
    "memory-short",
    "load-high",
    "docker-slow",
    "clock-off",
    "gpu-lost-in-container",
    "gpu-missing",
    "gpu-driver-mismatch",
    "gpu-driver-down",
    "gpu-needs-reset",
    "gpu-needs-reboot",
    "gpu-app-fault",
    "gpu-suspect",
    "gpu-ecc",
    "gpu-remap-failed",
    "gpu-remap-pending",
    "gpu-hot",
    "gpu-throttled",
    "gpu-memory-held",
    "gpu-fabric-down",
    "nginx-ghost-route",
    "nginx-missing-route",
    "nginx-wrong-service",
    "nginx-invalid-config",
    "nginx-down",
    "cannot-look",
    "host-key-changed",
)
"""The closed list of docs/glossary.md."""
KEPT = 256
"""Texts whose parse is remembered: every runbook uses the same few roles, and the daemon reads them all again and again."""
FILES = ("runbook.yaml", "inject.yml", "expect.yaml", "revert.yml")
"""What a runbook's folder holds: the declaration, and how it is put to the test on a throw-away container."""
TESTED = "TESTED"
"""The hashes of the runbooks that passed `medic runbook test` before they were shipped."""
LONGEST = timedelta(hours=1)
"""No playbook may run longer: a person should see by then what it is doing."""

Shape = TypeVar("Shape", bound=BaseModel)

_ID = r"^[a-z0-9]+(-[a-z0-9]+)*$"
_KINDS: Mapping[ParameterSource, str] = {
    **dict.fromkeys(
        (
            ParameterSource.SPEC,
            ParameterSource.NETWORKS,
            ParameterSource.CACHE_PATHS,
            ParameterSource.ARTEFACTS,
            ParameterSource.CERTIFICATE_HOOK,
            ParameterSource.OWN_IMAGES,
            ParameterSource.KEPT_IMAGES,
            ParameterSource.UPSTREAM,
        ),
        "json",
    ),
    ParameterSource.STOP_TIMEOUT: "integer",
    ParameterSource.PARENT_STOP_TIMEOUT: "integer",
}
"""Kinds of values that come from the declaration; every other source of it gives a string."""


def _span(value: object) -> timedelta:
    span = spans.parse(str(value))
    if span > LONGEST:
        raise ValueError(f"must be at most {spans.text(LONGEST)}, not {spans.text(span)}")
    return span


def _symptom(word: object) -> object:
    if isinstance(word, str) and word not in SYMPTOMS:
        raise ValueError(f"there is no symptom {word!r}{yaml_text.mean(word, SYMPTOMS)}")
    return word


def _need(word: object) -> object:
    if isinstance(word, str) and word not in parameters.NEEDS:
        raise ValueError(f"there is no need {word!r}{yaml_text.mean(word, parameters.NEEDS)}")
    return word


def _fact(name: object) -> object:
    if isinstance(name, str) and name not in structural.NAMES:
        raise ValueError(f"there is no fact {name!r}{yaml_text.mean(name, structural.NAMES)}")
    return name


Span = Annotated[
    timedelta, BeforeValidator(_span), WithJsonSchema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$"})
]
SymptomWord = Annotated[str, BeforeValidator(_symptom), WithJsonSchema({"type": "string", "enum": list(SYMPTOMS)})]
CauseWord = Annotated[Cause, Field(strict=False)]
Text = Annotated[str, Field(min_length=1, max_length=300)]


class _Keys(BaseModel):
    """Refuses unknown keys with the key that was meant."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _are_known(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                wrong = yaml_text.unknown_key(key, cls.model_fields)
                raise PydanticCustomError("unknown_key", "{wrong}", {"key": key, "wrong": wrong})
        return given


class TreatsShape(_Keys):
    """What the remedy is for. A cause counts only when it is confirmed; a symptom counts when it is seen."""

    causes: list[CauseWord] = []
    symptoms: list[SymptomWord] = []


class WhenShape(_Keys):
    """Pre-conditions."""

    container_states: list[Annotated[ContainerState, Field(strict=False)]] = []
    needs: list[Annotated[str, BeforeValidator(_need), WithJsonSchema({"type": "string", "enum": list(parameters.NEEDS)})]] = []
    facts: dict[Annotated[str, BeforeValidator(_fact)], Annotated[str, Field(min_length=1)]] = {}


class ParameterShape(_Keys):
    """One typed parameter and where its value comes from. There is no source for log text."""

    source: Annotated[ParameterSource, Field(strict=False)]
    kind: Literal["string", "integer", "boolean", "json"] = "string"
    default: str | None = None
    choices: list[str] = []
    minimum: int | None = None
    maximum: int | None = None
    help: Text

    @model_validator(mode="after")
    def _agrees(self) -> "ParameterShape":
        if self.source is ParameterSource.PERSON:
            return self
        right = _KINDS.get(self.source, "string")
        if self.kind != right:
            raise ValueError(f"its kind must be {right!r}, which is what source {self.source.value!r} gives")
        if self.default is not None or self.choices or self.minimum is not None or self.maximum is not None:
            raise ValueError("default, choices, minimum and maximum are for source 'person' only")
        return self


class RunbookShape(_Keys):
    """One `runbook.yaml`."""

    id: Annotated[str, Field(pattern=_ID, max_length=60)]
    title: Text
    treats: TreatsShape = TreatsShape()
    never_for: list[CauseWord] = []
    when: WhenShape = WhenShape()
    rung: Annotated[int, Field(ge=1, le=99)]
    risk: Annotated[Risk, Field(strict=False)]
    parameters: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ParameterShape] = {}
    playbook: Annotated[str, Field(pattern=r"^([a-z0-9-]+\.yml)?$")] = ""
    fleet: Annotated[FleetAct, Field(strict=False)] | None = None
    timeout: Span
    settle: Span
    rerun: Annotated[Rerun, Field(strict=False)]
    interrupts: bool = True
    undo: str | None = None
    evidence: Literal["required", "optional"] = "required"
    unrehearsed: Text | None = None
    whole_host: bool = False

    @model_validator(mode="after")
    def _agrees(self) -> "RunbookShape":
        for name, parameter in self.parameters.items():
            enough = parameters.NEEDED.get(parameter.source)
            if enough is not None and not set(enough) & set(self.when.needs):
                raise ValueError(f"parameter {name!r} comes from the declaration, so when.needs must name {enough[0]!r}")
        both = [cause.value for cause in self.treats.causes if cause in self.never_for]
        if both:
            raise ValueError(f"treats.causes and never_for both name {both[0]!r}")
        if not self.interrupts and self.risk is not Risk.SAFE:
            raise ValueError(f"interrupts: only a safe runbook may say false, and this one is {self.risk.value}")
        if self.unrehearsed is not None and self.risk is Risk.SAFE:
            raise ValueError("unrehearsed: a safe runbook can be put to the test on a throw-away container")
        if self.whole_host and (self.risk is Risk.SAFE or self.unrehearsed is not None):
            raise ValueError("whole_host: what is done to a whole host is not safe, and is rehearsed on one that people name")
        if self.fleet is not None and (self.risk is not Risk.DESTRUCTIVE or "fleet-member" not in self.when.needs):
            raise ValueError("fleet: a host is given up by a destructive runbook only, whose when.needs names 'fleet-member'")
        if (self.fleet is None) is not bool(self.playbook):
            raise ValueError("playbook: must be there, but for fleet 'replace' and 'retire', which the group carries out")
        if self.undo == self.id:
            raise ValueError("undo names the runbook itself")
        return self


class ExpectShape(_Keys):
    """One `expect.yaml`: what Medic must see and think after `inject.yml`."""

    symptoms: Annotated[list[SymptomWord], Field(min_length=1)]
    causes: Annotated[list[CauseWord], Field(min_length=1)]
    asked: bool = False
    """A lower rung would be chosen for this, so the runbook is asked for, as a person would."""
    refused: Annotated[RefusalCode, Field(strict=False)] | None = None
    """Of a runbook that contains what it cannot heal: what Medic says after it, in place of WELL."""
    services: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    """As in medic.yaml, the patient first, with names in braces: read by `rehearsal.declared`, which knows what they mean."""


def load_runbooks(folder: Path, playbooks: Path) -> tuple[Runbook, ...]:
    """Return every runbook below `folder`, by rung, then id. Raises ConfigError for the first wrong one.

    playbooks: the folder `ansible/playbooks`; the roles they use stand beside it, in `ansible/roles`.
    """
    folders = sorted(path for path in _children(folder) if path.is_dir() and not path.name.startswith((".", "_")))
    if not folders:
        raise ConfigError(f"cannot load runbooks from {folder}: there is no runbook in it")
    tested = _tested(folder)
    runbooks = {path.name: _runbook(path, playbooks, tested) for path in folders}
    for runbook in runbooks.values():
        if runbook.undo is not None and runbook.undo not in runbooks:
            raise ConfigError(
                f"cannot read {folder / runbook.id / 'runbook.yaml'}: undo: there is no runbook {runbook.undo!r}"
                f"{yaml_text.mean(runbook.undo, runbooks)}"
            )
    return tuple(sorted(runbooks.values(), key=lambda runbook: (runbook.rung, runbook.id)))


def tested_text(catalogue: Iterable[Runbook], passed: Iterable[Runbook]) -> str:
    """Return the text of the file TESTED, `<hash>  <id>`, a line each: those that passed now, and those that had as they are."""
    ids = {runbook.id for runbook in passed}
    standing = [runbook for runbook in catalogue if runbook.tested or runbook.id in ids]
    return "".join(f"{runbook.hash}  {runbook.id}\n" for runbook in sorted(standing, key=lambda runbook: runbook.id))


def _tested(folder: Path) -> frozenset[str]:
    """Return the hashes in the file TESTED; none without the file, so that a folder of one's own starts untrusted."""
    file = folder / TESTED
    return frozenset(line.split()[0] for line in _text(file).splitlines() if line.strip()) if file.is_file() else frozenset()


def load_expectation(folder: Path) -> ExpectShape:
    """Return what a runbook's `expect.yaml` says. Raises ConfigError."""
    return _validated(ExpectShape, folder / "expect.yaml")


def schema() -> str:
    """Return the JSON schema of `runbook.yaml`, as it stands in `runbooks/runbook.schema.json`."""
    return json.dumps(RunbookShape.model_json_schema(), indent=2, sort_keys=True) + "\n"


def _runbook(folder: Path, playbooks: Path, tested: frozenset[str]) -> Runbook:
    _refuse_missing(folder, FILES[:1])
    shape = _validated(RunbookShape, folder / "runbook.yaml")
    if shape.unrehearsed is None:
        _refuse_missing(folder, FILES)
    if shape.id != folder.name:
        raise ConfigError(
            f"cannot read {folder / 'runbook.yaml'}: id: must be {folder.name!r}, the name of its folder, not {shape.id!r}"
        )
    playbook = playbooks / shape.playbook if shape.playbook else None
    if playbook is not None and not playbook.is_file():
        known = [path.name for path in _children(playbooks)]
        raise ConfigError(
            f"cannot read {folder / 'runbook.yaml'}: playbook: there is no {playbook}{yaml_text.mean(shape.playbook, known)}"
        )
    if shape.unrehearsed is None:
        load_expectation(folder)
    hash_ = hash_of(folder, playbook)
    return Runbook(
        id=RunbookId(shape.id),
        title=shape.title,
        treats_causes=tuple(shape.treats.causes),
        treats_symptoms=tuple(shape.treats.symptoms),
        never_for=tuple(shape.never_for),
        container_states=tuple(shape.when.container_states),
        needs=tuple(shape.when.needs),
        facts=tuple(shape.when.facts.items()),
        rung=shape.rung,
        risk=shape.risk,
        parameters=tuple(_parameter(name, parameter) for name, parameter in shape.parameters.items()),
        playbook=shape.playbook,
        timeout=shape.timeout,
        settle=shape.settle,
        rerun=shape.rerun,
        interrupts=shape.interrupts,
        undo=RunbookId(shape.undo) if shape.undo else None,
        evidence_required=shape.evidence == "required",
        hash=hash_,
        tested=hash_ in tested,
        unrehearsed=shape.unrehearsed,
        whole_host=shape.whole_host,
        fleet=shape.fleet,
    )


def _refuse_missing(folder: Path, names: Iterable[str]) -> None:
    missing = next((name for name in names if not (folder / name).is_file()), None)
    if missing is not None:
        raise ConfigError(f"cannot read runbook {folder.name!r}: there is no {folder / missing}")


def _parameter(name: str, shape: ParameterShape) -> Parameter:
    return Parameter(
        name=name,
        kind=shape.kind,
        source=shape.source,
        default=shape.default,
        choices=tuple(shape.choices),
        minimum=shape.minimum,
        maximum=shape.maximum,
        help=shape.help,
    )


def _validated(kind: type[Shape], file: Path) -> Shape:
    text = _text(file)
    with contextlib.suppress(ConfigError, ValidationError):
        kept: Shape = _shape(kind, text)  # lru_cache forgets what kind it was
        return kept
    document = yaml_text.parse(text, str(file))
    try:
        return kind.model_validate(document)
    except ValidationError as exc:
        raise ConfigError(yaml_text.sentence(str(file), document, exc.errors(include_url=False))) from exc


@functools.lru_cache(maxsize=KEPT)
def _shape(kind: type[Shape], text: str) -> Shape:
    return kind.model_validate(yaml_text.parse(text, ""))


@functools.lru_cache(maxsize=KEPT)
def _roles_in(text: str) -> frozenset[str]:
    return frozenset(_roles(yaml_text.parse(text, "")))


def hash_of(folder: Path, playbook: Path | None) -> str:
    """Return the sha256 over everything that decides what the runbook does: its folder, its playbook, the roles that uses.

    playbook: None for one that its host's group carries out. Raises ConfigError where one of them cannot be read.
    """
    digest = hashlib.sha256()
    files = [(f"runbook/{path.relative_to(folder)}", path) for path in files_below(folder)]
    if playbook is not None:
        root = playbook.parent.parent
        files += [(str(path.relative_to(root)), path) for path in (playbook, *_rolefiles_below(playbook, root / "roles"))]
    for name, path in sorted(files):
        content = _bytes(path)
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _rolefiles_below(playbook: Path, roles: Path) -> Iterator[Path]:
    """Yield every file of every role that the playbook uses, and of the roles those use."""
    unread = [playbook]
    seen: set[str] = set()
    while unread:
        file = unread.pop()
        if file.suffix not in (".yml", ".yaml"):
            continue
        for role in _roles_of(file) - seen:
            seen.add(role)
            found = list(files_below(roles / role))
            if not found:
                raise ConfigError(f"cannot read {file}: role {role!r} is not in {roles}")
            unread += found
            yield from found


def _roles_of(file: Path) -> frozenset[str]:
    text = _text(file)
    with contextlib.suppress(ConfigError):
        return _roles_in(text)
    return frozenset(_roles(yaml_text.parse(text, str(file))))  # says which file it is that cannot be read


def _roles(document: object) -> Iterator[str]:
    """Yield the names of the roles that a parsed playbook or task file imports or includes, at any depth."""
    match document:
        case list():
            for part in document:
                yield from _roles(part)
        case dict():
            for key, value in document.items():
                if key.endswith(("import_role", "include_role")):
                    yield str(value["name"])
                else:
                    yield from _roles(value)
        case _:
            return


def _children(folder: Path) -> Iterable[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as exc:
        raise ConfigError(f"cannot read folder {folder}: {exc.strerror}") from exc


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every file of a folder, at any depth, in the order of their names."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _text(file: Path) -> str:
    try:
        return _bytes(file).decode()
    except UnicodeDecodeError as exc:
        raise ConfigError(f"cannot read {file}: it is not UTF-8 text (byte {exc.start})") from exc


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as exc:
        raise ConfigError(f"cannot read {file}: {exc.strerror}") from exc


def main() -> None:
    """Write the schema to the path given, else to `runbooks/runbook.schema.json` of this checkout."""
    target = (
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "runbooks" / "runbook.schema.json"
    )
    target.write_text(schema(), encoding="utf-8")


if __name__ == "__main__":
    main()
