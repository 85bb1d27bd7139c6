"""What went wrong between us and a Docker engine, as one sentence a person can act on. Imports no SDK.

The causes are buried: the SDK wraps requests, which wraps urllib3, which wraps the operating system. Here the chain is
walked down to the first thing that says something.
"""

import errno
from collections.abc import Iterator

from agent.adapters.docker_stream import UnfinishedError
from agent.errors import OutsideError

_OUR_OWN_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
_LONGEST = 300
"""Characters of the engine's own sentence kept at most."""


def refused(doing: str, status: int, message: str) -> OutsideError:
    """Return the error for an HTTP status of 400 or more, with the engine's own sentence."""
    said = " ".join(message.split())[:_LONGEST] or "no reason given"
    if status == 404:
        return OutsideError(f"{doing}: {said}", transient=False)
    if status == 501 or "does not support reading" in said:
        return OutsideError(f"{doing}: its log driver keeps nothing to read", transient=False)
    if "client version" in said:
        return OutsideError(f"{doing}: the engine speaks another API version: {said}", transient=True)
    # 409 is "not in this state now"; both it and the engine's own troubles pass.
    return OutsideError(f"{doing}: the engine answered {status}: {said}", transient=status >= 500 or status == 409)


def unreachable(doing: str, url: str, exc: BaseException) -> OutsideError:
    """Return the error for an engine that did not answer, or not in its own tongue."""
    chain = tuple(_chain(exc))
    system = next((found for found in chain if isinstance(found, OSError) and found.errno is not None), None)
    number = system.errno if system is not None else None
    cause, transient = f"the engine at {url} did not answer as one: {_brief(chain[-1])}", True
    if number == errno.ENOENT:
        cause = f"there is no socket at {url}; is Docker installed and started?"
    elif number in (errno.EACCES, errno.EPERM):
        cause, transient = f"permission denied on {url}; run as root or join the group `docker`", False
    elif number == errno.ECONNREFUSED:
        cause = f"nothing listens at {url}; is Docker started?"
    elif number in _OUR_OWN_LIMITS:
        cause = f"Medic itself is out of resources: {_brief(system or exc)}"
    elif isinstance(exc, UnfinishedError):
        cause = str(exc)
    elif any("timed out" in str(found).lower() or isinstance(found, TimeoutError) for found in chain):
        cause = f"the engine at {url} did not answer in time"
    elif system is not None:
        cause = f"{url}: {_brief(system)}"
    return OutsideError(f"{doing}: {cause}", transient=transient)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield the error and everything it wraps, outermost first, each once."""
    waiting, seen = [exc], set[int]()
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inside = (*found.args, found.__cause__, found.__context__)
        waiting.extend(nested for nested in inside if isinstance(nested, BaseException))


def _brief(exc: BaseException) -> str:
    return (" ".join(str(exc).split()) or type(exc).__name__)[:_LONGEST]
