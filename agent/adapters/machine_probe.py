"""The probe of a machine: its disks, memory, load and clock, from its kernel. Observes, does not judge."""

from agent.adapters.machine import DiskFacts, MachineOf
from agent.errors import OutsideError
from agent.model import Blind, DiskSeen, MachineRequest, MachineSeen


def probe(request: MachineRequest, machine_of: MachineOf) -> MachineSeen | Blind:
    """Return how full and busy the machine is, or why that cannot be told. Never raises for what is outside."""
    try:
        found = machine_of(request.host).measure(request.disks)
        disks = []
        for path, disk in zip(request.disks, found.disks, strict=True):
            if disk is None:
                return Blind(why=f"cannot measure host {request.host}: there is no {path}")
            disks.append(_disk(path, disk))
        memory_used = _memory_used(found.meminfo)
    except OutsideError as exc:
        return Blind(why=str(exc))
    except (ValueError, KeyError, IndexError) as exc:
        return Blind(why=f"cannot measure host {request.host}: {exc}")
    return MachineSeen(
        disks=tuple(disks), memory_used=memory_used, load_per_cpu=found.load / max(found.cpus, 1), ahead=found.ahead
    )


def _disk(path: str, found: DiskFacts) -> DiskSeen:
    usable = found.blocks - found.free + found.available  # what is kept for root does not count, as in df(1)
    used = 100 * (1 - found.available / usable) if usable else 0.0
    inodes = 100 * (1 - found.inodes_free / found.inodes) if found.inodes else None
    return DiskSeen(path=path, used=used, inodes_used=inodes)


def _memory_used(meminfo: str) -> float:
    """Return percent in use. Source: proc(5), `MemAvailable`, since Linux 3.14."""
    sizes = {line.partition(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if ":" in line}
    return 100 * (1 - sizes["MemAvailable"] / sizes["MemTotal"])
