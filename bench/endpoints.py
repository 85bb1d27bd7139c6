"""HTTP endpoints in a process of their own, so that their work is not counted as Medic's.

One process answers many paths on many ports of this machine's loopback with the same 200.
"""

import contextlib
import multiprocessing
import selectors
import socket
from collections.abc import Iterator
from multiprocessing.connection import Connection

from agent.adapters import own_limits

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"


@contextlib.contextmanager
def served(count: int, ports: int = 50) -> Iterator[list[str]]:
    """Serve endpoints while the context lasts; yield `count` URLs over `ports` ports."""
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(ports, there), daemon=True)
    server.start()
    try:
        listening = here.recv()
        yield [f"http://127.0.0.1:{listening[number % ports]}/health/{number}" for number in range(count)]
    finally:
        server.kill()
        server.join()


def _serve(ports: int, ready: Connection) -> None:
    """Answer every connection on `ports` ports, until killed."""
    own_limits.raise_open_files()
    selector = selectors.DefaultSelector()
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(ports)]
    for listener in listeners:
        listener.settimeout(0)
        selector.register(listener, selectors.EVENT_READ, listener)
    ready.send([listener.getsockname()[1] for listener in listeners])
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                _accept(key.data, selector)
                continue
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            selector.unregister(connection)
            with contextlib.suppress(OSError):  # the prober gave up on it
                if connection.recv(65_536):
                    connection.send(ANSWER)
            connection.close()


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return
        connection.settimeout(0)
        selector.register(connection, selectors.EVENT_READ, None)
