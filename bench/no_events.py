"""A Docker socket that tells of no events: every other call is handed on to the real one."""

import contextlib
import os
import shutil
import socket
import tempfile
import threading

REAL = "/var/run/docker.sock"
REFUSED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"


class DeafSocket:
    """A context that serves such a socket from threads of its own, and gives its URL."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="medic-bench-deaf-")
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> str:
        path = os.path.join(self._folder, "docker.sock")  # noqa: PTH118  a text is what a socket takes
        self._listener.bind(path)
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        return f"unix://{path}"

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the run is over
            while True:
                theirs, _ = self._listener.accept()
                threading.Thread(target=_serve, args=(theirs,), daemon=True).start()


def _serve(theirs: socket.socket) -> None:
    """Hand one connection on until either side ends; refuse the endless event stream, which is the one without an end time."""
    with theirs, socket.socket(socket.AF_UNIX) as real, contextlib.suppress(OSError):
        first = theirs.recv(65_536)
        line = first.split(b"\r\n", 1)[0]
        if b"/events?" in line and b"until=" not in line:
            theirs.sendall(REFUSED)
            return
        real.connect(REAL)
        real.sendall(first)
        back = threading.Thread(target=_pump, args=(real, theirs), daemon=True)
        back.start()
        _pump(theirs, real)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65_536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
