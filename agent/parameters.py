"""Fills a runbook's parameters from the declaration of a service. Pure.

There is no way from log text, HTTP bodies or a model into a parameter: every source below is the declaration, the catalogue
or a person's `--set`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from agent import codec
from agent.errors import ConfigError
from agent.model import ComposeSpec, NginxCheck, Parameter, ParameterSource, Plan, Runbook, RunSpec, Service

T = TypeVar("T")

_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", re.ASCII)
"""Docker's own rule for names (moby 20.10, daemon/names/names.go), with a bound: no pattern, no variable, no list."""

DEFAULT_STOP_TIMEOUT = 10
"""Seconds; Docker's own default."""


def plan(runbook: Runbook, service: Service, *, good_copy: str | None, settings: Mapping[str, str], why: str) -> Plan:
    """Return the runbook with its parameters filled in. Raises ConfigError naming what is missing or wrong."""
    _refuse_unknown(runbook, settings)
    return Plan(
        runbook=runbook.id,
        runbook_hash=runbook.hash,
        title=runbook.title,
        risk=runbook.risk,
        playbook=runbook.playbook,
        parameters=tuple((p.name, _value(p, runbook, service, good_copy, settings)) for p in runbook.parameters),
        timeout=runbook.timeout,
        settle=runbook.settle,
        rerun=runbook.rerun,
        undo=runbook.undo,
        why=why,
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


def unmet(runbook: Runbook, service: Service, *, good_copy: str | None) -> str | None:
    """Return which declaration a runbook needs and the service lacks, as words, or None."""
    needs = {
        "spec": ("a `run:` or `compose:` spec", service.spec is not None),
        "networks": ("a `run:` spec with networks", isinstance(service.spec, RunSpec) and bool(service.spec.networks)),
        "config-file": (
            "a `config_file:` with a template or a kept good copy",
            service.config_file is not None and good_copy is not None,
        ),
        "nginx-check": ("a check of kind nginx", nginx_of(service) is not None),
    }
    return next((words for need, (words, met) in needs.items() if need in runbook.needs and not met), None)


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


def _value(parameter: Parameter, runbook: Runbook, service: Service, good_copy: str | None, settings: Mapping[str, str]) -> str:
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
        case ParameterSource.NETWORKS:
            networks = service.spec.networks if isinstance(service.spec, RunSpec) else ()
            return json.dumps(_present(networks or None, "a `run:` spec with networks", runbook, service))
        case ParameterSource.STOP_TIMEOUT:
            return json.dumps(service.spec.stop_timeout if isinstance(service.spec, RunSpec) else DEFAULT_STOP_TIMEOUT)
        case ParameterSource.PERSON:
            return _typed(parameter, settings.get(parameter.name, parameter.default), runbook)


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
