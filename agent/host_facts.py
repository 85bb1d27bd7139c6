"""Structural facts about what a service declares on its host: its log, its cache, its artefacts, its network namespace.

In: the declaration, what Docker says of the container, and two ports to look through. Out: `HostFact`s, one or more for each
kind of declaration. A remedy that changes files may rest on one of these, never on words in a log alone. Whatever cannot be
looked at raises OutsideError, which becomes a gap in the evidence.
"""

from collections.abc import Callable, Iterator

from agent.errors import OutsideError
from agent.model import Artefact, ContainerFacts, ContainerState, HostFact, RunSpec, Service
from agent.ports import Containers, HostFiles

FULL = 0.95
"""Share of a disk, or of its inodes, from which it counts as full: ext4 keeps 5 % for root (mke2fs(8), `-m`)."""


def looks(
    service: Service, container: ContainerFacts | None, files: HostFiles, containers: Containers
) -> Iterator[Callable[[], HostFact | None]]:
    """Yield one look for each thing that the service declares: each may fail by itself."""
    if container is not None and container.log_path is not None:
        yield lambda: _log(service, str(container.log_path), files)
        # Docker keeps its images on the disk that it keeps this log on, unless somebody mounts one into the other.
        yield lambda: _disk("docker_disk", service, str(container.log_path), files)
    if service.quarantine_file is not None:
        yield lambda: _quarantine(service, str(service.quarantine_file), files)
    for path in service.cache_paths:
        yield lambda path=path: _disk("cache_disk", service, path, files)  # type: ignore[misc]  # mypy takes the default for a parameter
    for artefact in service.artefacts:
        yield lambda artefact=artefact: _artefact(service, artefact, files)  # type: ignore[misc]  # as above
    if container is not None and isinstance(service.spec, RunSpec) and service.spec.network_of is not None:
        yield lambda: _namespace(service, container, containers)


def _log(service: Service, path: str, files: HostFiles) -> HostFact | None:
    size = files.size(service.host, path)
    if size is None:
        return None
    value = "oversized" if size > service.log_most_bytes else "small"
    return HostFact(name="container_log", value=value, detail=f"{path}: {size} bytes, {service.log_most_bytes} allowed")


def _quarantine(service: Service, path: str, files: HostFiles) -> HostFact | None:
    try:
        if files.digest(service.host, path) is None:
            return None
    except OutsideError as exc:
        # Not a gap like the others: what nobody can see may stand.
        return HostFact(name="host", value="unsure", detail=f"nobody can say whether {path} stands: {exc}")
    return HostFact(name="host", value="quarantined", detail=f"{path} stands")


def _disk(name: str, service: Service, path: str, files: HostFiles) -> HostFact | None:
    usage = files.usage(service.host, path)
    if usage is None:
        return None
    space, inodes = usage
    value = "full" if max(space, inodes) >= FULL else "free"
    return HostFact(name=name, value=value, detail=f"disk of {path}: {space:.0%} of space, {inodes:.0%} of inodes used")


def _artefact(service: Service, artefact: Artefact, files: HostFiles) -> HostFact:
    digest = files.digest(service.host, artefact.path)
    value = "sound" if digest == artefact.sha256 else "damaged"
    return HostFact(name="artefact", value=value, detail=f"{artefact.path}: sha256 {digest or 'none, there is no file'}")


def _namespace(service: Service, container: ContainerFacts, containers: Containers) -> HostFact | None:
    """Say whether the container it shares its network with is still the one that it was made for."""
    shared = service.spec.network_of if isinstance(service.spec, RunSpec) else None
    if shared is None or container.network_mode is None:
        return None
    other = containers.inspect(service.host, shared)
    lost = other.state is ContainerState.MISSING or container.network_mode != f"container:{other.id}"
    detail = f"made for {container.network_mode[:22]}, {shared} is {other.id[:12] or other.state.value}"
    return HostFact(name="namespace", value="lost" if lost else "shared", detail=detail)
