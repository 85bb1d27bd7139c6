"""Fills a runbook's parameters from the declaration of a service. Pure.

There is no way from log text, HTTP bodies or a model into a parameter: every source below is the declaration, the catalogue
or a person's `--set`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agent import codec, rights
from agent.errors import ConfigError
from agent.model import (
    ComposeSpec,
    Mode,
    NginxCheck,
    Parameter,
    ParameterSource,
    Plan,
    Runbook,
    RunSpec,
    Service,
    Surroundings,
)

T = TypeVar("T")

_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", re.ASCII)
"""Docker's own rule for names (moby 20.10, daemon/names/names.go), with a bound: no pattern, no variable, no list."""

ALONE = Surroundings()
"""Nothing is known around the service."""

_WORDS = {
    "spec": "a `run:` or `compose:` spec",
    "run-spec": "a `run:` spec",
    "config-file": "a `config_file:` with a template or a kept good copy",
    "nginx-check": "a check of kind nginx",
    "networks": "a `run:` spec with networks",
    "network-of": "a `run:` spec with network_of",
    "cache-paths": "a `cache_paths:`",
    "artefacts": "a list of `artefacts:`",
    "certificate": "a `certificate:`",
    "good-image": "a good image (it was never seen well)",
    "own-images": "a `run:` spec with an image of a repository",
    "nginx-config": "a service of its nginx's container, with a `config_file:`",
    "upstream": "a check of kind nginx with an `upstream_file:`",
    "quarantine-file": "a `quarantine_file:`",
    "group": "a group with another member on its host",
    "parent": "a single parent (`depends_on:`) on its host that nobody works on",
    "fleet-member": "a host that is a member of the fleet that `fleet:` names",
}
"""What a person would have to declare, by the word of `when.needs`."""
_OF_SOURCE = {
    "networks": ParameterSource.NETWORKS,
    "network-of": ParameterSource.NETWORK_OF,
    "cache-paths": ParameterSource.CACHE_PATHS,
    "artefacts": ParameterSource.ARTEFACTS,
    "certificate": ParameterSource.CERTIFICATE_HOOK,
    "good-image": ParameterSource.GOOD_IMAGE,
    "own-images": ParameterSource.OWN_IMAGES,
    "nginx-config": ParameterSource.NGINX_GOOD_COPY,
    "upstream": ParameterSource.UPSTREAM,
    "parent": ParameterSource.PARENT,
    "quarantine-file": ParameterSource.QUARANTINE_FILE,
}
"""Needs that are met where a parameter of this source could be filled."""
NEEDS = tuple(_WORDS)
"""The closed list of what a runbook may need declared."""
NEEDED: Mapping[ParameterSource, tuple[str, ...]] = {
    ParameterSource.SPEC: ("spec", "run-spec"),
    ParameterSource.CONFIG_PATH: ("config-file",),
    ParameterSource.CONFIG_GOOD_COPY: ("config-file",),
    ParameterSource.NGINX: ("nginx-check",),
    ParameterSource.NGINX_CONFIG: ("nginx-config",),
    ParameterSource.CERTIFICATE_PATH: ("certificate",),
    ParameterSource.KEPT_IMAGES: ("own-images",),
    ParameterSource.PARENT_STOP_TIMEOUT: ("parent",),
    **{source: (need,) for need, source in _OF_SOURCE.items()},
}
"""Sources of parameters that the declaration may not have: one of these needs makes sure that it does."""

DEFAULT_STOP_TIMEOUT = 10
"""Seconds; Docker's own default."""


def plan(
    runbook: Runbook,
    service: Service,
    *,
    good_copy: str | None,
    settings: Mapping[str, str],
    why: str,
    around: Surroundings = ALONE,
) -> Plan:
    """Return the runbook with its parameters filled in. Raises ConfigError naming what is missing or wrong."""
    _refuse_unknown(runbook, settings)
    if runbook.fleet is not None:
        _present(around.berth, _WORDS["fleet-member"], runbook, service)
    forbidden = rights.lacking(runbook.id, around.refused, service.host)
    if forbidden is not None:
        raise ConfigError(f"cannot run {runbook.id!r} for service {service.name!r}: {forbidden}")
    return Plan(
        runbook=runbook.id,
        runbook_hash=runbook.hash,
        title=runbook.title,
        risk=runbook.risk,
        playbook=runbook.playbook,
        parameters=tuple((p.name, _value(p, runbook, service, good_copy, around, settings)) for p in runbook.parameters),
        timeout=runbook.timeout,
        settle=runbook.settle,
        rerun=runbook.rerun,
        undo=runbook.undo,
        why=why,
        host=service.host,
        fleet=runbook.fleet,
    )


