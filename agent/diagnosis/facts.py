"""The structural facts that rules may rest on: a closed list of names, each with its values in lower case.

In: `Evidence`. Out: a mapping of fact name to the values that hold. A fact that nobody looked at is absent, so that a
rule which names it does not speak; only planes say `unasked`, because "no check looks from there" is itself worth knowing.
"""

from collections.abc import Mapping
from datetime import timedelta

from agent.model import ContainerFacts, ContainerState, Evidence, Health, Judgement, Plane

NAMES = frozenset(
    {"container_state", "exit_code", "oom_killed", "docker_health", "symptom", "changed", "restart_loop"}
    | {"artefact", "cache_disk", "container_log", "docker_disk", "host", "namespace"}
    | {f"plane.{plane.value}" for plane in Plane}
)
"""Every fact name that a rule may use."""

RESTART_LOOP = 3
"""Restarts by Docker from which a container counts as looping: one can be luck, two a slow dependency."""

OOM_IS_FRESH = timedelta(minutes=10)
"""Docker clears OOMKilled when its restart policy starts the container again; the `oom` event stays. Older ones are
not about this sickness."""

_ENDED = (ContainerState.EXITED, ContainerState.DEAD, ContainerState.RESTARTING)


def facts(evidence: Evidence) -> Mapping[str, frozenset[str]]:
    """Return the facts that hold in `evidence`, by name."""
    found: dict[str, frozenset[str]] = {
        f"plane.{plane.value}": frozenset({_plane(evidence.verdict.judgements, plane)}) for plane in Plane
    }
    found["symptom"] = frozenset(symptom.word for symptom in evidence.verdict.symptoms)
    found["changed"] = frozenset(change.what for change in evidence.changes)
    found.update(
        {name: frozenset(f.value for f in evidence.on_host if f.name == name) for name in {f.name for f in evidence.on_host}}
    )
    if evidence.container is not None:
        found.update({name: frozenset({value}) for name, value in _of_container(evidence.container, evidence).items()})
    return found


def agrees(found: Mapping[str, frozenset[str]], name: str, accepted: str) -> str | None:
    """Return the value of fact `name` that is among `accepted` (joined with `|`), or None when none is."""
    return next(iter(sorted(found.get(name, frozenset()) & set(accepted.split("|")))), None)


def _of_container(container: ContainerFacts, evidence: Evidence) -> dict[str, str]:
    ended = container.state in _ENDED
    oom_event = any(event.action == "oom" and evidence.at - event.at <= OOM_IS_FRESH for event in evidence.events)
    looping = container.state is ContainerState.RESTARTING or (container.restart_count or 0) >= RESTART_LOOP
    found = {"container_state": container.state.value, "restart_loop": _word(claim=looping)}
    if container.exit_code is not None and ended:
        # A container that runs carries the exit code 0 of nothing.
        found["exit_code"] = str(container.exit_code)
    if container.oom_killed is not None or oom_event:
        found["oom_killed"] = _word(claim=bool(container.oom_killed) or oom_event)
    if container.health is not None:
        found["docker_health"] = container.health.lower()
    return found


def _plane(judgements: tuple[Judgement, ...], plane: Plane) -> str:
    healths = {judgement.health for judgement in judgements if judgement.plane is plane}
    worst = next((health for health in (Health.SICK, Health.UNKNOWN, Health.WELL) if health in healths), None)
    return worst.value if worst is not None else "unasked"


def _word(*, claim: bool) -> str:
    return "true" if claim else "false"
