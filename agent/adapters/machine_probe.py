"""The probe of the machine that Medic runs on: its disks, memory and load, from the kernel. Observes, does not judge."""

import os

from agent.model import Blind, DiskSeen, MachineRequest, MachineSeen

MEMINFO = "/proc/meminfo"


def probe(request: MachineRequest) -> MachineSeen | Blind:
    """Return how full and busy the machine is, or why that cannot be told. Never raises for what is outside."""
    try:
        disks = tuple(_disk(path) for path in request.disks)
        with open(MEMINFO, encoding="ascii") as file:  # noqa: PTH123 (nothing of a path is needed)
            memory_used = _memory_used(file.read())
        load = os.getloadavg()[1]
    except (OSError, ValueError, KeyError) as exc:
        return Blind(why=f"cannot measure host {request.host}: {exc}")
    return MachineSeen(disks=disks, memory_used=memory_used, load_per_cpu=load / (os.cpu_count() or 1))


def _disk(path: str) -> DiskSeen:
    found = os.statvfs(path)
    usable = found.f_blocks - found.f_bfree + found.f_bavail  # what is kept for root does not count, as in df(1)
    used = 100 * (1 - found.f_bavail / usable) if usable else 0.0
    inodes = 100 * (1 - found.f_favail / found.f_files) if found.f_files else None
    return DiskSeen(path=path, used=used, inodes_used=inodes)


def _memory_used(meminfo: str) -> float:
    """Return percent in use. Source: proc(5), `MemAvailable`, since Linux 3.14."""
    sizes = {line.partition(":")[0]: int(line.split()[1]) for line in meminfo.splitlines() if ":" in line}
    return 100 * (1 - sizes["MemAvailable"] / sizes["MemTotal"])