def edited(plan: Plan, runbook: Runbook, settings: Mapping[str, str]) -> Plan:
    """Return `plan`, made of `runbook`, with what a person sets anew. Raises ConfigError naming what is wrong."""
    _refuse_unknown(runbook, settings)
    given = {p.name: _typed(p, settings[p.name], runbook) for p in runbook.parameters if p.name in settings}
    return replace(plan, parameters=tuple((name, given.get(name, value)) for name, value in plan.parameters))


def _refuse_unknown(runbook: Runbook, settings: Mapping[str, str]) -> None:
    known = sorted(p.name for p in runbook.parameters if p.source is ParameterSource.PERSON)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ConfigError(f"cannot set {unknown[0]!r} for runbook {runbook.id!r}: it takes {', '.join(known) or 'no settings'}")


def disagreement(plan: Plan, claimed: Sequence[tuple[str, str]]) -> str | None:
    """Return where values that somebody claims are not those of the plan, as words; None where they are.

    claimed: (name, value), each as JSON or as plain text. Whoever claims another value has it from somewhere else.
    """
    filled = dict(plan.parameters)
    for name, value in claimed:
        if name not in filled:
            return f"it has no parameter {name[:40]!r}"
        if value != filled[name] and json.dumps(value) != filled[name]:
            return f"{name} is not {value[:60]!r} by the declaration"
    return None


def unmet(runbook: Runbook, service: Service, *, good_copy: str | None, around: Surroundings = ALONE) -> str | None:
    """Return which declaration a runbook needs and the service lacks, as words, or None."""
    lacking = (_lacking(need, service, good_copy, around) for need in runbook.needs)
    return next((words for words in lacking if words is not None), None)


def _lacking(need: str, service: Service, good_copy: str | None, around: Surroundings) -> str | None:
    """Return what is missing for one need, as words, or None. Needs are the closed list of `when.needs`."""
    parent, source = around.parent, _OF_SOURCE.get(need)
    if source is not None:
        met = bool(_declared(source, service, around)[0])
    else:
        met = {
            "spec": service.spec is not None,
            "run-spec": isinstance(service.spec, RunSpec),
            "config-file": service.config_file is not None and good_copy is not None,
            "nginx-check": nginx_of(service) is not None,
            "group": len(around.members) > 1,
            "fleet-member": around.berth is not None,
        }[need]
    if not met:
        return _WORDS[need]
    # What is done to the parent is the parent's business, too.
    if need == "parent" and parent is not None and (parent.mode is not Mode.ACT or parent.dry_run or parent.group):
        return "a parent that may be restarted for its sake (its mode is act, and it is nobody's replica)"
    return None


def stop_timeout(service: Service) -> int:
    """Return the seconds that its declared spec gives a container to stop."""
    return service.spec.stop_timeout if isinstance(service.spec, RunSpec) else DEFAULT_STOP_TIMEOUT


def good_copy(service: Service, kept: tuple[str, Path] | None) -> str | None:
    """Return what the service's configuration can be restored from: its template, else the copy kept while it was WELL.

    kept: its digest and path, from `GoodCopies`.
    """
    if service.config_file is None:
        return None
    if service.config_file.template:
        return service.config_file.template
    return str(kept[1]) if kept else None


def nginx_of(service: Service) -> str | None:
    """Return the nginx container in front of the service, from its nginx check."""
    return next((check.nginx for check in service.checks if isinstance(check, NginxCheck)), None)


def _value(
    parameter: Parameter,
    runbook: Runbook,
    service: Service,
    good_copy: str | None,
    around: Surroundings,
    settings: Mapping[str, str],
) -> str:
    match parameter.source:
        case ParameterSource.CONTAINER:
            return json.dumps(_target(service.container, runbook, service))
        case ParameterSource.NGINX:
            nginx = _present(nginx_of(service), "a check of kind nginx", runbook, service)
            return json.dumps(_target(nginx, runbook, service))
        case ParameterSource.SPEC:
            return json.dumps(_spec(service, runbook))
        case ParameterSource.CONFIG_PATH:
            path = service.config_file.path if service.config_file else None
            return json.dumps(_present(path, "a `config_file:`", runbook, service))
        case ParameterSource.CONFIG_GOOD_COPY:
            return json.dumps(_present(good_copy, "a template or a kept good copy of its configuration", runbook, service))
        case ParameterSource.STOP_TIMEOUT:
            return json.dumps(stop_timeout(service))
        case ParameterSource.PERSON:
            return _typed(parameter, settings.get(parameter.name, parameter.default), runbook)
        case _:
            value, what = _declared(parameter.source, service, around)
            return json.dumps(_present(value or None, what, runbook, service))


