"""A Docker socket that can fall silent: it hands every connection on to the real one until a file called `docker.mute` appears.

From then on it takes connections and answers nothing, also on those that are open: an engine that hangs.
"""

import select
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

REAL = "/var/run/docker.sock"
ASK_EVERY = 0.1
"""Seconds between two looks at the file."""


class SocketProxy:
    """A context that serves `<folder>/docker.sock` from threads of its own."""

    def __init__(self, folder: Path) -> None:
        self._mute = folder / "docker.mute"
        self._over = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "docker.sock"))
        self._listener.listen(64)
        self._listener.settimeout(ASK_EVERY)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        for thread in tuple(self._threads):
            thread.join(5)
        self._listener.close()

    def _spawn(self, target: Callable[..., None], *words: socket.socket) -> None:
        thread = threading.Thread(target=target, args=words, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                theirs, _ = self._listener.accept()
            except TimeoutError:
                continue
            real = socket.socket(socket.AF_UNIX)
            real.connect(REAL)
            self._spawn(self._join, theirs, real)

    def _join(self, theirs: socket.socket, real: socket.socket) -> None:
        with theirs, real:
            inward = threading.Thread(target=self._pass_on, args=(theirs, real), daemon=True)
            inward.start()
            self._pass_on(real, theirs)
            inward.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        """Hand on what comes until either side ends; once mute, hand on nothing and keep the line open."""
        while not self._over.is_set():
            if self._mute.exists():
                self._over.wait(ASK_EVERY)
                continue
            ready, _, _ = select.select([source], [], [], ASK_EVERY)
            if not ready:
                continue
            try:
                chunk = source.recv(65_536)
                if not chunk:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(chunk)
            except OSError:  # the other side is gone, and with it this line
                return
