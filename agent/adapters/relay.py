"""Makes a real socket of a connection that only behaves like one: libcurl and the kernel know nothing of SSH channels.

A thread copies both ways until either side ends or the time is over, and closes both.
"""

import selectors
import socket
import threading
import time
from contextlib import suppress
from typing import Protocol

from agent.adapters.docker_stream import Connection

_CHUNK = 65_536


class Watched(Connection, Protocol):
    """A connection that can be waited for."""

    def fileno(self) -> int:
        """Return a file that is readable when there is something to receive, or the end."""


def relay(connection: Watched, until: float) -> socket.socket:
    """Return a connected socket whose other end is `connection`, for as long as `until` (monotonic seconds) at most.

    Raises OSError when Medic itself is out of files, RuntimeError when it is out of threads; the connection is closed then.
    """
    try:
        theirs, ours = socket.socketpair()
    except OSError:
        connection.close()
        raise
    try:
        threading.Thread(target=_copy, args=(ours, connection, until), name="relay", daemon=True).start()
    except RuntimeError:
        for each in (theirs, ours, connection):
            each.close()
        raise
    return theirs


def _copy(ours: socket.socket, connection: Watched, until: float) -> None:
    try:
        with selectors.DefaultSelector() as selector, suppress(OSError, EOFError):
            selector.register(ours, selectors.EVENT_READ, (ours, connection))
            selector.register(connection, selectors.EVENT_READ, (connection, ours))
            while (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    source, target = key.data
                    for end in (source, target):
                        end.settimeout(max(until - time.monotonic(), 0.001))
                    chunk = source.recv(_CHUNK)
                    if not chunk:
                        return
                    target.sendall(chunk)
    finally:
        ours.close()
        with suppress(OSError, EOFError):
            connection.close()
