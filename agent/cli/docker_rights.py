"""Which checks a door before Docker leaves blind: those that run a program in a container."""

from collections.abc import Iterator

from agent.model import Check, CommandCheck, DnsCheck, GpuCheck, NginxCheck
from agent.settings import Settings


def cannot_ask(refused: tuple[str, ...], host: str, settings: Settings) -> Iterator[str]:
    """Yield the checks of a host that run a program in a container, where that is refused."""
    for service in settings.services if "exec" in refused else ():
        if service.host == host:
            yield from (f"{service.name}/{check.name}" for check in service.checks if _runs_inside(check))


def _runs_inside(check: Check) -> bool:
    match check:
        case CommandCheck() | DnsCheck():
            return True
        case GpuCheck(in_container=inside):
            return inside
        case NginxCheck(nginx=nginx):
            return nginx is not None
        case _:
            return False