def _declared(source: ParameterSource, service: Service, around: Surroundings) -> tuple[codec.JSON, str]:
    """Return what one kind of declaration holds, empty where there is none, and its name in a sentence."""
    spec, certificate, parent, proxy = service.spec, service.certificate, around.parent, around.proxy
    of_spec: tuple[codec.JSON, codec.JSON] = ([*spec.networks], spec.network_of) if isinstance(spec, RunSpec) else ([], None)
    held: dict[ParameterSource, codec.JSON] = {
        ParameterSource.NETWORKS: of_spec[0],
        ParameterSource.NETWORK_OF: of_spec[1],
        ParameterSource.CACHE_PATHS: [*service.cache_paths],
        ParameterSource.ARTEFACTS: [codec.as_dict(each) for each in service.artefacts],
        ParameterSource.CERTIFICATE_PATH: certificate.path if certificate else None,
        ParameterSource.CERTIFICATE_HOOK: [*certificate.renew] if certificate else [],
        ParameterSource.GOOD_IMAGE: around.good_image,
        ParameterSource.OWN_IMAGES: [*around.own_images],
        ParameterSource.KEPT_IMAGES: [*around.kept_images],
        ParameterSource.NGINX_CONFIG: proxy.config_file.path if proxy and proxy.config_file else None,
        ParameterSource.NGINX_GOOD_COPY: around.proxy_good_copy,
        ParameterSource.UPSTREAM: _upstream(service, around),
        ParameterSource.QUARANTINE_FILE: service.quarantine_file,
        ParameterSource.PARENT: parent.container if parent else None,
        ParameterSource.PARENT_STOP_TIMEOUT: stop_timeout(parent) if parent else None,
    }
    return held[source], _WORDS[NEEDED[source][0]]


def _upstream(service: Service, around: Surroundings) -> codec.JSON:
    """Return the upstream block that a service declares, None without one."""
    check = next((check for check in service.checks if isinstance(check, NginxCheck)), None)
    if check is None or check.port is None or service.upstream_file is None:
        return None
    members: list[codec.JSON] = [member for member in around.members if _CONTAINER.fullmatch(member)]
    return {"name": service.group or service.name, "file": service.upstream_file, "port": check.port, "members": members}


def _target(container: str, runbook: Runbook, service: Service) -> str:
    """Return the one container that a runbook acts on. Nothing, a pattern or a name not filled in is never "all" of them."""
    if not _CONTAINER.fullmatch(container):
        raise ConfigError(
            f"cannot fill runbook {runbook.id!r} for service {service.name!r}: {container[:70]!r} is no container's name"
        )
    return container


def _present(value: T | None, what: str, runbook: Runbook, service: Service) -> T:
    if value is None:
        raise ConfigError(
            f"cannot fill runbook {runbook.id!r} for service {service.name!r}: it declares no {what.removeprefix('a ')}"
        )
    return value


def _spec(service: Service, runbook: Runbook) -> codec.JSON:
    match service.spec:
        case RunSpec() as spec:
            return {"kind": "run", **_plain(spec)}
        case ComposeSpec() as spec:
            return {"kind": "compose", **_plain(spec)}
        case None:
            raise ConfigError(
                f"cannot fill runbook {runbook.id!r} for service {service.name!r}: it declares no `run:` or `compose:` spec"
            )


def _plain(spec: RunSpec | ComposeSpec) -> dict[str, codec.JSON]:
    plain = codec.as_dict(spec)
    if not isinstance(plain, dict):
        raise TypeError("a spec encodes as an object")
    return plain


def _typed(parameter: Parameter, text: str | None, runbook: Runbook) -> str:
    """Return a person's text as JSON of the declared kind. Raises ConfigError saying what would be right."""
    if text is None:
        raise ConfigError(f"cannot run {runbook.id!r}: give --set {parameter.name}=<{parameter.kind}>")
    if parameter.choices and text not in parameter.choices:
        raise ConfigError(f"cannot set {parameter.name!r} to {text!r}: choose one of {', '.join(parameter.choices)}")
    match parameter.kind:
        case "integer":
            return json.dumps(_integer(parameter, text))
        case "boolean":
            if text not in ("true", "false"):
                raise ConfigError(f"cannot set {parameter.name!r} to {text!r}: give true or false")
            return text
        case _:
            return json.dumps(text)


def _integer(parameter: Parameter, text: str) -> int:
    low, high = parameter.minimum, parameter.maximum
    try:
        number = int(text)
    except ValueError:
        raise ConfigError(f"cannot set {parameter.name!r} to {text!r}: give a whole number") from None
    if (low is not None and number < low) or (high is not None and number > high):
        raise ConfigError(f"cannot set {parameter.name!r} to {number}: give a whole number from {low} to {high}")
    return number
