"""The container check: does it run, is its own HEALTHCHECK not red, are its image and its networks the declared ones. Needs no
question of its own: the list of the host's containers says it all."""

from collections.abc import Mapping

from agent.model import (
    Blind,
    ContainerCheck,
    ContainerFacts,
    ContainerState,
    Health,
    Judgement,
    Observation,
    Plane,
    ProbeRequest,
    RunSpec,
    Service,
    Symptom,
)

_SICK_STATES = {
    ContainerState.CREATED: "container-created",
    ContainerState.PAUSED: "container-paused",
    ContainerState.RESTARTING: "container-restarting",
    ContainerState.EXITED: "container-exited",
    ContainerState.DEAD: "container-dead",
    # Docker calls a container whose removal got stuck "dead"; one being removed is that a moment earlier.
    ContainerState.REMOVING: "container-dead",
    ContainerState.MISSING: "container-missing",
}


def requests(check: ContainerCheck, service: Service, facts: ContainerFacts | Blind) -> tuple[ProbeRequest, ...]:  # noqa: ARG001 (one signature for all checks)
    """Return no question: `look` lists every host's containers anyway."""
    return ()


def judge(
    check: ContainerCheck,
    service: Service,
    facts: ContainerFacts | Blind,
    observed: Mapping[ProbeRequest, Observation],  # noqa: ARG001 (one signature for all checks)
) -> Judgement:
    """Judge the facts of the service's own container."""
    if isinstance(facts, Blind):
        return _judgement(check, Health.UNKNOWN, f"cannot look: {facts.why}")
    symptoms = (*_state_symptoms(facts), *_running_symptoms(check, service, facts))
    if symptoms:
        return _judgement(check, Health.SICK, "; ".join(symptom.detail for symptom in symptoms), symptoms)
    warming = ", its HEALTHCHECK still starting" if facts.health == "starting" else ""
    return _judgement(check, Health.WELL, f"container {service.container} runs{warming}")


def _state_symptoms(facts: ContainerFacts) -> tuple[Symptom, ...]:
    word = _SICK_STATES.get(facts.state)
    if word is None:
        return ()
    exit_code = f", exit code {facts.exit_code}" if facts.exit_code is not None and facts.state is ContainerState.EXITED else ""
    state = _symptom(word, f"container {facts.name} is {facts.state.value}{exit_code}")
    return (state, _symptom("oom-killed", "the kernel killed it for memory")) if facts.oom_killed else (state,)


def _running_symptoms(check: ContainerCheck, service: Service, facts: ContainerFacts) -> tuple[Symptom, ...]:
    if facts.state is not ContainerState.RUNNING:
        return ()
    found = []
    if facts.health == "unhealthy":
        found.append(_symptom("healthcheck-red", f"the HEALTHCHECK of container {facts.name} is red"))
    if check.image_digest is not None and check.image_digest != facts.image_id:
        found.append(_symptom("image-drift", f"image {facts.image_id or 'unknown'} runs, {check.image_digest} is expected"))
    if missing := _missing_networks(service, facts):
        found.append(_symptom("network-missing", f"container {facts.name} is not attached to {', '.join(missing)}"))
    return tuple(found)


def _missing_networks(service: Service, facts: ContainerFacts) -> tuple[str, ...]:
    """Return the networks that the spec declares and the container is not attached to."""
    declared = service.spec.networks if isinstance(service.spec, RunSpec) else ()
    attached = {network.name for network in facts.networks}
    return tuple(name for name in declared if name not in attached)


def _symptom(word: str, detail: str) -> Symptom:
    return Symptom(word=word, plane=Plane.CONTAINER, detail=detail)


def _judgement(check: ContainerCheck, health: Health, detail: str, symptoms: tuple[Symptom, ...] = ()) -> Judgement:
    return Judgement(check=check.name, plane=check.plane, health=health, detail=detail, symptoms=symptoms)
