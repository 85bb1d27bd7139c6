"""What a host's Docker may refuse Medic, and which runbooks that costs. Pure.

A door before Docker's socket (a socket proxy) may forbid more than half. In: the names of what it refuses, as `ports.Containers`
tells them. Out: the sentence that stands where a plan would.
"""

from collections.abc import Collection, Mapping

from agent.model import HostName

LOOKS = ("list", "inspect", "logs", "events")
"""Without one of these Medic is blind, or cannot explain what it sees."""
ACTS = ("start", "restart", "unpause", "exec", "create", "remove", "networks", "images")

NEEDS: Mapping[str, tuple[str, ...]] = {
    "start-container": ("start",),
    "restart-container": ("restart",),
    "regain-gpu": ("restart",),
    "unpause-container": ("unpause",),
    "reload-nginx": ("exec",),
    "restore-nginx-config": ("exec",),
    "regenerate-nginx-routes": ("exec",),
    "reconnect-network": ("networks",),
    "recreate-container": ("create", "remove", "start"),
    "recreate-gpu-container": ("create", "remove", "start"),
    "recreate-namespace-child": ("create", "remove", "start"),
    "rollback-image": ("create", "remove", "start"),
    "truncate-container-log": ("start",),
    "evict-cache": ("start",),
    "renew-certificate": ("start",),
    "prune-unused-images": ("images", "start"),
    "restore-artefact": ("restart",),
    "restore-config": ("restart",),
    "rollback-config": ("restart",),
    "put-back-config": ("restart",),
    "restart-dependency": ("restart",),
    "restart-replica": ("restart", "exec"),
    "quarantine-gpu-host": (),
    "replace-host": (),  # it ends containers where it may; where it may not, they end with their host
    "retire-host": (),
    "sync-clock": (),
    "restart-fabric-manager": (),
    "rotate-logs": ("start",),
    "restart-docker": ("start",),
    "reboot-host": (),
}
"""What each shipped runbook does through Docker, beside looking. Of one that people wrote nothing is known: it may try."""


def lacking(runbook: str, refused: Collection[str], host: HostName) -> str | None:
    """Return what a runbook needs and Docker on its host refuses, as a sentence; None where it may run."""
    missing = [right for right in NEEDS.get(runbook, ()) if right in refused]
    if not missing:
        return None
    named = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
    return f"it needs {named}, which Docker on {host} refuses Medic: docs/how-to/least-privilege.md"


def cannot_run(refused: Collection[str]) -> tuple[str, ...]:
    """Return the runbooks that need what is refused."""
    return tuple(sorted(id_ for id_, needs in NEEDS.items() if set(needs) & set(refused)))
