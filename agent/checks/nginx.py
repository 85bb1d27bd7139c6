"""The nginx check: what nginx routes against what really runs. Invalid configuration, nginx down, missing route, ghost
route (an address nobody has), wrong service behind a route."""

import re
from collections.abc import Mapping, Sequence

from agent.checks import nginx_routes, place
from agent.checks.nginx_routes import Leads, View
from agent.model import (
    Blind,
    ContainerFacts,
    ContainersRequest,
    ContainersSeen,
    ContainerState,
    Health,
    Judgement,
    NginxCheck,
    NginxRequest,
    NginxRoute,
    NginxSeen,
    NginxTarget,
    Observation,
    ProbeRequest,
    Service,
    Symptom,
)


def requests(check: NginxCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:
    """Return the one question to nginx; none when its host cannot be seen at all."""
    return () if isinstance(facts, Blind) else (NginxRequest(host=service.host, container=check.nginx),)


def judge(
    check: NginxCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],
) -> Judgement:
    """Judge nginx itself first, then its configuration, then the routes that should lead to this service."""
    listed = observed.get(ContainersRequest(host=service.host))
    if isinstance(facts, Blind) or not isinstance(listed, ContainersSeen):
        why = facts.why if isinstance(facts, Blind) else "the host's containers were not listed"
        return _judgement(check, Health.UNKNOWN, f"cannot look: {why}")

    nginx = next((container for container in listed.containers if container.name == check.nginx), None)
    if check.nginx is not None and (nginx is None or nginx.state is not ContainerState.RUNNING):
        state = nginx.state.value if nginx else ContainerState.MISSING.value
        return _sick(check, "nginx-down", f"the nginx container {check.nginx} is {state}")

    match observed.get(NginxRequest(host=service.host, container=check.nginx)):
        case NginxSeen(running=False):
            return _sick(check, "nginx-down", f"no nginx runs on host {service.host}")
        case NginxSeen(valid=False, message=message) if (name := _unresolved(message)) is not None:
            return _judge_unresolved(check, name, facts)
        case NginxSeen(valid=False, message=message):
            detail = f"nginx refuses its configuration (the one loaded before may still be served): {message}"
            return _sick(check, "nginx-invalid-config", detail)
        case NginxSeen(routes=routes):
            if facts.state not in place.ADDRESSED:
                return place.not_asked(check.name, check.plane, place.Gone(why=f"the container is {facts.state.value}"))
            view = View(own=facts, port=check.port, nginx=nginx, containers=listed.containers, socket=check.socket)
            found, certain = nginx_routes.matching(routes, check.server_name, check.location)
            judgement = _judge_routes(check, view, found)
            if judgement.health is Health.SICK and not certain:
                detail = f"{_route_name(check)} may belong to a server with a regular expression for a name: cannot compare"
                return _judgement(check, Health.UNKNOWN, f"{detail} ({judgement.detail})")
            return judgement
        case Blind(why=why):
            return _judgement(check, Health.UNKNOWN, f"cannot look: {why}")
        case _:
            return _judgement(check, Health.UNKNOWN, f"cannot look: nginx {check.nginx or 'on the host'} was not asked")


def _unresolved(message: str) -> str | None:
    """Return the upstream name that nginx could not resolve, where that is why it refused. Source: nginx's ngx_http_upstream.c."""
    found = re.search(r'host not found in upstream "([^"]*)"', message)
    return found[1].rpartition(":")[0] or found[1] if found else None


def _judge_unresolved(check: NginxCheck, name: str, facts: ContainerFacts) -> Judgement:
    """nginx reads no route while one upstream has no address: a neighbour that is down says nothing about this service."""
    own = {facts.name, *(alias for network in facts.networks for alias in network.aliases)}
    if name in own:
        return place.not_asked(
            check.name, check.plane, place.Gone(why=f"nginx cannot resolve {name}: the container is {facts.state.value}")
        )
    return _judgement(check, Health.UNKNOWN, f"cannot look: nginx reads no route while it cannot resolve its neighbour {name}")


def _judge_routes(check: NginxCheck, view: View, routes: Sequence[NginxRoute]) -> Judgement:
    """Judge the routes for this check's name and location.

    With a server name every one of them is this service's. Without one they may be other sites', so only those that lead
    here are judged, as long as any does.
    """
    behind = [(route, [(target, view.leads(target)) for target in route.targets]) for route in routes]
    here = [pair for pair in behind if any(leads is Leads.HERE for _, leads in pair[1])]
    judged = here if here and check.server_name is None else behind
    targets = [found for _, found_targets in judged for found in found_targets]
    right = f"{view.own.name}:{view.port}" if view.socket is None else f"unix:{view.socket}"
    for word, wanted, says in (
        ("nginx-wrong-service", Leads.WRONG_PORT, f"a port that {view.own.name} does not serve ({right} is right)"),
        ("nginx-wrong-service", Leads.ELSEWHERE, "another container"),
        ("nginx-wrong-service", Leads.OTHER_SOCKET, f"another socket ({right} is right)"),
        ("nginx-ghost-route", Leads.NOWHERE, "an address or name that no container has"),
    ):
        wrong = [target for target, leads in targets if leads is wanted]
        if wrong and not (here and wanted is Leads.OTHER_SOCKET) and _is_ours(word, check, view, here):
            return _sick(check, word, f"{_route_name(check)} leads to {_written(wrong)}: {says}")
    if here:
        return _judgement(check, Health.WELL, f"{_route_name(check)} leads to {right}")
    unknown = [target for target, leads in targets if leads is Leads.UNKNOWN]
    if unknown:
        return _judgement(check, Health.UNKNOWN, f"{_route_name(check)} leads to {_written(unknown)}: cannot compare")
    return _sick(check, "nginx-missing-route", f"no route leads to {view.own.name}: {_route_name(check)} is not there for it")


def _is_ours(word: str, check: NginxCheck, view: View, here: Sequence[object]) -> bool:
    """Whether a wrong target is this service's trouble and not a neighbour's."""
    if word == "nginx-ghost-route" and here:
        # A replica that is down leaves an address that nobody has; nginx goes on to the next server of the upstream.
        return not view.has_stopped_kin()
    return bool(here) or check.server_name is not None or word == "nginx-ghost-route"


def _route_name(check: NginxCheck) -> str:
    return f"nginx route {check.server_name or '*'} {check.location}"


def _written(targets: Sequence[NginxTarget]) -> str:
    return ", ".join(dict.fromkeys(f"{place.bracketed(t.host)}:{t.port}" if t.port else t.host for t in targets))


def _sick(check: NginxCheck, word: str, detail: str) -> Judgement:
    return _judgement(check, Health.SICK, detail, (Symptom(word=word, plane=check.plane, detail=detail),))


def _judgement(check: NginxCheck, health: Health, detail: str, symptoms: tuple[Symptom, ...] = ()) -> Judgement:
    return Judgement(check=check.name, plane=check.plane, health=health, detail=detail, symptoms=symptoms)
