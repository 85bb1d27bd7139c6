"""Looks host names up for the probes, each once per batch and outside libcurl, which cannot tell "there is no such name" (the
target's trouble) from "the resolver does not answer" (ours)."""

import functools
import ipaddress
import socket
from collections.abc import Iterable
from datetime import timedelta

from agent.adapters import at_once
from agent.model import Blind

MOST = 64
"""Names looked up in one batch of threads; further ones follow in the next."""

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, socket.EAI_NODATA})


def look_up(hosts: Iterable[str], deadline: timedelta) -> dict[str, tuple[str, ...] | Blind]:
    """Return the addresses of each host, none where the resolver says there is no such name, or why it did not say.

    deadline: for each batch of `MOST` names. glibc itself may wait half a minute for a silent resolver.
    """
    found: dict[str, tuple[str, ...] | Blind] = {}
    names = []
    for host in dict.fromkeys(hosts):
        if _is_address(host):
            found[host] = (host,)
        else:
            names.append(host)
    for start in range(0, len(names), MOST):
        batch = names[start : start + MOST]
        answers = at_once.call_all({name: functools.partial(_resolve, name) for name in batch}, deadline)
        silent = Blind(why="our resolver did not answer in time")
        found.update({name: answers.get(name, silent) for name in batch})
        if not answers:
            # A resolver that answered none of these will not answer the others: do not wait once per batch.
            found.update(dict.fromkeys(names[start + MOST :], silent))
            break
    return found


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolve(name: str) -> tuple[str, ...] | Blind:
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as exc:
        return () if exc.errno in _NO_SUCH_NAME else Blind(why=f"our resolver cannot look up {name!r}: {exc.strerror}")
    except UnicodeError:
        return ()  # longer than a name may be
    except OSError as exc:
        return Blind(why=f"our resolver cannot look up {name!r}: {exc.strerror}")
    return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))
