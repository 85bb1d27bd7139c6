"""Docker labels to a service: a container may say itself how it wants to be kept well. Pure; never raises.

`medic.enable=true` makes a service of the container; the other labels add checks. Label text comes from whoever started the
container: it is bounded, validated by the same words as medic.yaml, and names nothing but checks: no spec, no file, no limits.

    medic.enable=true            medic.port=8000              medic.nginx=proxy
    medic.name=web               medic.http=/health           medic.server_name=shop.example
    medic.every=10s              medic.http=http://...        medic.location=/api/
    medic.timeout=2s             medic.tcp=6379               medic.tcp=container:6379
"""

import difflib
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from agent import redact, spans, words
from agent.model import (
    MEDIC,
    Check,
    ContainerCheck,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    HostName,
    HttpCheck,
    NginxCheck,
    Observation,
    Plane,
    ProbeRequest,
    Service,
    ServiceName,
    TcpCheck,
    Thresholds,
)

T = TypeVar("T")

ORIGIN = "label"
"""`Service.origin` of what labels declared. A service of the same name in medic.yaml wins."""

PREFIX = "medic."
KNOWN = ("enable", "name", "every", "timeout", "port", "http", "tcp", "nginx", "server_name", "location")

EVERY = timedelta(seconds=5)
TIMEOUT = timedelta(seconds=2)

_LONGEST = 512
"""Characters of one label. A health URL is a tenth of that."""
_TYPO = 0.75
"""Likeness (difflib) from which a label that there is not counts as a typo. Others in our namespace are left alone:
people mark containers for their own ends (`medic.team=search`)."""


@dataclass(frozen=True, slots=True)
class _Words:
    """The validated labels of one container, without their prefix."""

    given: Mapping[str, str]
    every: timedelta
    timeout: timedelta
    port: int | None

    def needed_port(self, label: str) -> int:
        if self.port is None:
            raise ValueError(f"{label} needs {PREFIX}port, the port that the container listens on")
        return self.port


def read(facts: ContainerFacts, host: HostName) -> Service | str | None:
    """Return the service that a container's labels declare, a sentence saying what is nonsense in them, or None without
    `medic.enable=true`."""
    given = {key.removeprefix(PREFIX): value for key, value in facts.labels if key.startswith(PREFIX)}
    try:
        _refuse_typos(given)
        return _without_secrets(_service(given, facts, host)) if _enabled(given) else None
    except ValueError as exc:
        return f"cannot read the labels of {_cut(facts.name)}: {exc}"


def _without_secrets(service: Service) -> Service:
    """Refuse a declaration that a secret is written into: it is stored, and shown."""
    if redact.holds_secret(redact.texts_of(service)):
        raise ValueError("they hold a secret, and what is written here is shown and stored")
    return service


def services(observed: Mapping[ProbeRequest, Observation]) -> tuple[Service, ...]:
    """Return the services that the containers seen declare themselves, ordered by name; nonsense is left out."""
    seen = [(request.host, answer) for request, answer in observed.items() if isinstance(request, ContainersRequest)]
    read_all = [read(facts, host) for host, answer in seen if isinstance(answer, ContainersSeen) for facts in answer.containers]
    return tuple(sorted((found for found in read_all if isinstance(found, Service)), key=lambda service: service.name))


def _enabled(given: Mapping[str, str]) -> bool:
    enable = given.get("enable", "false").strip().lower()
    if enable not in ("true", "false"):
        raise ValueError(f"{PREFIX}enable: {_cut(enable)} is neither true nor false")
    return enable == "true"


def _service(given: Mapping[str, str], facts: ContainerFacts, host: HostName) -> Service:
    for key in KNOWN:
        value = given.get(key, "-")
        if not value or len(value) > _LONGEST or not value.isprintable():
            raise ValueError(f"{PREFIX}{key}: must be printable text of 1 to {_LONGEST} characters")
    label = _Words(
        given=given,
        every=_span(given, "every", EVERY, longest=timedelta(days=1)),
        timeout=_span(given, "timeout", TIMEOUT, longest=timedelta(seconds=9)),
        port=_port(given, facts),
    )
    checks: list[Check] = [ContainerCheck(name="container", every=label.every, thresholds=Thresholds(sick_after=1))]
    checks += [_http(label)] if "http" in given else []
    checks += [_tcp(label)] if "tcp" in given else []
    checks += [_nginx(label)] if "nginx" in given else []
    name = _word("name", words.name, given.get("name", facts.name))
    if name == MEDIC:
        raise ValueError(f"{name!r} is the name of incidents about Medic itself: give it another with {PREFIX}name")
    return Service(name=ServiceName(name), host=host, container=facts.name, checks=tuple(checks), origin=ORIGIN)


def _http(label: _Words) -> HttpCheck:
    text = label.given["http"]
    url = f"http://container:{label.needed_port(f'{PREFIX}http={_cut(text)}')}{text}" if text.startswith("/") else text
    plane = Plane.DIRECT if urlsplit(_word("http", words.url, url)).hostname == "container" else Plane.PUBLIC
    return HttpCheck(name="http", every=label.every, thresholds=Thresholds(), plane=plane, url=url, timeout=label.timeout)


def _tcp(label: _Words) -> TcpCheck:
    text = label.given["tcp"]
    address = _word("tcp", words.address, f"container:{text}" if text.isdigit() else text)
    plane = Plane.DIRECT if address.startswith("container:") else Plane.PUBLIC
    return TcpCheck(name="tcp", every=label.every, thresholds=Thresholds(), plane=plane, address=address, timeout=label.timeout)


def _nginx(label: _Words) -> NginxCheck:
    return NginxCheck(
        name="nginx",
        every=label.every,
        thresholds=Thresholds(),
        nginx=_word("nginx", words.name, label.given["nginx"]),
        port=label.needed_port(f"{PREFIX}nginx"),
        server_name=label.given.get("server_name"),
        location=label.given.get("location", "/"),
    )


def _port(given: Mapping[str, str], facts: ContainerFacts) -> int | None:
    """Return the declared port, or the only one that the container publishes."""
    text = given.get("port")
    if text is None:
        published = {inside for inside, _ in facts.ports}
        return published.pop() if len(published) == 1 else None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"{PREFIX}port: {_cut(text)} is no port (1 to 65535)")
    return int(text)


def _span(given: Mapping[str, str], key: str, default: timedelta, *, longest: timedelta) -> timedelta:
    if key not in given:
        return default
    span = _word(key, spans.parse, given[key])
    if not timedelta(milliseconds=100) <= span <= longest:
        raise ValueError(f"{PREFIX}{key}: must be from 100ms to {spans.text(longest)}, not {spans.text(span)}")
    return span


def _word(key: str, validate: Callable[[str], T], text: str) -> T:
    """Return what `validate` makes of a label's text. Raises ValueError naming the label."""
    try:
        return validate(text)
    except ValueError as exc:
        raise ValueError(f"{PREFIX}{key}: {exc}") from exc


def _refuse_typos(given: Mapping[str, str]) -> None:
    for key in given:
        near = _meant(key[:64])
        if near is not None:
            raise ValueError(f"there is no label {_cut(PREFIX + key)} (did you mean {PREFIX}{near}?)")


@functools.lru_cache(maxsize=1024)  # the same labels come at every beat, and looking for a likeness takes 0.4 ms
def _meant(key: str) -> str | None:
    """Return the label that `key` is a slip of; None where it is one of ours, or like none of ours."""
    near = [] if key in KNOWN else difflib.get_close_matches(key, KNOWN, n=1, cutoff=_TYPO)
    return near[0] if near else None


def _cut(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
