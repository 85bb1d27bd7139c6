"""A scenario file: the services to start, the fault to inject, and what should come of it. In: YAML. Out: a `Scenario`.

tests/lab/README.md explains every key to people who write one. Unknown keys are refused with the file's name.
"""

import enum
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any  # Any: a scenario quotes medic.yaml and the words of faults, checked where they are used

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

MEDIC = "medic"
"""Stands for Medic's own network where an incident is about that."""
BESIDE = "@"
"""How the text of a file begins that stands beside the scenario: its name follows."""
SUBJECT = "app"
"""The service a scenario is about, unless it says otherwise."""


class ScenarioError(Exception):
    """A scenario file that is no scenario; the sentence names the file and what is wrong."""


class End(enum.Enum):
    """How a scenario may end."""

    HEALED = "healed"
    RECOVERED = "recovered"
    HELD = "held"
    ESCALATED = "escalated"
    NOTHING = "nothing"
    """No incident at all: there was no reason for one."""

    @property
    def is_restraint(self) -> bool:
        """True where the right answer is to change nothing."""
        return self in (End.HELD, End.NOTHING, End.RECOVERED)


def _whole(files: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    """Put in the texts of those that stand beside the scenario. Raises OSError where there is none."""
    beside: Path = info.context
    return {
        name: (beside / text.removeprefix(BESIDE)).read_text(encoding="utf-8") if text.startswith(BESIDE) else text
        for name, text in files.items()
    }


Files = Annotated[dict[str, str], AfterValidator(_whole)]
"""Name -> text."""


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Member(_Keys):
    """One container of a scenario."""

    host: str = "local"
    """One of the scenario's `hosts`, or this machine."""
    image: str = "base"
    """`base` (Debian with python3, nginx, redis, curl) or `tiny` (busybox), the only one that other hosts have."""
    app: dict[str, str] | None = None
    """Run tests/lab/app.py with these variables. The default where `command` is not given; on another host far_app.sh is."""
    command: list[str] | None = None
    files: Files = {}
    """Written before the start into the folder that the container sees as /srv/kept."""
    run: dict[str, Any] = {}
    """More words of a `run:` block."""
    docker: list[str] = []
    """Words for `docker run` that a `run:` block has none for."""
    checks: list[dict[str, Any]] | None = None
    """Default: the container, and for an app a GET of /health on its own address."""
    medic: dict[str, Any] = {}
    """More keys of its entry in medic.yaml."""
    declared: bool = True
    """False: a container that Medic is not told of."""


class FarMember(_Keys):
    """One host of a scenario, reached over SSH: a network, an sshd and a Docker engine of its own."""

    files: Files = {}
    """In `{folder}/<host>/files`, which comes first in the PATH of every session there."""
    disk: str = ""
    """Size of the disk that its engine keeps everything on, such as `64m`."""
    medic: dict[str, Any] = {}
    """More keys of its entry in medic.yaml."""
    ssh: dict[str, Any] = {}
    """More keys of its `ssh:` block."""


class Expected(_Keys):
    """What should come of it."""

    end: End
    service: str = SUBJECT
    also_right: list[End] = []
    """Ends that are as good: where a beat may or may not have seen what lasted a moment."""
    hold: str | None = None
    refusal: str | None = None
    causes: list[str] = []
    """Any of these is right; none given: the cause is not scored."""
    runbooks: list[str] = []
    """Those that may be used. Any other is a wrong action."""
    may_touch: list[str] | None = None
    """Containers that may be changed. Default: the service's where it is healed or escalated, else none."""
    beside: list[str] = []
    """Other services that the same fault makes sick: what is done to them with `runbooks` is not wrong."""
    most_attempts: int = 2
    within: float = 150
    """Seconds from the fault to the end: generous, for most of it is only waited for where the end does not come."""
    watch_for: float = 8
    """Seconds for which nothing may happen, where nothing should."""
    not_in_state: list[str] = []
    """Texts that may stand in no file of the state folder: planted secrets."""

    @property
    def touchable(self) -> frozenset[str]:
        """Return the services whose containers may be changed."""
        if self.may_touch is not None:
            return frozenset(self.may_touch)
        return frozenset() if self.end.is_restraint else frozenset({self.service, *self.beside})


class Scenario(_Keys):
    """One scenario."""

    id: str
    title: str
    about: str = ""
    """Row of the fault catalogue, or any other reference."""
    hosts: dict[str, FarMember] = Field(default={}, max_length=9)
    """Other hosts, reached over SSH. Making them takes root."""
    services: dict[str, Member] = {SUBJECT: Member()}
    routes: dict[str, str] = {}
    """Service -> `plain` (nginx resolves the name once) or `asked` (per request). Any route starts an nginx, `web`."""
    nginx: dict[str, Any] = {}
    """More keys of nginx's entry in medic.yaml."""
    medic: dict[str, Any] = {}
    """More keys of medic.yaml itself."""
    quiet_first: bool = True
    """Medic sees everything well once before the fault. False: it meets what is broken already."""
    inject: list[dict[str, Any]] = Field(min_length=1)
    """Each a fault by its name (`do`), the service it is done to (`to`), and the fault's own words."""
    rivals: bool = True
    """Others than Medic can play it too."""
    expect: Expected

    @model_validator(mode="after")
    def _agrees(self) -> "Scenario":
        of_hosts = {f"{prefix}{host}" for prefix in ("host:", "host-key:") for host in ("local", *self.hosts)}
        known = {*self.services, "web", *self.hosts, *of_hosts, MEDIC}
        for name, member in self.services.items():
            if member.host not in ("local", *self.hosts):
                raise ValueError(
                    f"services.{name}.host: no host {member.host!r}; there are {', '.join(('local', *self.hosts))}"
                )
        named = [str(step.get("to", self.expect.service)) for step in self.inject] + [self.expect.service, *self.routes]
        for name in (*named, *(self.expect.may_touch or ()), *self.expect.beside):
            if name not in known:
                raise ValueError(f"no service {name!r}; there are {', '.join(sorted(known))}")
        return self

    @property
    def is_for_rivals(self) -> bool:
        """Return whether others than Medic can play it. None of them knows of another host."""
        return self.rivals and not self.hosts

    @property
    def watch_for(self) -> timedelta:
        """Return for how long nothing may happen."""
        return timedelta(seconds=self.expect.watch_for)

    @property
    def within(self) -> timedelta:
        """Return how long it may take."""
        return timedelta(seconds=self.expect.within)


def read(file: Path) -> Scenario:
    """Read one scenario. Its id is the name of its file. Raises ScenarioError."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
        return Scenario.model_validate({**document, "id": file.stem}, context=file.parent)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as exc:
        raise ScenarioError(f"cannot read {file}: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ScenarioError(f"cannot read {file}: {where}: {first['msg']}") from exc


def read_all(folder: Path, only: str = "*") -> tuple[Scenario, ...]:
    """Read every scenario below a folder whose id matches `only`, in the order of their ids. Raises ScenarioError."""
    found = tuple(sorted(_matching(folder, only), key=lambda scenario: scenario.id))
    if not found:
        raise ScenarioError(f"cannot find a scenario {only!r} in {folder}")
    return found


def _matching(folder: Path, only: str) -> Iterator[Scenario]:
    for file in folder.rglob("*.yaml"):
        if any(fnmatch(file.stem, each) for each in only.split(",")):
            yield read(file)
